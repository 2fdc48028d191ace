/* SPDX-License-Identifier: MIT */
/* Device memory: added, mapped, unmapped, tracked. */
#include "mm_model.h"

#include <string.h>

static void device_add(struct vm *vm)
{
	q_status_t status = pgm_device_add(vm->pgm, DEVICE_PAGES * PAGE_SIZE, &vm->device);

	CHECK(status == Q_OK || status == Q_DECLINED);
}

/* While the device is mapped its tags are in its pages, else only in the model. */
static void device_tags_move(struct vm *vm, bool is_mapped)
{
	for (uint64_t i = 0; i < DEVICE_PAGES; i++) {
		uint8_t *page = pgm_device_page(vm->pgm, vm->device, i);
		uint64_t *tag = (uint64_t *)(page + TAG_OFFSET);
		CHECK(*tag == (is_mapped ? 0 : vm->device_tags[i]));
		*tag = is_mapped ? vm->device_tags[i] : 0;
	}
}

/* Maps it into the hole below 1 MiB or above RAM, or onto something that is there. */
static void device_map(struct vm *vm)
{
	uint64_t start =
		below(2) ? LOW_END - 8 + below(HIGH_START - LOW_END) : vm->frame_end + below(64);
	bool is_free = true;

	if (start > FRAME_COUNT - DEVICE_PAGES)
		return;
	for (uint64_t frame = start; frame < start + DEVICE_PAGES; frame++)
		is_free &= !is_memory(vm, frame);
	q_status_t status = pgm_device_map(vm->pgm, vm->device, gpa(start << PAGE_SHIFT));
	CHECK(status == (vm->device_start ? Q_STATE : is_free ? Q_OK : Q_CONFLICT));
	if (status != Q_OK)
		return;
	vm->device_start = start;
	device_tags_move(vm, true);
}

static void device_unmap(struct vm *vm)
{
	bool has_handler = false;

	for (uint64_t i = 0; vm->device_start && i < DEVICE_PAGES; i++)
		has_handler |= vm->handlers[vm->device_start + i] != PGM_HANDLER_NONE;
	q_status_t status = pgm_device_unmap(vm->pgm, vm->device);
	CHECK(status == (vm->device_start && !has_handler ? Q_OK : Q_STATE));
	if (status != Q_OK)
		return;
	device_tags_move(vm, false);
	vm->device_start = 0;
}

static void device_track(struct vm *vm, bool is_tracked)
{
	q_status_t status = is_tracked ? pgm_device_track_start(vm->pgm, vm->device)
				       : pgm_device_track_stop(vm->pgm, vm->device);

	CHECK(status == (is_tracked != vm->is_device_tracked ? Q_OK : Q_STATE));
	vm->is_device_tracked = is_tracked;
	if (status == Q_OK)
		memset(vm->is_device_dirty, 0, sizeof(vm->is_device_dirty));
}

static void device_dirty_take(struct vm *vm)
{
	uint64_t first = below(DEVICE_PAGES), count = 1 + below(DEVICE_PAGES - first);
	uint64_t bitmap = ~0ull, expected = 0;

	q_status_t status = pgm_device_dirty_take(vm->pgm, vm->device, first, count, &bitmap);
	CHECK(status == (vm->is_device_tracked ? Q_OK : Q_STATE));
	if (status != Q_OK)
		return;
	for (uint64_t i = 0; i < count; i++)
		expected |= (uint64_t)vm->is_device_dirty[first + i] << i;
	CHECK(bitmap == expected);
	memset(&vm->is_device_dirty[first], 0, count);
}

void device_operate(struct vm *vm)
{
	if (!vm->device) {
		device_add(vm);
		return;
	}
	switch (below(6)) {
	case 0:
	case 1: device_map(vm); return;
	case 2: device_unmap(vm); return;
	case 3: device_track(vm, below(4)); return;
	default: device_dirty_take(vm); return;
	}
}
