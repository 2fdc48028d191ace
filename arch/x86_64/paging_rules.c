/* SPDX-License-Identifier: MIT */
/* Walks Quire's page tables, and knows the rules of each region of paging.h. */
#include "paging_rules.h"

#include <quire/bits.h>
#include <quire/physmem.h>
#include <quire/x86_state.h>

#include "paging.h"
#include "paging_entry.h"

/* Addresses between these two are not canonical. */
#define CANONICAL_LOW_END    BIT64(LINEAR_BITS_4_LEVEL - 1)
#define CANONICAL_HIGH_START (-CANONICAL_LOW_END)

/* --- reading tables ------------------------------------------------------------------- */

static struct paging_leaf leaf_decode(uint64_t virt, uint64_t entry, unsigned level, bool has_nx)
{
	uint64_t size_bytes = 1ull << paging_level_shift(level);

	return (struct paging_leaf){
		.virt = align_down(virt, size_bytes),
		.start = hpa(align_down(entry & PTE_ADDRESS, size_bytes)),
		.size_bytes = size_bytes,
		.is_writable = entry & PTE_WRITE,
		.is_executable = has_nx && !(entry & PTE_NX),
		.is_uncached = entry & PTE_CACHE_OFF,
		.is_user = entry & PTE_USER,
	};
}

/* The first address after those that the entry at `level` for `virt` covers. 0: there is none. */
static uint64_t next_after(uint64_t virt, unsigned level)
{
	uint64_t size_bytes = 1ull << paging_level_shift(level);
	uint64_t next = align_down(virt, size_bytes) + size_bytes;

	return next == CANONICAL_LOW_END ? CANONICAL_HIGH_START : next;
}

/* Walks the tables for `virt`. Returns the last entry: a leaf, or one that is not present. */
static uint64_t walk(hpa_t root, uint64_t virt, unsigned *out_level)
{
	unsigned level = PAGING_ROOT_LEVEL;
	hpa_t table = root;

	for (;; level--) {
		const uint64_t *entries = physmem_kernel_ptr(table);
		uint64_t entry = pte_load(&entries[paging_index_at(virt, level)]);
		*out_level = level;
		if (!(entry & PTE_PRESENT) || level == 1 || (entry & PTE_LARGE))
			return entry;
		table = hpa(entry & PTE_ADDRESS);
	}
}

bool paging_tables_next(hpa_t root, bool has_nx, uint64_t from, struct paging_leaf *out_leaf)
{
	for (;;) {
		unsigned level;
		uint64_t entry = walk(root, from, &level);
		if (entry & PTE_PRESENT) {
			*out_leaf = leaf_decode(from, entry, level, has_nx);
			return true;
		}
		from = next_after(from, level);
		if (from == 0)
			return false;
	}
}

/* --- rules ---------------------------------------------------------------------------- */

/* True if [start, start + size_bytes) lies within [from, to). */
static bool is_within(uint64_t start, uint64_t size_bytes, uint64_t from, uint64_t to)
{
	return start >= from && start <= to && size_bytes <= to - start;
}

/* For regions that map each machine address at `base` plus that address. */
static bool is_at(const struct paging_leaf *leaf, uint64_t base)
{
	return leaf->start.raw == leaf->virt - base;
}

static bool is_plain_data(const struct paging_leaf *leaf)
{
	return leaf->is_writable && !leaf->is_executable && !leaf->is_uncached;
}

static enum paging_kind image_kind(const struct paging_bounds *bounds,
				   const struct paging_leaf *leaf)
{
	bool is_text =
		is_within(leaf->virt, leaf->size_bytes, bounds->text_start, bounds->text_end);

	if (!is_at(leaf, PAGING_IMAGE_BASE) || leaf->is_uncached ||
	    !is_within(leaf->virt, leaf->size_bytes, bounds->image_start, bounds->image_end))
		return PAGING_FORBIDDEN;
	return leaf->is_executable && !is_text ? PAGING_FORBIDDEN : PAGING_IMAGE;
}

static enum paging_kind kernel_kind(const struct paging_bounds *bounds,
				    const struct paging_leaf *leaf)
{
	if (!is_at(leaf, PAGING_KERNEL_BASE) || leaf->is_executable || leaf->is_uncached)
		return PAGING_FORBIDDEN;
	if (!leaf->is_writable)
		return PAGING_MODULE;
	bool is_arena = is_within(leaf->start.raw, leaf->size_bytes, bounds->arena_start.raw,
				  bounds->arena_end.raw);
	return is_arena ? PAGING_BOOT_DATA : PAGING_KERNEL;
}

static enum paging_kind window_kind(const struct paging_leaf *leaf)
{
	uint64_t offset = leaf->virt - PAGING_WINDOW_BASE;
	uint64_t slot = offset % PAGING_WINDOWS_PER_CPU_BYTES / LARGE_PAGE_SIZE;

	if (!is_plain_data(leaf) || leaf->size_bytes != LARGE_PAGE_SIZE)
		return PAGING_FORBIDDEN;
	return offset / PAGING_WINDOWS_PER_CPU_BYTES < PHYSMEM_CPU_MAX &&
			       slot < PHYSMEM_WINDOW_COUNT
		       ? PAGING_WINDOW
		       : PAGING_FORBIDDEN;
}

static enum paging_kind stack_kind(const struct paging_leaf *leaf)
{
	uint64_t end = PAGING_PAGES_BASE + PAGING_PAGES_COUNT * PAGE_SIZE;

	if (!is_plain_data(leaf) || leaf->size_bytes != PAGE_SIZE || leaf->virt >= end)
		return PAGING_FORBIDDEN;
	return PAGING_STACK;
}

static enum paging_kind device_kind(const struct paging_leaf *leaf)
{
	if (!is_at(leaf, PAGING_DEVICE_BASE) || leaf->is_executable || !leaf->is_uncached)
		return PAGING_FORBIDDEN;
	return PAGING_DEVICE;
}

enum paging_kind paging_kind_of(const struct paging_bounds *bounds, const struct paging_leaf *leaf)
{
	if (leaf->is_user || (leaf->is_writable && leaf->is_executable))
		return PAGING_FORBIDDEN;
	if (leaf->virt >= PAGING_IMAGE_BASE)
		return image_kind(bounds, leaf);
	if (leaf->virt >= PAGING_DEVICE_BASE)
		return device_kind(leaf);
	if (leaf->virt >= PAGING_PAGES_BASE)
		return stack_kind(leaf);
	if (leaf->virt >= PAGING_WINDOW_BASE)
		return window_kind(leaf);
	if (leaf->virt >= PAGING_KERNEL_BASE)
		return kernel_kind(bounds, leaf);
	return PAGING_FORBIDDEN;
}
