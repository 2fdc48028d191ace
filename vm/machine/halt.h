/* SPDX-License-Identifier: MIT */
/*
 * HLT right before an interrupt. Kernels sleep by STI and HLT: STI keeps interrupts off for one
 * more instruction, so an interrupt that waits comes after the HLT has begun, and ends it.
 *
 * QEMU forgets that shadow at an entry. It would deliver the interrupt before the HLT, and the
 * guest would then sleep although it was woken. So Quire carries out such a HLT itself.
 */
#ifndef VM_MACHINE_HALT_H
#define VM_MACHINE_HALT_H

#include "vcpu.h"

void halt_step(struct vcpu *vcpu);

/*
 * Call when an interrupt may have come, before the next entry. If the guest is about to execute
 * HLT and an interrupt that it can take waits, steps over the HLT. That is right on every CPU: an
 * interrupt may always come one instruction later. In the vCPU's thread, with no lock held.
 */
static inline void halt_step_if_due(struct vcpu *vcpu)
{
	/* Only the shadow keeps interrupts off, or the last HLT was here. */
	bool is_likely = !vcpu->can_interrupt || vcpu->regs.rip == vcpu->halt_rip;
	if (Q_UNLIKELY(is_likely && (vcpu->regs.rflags & RFLAGS_IF)))
		halt_step(vcpu);
}

#endif
