/* SPDX-License-Identifier: MIT */
/*
 * RDMSR and WRMSR. A row of msr_policy.c says what a register is, and the functions here read and
 * write it. What a CPU would refuse raises #GP.
 */
#include "exit.h"

#include <quire/x86_state.h>

#include "arch/x86_64/msr.h"
#include "kernel/time.h"

#include "guest_memory.h"
#include "inject.h"
#include "machine_internal.h"
#include "msr_policy.h"
#include "pvclock.h"

#define EFER_OFFERED      (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define KVM_CLOCK_ENABLED BIT64(0)

/* RETRY: there is a wish for memory, and RIP stays. */
enum msr_result { MSR_DONE, MSR_REFUSED, MSR_RETRY };

/* Finds the policy's row. A guest often uses the same register again, so that row is kept. */
static const struct msr_row *row_of(struct vcpu *vcpu, uint32_t msr)
{
	const struct msr_row *row = vcpu->last_msr;
	if (!row || msr < row->first || msr > row->last)
		row = vcpu->last_msr = msr_policy_find(msr);
	return row;
}

/* --- reading ---------------------------------------------------------------------------------- */

static uint64_t state_field(struct vcpu *vcpu, const struct msr_row *row)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	switch (row->kind) {
	case MSR_FS_GS_BASE: return state.segment[row->value].base;
	case MSR_EXTENDED_FEATURES: return state.efer;
	case MSR_PAGE_ATTRIBUTES: return state.pat;
	default: return *(const uint64_t *)((const char *)&state + row->value);
	}
}

static bool devices_read(struct vcpu *vcpu, uint32_t msr, uint64_t *out_value)
{
	struct machine *machine = vcpu->machine;
	machine_devices_enter(machine);
	bool is_there =
		vpc_msr_read(machine->vpc, vcpu->index, msr, out_value, machine_now(machine));
	machine_devices_leave(machine, vcpu);
	return is_there;
}

static bool read_row(struct vcpu *vcpu, const struct msr_row *row, uint32_t msr,
		     uint64_t *out_value)
{
	switch (row->kind) {
	case MSR_CONSTANT:
	case MSR_READ_ONLY: *out_value = row->value; return true;
	case MSR_STATE:
	case MSR_STATE_ADDR:
	case MSR_FS_GS_BASE:
	case MSR_EXTENDED_FEATURES:
	case MSR_PAGE_ATTRIBUTES: *out_value = state_field(vcpu, row); return true;
	case MSR_DEVICES: return devices_read(vcpu, msr, out_value);
	case MSR_DEADLINE:
		if (!devices_read(vcpu, msr, out_value))
			return false;
		if (*out_value)
			*out_value += vcpu->tsc_adjust;
		return true;
	case MSR_TIME_STAMP: *out_value = vcpu_tsc(vcpu); return true;
	case MSR_TIME_ADJUST: *out_value = vcpu->tsc_adjust; return true;
	case MSR_MTRR_DEFAULT: *out_value = vcpu->mtrr_default; return true;
	case MSR_KVM_WALL_CLOCK: *out_value = vcpu->wall_clock_msr; return true;
	case MSR_KVM_SYSTEM_TIME: *out_value = vcpu->system_time_msr; return true;
	}
	return false;
}

void exit_rdmsr(struct vcpu *vcpu)
{
	uint32_t msr = (uint32_t)vcpu->regs.gpr[GPR_RCX];
	const struct msr_row *row = row_of(vcpu, msr);
	uint64_t value;
	if (!row || !read_row(vcpu, row, msr, &value)) {
		inject_exception_code(vcpu, VECTOR_GP, 0);
		return;
	}
	vcpu->regs.gpr[GPR_RAX] = (uint32_t)value;
	vcpu->regs.gpr[GPR_RDX] = value >> 32;
	vcpu_skip_insn(vcpu);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool devices_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	struct machine *machine = vcpu->machine;
	machine_devices_enter(machine);
	bool is_taken = vpc_msr_write(machine->vpc, vcpu->index, msr, value, machine_now(machine));
	machine_devices_leave(machine, vcpu);
	return is_taken;
}

/*
 * 0 disarms. A deadline that the vCPU's TSC has reached fires at once, as 1 does. One beyond the
 * end of the devices' time never fires.
 */
static uint64_t deadline_to_devices(const struct vcpu *vcpu, uint64_t deadline)
{
	uint64_t now = machine_now(vcpu->machine), tsc = now + vcpu->tsc_adjust;
	if (!deadline)
		return 0;
	if (deadline <= tsc)
		return 1;
	uint64_t left = deadline - tsc;
	return left < VPC_DEADLINE_NONE - now ? now + left : VPC_DEADLINE_NONE;
}

