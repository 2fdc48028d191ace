/* SPDX-License-Identifier: MIT */
/* What others ask of pages, the balloon, and restoring. */
#include "mm_model.h"

#include <string.h>

/* --- requests --------------------------------------------------------------------------------- */

page_id_t id_of(const struct vm *vm, uint64_t frame)
{
	struct pgm_page_view view;

	if (!pgm_page_look(vm->pgm, gfn(frame), &view))
		return PAGE_ID_NIL;
	CHECK(is_ram(vm, frame) && (enum pgm_state)view.kind == state_of(vm, frame));
	return view.id;
}

/* Mostly the page id in the record, sometimes another. */
static page_id_t id_guess(const struct vm *vm, uint64_t frame)
{
	return below(8) ? id_of(vm, frame) : (page_id_t){ (uint32_t)below(GMM_PAGE_ID_LAST) };
}

bool is_in_state(const struct vm *vm, uint64_t frame, page_id_t id, enum pgm_state state)
{
	return is_ram(vm, frame) && state_of(vm, frame) == state && id_of(vm, frame).raw == id.raw;
}

void page_monitor(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_NORMAL);
	if (is_right && is_ahead(vm, frame))
		model_use(vm, frame);
	q_status_t status = pgm_page_monitor(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		vm->states[frame] = PGM_STATE_MONITORED;
}

static void page_unmonitor(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_MONITORED);
	q_status_t status = pgm_page_unmonitor(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		vm->states[frame] = PGM_STATE_NORMAL;
}

void page_zero(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = (is_in_state(vm, frame, id, PGM_STATE_NORMAL) ||
			 is_in_state(vm, frame, id, PGM_STATE_MONITORED)) &&
			vm->tags[frame] == 0;
	if (is_right && is_ahead(vm, frame))
		model_use(vm, frame);
	q_status_t status = pgm_page_zero(vm->pgm, gfn(frame), id);

	CHECK(status == (is_right ? Q_OK : Q_STATE));
	if (is_right)
		model_release(vm, frame, PGM_STATE_ZERO);
}

static void page_move(struct vm *vm, uint64_t frame, page_id_t id)
{
	bool is_right = is_in_state(vm, frame, id, PGM_STATE_NORMAL) ||
			is_in_state(vm, frame, id, PGM_STATE_MONITORED);
	bool was_ahead = is_ahead(vm, frame);
	q_status_t status = pgm_page_move(vm->pgm, gfn(frame), id);

	if (status == Q_OK && was_ahead)
		model_use(vm, frame);
	if (!is_right) {
		CHECK(status == Q_STATE);
		return;
	}
	CHECK(status == Q_OK || status == Q_NOT_FOUND || status == Q_NO_MEMORY ||
	      status == Q_LIMIT);
	CHECK((status == Q_OK) == (id_of(vm, frame).raw != id.raw));
}

/* --- the balloon ------------------------------------------------------------------------------ */

#define LIST_MAX 24u

/* A list from a guest: it may name pages twice, and frames that are not RAM. */
static unsigned list_choose(const struct vm *vm, gfn_t *gfns)
{
	unsigned count = (unsigned)below(LIST_MAX);

	for (unsigned i = 0; i < count; i++)
		gfns[i] = gfn(frame_choose(vm));
	return count;
}

static void balloon_inflate(struct vm *vm)
{
	gfn_t gfns[LIST_MAX];
	unsigned count = list_choose(vm, gfns), expected = 0, done;

	for (unsigned i = 0; i < count; i++) {
		uint64_t frame = gfns[i].raw;
		if (!is_ram(vm, frame) || vm->states[frame] == PGM_STATE_BALLOONED)
			continue;
		if (is_ahead(vm, frame))
			model_use(vm, frame);
		model_release(vm, frame, PGM_STATE_BALLOONED);
		expected++;
	}
	pgm_balloon_inflate(vm->pgm, gfns, count, &done);
	CHECK(done == expected);
}

static void balloon_deflate(struct vm *vm)
{
	gfn_t gfns[LIST_MAX];
	unsigned count = list_choose(vm, gfns), expected = 0, done;

	for (unsigned i = 0; i < count; i++) {
		uint64_t frame = gfns[i].raw;
		if (!is_ram(vm, frame) || vm->states[frame] != PGM_STATE_BALLOONED)
			continue;
		model_release(vm, frame, PGM_STATE_ZERO);
		expected++;
	}
	pgm_balloon_deflate(vm->pgm, gfns, count, &done);
	CHECK(done == expected);
}

/* --- restoring -------------------------------------------------------------------------------- */

/* Restores a state with a few pages that are not zero, or with more than there is room for. */
static void vm_restore(struct vm *vm)
{
	static uint8_t content[PAGE_SIZE];
	uint64_t want = below(4) ? below(64) : below(4096);
	q_status_t status = pgm_restore_begin(vm->pgm, want);

	CHECK(status == Q_OK || status == Q_NO_MEMORY || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	model_forget(vm);
	for (uint64_t frame = 0; frame < vm->frame_end && want > 0; frame++) {
		if (!is_ram(vm, frame) || below(3) == 0)
			continue;
		vm->tags[frame] = tag_random();
		memcpy(content + TAG_OFFSET, &vm->tags[frame], sizeof(uint64_t));
		CHECK(pgm_restore_page(vm->pgm, gfn(frame), content) == Q_OK);
		CHECK(pgm_restore_page(vm->pgm, gfn(frame), content) == Q_STATE);
		vm->states[frame] = PGM_STATE_NORMAL;
		vm->private_pages++;
		want--;
	}
	pgm_restore_end(vm->pgm);
}

/* --- one of them ------------------------------------------------------------------------------ */

void page_operate(struct vm *vm, uint64_t frame)
{
	page_id_t id = id_guess(vm, frame);

	switch (below(8)) {
	case 0: page_monitor(vm, frame, id); return;
	case 1: page_unmonitor(vm, frame, id); return;
	case 2: page_zero(vm, frame, id); return;
	case 3: page_move(vm, frame, id); return;
	case 4: balloon_inflate(vm); return;
	case 5: balloon_deflate(vm); return;
	case 6: pgm_dirty_note(vm->pgm, gfn(frame), (unsigned)below(64)); return;
	default:
		if (below(16) == 0)
			vm_restore(vm);
	}
}
