/* SPDX-License-Identifier: MIT */
/*
 * Merging: from pages that look alike to one shared page, in batches.
 *
 *   1  what each pair holds is compared, as it is now
 *   2  the owners are asked to watch their pages
 *   3  for a while nothing happens; a page that is written meanwhile is out
 *   4  for each pair a shared page is made, and filled from one of the two
 *   5  the owners are asked to exchange their pages for it
 *   6  pages that were not exchanged are watched no longer
 *
 * A page that looks like a shared page needs no step 4. Comparing in step 1 only
 * saves work: in step 5 the owner compares again, with nobody left who could
 * write. So whatever happens between two steps, a wrong merge is impossible, and
 * a VM that is destroyed answers that its pages are gone.
 */
#include <quire/assert.h>

#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "scan_internal.h"
#include "vm_internal.h"

#define BATCH_MAX  128u
#define OBSERVE_US 5000u

/* `pages[1]` is another private page, or, if the advice was to join, the shared one's id alone. */
struct merge {
	struct scan_page pages[2];
	struct share_match match;
	page_id_t shared; /* NIL: not made yet */
	bool has_hold;    /* on `shared`, for all merges of the batch */
};

static struct {
	struct merge merges[BATCH_MAX];
	unsigned count;
	/* One list of pages for a request at a time. */
	struct scan_page *pages[2 * BATCH_MAX];
	page_id_t shared[2 * BATCH_MAX];
	unsigned page_count;
} batch;

static bool is_join(const struct merge *merge)
{
	return merge->match.advice == SHARE_JOIN;
}

/* It was not rejected. */
static bool is_wanted(const struct merge *merge)
{
	return merge->match.advice != SHARE_NOTHING;
}

static unsigned own_count(const struct merge *merge)
{
	return is_join(merge) ? 1 : 2;
}

static void reject(struct merge *merge, enum scan_rejection why)
{
	scan_figures.rejected[why]++;
	merge->match.advice = SHARE_NOTHING;
}

/* --- noting ------------------------------------------------------------------------------------ */

/* The VM with this handle, as a number, or 0. */
static uint64_t number_of(gmm_vm_t handle)
{
	uint64_t number = 0;

	for (struct vm *vm = vm_get_after(0); vm; vm = vm_get_after(number)) {
		number = vm_number(vm);
		bool is_it = pgm_vm(vm->pgm) == handle;
		vm_put(vm);
		if (is_it)
			return number;
	}
	return 0;
}

/* What the page of a candidate is now. False: it is none any more. */
static bool other_find(const struct share_match *match, struct scan_page *out_page)
{
	struct pgm_page_view view;
	uint64_t number = number_of(match->other_vm);
	struct vm *vm = number ? scan_vm_get(number) : NULL;

	if (!vm)
		return false;
	bool is_there = pgm_page_look(vm->pgm, match->other_gfn, &view) &&
			view.kind == PGM_PAGE_NORMAL && vm->share_group == match->group;
	vm_put(vm);
	if (!is_there)
		return false;
	*out_page = (struct scan_page){
		.vm_number = number,
		.gfn = match->other_gfn,
		.id = view.id,
		.as_shared = { .vm = match->other_vm,
			       .group = match->group,
			       .gfn = match->other_gfn,
			       .id = view.id },
	};
	return true;
}

static bool is_noted(page_id_t id)
{
	for (unsigned i = 0; i < batch.count; i++)
		for (unsigned j = 0; j < own_count(&batch.merges[i]); j++)
			if (batch.merges[i].pages[j].id.raw == id.raw)
				return true;
	return false;
}

static bool is_held(page_id_t shared)
{
	for (unsigned i = 0; i < batch.count; i++)
		if (batch.merges[i].has_hold && batch.merges[i].shared.raw == shared.raw)
			return true;
	return false;
}

/*
 * Its entry may make room for another one before the merge is carried out. One
 * hold a batch: a tracking word counts few of them.
 */
static bool join_hold(struct merge *merge)
{
	page_id_t shared = merge->match.shared;

	if (!is_held(shared)) {
		if (gmm_shared_get(GMM_VM_QUIRE, shared) != Q_OK)
			return false;
		merge->has_hold = true;
	}
	merge->pages[1].id = shared;
	merge->shared = shared;
	return true;
}

bool scan_merge_is_full(void)
{
	return batch.count == BATCH_MAX;
}

bool scan_merge_add(const struct scan_page *page, const struct share_match *match)
{
	struct merge merge = { .pages = { *page }, .match = *match };

	if (match->advice == SHARE_PAIR && !other_find(match, &merge.pages[1])) {
		share_forget(match);
		scan_figures.rejected[SCAN_CHANGED]++;
		return true;
	}
	/* It may be shared once that merge is done; then this page joins it. */
	if (is_noted(page->id) || (!is_join(&merge) && is_noted(merge.pages[1].id)))
		return false;
	if (is_join(&merge) && !join_hold(&merge))
		return true;
	batch.merges[batch.count++] = merge;
	return true;
}

/* --- lists of pages ------------------------------------------------------------------------------- */

static void list_begin(void)
{
	batch.page_count = 0;
}

static void list_add(struct scan_page *page, page_id_t shared)
{
	batch.pages[batch.page_count] = page;
	batch.shared[batch.page_count++] = shared;
}

