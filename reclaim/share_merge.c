/* SPDX-License-Identifier: MIT */
/*
 * Merging: from pages that look alike to one shared page, in batches.
 *
 *   1  drop candidates that look different by now
 *   2  ask the owners to watch their pages
 *   3  wait for a while, and drop pages that were written meanwhile
 *   4  make a shared page for each pair, and fill it from one of the two
 *   5  ask the owners to exchange their pages for it
 *   6  find out why a page was not exchanged, and stop watching it
 *
 * A page that looks like a shared page needs neither step 1 nor step 4. A page that looks like a
 * page of another merge in the batch follows that merge: it takes the shared page made there.
 *
 * Contents are compared once, in step 5, by the owner, while nothing can write to the page. All
 * steps before it compare keys only. So whatever happens between two steps, a wrong merge is
 * impossible; and a VM that is destroyed answers that its pages are gone. Where keys agree and
 * contents do not, one of the pages may end up with a shared page for itself alone. From then on
 * pages with that key are looked up by a hash of the whole page.
 *
 * A hold is Quire's own reference to a shared page, as in mm/gmm/gmm_share.c.
 */
#include <quire/assert.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "reclaim_internal.h"

#define BATCH_MAX  128u
#define SLOT_BITS  9u /* twice as many as pages in a batch */
#define SLOT_COUNT (1u << SLOT_BITS)
#define OBSERVE_US 5000u

/* pages[0] looks like pages[1], which is another private page, or only the id of a shared page. */
struct merge {
	struct reclaim_page pages[2];
	struct share_match match;
	struct merge *leader; /* the merge that this one follows, which follows none; or NULL */
	page_id_t shared;     /* NIL: not made */
	bool has_hold;        /* it has the batch's hold on `shared` */
	unsigned exchanged;   /* pages, including those of its followers */
};

static struct {
	struct merge merges[BATCH_MAX];
	unsigned count;
	/* A hash table, probed in order: the merge that a page is in. */
	struct {
		page_id_t id;
		struct merge *merge; /* NULL: free */
	} slots[SLOT_COUNT];
	/* The list of pages for one request at a time. */
	struct reclaim_page *pages[2 * BATCH_MAX];
	page_id_t shared[2 * BATCH_MAX];
	unsigned page_count;
} batch;

_Static_assert(SLOT_COUNT >= 4 * BATCH_MAX, "two pages a merge leave half of the slots free");

static bool is_join(const struct merge *merge)
{
	return merge->match.advice == SHARE_JOIN;
}

/* True if the merge was not rejected. */
static bool is_wanted(const struct merge *merge)
{
	return merge->match.advice != SHARE_NOTHING;
}

/* True if both pages are to be exchanged for a shared page that this merge makes. */
static bool is_pair(const struct merge *merge)
{
	return merge->match.advice == SHARE_PAIR && !merge->leader;
}

static unsigned own_count(const struct merge *merge)
{
	return is_pair(merge) ? 2 : 1;
}

static void reject(struct merge *merge, enum share_scan_rejection why)
{
	scan_figures.rejected[why]++;
	merge->match.advice = SHARE_NOTHING;
}

/* --- noting ----------------------------------------------------------------------------------- */

static unsigned slot_of(page_id_t id)
{
	unsigned slot = id.raw * 0x9e3779b1u >> (32 - SLOT_BITS);

	while (batch.slots[slot].merge && batch.slots[slot].id.raw != id.raw)
		slot = (slot + 1) % SLOT_COUNT;
	return slot;
}

/* The merge that a page is in, or NULL. */
static struct merge *merge_of(page_id_t id)
{
	return batch.slots[slot_of(id)].merge;
}

static void note(page_id_t id, struct merge *merge)
{
	unsigned slot = slot_of(id);

	batch.slots[slot].id = id;
	batch.slots[slot].merge = merge;
}

