/* SPDX-License-Identifier: MIT */
/*
 * Objects of one power-of-two size (a class) share a page. The page's first slot
 * is its header, so rounding an object's address down finds the header. A page
 * whose objects are all free goes back to the supply. An object of more than 1 KiB
 * gets a page of its own, without a header.
 *
 * Invariants: a page is on its class's list if and only if it has a free slot;
 * free slots + used slots == slots of the class.
 *
 * Lock: LOCK_RANK_HEAP. It is never held while the supply is called, because
 * GMM's locks come before it.
 */
#include "heap.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/bits.h>
#include <quire/list.h>
#include <quire/lock.h>
#include <quire/physmem.h>

#include "lib/string.h"
#include "arch/x86_64/paging.h"

#define CLASS_SHIFT_MIN 5u  /* 32 bytes: the header must fit one slot */
#define CLASS_SHIFT_MAX 10u /* 1 KiB */
#define CLASS_COUNT     (CLASS_SHIFT_MAX - CLASS_SHIFT_MIN + 1)

struct slot {
	struct slot *next;
};

struct heap_page {
	struct list_node node; /* in its class's list while it has a free slot */
	struct slot *free;
	uint32_t free_count;
};
_Static_assert(sizeof(struct heap_page) <= 1u << CLASS_SHIFT_MIN, "the header is one slot");

static struct {
	struct spinlock lock;
	const struct heap_supply *supply;

	/* Guarded by lock. */
	struct list_node classes[CLASS_COUNT];        /* pages with a free slot */
	uint64_t run_bitmap[PAGING_PAGES_COUNT / 64]; /* 1: in a run of pages, or its guard */

	uint64_t page_count; /* atomic; pages that the supply gave */
} heap;

void heap_init(const struct heap_supply *supply)
{
	heap.supply = supply;
	spin_init(&heap.lock, LOCK_RANK_HEAP, "heap");
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		list_init(&heap.classes[i]);
}

static bool page_take(hpa_t *out_page)
{
	if (heap.supply->page_alloc(out_page) != Q_OK)
		return false;
	atomic_add_relaxed(&heap.page_count, 1);
	return true;
}

static void page_give(hpa_t page)
{
	atomic_sub_relaxed(&heap.page_count, 1);
	heap.supply->page_free(page);
}

static unsigned class_shift(size_t size_bytes)
{
	unsigned shift = CLASS_SHIFT_MIN;
	while ((size_t)1 << shift < size_bytes)
		shift++;
	return shift;
}

static struct list_node *class_list(unsigned shift)
{
	return &heap.classes[shift - CLASS_SHIFT_MIN];
}

static unsigned slots_per_page(unsigned shift)
{
	return (unsigned)(PAGE_SIZE >> shift) - 1;
}

static void page_format(struct heap_page *page, unsigned shift)
{
	page->free = NULL;
	page->free_count = slots_per_page(shift);
	for (unsigned i = page->free_count; i > 0; i--) {
		struct slot *slot = (struct slot *)((uint8_t *)page + ((size_t)i << shift));
		slot->next = page->free;
		page->free = slot;
	}
}

/* Takes a slot of the class. NULL: no page has a free one. */
static void *slot_take(unsigned shift)
{
	struct list_node *list = class_list(shift);
	if (list_is_empty(list))
		return NULL;
	struct heap_page *page = list_entry(list->next, struct heap_page, node);
	struct slot *slot = page->free;
	page->free = slot->next;
	if (--page->free_count == 0)
		list_remove(&page->node);
	return slot;
}

static void *small_alloc(unsigned shift)
{
	spin_lock(&heap.lock);
	void *object = slot_take(shift);
	spin_unlock(&heap.lock);
	if (object)
		return object;

	hpa_t fresh;
	if (!page_take(&fresh))
		return NULL;
	struct heap_page *page = physmem_kernel_ptr(fresh);
	page_format(page, shift);
	spin_lock(&heap.lock);
	list_add_head(class_list(shift), &page->node);
	object = slot_take(shift);
	spin_unlock(&heap.lock);
	return object;
}

