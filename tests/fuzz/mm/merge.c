/* SPDX-License-Identifier: MIT */
/* Merging: one step a call, in the order of the scanner, so that anything may happen between two. */
#include "mm_model.h"

#include "mm/share/share.h"

enum merge_step {
	MERGE_NONE,
	MERGE_MONITOR_FIRST,
	MERGE_MONITOR_SECOND,
	MERGE_COPY,
	MERGE_SHARE_FIRST,
	MERGE_SHARE_SECOND,
	MERGE_END,
};

/* A merge of two pages in progress. */
struct merge {
	struct {
		struct vm *vm;
		uint64_t frame;
		page_id_t id;
	} sides[2];
	enum merge_step step;
	page_id_t shared;  /* from MERGE_COPY on, or from the start if it is joined; else NIL */
	uint64_t tag;      /* of the shared page */
	bool is_proposed;  /* by the working set, in `match` */
	bool is_exchanged; /* a side has `shared` now */
	struct share_match match;
};

#define MERGE_COUNT 4u

static struct merge merges[MERGE_COUNT];

static void merge_end(struct merge *merge)
{
	unsigned done;

	if (!page_id_is_nil(merge->shared))
		CHECK(gmm_shared_put(GMM_VM_QUIRE, &merge->shared, 1, &done) == Q_OK && done == 1);
	*merge = (struct merge){ .step = MERGE_NONE };
}

/* --- proposals of the working set ------------------------------------------------------------- */

/* The first two VMs are in one group, the others in another. */
static share_group_t group_of(const struct vm *vm)
{
	return vm - vms < 2 ? 1 : 2;
}

/* The groups of shared pages given to the working set; a later page may overwrite an entry. */
#define GIVEN_COUNT 65536u

static struct {
	page_id_t id;
	share_group_t group;
} given[GIVEN_COUNT];

static void given_note(page_id_t id, share_group_t group)
{
	given[id.raw % GIVEN_COUNT].id = id;
	given[id.raw % GIVEN_COUNT].group = group;
}

static bool was_given_to(page_id_t id, share_group_t group)
{
	return given[id.raw % GIVEN_COUNT].id.raw != id.raw ||
	       given[id.raw % GIVEN_COUNT].group == group;
}

static struct share_page share_page_of(const struct vm *vm, uint64_t frame, page_id_t id)
{
	return (struct share_page){ .vm = pgm_vm(vm->pgm),
				    .group = group_of(vm),
				    .gfn = gfn(frame),
				    .id = id,
				    .is_settled = below(4) > 0 };
}

static struct vm *vm_of(gmm_vm_t handle)
{
	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm && pgm_vm(vms[i].pgm) == handle)
			return &vms[i];
	return NULL;
}

static void side_set(struct merge *merge, unsigned side, struct vm *vm, uint64_t frame)
{
	merge->sides[side].vm = vm;
	merge->sides[side].frame = frame;
	merge->sides[side].id = id_of(vm, frame);
}

/* The candidate's VM may be gone by now, or its handle may be another VM's. */
static void pair_begin(struct merge *merge)
{
	struct vm *other = vm_of(merge->match.other_vm);
	uint64_t frame = merge->match.other_gfn.raw;

	if (!other || group_of(other) != merge->match.group || !is_ram(other, frame) ||
	    other->states[frame] != PGM_STATE_NORMAL) {
		share_forget(&merge->match);
		return;
	}
	side_set(merge, 1, other, frame);
	/* By key or by content: pgm_page_share() compares the contents in any case. */
	if (below(2) ? share_is_like(&merge->match, merge->sides[1].id)
		     : share_compare(&merge->match, merge->sides[0].id, merge->sides[1].id) ==
			       SHARE_EQUAL)
		merge->step = MERGE_MONITOR_FIRST;
}

/* A join needs no second owner: both sides are the same page. */
static void join_begin(struct merge *merge)
{
	page_id_t shared = merge->match.shared;

	CHECK(was_given_to(shared, merge->match.group));
	if (share_compare(&merge->match, merge->sides[0].id, shared) != SHARE_EQUAL ||
	    gmm_shared_get(GMM_VM_QUIRE, shared) != Q_OK)
		return;
	merge->shared = shared;
	merge->tag = merge->sides[0].vm->tags[merge->sides[0].frame];
	merge->sides[1] = merge->sides[0];
	merge->step = MERGE_MONITOR_FIRST;
}

