/* SPDX-License-Identifier: MIT */
/* The model: what it knows of a VM's memory, and what it expects of PGM. */
#include "mm_model.h"

#include <string.h>

struct vm vms[VM_COUNT];
struct figures figures;

static uint64_t random_state;

/* --- random choices --------------------------------------------------------------------------- */

void random_seed(uint64_t seed)
{
	random_state = seed;
}

/* splitmix64: good enough, and any seed will do. */
uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t below(uint64_t limit)
{
	return random_next() % limit;
}

uint64_t tag_random(void)
{
	return below(4) ? 1 + below(6) : 0;
}

uint64_t frame_choose(const struct vm *vm)
{
	const uint64_t edges[] = { 0,          LOW_END - 1,       LOW_END,       HIGH_START - 1,
				   HIGH_START, vm->frame_end - 1, vm->frame_end, FRAME_COUNT - 1 };

	switch (below(16)) {
	case 0: return edges[below(ARRAY_COUNT(edges))];
	case 1: return below(FRAME_COUNT);
	case 9: return PAGES_PER_LARGE + below(4);
	case 2: return vm->rom_start + below(32);
	case 3: return random_next() >> (PAGE_SHIFT + below(30));
	case 4:
	case 5:
	case 6:
	case 7: return below(vm->frame_end);
	case 8: return vm->device_start + below(DEVICE_PAGES);
	default: return below(8);
	}
}

/* --- the kinds of memory ---------------------------------------------------------------------- */

bool is_ram(const struct vm *vm, uint64_t frame)
{
	return frame < vm->frame_end && (frame < LOW_END || frame >= HIGH_START);
}

bool is_rom(const struct vm *vm, uint64_t frame)
{
	return frame >= vm->rom_start && frame < vm->rom_end;
}

bool is_device(const struct vm *vm, uint64_t frame)
{
	return vm->device_start && frame >= vm->device_start &&
	       frame < vm->device_start + DEVICE_PAGES;
}

bool is_memory(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) || is_rom(vm, frame) || is_device(vm, frame);
}

bool is_private(const struct vm *vm, uint64_t frame)
{
	return vm->states[frame] == PGM_STATE_NORMAL || vm->states[frame] == PGM_STATE_MONITORED;
}

bool takes_writes(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) || is_device(vm, frame) ||
	       (is_rom(vm, frame) && (vm->rom_modes[frame] == PGM_ROM_READ_ROM_WRITE_RAM ||
				      vm->rom_modes[frame] == PGM_ROM_READ_RAM_WRITE_RAM));
}

bool reads_rom(const struct vm *vm, uint64_t frame)
{
	return is_rom(vm, frame) && vm->rom_modes[frame] != PGM_ROM_READ_RAM &&
	       vm->rom_modes[frame] != PGM_ROM_READ_RAM_WRITE_RAM;
}

/* --- states ----------------------------------------------------------------------------------- */

bool is_ahead(const struct vm *vm, uint64_t frame)
{
	return is_ram(vm, frame) && vm->states[frame] == PGM_STATE_ZERO &&
	       (pgm_record_find(vm->pgm, gfn(frame))->d2 & PGM_RECORD_AHEAD);
}

unsigned ahead_count(const struct vm *vm)
{
	unsigned count = 0;

	for (uint64_t frame = 0; frame < vm->frame_end; frame++)
		count += is_ahead(vm, frame);
	return count;
}

enum pgm_state state_of(const struct vm *vm, uint64_t frame)
{
	return is_ahead(vm, frame) ? PGM_STATE_NORMAL : vm->states[frame];
}

void model_use(struct vm *vm, uint64_t frame)
{
	CHECK(vm->handy > 0 && vm->states[frame] == PGM_STATE_ZERO);
	vm->handy--;
	vm->private_pages++;
	vm->states[frame] = PGM_STATE_NORMAL;
}

/* --- tags ------------------------------------------------------------------------------------- */

uint64_t tag_read(const struct vm *vm, uint64_t frame)
{
	if (is_device(vm, frame))
		return vm->device_tags[frame - vm->device_start];
	return reads_rom(vm, frame) ? vm->rom_tags[frame] : vm->tags[frame];
}

void tag_write(struct vm *vm, uint64_t frame, uint64_t tag)
{
	if (is_device(vm, frame))
		vm->device_tags[frame - vm->device_start] = tag;
	else
		vm->tags[frame] = tag;
}

/* --- accesses --------------------------------------------------------------------------------- */