/* Finds the page that a candidate has now. False: it is a candidate no longer. */
static bool other_find(const struct share_match *match, struct reclaim_page *out_page)
{
	struct pgm_page_view view;
	struct vm *vm = reclaim_vm_of(match->other_vm);

	if (!vm)
		return false;
	uint64_t number = vm_number(vm);
	bool is_there = pgm_page_look(vm_pgm(vm), match->other_gfn, &view) &&
			view.kind == PGM_PAGE_NORMAL && vm_share_group(vm) == match->group;
	vm_put(vm);
	if (!is_there)
		return false;
	*out_page = (struct reclaim_page){
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

static bool pair_prepare(struct merge *merge)
{
	if (!other_find(&merge->match, &merge->pages[1])) {
		share_forget(&merge->match);
		scan_figures.rejected[SCAN_CHANGED]++;
		return false;
	}
	struct merge *leader = merge_of(merge->pages[1].id);
	merge->leader = leader && leader->leader ? leader->leader : leader;
	return true;
}

/*
 * Takes a hold on the shared page, since the working set may drop it before the merge is carried
 * out. A page gets only one hold from the batch, because a tracking word counts only few.
 */
static bool join_prepare(struct merge *merge)
{
	merge->shared = merge->match.shared;
	merge->pages[1].id = merge->shared;
	const struct merge *other = merge_of(merge->shared);
	if (other && other->has_hold && other->shared.raw == merge->shared.raw)
		return true;
	merge->has_hold = gmm_shared_get(GMM_VM_QUIRE, merge->shared) == Q_OK;
	return merge->has_hold;
}

bool share_merge_is_full(void)
{
	return batch.count == BATCH_MAX;
}

void share_merge_add(const struct reclaim_page *page, const struct share_match *match)
{
	struct merge *merge = &batch.merges[batch.count];

	/* This page is in a merge already: another page looks like it. */
	if (merge_of(page->id))
		return;
	*merge = (struct merge){ .pages = { *page }, .match = *match };
	if (!(is_join(merge) ? join_prepare(merge) : pair_prepare(merge)))
		return;
	batch.count++;
	note(page->id, merge);
	if (is_pair(merge) || merge->has_hold)
		note(merge->pages[1].id, merge);
}

/* --- lists of pages --------------------------------------------------------------------------- */

static void list_begin(void)
{
	batch.page_count = 0;
}

static void list_add(struct reclaim_page *page, page_id_t shared)
{
	batch.pages[batch.page_count] = page;
	batch.shared[batch.page_count++] = shared;
}

/* Lists the pages of all wanted merges: first each pages[0], which are mostly of one VM. */
static void list_own_pages(void)
{
	list_begin();
	for (unsigned j = 0; j < 2; j++) {
		for (unsigned i = 0; i < batch.count; i++) {
			struct merge *merge = &batch.merges[i];
			if (is_wanted(merge) && j < own_count(merge))
				list_add(&merge->pages[j], merge->shared);
		}
	}
}

static void list_swap(unsigned a, unsigned b)
{
	struct reclaim_page *page = batch.pages[a];
	page_id_t shared = batch.shared[a];

	batch.pages[a] = batch.pages[b];
	batch.shared[a] = batch.shared[b];
	batch.pages[b] = page;
	batch.shared[b] = shared;
}

/* Sorts the list by VM, so that each is asked once, and asks. Most pages are in order already. */
static void list_ask(enum vm_request_kind kind)
{
	for (unsigned end = 0; end < batch.page_count;) {
		uint64_t vm_number = batch.pages[end]->vm_number;
		for (unsigned i = end; i < batch.page_count; i++)
			if (batch.pages[i]->vm_number == vm_number) {
				if (i != end)
					list_swap(i, end);
				end++;
			}
	}
	reclaim_ask(kind, batch.pages, batch.shared, batch.page_count);
}

/* --- the steps -------------------------------------------------------------------------------- */

/* Step 1. */
static void candidate_check(struct merge *merge)
{
	if (merge->leader ? !is_wanted(merge->leader)
			  : is_pair(merge) && !share_is_like(&merge->match, merge->pages[1].id))
		reject(merge, SCAN_CHANGED);
}

/* Step 2. */
static void watch_all(void)
{
	list_own_pages();
	list_ask(VM_REQUEST_MONITOR);
	for (unsigned i = 0; i < batch.page_count; i++)
		batch.pages[i]->is_watched = batch.pages[i]->status == Q_OK;
}

static bool is_monitored(const struct vm *vm, const struct reclaim_page *page)
{
	struct pgm_page_view view;

	return pgm_page_look(vm_pgm(vm), page->gfn, &view) && view.kind == PGM_PAGE_MONITORED &&
	       view.id.raw == page->id.raw;
}

static bool is_watched_still(const struct reclaim_page *page)
{
	struct vm *vm = page->is_watched ? reclaim_vm_get(page->vm_number) : NULL;

	if (!vm)
		return false;
	bool is_still = is_monitored(vm, page);
	vm_put(vm);
	return is_still;
}

/* Step 3. The list is that of the watched pages, those of a VM one after the other. */
static void watched_look_at_all(void)
{
	struct vm *vm = NULL;

	for (unsigned i = 0; i < batch.page_count; i++) {
		struct reclaim_page *page = batch.pages[i];
		if (i == 0 || page->vm_number != batch.pages[i - 1]->vm_number) {
			if (vm)
				vm_put(vm);
			vm = reclaim_vm_get(page->vm_number);
		}
		page->is_watched = page->is_watched && vm && is_monitored(vm, page);
	}
	if (vm)
		vm_put(vm);
}

/* Step 4. */
static void shared_page_make(struct merge *merge)
{
	struct gmm_page page;

	for (unsigned j = 0; j < own_count(merge); j++) {
		if (!merge->pages[j].is_watched) {
			reject(merge, SCAN_WRITTEN);
			return;
		}
	}
	if (!is_pair(merge)) {
		merge->shared = merge->leader ? merge->leader->shared : merge->shared;
		if (page_id_is_nil(merge->shared))
			reject(merge, SCAN_CHANGED);
		return;
	}
	if (gmm_shared_alloc(&page) != Q_OK) {
		reject(merge, SCAN_NO_MEMORY);
		return;
	}
	gmm_page_copy(page.id, merge->pages[0].id);
	merge->shared = page.id;
	merge->has_hold = true;
}

/* Step 5. */
static void exchange_all(void)
{
	list_own_pages();
	list_ask(VM_REQUEST_SHARE);
}

static void exchanged_count(struct merge *merge)
{
	struct merge *leader = merge->leader ? merge->leader : merge;

	for (unsigned j = 0; j < own_count(merge) && is_wanted(merge); j++) {
		if (merge->pages[j].status != Q_OK)
			continue;
		merge->pages[j].is_watched = false;
		share_merged(&merge->pages[j].as_shared);
		scan_figures.merged++;
		merge->exchanged += merge != leader;
		leader->exchanged++;
	}
}

/* Step 6. Where the record has changed meanwhile, the request has no effect. */
static void unwatch_all(void)
{
	list_begin();
	for (unsigned i = 0; i < batch.count; i++)
		for (unsigned j = 0; j < 2; j++)
			if (batch.merges[i].pages[j].is_watched)
				list_add(&batch.merges[i].pages[j], PAGE_ID_NIL);
	list_ask(VM_REQUEST_UNMONITOR);
}

/* Step 6, for a page that its VM did not exchange, and that is still as it was. */
static void reject_unless_alike(struct merge *merge, unsigned which)
{
	page_id_t own = merge->pages[which].id;
	bool is_other = which == 1; /* the page that the match names */

	switch (share_compare(&merge->match, is_other ? merge->shared : own,
			      is_other ? own : merge->shared)) {
	case SHARE_EQUAL: return;
	case SHARE_DIFFERENT: reject(merge, SCAN_DIFFERENT); return;
	case SHARE_CHANGED:
		if (merge->exchanged == 0)
			reject(merge, SCAN_CHANGED);
		return;
	}
}

/*
 * Ends a merge. If it made a shared page that was taken, the working set gets that page with the
 * hold. Otherwise hold_drop() drops the hold, which frees a page that was not taken.
 */
static void settle(struct merge *merge)
{
	for (unsigned j = 0; j < own_count(merge) && is_wanted(merge); j++)
		if (is_watched_still(&merge->pages[j]))
			reject_unless_alike(merge, j);
	if (is_wanted(merge) && merge->exchanged == 0)
		reject(merge, SCAN_WRITTEN);
	if (is_pair(merge)) {
		share_add(&merge->match, merge->shared);
		merge->has_hold = false;
	}
}

static void hold_drop(struct merge *merge)
{
	unsigned done;

	if (!merge->has_hold)
		return;
	q_status_t status = gmm_shared_put(GMM_VM_QUIRE, &merge->shared, 1, &done);
	Q_ASSERT(status == Q_OK);
}

void share_merge_run(void)
{
	uint64_t failures = scan_figures.rejected[SCAN_NO_MEMORY];

	if (batch.count == 0)
		return;
	for (unsigned i = 0; i < batch.count; i++)
		candidate_check(&batch.merges[i]);
	watch_all();
	thread_park_until(cpu_rdtsc() + time_ticks_from_us(OBSERVE_US));
	watched_look_at_all();
	for (unsigned i = 0; i < batch.count; i++)
		if (is_wanted(&batch.merges[i]))
			shared_page_make(&batch.merges[i]);
	exchange_all();
	for (unsigned i = 0; i < batch.count; i++)
		exchanged_count(&batch.merges[i]);
	for (unsigned i = 0; i < batch.count; i++)
		settle(&batch.merges[i]);
	/* Not before: until here followers look at the shared pages of their leaders. */
	for (unsigned i = 0; i < batch.count; i++)
		hold_drop(&batch.merges[i]);
	unwatch_all();
	batch.count = 0;
	memset(batch.slots, 0, sizeof(batch.slots));
	if (scan_figures.rejected[SCAN_NO_MEMORY] > failures)
		room_make();
}
