/* SPDX-License-Identifier: MIT */
/*
 * The guest touched memory that its nested tables do not give it. Row 6 of the
 * fault path: hands the fault to PGM, and turns the outcome into what the loop
 * does next. Before that, clearing of pages that are zero anyway is recognized
 * and done here, see zero_fill.h.
 */
#include "exit.h"

#include "kernel/cmdline.h"

#include "emulate.h"
#include "guest_memory.h"
#include "vcpu.h"
#include "zero_fill.h"

/* Pages cleared between two looks at what else is to be done. */
#define ZERO_FILL_BATCH 16u

/* Where the page at RDI is. False: a write to it would not go through without more. */
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

/* The pages at RDI, as far as they are zero; how many. */
static unsigned pages_skip(struct vcpu *vcpu, const struct fetched *fetched,
			   const struct zero_fill *fill)
{
	unsigned count = 0;
	gpa_t addr;
	for (; count < ZERO_FILL_BATCH && zero_fill_has_page(fill, &vcpu->regs); count++) {
		if (!page_lookup(vcpu, fetched, fill, &addr))
			break;
		/* What the CPU went by and what the tables say now may differ: then not ours. */
		if (count == 0 && addr.raw != vcpu->exit.memory.addr.raw)
			break;
		if (!pgm_zero_fill(vcpu->machine->pgm, gpa_to_gfn(addr)))
			break;
		zero_fill_page_skip(fill, &vcpu->regs);
	}
	return count;
}

/* False: nothing was done, the fault is like any other. */
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