bool needs_page(const struct vm *vm, uint64_t frame)
{
	return takes_writes(vm, frame) && !is_device(vm, frame) && !is_private(vm, frame);
}

bool is_handled(const struct vm *vm, uint64_t frame, enum mem_access access)
{
	if (frame >= FRAME_COUNT || vm->handlers[frame] == PGM_HANDLER_NONE)
		return false;
	return vm->handlers[frame] == PGM_HANDLER_ALL || access == MEM_WRITE;
}

/*
 * The first page of the block around an untouched `frame` if PGM just backed the whole
 * block with a chunk, or FRAME_COUNT. The model cannot tell whether GMM had a chunk.
 */
static uint64_t block_backed(const struct vm *vm, uint64_t frame)
{
	uint64_t start = frame - frame % PAGES_PER_LARGE;

	for (uint64_t at = start; at < start + PAGES_PER_LARGE; at++) {
		if (!is_ram(vm, at) || vm->states[at] != PGM_STATE_ZERO ||
		    vm->handlers[at] != PGM_HANDLER_NONE)
			return FRAME_COUNT;
		/* No operation of the model writes that many pages one by one. */
		if (pgm_record_state(*pgm_record_find(vm->pgm, gfn(at))) == PGM_STATE_ZERO)
			return FRAME_COUNT;
	}
	CHECK(GMM_CHUNK_SHIFT == LARGE_PAGE_SHIFT && vm->overcommit == GMM_OVERCOMMIT_NONE);
	return start;
}

enum pgm_outcome expected_outcome(const struct vm *vm, uint64_t frame, enum mem_access access)
{
	if (!is_memory(vm, frame))
		return PGM_MMIO;
	bool is_write = access == MEM_WRITE, is_taken = takes_writes(vm, frame);
	if (is_write && needs_page(vm, frame) && vm->handy == 0 &&
	    block_backed(vm, frame) == FRAME_COUNT)
		return PGM_NO_MEMORY;
	if (is_handled(vm, frame, access))
		return PGM_HANDLER;
	if (is_write && !is_taken)
		return PGM_DENIED;
	return is_write && reads_rom(vm, frame) ? PGM_EMULATE : PGM_RESOLVED;
}

void model_back(struct vm *vm, uint64_t frame)
{
	if (is_device(vm, frame))
		vm->is_device_dirty[frame - vm->device_start] = vm->is_device_tracked;
	uint64_t block = needs_page(vm, frame) ? block_backed(vm, frame) : FRAME_COUNT;
	if (block != FRAME_COUNT) {
		for (uint64_t i = 0; i < PAGES_PER_LARGE; i++)
			vm->states[block + i] = PGM_STATE_NORMAL;
		vm->private_pages += PAGES_PER_LARGE;
		figures.blocks_backed++;
		return;
	}
	if (needs_page(vm, frame)) {
		CHECK(vm->handy > 0);
		vm->handy--;
		*(is_ram(vm, frame) ? &vm->private_pages : &vm->rom_shadow_pages) += 1;
		vm->shared_pages -= vm->states[frame] == PGM_STATE_SHARED;
		vm->ballooned_pages -= vm->states[frame] == PGM_STATE_BALLOONED;
	}
	if (takes_writes(vm, frame) && !is_device(vm, frame))
		vm->states[frame] = PGM_STATE_NORMAL;
}

void model_release(struct vm *vm, uint64_t frame, enum pgm_state state)
{
	vm->private_pages -= is_private(vm, frame);
	vm->shared_pages -= vm->states[frame] == PGM_STATE_SHARED;
	vm->ballooned_pages -= vm->states[frame] == PGM_STATE_BALLOONED;
	vm->ballooned_pages += state == PGM_STATE_BALLOONED;
	vm->states[frame] = state;
	vm->tags[frame] = 0;
}

unsigned model_refill(const struct vm *vm)
{
	spin_lock(&vm->pgm->lock);
	pgm_handy_report(vm->pgm);
	spin_unlock(&vm->pgm->lock);
	return (unsigned)gmm_pages_available(pgm_vm(vm->pgm), PGM_HANDY_MAX);
}

void model_forget(struct vm *vm)
{
	memset(vm->states, 0, sizeof(vm->states)); /* ZERO */
	memset(vm->tags, 0, sizeof(vm->tags));
	memset(vm->rom_modes, 0, sizeof(vm->rom_modes));
	vm->private_pages = vm->rom_shadow_pages = 0;
	vm->shared_pages = 0;
	vm->ballooned_pages = 0;
	vm->handy = 0;
}