/* The guest cannot write LMA, which follows LME and CR0.PG. */
static bool efer_compute(const struct guest_state *state, uint64_t value, uint64_t *out_efer)
{
	if (value & ~EFER_OFFERED)
		return false;
	if ((state->cr0 & CR0_PG) && ((value ^ state->efer) & EFER_LME))
		return false;
	*out_efer = (value & ~EFER_LMA) | (state->efer & EFER_LMA);
	return true;
}

static bool state_write(struct vcpu *vcpu, const struct msr_row *row, uint64_t value)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	if ((row->kind == MSR_STATE_ADDR || row->kind == MSR_FS_GS_BASE) &&
	    !x86_is_canonical(value, GUEST_LINEAR_BITS))
		return false;
	switch (row->kind) {
	case MSR_FS_GS_BASE: state.segment[row->value].base = value; break;
	case MSR_EXTENDED_FEATURES:
		if (!efer_compute(&state, value, &state.efer))
			return false;
		break;
	case MSR_PAGE_ATTRIBUTES:
		if (!x86_pat_is_valid(value))
			return false;
		state.pat = value;
		break;
	default: *(uint64_t *)((char *)&state + row->value) = value; break;
	}
	return vcpu->ops->state_set(vcpu->virt, &state) == Q_OK;
}

/* Writes a clock to guest memory. If that is not RAM, it is the guest's mistake: no effect. */
static enum msr_result clock_write(struct vcpu *vcpu, uint64_t addr, const void *clock,
				   uint64_t size_bytes)
{
	if (guest_physical_write(vcpu, gpa(addr), clock, size_bytes) != Q_NO_MEMORY)
		return MSR_DONE;
	vcpu_wish_memory(vcpu, 1);
	return MSR_RETRY;
}

static enum msr_result wall_clock_write(struct vcpu *vcpu, uint64_t value)
{
	struct pvclock_wall wall;
	pvclock_wall_fill(&wall, time_tsc_hz(), vcpu->machine->start_tsc, time_epoch_seconds());
	vcpu->wall_clock_msr = value;
	return clock_write(vcpu, value, &wall, sizeof(wall));
}

static enum msr_result system_time_write(struct vcpu *vcpu, uint64_t value)
{
	struct pvclock_time time;
	vcpu->system_time_msr = value;
	if (!(value & KVM_CLOCK_ENABLED))
		return MSR_DONE;
	pvclock_time_fill(&time, time_tsc_hz(), vcpu->tsc_adjust);
	return clock_write(vcpu, value & ~KVM_CLOCK_ENABLED, &time, sizeof(time));
}

/* Writes the paravirtual clock again, because it depends on the adjustment. */
static enum msr_result tsc_adjust_set(struct vcpu *vcpu, uint64_t adjust)
{
	vcpu->tsc_adjust = adjust;
	vcpu->ops->tsc_offset_set(vcpu->virt, adjust - vcpu->machine->start_tsc);
	return system_time_write(vcpu, vcpu->system_time_msr);
}

static enum msr_result done_if(bool is_done)
{
	return is_done ? MSR_DONE : MSR_REFUSED;
}

static enum msr_result write_row(struct vcpu *vcpu, const struct msr_row *row, uint32_t msr,
				 uint64_t value)
{
	switch (row->kind) {
	case MSR_CONSTANT: return MSR_DONE;
	case MSR_READ_ONLY: return MSR_REFUSED;
	case MSR_STATE:
	case MSR_STATE_ADDR:
	case MSR_FS_GS_BASE:
	case MSR_EXTENDED_FEATURES:
	case MSR_PAGE_ATTRIBUTES: return done_if(state_write(vcpu, row, value));
	case MSR_DEVICES: return done_if(devices_write(vcpu, msr, value));
	case MSR_DEADLINE:
		return done_if(devices_write(vcpu, msr, deadline_to_devices(vcpu, value)));
	case MSR_TIME_STAMP: return tsc_adjust_set(vcpu, value - machine_now(vcpu->machine));
	case MSR_TIME_ADJUST: return tsc_adjust_set(vcpu, value);
	case MSR_MTRR_DEFAULT: vcpu->mtrr_default = value; return MSR_DONE;
	case MSR_KVM_WALL_CLOCK: return wall_clock_write(vcpu, value);
	case MSR_KVM_SYSTEM_TIME: return system_time_write(vcpu, value);
	}
	return MSR_REFUSED;
}

void exit_wrmsr(struct vcpu *vcpu)
{
	uint32_t msr = (uint32_t)vcpu->regs.gpr[GPR_RCX];
	const struct msr_row *row = row_of(vcpu, msr);
	switch (row ? write_row(vcpu, row, msr, vcpu_edx_eax(vcpu)) : MSR_REFUSED) {
	case MSR_DONE: vcpu_skip_insn(vcpu); return;
	case MSR_REFUSED: inject_exception_code(vcpu, VECTOR_GP, 0); return;
	case MSR_RETRY: return;
	}
}
