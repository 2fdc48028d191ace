/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls. There are none: each gets the answer that guests of the KVM interface understand as
 * "not implemented" (KVM_ENOSYS).
 */
#include "exit.h"

#include "vcpu.h"

#define HYPERCALL_UNKNOWN (-(uint64_t)1000)

void exit_hypercall(struct vcpu *vcpu)
{
	vcpu->regs.gpr[GPR_RAX] = HYPERCALL_UNKNOWN;
	vcpu_skip_insn(vcpu);
}
