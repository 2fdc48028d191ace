/* SPDX-License-Identifier: MIT */
/* A VM's life: creation, ROM, handlers, refills, reset, destruction. */
#include "mm_model.h"

#include <string.h>

/* --- create, reset, destroy ------------------------------------------------------------------- */

void vm_create(struct vm *vm)
{
	/* RAM mostly ends just above 1 MiB; one VM in four has a block that can be large. */
	uint64_t frames = below(16) ? HIGH_START + below(64) : 1 + below(FRAME_COUNT);
	if (below(4) == 0)
		frames = FRAME_COUNT;
	struct pgm_config config = {
		.format = below(2) ? &slat_npt : &slat_ept,
		.ram_bytes = frames << PAGE_SHIFT,
		.guaranteed_bytes = below(2) ? below(frames + 1) << PAGE_SHIFT : 0,
		.overcommit = (enum gmm_overcommit)below(3),
		.has_dirty_bits = below(4) > 0,
		.works_ahead = below(4) > 0,
	};
	struct pgm *pgm;

	q_status_t status = pgm_create(&config, &pgm);
	CHECK(status == Q_OK || status == Q_DECLINED);
	if (status != Q_OK)
		return;
	memset(vm, 0, sizeof(*vm));
	vm->pgm = pgm;
	vm->format = config.format;
	vm->frame_end = frames;
	vm->overcommit = config.overcommit;
}

void vm_destroy(struct vm *vm)
{
	merges_forget(vm);
	pgm_destroy(vm->pgm);
	vm->pgm = NULL;
}

void vm_reset(struct vm *vm)
{
	pgm_reset(vm->pgm);
	model_forget(vm);
}

void vm_refill(struct vm *vm)
{
	unsigned want = PGM_HANDY_MAX - vm->handy;
	unsigned least = (unsigned)gmm_pages_available(pgm_vm(vm->pgm), want);
	unsigned ahead = ahead_count(vm);
	struct pgm_stats stats;
	q_status_t status = pgm_handy_refill(vm->pgm);

	/* More pages than were available before, if the refill dropped references to shared ones. */
	pgm_stats(vm->pgm, &stats);
	unsigned handy = (unsigned)stats.handy + ahead_count(vm);
	CHECK(handy >= vm->handy + least && handy <= PGM_HANDY_MAX);
	/* Taking back what was handed out ahead is as good as getting pages. */
	CHECK((status == Q_OK) == (handy > vm->handy || ahead > 0 || vm->handy == PGM_HANDY_MAX));
	vm->handy = handy;
	CHECK(pgm_handy_is_low(vm->pgm) == (stats.handy <= PGM_HANDY_LOW));
}

/* --- ROM -------------------------------------------------------------------------------------- */

void vm_rom_add(struct vm *vm)
{
	static uint8_t image[32 * PAGE_SIZE];
	uint64_t start = LOW_END + below(64), count = 1 + below(32);
	uint64_t tags[32];

	memset(image, 0, sizeof(image));
	for (uint64_t i = 0; i < count; i++) {
		tags[i] = random_next();
		memcpy(image + i * PAGE_SIZE + TAG_OFFSET, &tags[i], sizeof(uint64_t));
	}
	bool is_available = gmm_pages_available(pgm_vm(vm->pgm), count) == count;
	gpa_t at = gpa(start << PAGE_SHIFT);
	bool is_shadowed = below(2);
	q_status_t status = is_shadowed
				    ? pgm_rom_add_shadowed(vm->pgm, at, image, count * PAGE_SIZE)
				    : pgm_rom_add(vm->pgm, at, image, count * PAGE_SIZE);
	if (vm->rom_end > 0) {
		bool overlaps = start < vm->rom_end && vm->rom_start < start + count;
		/* The model has one ROM only: a VM that got a second one is destroyed. */
		CHECK(vm->device || (status == Q_CONFLICT) == overlaps);
		if (status == Q_OK)
			vm_destroy(vm);
		return;
	}
	if (vm->device) {
		CHECK(status == Q_CONFLICT || status == Q_STATE);
		return;
	}
	if (is_shadowed)
		CHECK(status == Q_OK || status == Q_DECLINED ||
		      (status == Q_NO_MEMORY && !is_available));
	else
		CHECK(status == (is_available ? Q_OK : Q_NO_MEMORY) || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	vm->rom_start = start;
	vm->rom_end = start + count;
	vm->is_rom_shadowed = is_shadowed;
	memcpy(&vm->rom_tags[start], tags, count * sizeof(uint64_t));
}

void vm_rom_mode_set(struct vm *vm)
{
	uint64_t pages = vm->rom_end - vm->rom_start;
	uint64_t first = vm->rom_start + (pages ? below(pages) : 0), count = 1 + below(8);
	enum pgm_rom_mode mode = (enum pgm_rom_mode)below(4);
	bool is_inside = vm->is_rom_shadowed && first + count <= vm->rom_end;

	q_status_t status =
		pgm_rom_mode_set(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT, mode);
	CHECK(status == (is_inside ? Q_OK : Q_STATE));
	if (status == Q_OK)
		memset(&vm->rom_modes[first], mode, count);
}

/* --- handlers --------------------------------------------------------------------------------- */

/* Counts the pages of [first, first + count) that are memory, and those with a handler. */
static void handlers_count(const struct vm *vm, uint64_t first, uint64_t count, uint64_t *memory,
			   uint64_t *handled)
{
	*memory = *handled = 0;
	for (uint64_t frame = first; frame < first + count; frame++) {
		*memory += is_memory(vm, frame);
		*handled += vm->handlers[frame] != PGM_HANDLER_NONE;
	}
}

static void handler_add(struct vm *vm, uint64_t first, uint64_t count)
{
	enum pgm_handler_kind kind = below(2) ? PGM_HANDLER_WRITE : PGM_HANDLER_ALL;
	uint64_t memory, handled;
	bool was_ahead[FRAME_COUNT];

	handlers_count(vm, first, count, &memory, &handled);
	for (uint64_t i = 0; i < count; i++)
		was_ahead[i] = is_ahead(vm, first + i);
	/* The tag is the kind, so that ranges join. */
	q_status_t status =
		pgm_handler_add(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT, kind, kind);
	if (memory < count)
		CHECK(status == Q_RANGE);
	else if (handled > 0)
		CHECK(status == Q_CONFLICT);
	else
		CHECK(status == Q_OK || status == Q_LIMIT);
	if (status != Q_OK)
		return;
	memset(&vm->handlers[first], kind, count);
	for (uint64_t i = 0; i < count; i++)
		if (was_ahead[i])
			model_use(vm, first + i);
}

static void handler_remove(struct vm *vm, uint64_t first, uint64_t count)
{
	uint64_t memory, handled;

	handlers_count(vm, first, count, &memory, &handled);
	q_status_t status =
		pgm_handler_remove(vm->pgm, gpa(first << PAGE_SHIFT), count << PAGE_SHIFT);
	CHECK(status == Q_LIMIT || (status == Q_OK) == (handled > 0));
	if (status == Q_OK)
		memset(&vm->handlers[first], PGM_HANDLER_NONE, count);
}

void handler_change(struct vm *vm)
{
	uint64_t first = frame_choose(vm) % FRAME_COUNT, room = FRAME_COUNT - first;
	uint64_t count = 1 + below(room < 8 ? room : 8);

	if (below(2))
		handler_add(vm, first, count);
	else
		handler_remove(vm, below(8) ? first : 0, below(8) ? count : FRAME_COUNT - first);
}
