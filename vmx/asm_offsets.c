/* SPDX-License-Identifier: MIT */
/*
 * Offsets for vmx_entry.S. Never linked: the build compiles this file to
 * assembly and turns each line that starts with an arrow into a #define.
 */
#include <quire/guest_state.h>

#include "vmcs.h"

#define OFFSET(name, offset) asm volatile("\n->" #name " %0 " : : "i"(offset))
#define OFFSET_REGISTER(reg) \
	OFFSET(REGS_##reg, offsetof(struct guest_regs, gpr) + GPR_##reg * sizeof(uint64_t))

__attribute__((used)) static void guest_regs_offsets(void)
{
	OFFSET_REGISTER(RAX);
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

__attribute__((used)) static void vmcs_encodings(void)
{
	OFFSET(FIELD_HOST_RSP, VMCS_HOST_RSP);
}
