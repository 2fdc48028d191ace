/* SPDX-License-Identifier: MIT */
#include "guest_memory.h"

#include "lib/string.h"
#include "mm/pgm/pgm_handler.h"

#include "inject.h"
#include "machine_internal.h"

static struct pgm_walk_regs walk_regs(const struct guest_code_state *state)
{
	return (struct pgm_walk_regs){ .cr0 = state->cr0,
				       .cr3 = state->cr3,
				       .cr4 = state->cr4,
				       .efer = state->efer,
				       .is_user = state->cpl == 3 };
}

static enum insn_mode mode_of(const struct guest_code_state *state)
{
	if ((state->efer & EFER_LMA) && (state->cs_attributes & SEG_ATTR_L))
		return INSN_MODE_64;
	if (!(state->cr0 & CR0_PE))
		return INSN_MODE_16;
	return state->cs_attributes & SEG_ATTR_DB ? INSN_MODE_32 : INSN_MODE_16;
}

uint64_t guest_linear(struct vcpu *vcpu, const struct fetched *fetched, unsigned segment,
		      uint64_t offset)
{
	/* In 64-bit mode only FS and GS have a base. */
	if (fetched->mode == INSN_MODE_64 && segment != SEG_FS && segment != SEG_GS)
		return offset;
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	uint64_t linear = state.segment[segment].base + offset;
	return fetched->mode == INSN_MODE_64 ? linear : (uint32_t)linear;
}

/* Reads the part of [virt, virt + size_bytes) on the first page; returns its bytes, or 0. */
static unsigned page_fetch(struct vcpu *vcpu, const struct pgm_walk_regs *regs, uint64_t virt,
			   uint8_t *to, unsigned size_bytes)
{
	uint64_t left = PAGE_SIZE - (virt & PAGE_MASK);
	unsigned count = size_bytes < left ? size_bytes : (unsigned)left;
	gpa_t addr;
	uint32_t error_code;
	if (pgm_walk(vcpu->machine->pgm, regs, virt, MEM_EXEC, &addr, &error_code) != Q_OK)
		return 0;
	if (pgm_read(vcpu->machine->pgm, addr, to, count, NULL) != Q_OK)
		return 0;
	return count;
}

void guest_insn_fetch(struct vcpu *vcpu, struct fetched *out_fetched)
{
	struct guest_code_state *code = &out_fetched->code;
	vcpu->ops->code_state_get(vcpu->virt, code);
	out_fetched->mode = mode_of(code);

	struct pgm_walk_regs regs = walk_regs(code);
	uint64_t virt = vcpu->regs.rip;
	if (out_fetched->mode != INSN_MODE_64)
		virt = (uint32_t)(code->cs_base + virt);
	unsigned count = page_fetch(vcpu, &regs, virt, out_fetched->bytes, INSN_MAX_BYTES);
	if (count && count < INSN_MAX_BYTES)
		count += page_fetch(vcpu, &regs, virt + count, out_fetched->bytes + count,
				    INSN_MAX_BYTES - count);
	out_fetched->byte_count = count;
}

/* Translates the address of one byte. For a write, also makes sure that RAM there has a page. */
static enum guest_access_result part_prepare(struct vcpu *vcpu, const struct pgm_walk_regs *regs,
					     uint64_t virt, enum mem_access access, gpa_t *out_addr)
{
	uint32_t error_code = 0;
	q_status_t status = pgm_walk(vcpu->machine->pgm, regs, virt, access, out_addr, &error_code);
	if (status == Q_NO_MEMORY) {
		vcpu_wish_memory(vcpu, 1);
		return ACCESS_NO_MEMORY;
	}
	/* The address is not canonical. The CPU checks only the first element of a string. */
	if (status == Q_INVALID) {
		inject_exception_code(vcpu, VECTOR_GP, 0);
		return ACCESS_FAULT;
	}
	if (status != Q_OK) {
		inject_page_fault(vcpu, virt, error_code);
		return ACCESS_FAULT;
	}
	struct pgm_fault fault = { .addr = *out_addr, .access = MEM_WRITE };
	if (access != MEM_WRITE || pgm_fault_handle(vcpu->machine->pgm, &fault) != PGM_NO_MEMORY)
		return ACCESS_READY;
	vcpu_wish_memory(vcpu, 1);
	return ACCESS_NO_MEMORY;
}

enum guest_access_result guest_access_prepare(struct vcpu *vcpu, const struct fetched *fetched,
					      uint64_t virt, enum mem_access access,
					      struct guest_access *out_access)
{
	struct pgm_walk_regs regs = walk_regs(&fetched->code);
	uint64_t left = PAGE_SIZE - (virt & PAGE_MASK);
	enum guest_access_result result =
		part_prepare(vcpu, &regs, virt, access, &out_access->addr);
	if (out_access->size <= left) {
		out_access->first_bytes = out_access->size;
		return result;
	}
	out_access->first_bytes = (uint8_t)left;
	if (result != ACCESS_READY)
		return result;
	return part_prepare(vcpu, &regs, virt + left, access, &out_access->next);
}

