/* SPDX-License-Identifier: MIT */
/*
 * Nested page faults: the guest accessed memory in a way that its nested tables do not allow.
 * exit_memory() hands the fault to PGM, and the outcome decides what happens next (row 6 of the
 * fault path in docs/data-flow.md). Before that it recognises, and does itself, the clearing of
 * pages that are zero anyway: see zero_fill.h.
 */
#include "exit.h"

#include "kernel/cmdline.h"

#include "emulate.h"
#include "guest_memory.h"
#include "vcpu.h"
#include "zero_fill.h"

/* Pages cleared per exit, so that requests and other threads get their turn in between. */
#define ZERO_FILL_BATCH 16u

/* Finds the guest-physical page at RDI. False: a write there would fault, or RDI is not aligned. */
static bool page_lookup(struct vcpu *vcpu, const struct fetched *fetched,
			const struct zero_fill *fill, gpa_t *out_addr)
{
	uint64_t virt = zero_fill_offset(fill, &vcpu->regs);
	if (fetched->mode != INSN_MODE_64) {
		struct guest_state state;
		vcpu->ops->state_get(vcpu->virt, &state);
		const struct guest_segment *es = &state.segment[SEG_ES];
		if (!zero_fill_fits_segment(es, virt))
			return false;
		virt = (uint32_t)(es->base + virt);
	}
	return guest_write_lookup(vcpu, fetched, virt, out_addr) && gpa_offset(*out_addr) == 0;
}

/* Skips pages at RDI for as long as they are zero, up to a batch. Returns how many. */
static unsigned pages_skip(struct vcpu *vcpu, const struct fetched *fetched,
			   const struct zero_fill *fill)
{
	unsigned count = 0;
	gpa_t addr;
	for (; count < ZERO_FILL_BATCH && zero_fill_has_page(fill, &vcpu->regs); count++) {
		if (!page_lookup(vcpu, fetched, fill, &addr))
			break;
		/* If the guest changed its tables since the fault, RDI may lead elsewhere. */
		if (count == 0 && addr.raw != vcpu->exit.memory.addr.raw)
			break;
		if (!pgm_zero_fill(vcpu->machine->pgm, gpa_to_gfn(addr)))
			break;
		zero_fill_page_skip(fill, &vcpu->regs);
	}
	return count;
}

/* True: pages were skipped. False: nothing was done, and the fault is like any other. */
static Q_NOINLINE bool zero_fill_handle(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	struct fetched fetched;
	struct zero_fill fill;
	if (!options()->elides_zeroing || exit->has_vectoring || exit->memory.is_page_walk)
		return false;
	guest_insn_fetch(vcpu, &fetched);
	if ((fetched.code.dr7 & DR7_BREAKPOINTS) ||
	    !zero_fill_decode(fetched.bytes, fetched.byte_count, fetched.mode, &vcpu->regs,
			      &fill) ||
	    pages_skip(vcpu, &fetched, &fill) == 0)
		return false;
	bool is_done = zero_fill_is_done(&fill, &vcpu->regs);
	vcpu_skip_to(vcpu, vcpu->regs.rip + (is_done ? fill.length : 0));
	return true;
}

void exit_memory(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	struct pgm_fault fault = { .addr = exit->memory.addr, .access = exit->memory.access };

	if (Q_UNLIKELY(fault.access == MEM_WRITE && zero_fill_is_likely(&vcpu->regs, fault.addr)) &&
	    zero_fill_handle(vcpu))
		return;
	switch (pgm_fault_handle(vcpu->machine->pgm, &fault)) {
	case PGM_RESOLVED: vcpu_memory_used(vcpu); return;
	case PGM_MMIO:
	case PGM_DENIED:
	case PGM_EMULATE:
	case PGM_HANDLER: emulate_memory_access(vcpu); return;
	case PGM_NO_MEMORY: vcpu_wish_memory(vcpu, 1); return;
	}
}
