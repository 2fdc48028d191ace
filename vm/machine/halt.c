/* SPDX-License-Identifier: MIT */
#include "halt.h"

#include "guest_memory.h"
#include "machine_internal.h"

#define OPCODE_HLT 0xf4

static bool interrupt_waits(const struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	spin_lock(&machine->devices_lock);
	bool waits = vpc_interrupt_pending(machine->vpc, vcpu->index);
	spin_unlock(&machine->devices_lock);
	return waits;
}

/* Where HLT would raise an exception, or a trap would follow it, the CPU must execute it. */
static bool is_before_halt(struct vcpu *vcpu)
{
	struct fetched fetched;
	guest_insn_fetch(vcpu, &fetched);
	return fetched.byte_count > 0 && fetched.bytes[0] == OPCODE_HLT && fetched.code.cpl == 0 &&
	       !(fetched.code.dr7 & DR7_BREAKPOINTS) && !(vcpu->regs.rflags & RFLAGS_TF);
}

void halt_step(struct vcpu *vcpu)
{
	/* An exception that is queued belongs to the instruction at RIP. */
	if (vcpu->queued.type == GUEST_EVENT_NONE && interrupt_waits(vcpu) && is_before_halt(vcpu))
		vcpu_skip(vcpu, 1);
}