void *heap_alloc(size_t size_bytes)
{
	Q_ASSERT(size_bytes && size_bytes <= PAGE_SIZE);
	if (size_bytes > 1u << CLASS_SHIFT_MAX) {
		hpa_t page;
		return page_take(&page) ? physmem_kernel_ptr(page) : NULL;
	}
	unsigned shift = class_shift(size_bytes);
	void *object = small_alloc(shift);
	if (object)
		memset(object, 0, (size_t)1 << shift);
	return object;
}

void heap_free(void *object, size_t size_bytes)
{
	if (!object)
		return;
	if (size_bytes > 1u << CLASS_SHIFT_MAX) {
		page_give(physmem_kernel_hpa(object));
		return;
	}
	unsigned shift = class_shift(size_bytes);
	struct heap_page *page = (struct heap_page *)align_down((uintptr_t)object, PAGE_SIZE);
	spin_lock(&heap.lock);
	struct slot *slot = object;
	slot->next = page->free;
	page->free = slot;
	if (page->free_count++ == 0)
		list_add_head(class_list(shift), &page->node);
	bool is_unused = page->free_count == slots_per_page(shift);
	if (is_unused)
		list_remove(&page->node);
	spin_unlock(&heap.lock);
	if (is_unused)
		page_give(physmem_kernel_hpa(page));
}

/* --- runs of pages ----------------------------------------------------------- */

static bool run_is_taken(unsigned index)
{
	return heap.run_bitmap[index / 64] & BIT64(index % 64);
}

static void run_mark(unsigned first, unsigned count, bool is_taken)
{
	for (unsigned i = first; i < first + count; i++) {
		if (is_taken)
			heap.run_bitmap[i / 64] |= BIT64(i % 64);
		else
			heap.run_bitmap[i / 64] &= ~BIT64(i % 64);
	}
}

/* Returns the first of `count` free indices in a row, or PAGING_PAGES_COUNT. */
static unsigned run_find(unsigned count)
{
	unsigned length = 0;
	for (unsigned i = 0; i < PAGING_PAGES_COUNT; i++) {
		length = run_is_taken(i) ? 0 : length + 1;
		if (length == count)
			return i + 1 - count;
	}
	return PAGING_PAGES_COUNT;
}

static void *run_address(unsigned index)
{
	return (void *)(PAGING_PAGES_BASE + index * PAGE_SIZE);
}

static void run_unmap(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		hpa_t page = paging_page_hpa(run_address(i));
		paging_unmap_page(i);
		page_give(page);
	}
}

void *pages_alloc(unsigned page_count)
{
	/* The guards on both sides belong to the run. */
	spin_lock(&heap.lock);
	unsigned first = run_find(page_count + 2);
	if (first < PAGING_PAGES_COUNT)
		run_mark(first, page_count + 2, true);
	spin_unlock(&heap.lock);
	if (first == PAGING_PAGES_COUNT)
		return NULL;

	for (unsigned i = 0; i < page_count; i++) {
		hpa_t page;
		if (!page_take(&page)) {
			run_unmap(first + 1, i);
			spin_lock(&heap.lock);
			run_mark(first, page_count + 2, false);
			spin_unlock(&heap.lock);
			return NULL;
		}
		paging_map_page(first + 1 + i, page);
	}
	return run_address(first + 1);
}

void pages_free(void *start, unsigned page_count)
{
	if (!start)
		return;
	unsigned first = (unsigned)(((uintptr_t)start - PAGING_PAGES_BASE) / PAGE_SIZE);
	run_unmap(first, page_count);
	spin_lock(&heap.lock);
	run_mark(first - 1, page_count + 2, false);
	spin_unlock(&heap.lock);
}

hpa_t heap_hpa(const void *object)
{
	if ((uintptr_t)object >= PAGING_PAGES_BASE)
		return paging_page_hpa(object);
	return physmem_kernel_hpa(object);
}

uint64_t heap_bytes_used(void)
{
	return atomic_load_relaxed(&heap.page_count) * PAGE_SIZE;
}