/* By VM, so that each is asked once: an insertion sort, since they are nearly in order. */
static void list_ask(enum vm_request_kind kind)
{
	for (unsigned i = 1; i < batch.page_count; i++) {
		struct scan_page *page = batch.pages[i];
		page_id_t shared = batch.shared[i];
		unsigned at = i;
		for (; at > 0 && batch.pages[at - 1]->vm_number > page->vm_number; at--) {
			batch.pages[at] = batch.pages[at - 1];
			batch.shared[at] = batch.shared[at - 1];
		}
		batch.pages[at] = page;
		batch.shared[at] = shared;
	}
	scan_ask(kind, batch.pages, batch.shared, batch.page_count);
}

/* --- the steps -------------------------------------------------------------------------------------- */

/* 1 */
static void compare(struct merge *merge)
{
	switch (share_compare(&merge->match, merge->pages[0].id, merge->pages[1].id)) {
	case SHARE_EQUAL: return;
	case SHARE_DIFFERENT: reject(merge, SCAN_DIFFERENT); return;
	case SHARE_CHANGED: reject(merge, SCAN_CHANGED); return;
	}
}

/* 2 */
static void watch_all(void)
{
	list_begin();
	for (unsigned i = 0; i < batch.count; i++) {
		struct merge *merge = &batch.merges[i];
		for (unsigned j = 0; j < own_count(merge) && is_wanted(merge); j++)
			list_add(&merge->pages[j], PAGE_ID_NIL);
	}
	list_ask(VM_REQUEST_MONITOR);
	for (unsigned i = 0; i < batch.page_count; i++)
		batch.pages[i]->is_watched = batch.pages[i]->status == Q_OK;
}

static bool is_watched_still(const struct scan_page *page)
{
	struct pgm_page_view view = { .kind = PGM_PAGE_ZERO };
	struct vm *vm = page->is_watched ? scan_vm_get(page->vm_number) : NULL;

	if (!vm)
		return false;
	bool is_there = pgm_page_look(vm->pgm, page->gfn, &view);
	vm_put(vm);
	return is_there && view.kind == PGM_PAGE_MONITORED && view.id.raw == page->id.raw;
}

/* 4 */
static void shared_page_make(struct merge *merge)
{
	struct gmm_page page;

	for (unsigned j = 0; j < own_count(merge); j++) {
		if (!is_watched_still(&merge->pages[j])) {
			reject(merge, SCAN_WRITTEN);
			return;
		}
	}
	if (is_join(merge))
		return;
	if (gmm_shared_alloc(&page) != Q_OK) {
		reject(merge, SCAN_NO_MEMORY);
		return;
	}
	gmm_page_copy(page.id, merge->pages[0].id);
	merge->shared = page.id;
	merge->has_hold = true;
}

/* 5 */
static void exchange_all(void)
{
	list_begin();
	for (unsigned i = 0; i < batch.count; i++) {
		struct merge *merge = &batch.merges[i];
		for (unsigned j = 0; j < own_count(merge) && is_wanted(merge); j++)
			list_add(&merge->pages[j], merge->shared);
	}
	list_ask(VM_REQUEST_SHARE);
	for (unsigned i = 0; i < batch.page_count; i++) {
		if (batch.pages[i]->status != Q_OK)
			continue;
		batch.pages[i]->is_watched = false;
		share_merged(&batch.pages[i]->as_shared);
		scan_figures.merged++;
	}
}

/* 6: what has changed meanwhile says so by itself. */
static void unwatch_all(void)
{
	list_begin();
	for (unsigned i = 0; i < batch.count; i++)
		for (unsigned j = 0; j < 2; j++)
			if (batch.merges[i].pages[j].is_watched)
				list_add(&batch.merges[i].pages[j], PAGE_ID_NIL);
	list_ask(VM_REQUEST_UNMONITOR);
}

static bool was_exchanged(const struct merge *merge, unsigned side)
{
	return is_wanted(merge) && merge->pages[side].status == Q_OK &&
	       !merge->pages[side].is_watched;
}

/* The shared page goes to the working set, or nobody took it and it goes. */
static void settle(struct merge *merge)
{
	unsigned done;

	if (is_wanted(merge) && !was_exchanged(merge, 0) &&
	    (is_join(merge) || !was_exchanged(merge, 1)))
		reject(merge, SCAN_WRITTEN);
	if (merge->match.advice == SHARE_PAIR) {
		share_add(&merge->match, merge->shared);
		return;
	}
	if (!merge->has_hold)
		return;
	q_status_t status = gmm_shared_put(GMM_VM_QUIRE, &merge->shared, 1, &done);
	Q_ASSERT(status == Q_OK);
}

void scan_merge_run(void)
{
	if (batch.count == 0)
		return;
	for (unsigned i = 0; i < batch.count; i++)
		compare(&batch.merges[i]);
	watch_all();
	thread_park_until(cpu_rdtsc() + time_ticks_from_us(OBSERVE_US));
	for (unsigned i = 0; i < batch.count; i++)
		if (is_wanted(&batch.merges[i]))
			shared_page_make(&batch.merges[i]);
	exchange_all();
	for (unsigned i = 0; i < batch.count; i++)
		settle(&batch.merges[i]);
	unwatch_all();
	batch.count = 0;
}