/* Asks the working set about a page, like the scanner, and begins what it advises. */
static void merge_propose(struct merge *merge)
{
	struct vm *vm = &vms[below(VM_COUNT)];
	uint64_t frame = vm->pgm ? (below(4) ? below(8) : below(vm->frame_end)) : 0;

	if (!vm->pgm || !is_ram(vm, frame) || vm->states[frame] != PGM_STATE_NORMAL)
		return;
	side_set(merge, 0, vm, frame);
	struct share_page page = share_page_of(vm, frame, merge->sides[0].id);
	merge->match = share_look(&page);
	merge->is_proposed = true;
	CHECK(merge->match.advice == SHARE_NOTHING || merge->match.advice == SHARE_ZERO ||
	      merge->match.group == group_of(vm));
	figures.proposed += merge->match.advice != SHARE_NOTHING;
	switch (merge->match.advice) {
	case SHARE_NOTHING: return;
	case SHARE_ZERO:
		CHECK(vm->tags[frame] == 0);
		page_zero(vm, frame, page.id);
		return;
	case SHARE_JOIN: join_begin(merge); return;
	case SHARE_PAIR: pair_begin(merge); return;
	}
}

/* If a page was exchanged, gives Quire's reference to the shared page to the working set. */
static void merge_keep(struct merge *merge)
{
	if (!merge->is_proposed || merge->match.advice != SHARE_PAIR || !merge->is_exchanged)
		return;
	given_note(merge->shared, merge->match.group);
	share_add(&merge->match, merge->shared);
	merge->shared = PAGE_ID_NIL;
}

/* --- the steps -------------------------------------------------------------------------------- */

/* Begins a merge of two random private pages, which may differ. */
static void merge_begin(struct merge *merge)
{
	for (unsigned i = 0; i < 2; i++) {
		struct vm *vm = &vms[below(VM_COUNT)];
		if (!vm->pgm)
			return;
		uint64_t frame = below(4) ? below(8) : below(vm->frame_end);
		if (!is_ram(vm, frame) || !is_private(vm, frame))
			return;
		merge->sides[i].vm = vm;
		merge->sides[i].frame = frame;
		merge->sides[i].id = id_of(vm, frame);
	}
	if (merge->sides[0].vm == merge->sides[1].vm &&
	    merge->sides[0].frame == merge->sides[1].frame)
		return;
	merge->step = MERGE_MONITOR_FIRST;
}

/* Makes the shared page from the first side, if that still is the same page. */
static void merge_copy(struct merge *merge)
{
	struct vm *vm = merge->sides[0].vm;
	uint64_t frame = merge->sides[0].frame;
	struct gmm_page page;

	/* A join: the shared page exists. */
	if (!page_id_is_nil(merge->shared))
		return;
	if (!is_in_state(vm, frame, merge->sides[0].id, PGM_STATE_MONITORED) ||
	    gmm_shared_alloc(&page) != Q_OK) {
		merge_end(merge);
		return;
	}
	merge->shared = page.id;
	merge->tag = vm->tags[frame];
	gmm_page_copy(page.id, merge->sides[0].id);
}

static void merge_share(struct merge *merge, unsigned side)
{
	struct vm *vm = merge->sides[side].vm;
	uint64_t frame = merge->sides[side].frame;
	page_id_t id = merge->sides[side].id;
	bool is_right =
		is_in_state(vm, frame, id, PGM_STATE_MONITORED) && vm->tags[frame] == merge->tag;
	q_status_t status = pgm_page_share(vm->pgm, gfn(frame), id, merge->shared);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (!is_right)
		return;
	vm->states[frame] = PGM_STATE_SHARED;
	vm->private_pages--;
	vm->shared_pages++;
	figures.merged++;
	merge->is_exchanged = true;
	if (merge->is_proposed) {
		struct share_page page = share_page_of(vm, frame, id);
		share_merged(&page);
	}
}

static void merge_advance(struct merge *merge)
{
	switch (merge->step) {
	case MERGE_NONE:
		*merge = (struct merge){ .step = MERGE_NONE };
		if (below(2))
			merge_propose(merge);
		else
			merge_begin(merge);
		return;
	case MERGE_MONITOR_FIRST:
	case MERGE_MONITOR_SECOND: {
		unsigned side = merge->step - MERGE_MONITOR_FIRST;
		page_monitor(merge->sides[side].vm, merge->sides[side].frame,
			     merge->sides[side].id);
		break;
	}
	case MERGE_COPY:
		merge_copy(merge);
		if (merge->step == MERGE_NONE)
			return;
		break;
	case MERGE_SHARE_FIRST: merge_share(merge, 0); break;
	case MERGE_SHARE_SECOND: merge_share(merge, 1); break;
	case MERGE_END:
		merge_keep(merge);
		merge_end(merge);
		return;
	}
	merge->step++;
}

void merges_advance(void)
{
	merge_advance(&merges[below(MERGE_COUNT)]);
}

void merges_forget(const struct vm *vm)
{
	for (unsigned i = 0; i < MERGE_COUNT; i++)
		if (merges[i].step && (merges[i].sides[0].vm == vm || merges[i].sides[1].vm == vm))
			merge_end(&merges[i]);
}

void merges_end(void)
{
	for (unsigned i = 0; i < MERGE_COUNT; i++)
		merge_end(&merges[i]);
}
