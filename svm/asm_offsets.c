/* SPDX-License-Identifier: MIT */
/*
 * Offsets for svm_entry.S. Never linked: the build compiles this file to
 * assembly and turns each line that starts with an arrow into a #define.
 */
#include "svm_internal.h"

#define OFFSET(name, offset) asm volatile("\n->" #name " %0 " : : "i"(offset))
#define OFFSET_REGISTER(reg) \
	OFFSET(REGS_##reg, offsetof(struct guest_regs, gpr) + GPR_##reg * sizeof(uint64_t))

__attribute__((used)) static void guest_regs_offsets(void)
{
	OFFSET_REGISTER(RCX);
	OFFSET_REGISTER(RDX);
	OFFSET_REGISTER(RBX);
	OFFSET_REGISTER(RBP);
	OFFSET_REGISTER(RSI);
	OFFSET_REGISTER(RDI);
	OFFSET_REGISTER(R8);
	OFFSET_REGISTER(R9);
	OFFSET_REGISTER(R10);
	OFFSET_REGISTER(R11);
	OFFSET_REGISTER(R12);
	OFFSET_REGISTER(R13);
	OFFSET_REGISTER(R14);
	OFFSET_REGISTER(R15);
}

__attribute__((used)) static void vcpu_offsets(void)
{
	OFFSET(VCPU_REGS, offsetof(struct virt_vcpu, regs));
	OFFSET(VCPU_VMCB_ADDR, offsetof(struct virt_vcpu, vmcb_addr));
	OFFSET(VCPU_HOST_AREA, offsetof(struct virt_vcpu, host_area));
}