bool guest_write_lookup(struct vcpu *vcpu, const struct fetched *fetched, uint64_t virt,
			gpa_t *out_addr)
{
	struct pgm_walk_regs regs = walk_regs(&fetched->code);
	uint32_t error_code;
	return pgm_walk(vcpu->machine->pgm, &regs, virt, MEM_WRITE, out_addr, &error_code) == Q_OK;
}

/*
 * Reads from devices. A part of an access that crosses a page may have any size; if that is no
 * power of two, it goes byte by byte. False: no device answered for some bytes; they read as ones.
 */
static bool device_read(struct vcpu *vcpu, gpa_t addr, uint8_t *to, unsigned size_bytes)
{
	struct machine *machine = vcpu->machine;
	unsigned step = is_power_of_two(size_bytes) ? size_bytes : 1;
	bool is_answered = true;
	machine_devices_enter(machine);
	for (unsigned i = 0; i < size_bytes; i += step) {
		uint64_t value = ~0ull;
		is_answered &= vpc_mmio_read(machine->vpc, vcpu->index, gpa_add(addr, i), step,
					     &value, machine_now(machine));
		memcpy(to + i, &value, step);
	}
	machine_devices_leave(machine, vcpu);
	return is_answered;
}

/* Writes to devices, likewise. False: no device took some bytes (as in ROM); they are lost. */
static bool device_write(struct vcpu *vcpu, gpa_t addr, const uint8_t *from, unsigned size_bytes)
{
	struct machine *machine = vcpu->machine;
	unsigned step = is_power_of_two(size_bytes) ? size_bytes : 1;
	bool is_answered = true;
	machine_devices_enter(machine);
	for (unsigned i = 0; i < size_bytes; i += step) {
		uint64_t value = 0;
		memcpy(&value, from + i, step);
		is_answered &= vpc_mmio_write(machine->vpc, vcpu->index, gpa_add(addr, i), step,
					      value, machine_now(machine));
	}
	machine_devices_leave(machine, vcpu);
	return is_answered;
}

static void part_read(struct vcpu *vcpu, gpa_t addr, uint8_t *to, unsigned size_bytes)
{
	struct pgm *pgm = vcpu->machine->pgm;
	q_status_t status = pgm_read(pgm, addr, to, size_bytes, NULL);
	/* With a handler the device comes first; if none answers, the memory behind it does. */
	if (status != Q_OK && !device_read(vcpu, addr, to, size_bytes) && status == Q_HANDLER)
		(void)!pgm_handler_read(pgm, addr, to, size_bytes, NULL);
}

static void part_write(struct vcpu *vcpu, gpa_t addr, const uint8_t *from, unsigned size_bytes)
{
	struct pgm *pgm = vcpu->machine->pgm;
	q_status_t status = pgm_write(pgm, addr, from, size_bytes, NULL);
	/* A prepared access has its page, so behind a handler only ROM can refuse. */
	if (status != Q_OK && !device_write(vcpu, addr, from, size_bytes) && status == Q_HANDLER)
		(void)!pgm_handler_write(pgm, addr, from, size_bytes, NULL);
}

uint64_t guest_access_read(struct vcpu *vcpu, const struct guest_access *access)
{
	uint8_t bytes[sizeof(uint64_t)] = { 0 };
	uint64_t value;
	unsigned rest = access->size - access->first_bytes;
	part_read(vcpu, access->addr, bytes, access->first_bytes);
	if (rest)
		part_read(vcpu, access->next, bytes + access->first_bytes, rest);
	memcpy(&value, bytes, sizeof(value));
	return value;
}

void guest_access_write(struct vcpu *vcpu, const struct guest_access *access, uint64_t value)
{
	uint8_t bytes[sizeof(uint64_t)];
	unsigned rest = access->size - access->first_bytes;
	memcpy(bytes, &value, sizeof(bytes));
	part_write(vcpu, access->addr, bytes, access->first_bytes);
	if (rest)
		part_write(vcpu, access->next, bytes + access->first_bytes, rest);
	vcpu_memory_used(vcpu);
}

q_status_t guest_physical_write(struct vcpu *vcpu, gpa_t to, const void *from, uint64_t size_bytes)
{
	q_status_t status = pgm_write(vcpu->machine->pgm, to, from, size_bytes, NULL);
	vcpu_memory_used(vcpu);
	return status;
}
