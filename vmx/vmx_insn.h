/* SPDX-License-Identifier: MIT */
/*
 * The VMX instructions: the only inline assembly of this folder.
 *
 * They report failure in CF and ZF. VMREAD and VMWRITE fail only for fields that do not
 * exist or without a current VMCS. Either is Quire's own bug, and a check after each of
 * them would cost more than the instruction.
 */
#ifndef VMX_VMX_INSN_H
#define VMX_VMX_INSN_H

#include <quire/addr.h>

static inline uint64_t vmx_insn_vmread(uint64_t field)
{
	uint64_t value;
	asm volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
	return value;
}

static inline void vmx_insn_vmwrite(uint64_t field, uint64_t value)
{
	asm volatile("vmwrite %1, %0" ::"r"(field), "r"(value) : "cc");
}

/* These three return true on success. */
static inline bool vmx_insn_vmxon(hpa_t region)
{
	bool has_failed;
	asm volatile("vmxon %1" : "=@ccbe"(has_failed) : "m"(region.raw) : "memory");
	return !has_failed;
}

static inline bool vmx_insn_vmclear(hpa_t vmcs)
{
	bool has_failed;
	asm volatile("vmclear %1" : "=@ccbe"(has_failed) : "m"(vmcs.raw) : "memory");
	return !has_failed;
}

static inline bool vmx_insn_vmptrld(hpa_t vmcs)
{
	bool has_failed;
	asm volatile("vmptrld %1" : "=@ccbe"(has_failed) : "m"(vmcs.raw) : "memory");
	return !has_failed;
}

static inline void vmx_insn_vmxoff(void)
{
	asm volatile("vmxoff" ::: "cc", "memory");
}

/* SDM vol. 3, "INVEPT" and "INVVPID": the descriptor in memory. */
struct vmx_invalidation {
	uint64_t what; /* EPT pointer or VPID */
	uint64_t address;
};

static inline bool vmx_insn_invept(uint64_t type, uint64_t eptp)
{
	struct vmx_invalidation descriptor = { eptp, 0 };
	bool has_failed;
	asm volatile("invept %1, %2"
		     : "=@ccbe"(has_failed)
		     : "m"(descriptor), "r"(type)
		     : "memory");
	return !has_failed;
}

static inline bool vmx_insn_invvpid(uint64_t type, uint64_t vpid)
{
	struct vmx_invalidation descriptor = { vpid, 0 };
	bool has_failed;
	asm volatile("invvpid %1, %2"
		     : "=@ccbe"(has_failed)
		     : "m"(descriptor), "r"(type)
		     : "memory");
	return !has_failed;
}

#endif
