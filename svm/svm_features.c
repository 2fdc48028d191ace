/* SPDX-License-Identifier: MIT */
/*
 * Turns CPUID words into what this backend needs to know: the features in APM vol. 3,
 * "Function 8000_000Ah - SVM Features", and which bits of CR4 and EFER the CPU has.
 */
#include <quire/x86_state.h>

#include "svm_internal.h"

/* "TCGTCGTCGTCG" in EBX, ECX, EDX: QEMU without KVM. */
#define CPUID_40000000_EBX_TCG 0x54474354u
#define CPUID_40000000_ECX_TCG 0x43544743u
#define CPUID_40000000_EDX_TCG 0x47435447u

#define CPUID_7_ECX_CET BIT32(7)
#define CPUID_7_ECX_PKS BIT32(31)

#define CPUID_80000001_ECX_SVM   BIT32(2)
#define CPUID_80000001_ECX_TCE   BIT32(17)
#define CPUID_80000001_EDX_FFXSR BIT32(25)

#define CPUID_8000000A_EDX_NP            BIT32(0)
#define CPUID_8000000A_EDX_CLEAN         BIT32(5)
#define CPUID_8000000A_EDX_FLUSH_BY_ASID BIT32(6)

/* APM vol. 2, "VM_CR MSR". */
#define VM_CR_SVMDIS BIT64(4)

#define EFER_FFXSR BIT64(14)
#define EFER_TCE   BIT64(15)

#define CR4_CET BIT64(23)
#define CR4_PKS BIT64(24)

/*
 * What a CPU may keep of a VMCB from one entry to the next. TPR is left out: the guest's
 * task priority and the interrupt window change too often to be worth tracking.
 */
#define CLEAN_KEPT                                                                   \
	(VMCB_CLEAN_INTERCEPTS | VMCB_CLEAN_IOPM | VMCB_CLEAN_ASID | VMCB_CLEAN_NP | \
	 VMCB_CLEAN_CRX | VMCB_CLEAN_DRX | VMCB_CLEAN_DT | VMCB_CLEAN_SEG | VMCB_CLEAN_CR2)

struct svm_features svm_features;

static uint64_t when(uint32_t word, uint32_t flag, uint64_t bits)
{
	return word & flag ? bits : 0;
}

static uint64_t cr4_allowed(const struct svm_cpuid *cpuid)
{
	return CR4_ALWAYS | when(cpuid->leaf_1_ecx, CPUID_1_ECX_PCID, CR4_PCIDE) |
	       when(cpuid->leaf_1_ecx, CPUID_1_ECX_XSAVE, CR4_OSXSAVE) |
	       when(cpuid->leaf_7_ebx, CPUID_7_EBX_FSGSBASE, CR4_FSGSBASE) |
	       when(cpuid->leaf_7_ebx, CPUID_7_EBX_SMEP, CR4_SMEP) |
	       when(cpuid->leaf_7_ebx, CPUID_7_EBX_SMAP, CR4_SMAP) |
	       when(cpuid->leaf_7_ecx, CPUID_7_ECX_UMIP, CR4_UMIP) |
	       when(cpuid->leaf_7_ecx, CPUID_7_ECX_PKU, CR4_PKE) |
	       when(cpuid->leaf_7_ecx, CPUID_7_ECX_CET, CR4_CET) |
	       when(cpuid->leaf_7_ecx, CPUID_7_ECX_PKS, CR4_PKS) |
	       when(cpuid->leaf_7_ecx, CPUID_7_ECX_LA57, CR4_LA57);
}

static uint64_t efer_allowed(const struct svm_cpuid *cpuid)
{
	uint32_t edx = cpuid->leaf_80000001_edx;
	return EFER_SVME | when(edx, CPUID_80000001_EDX_SYSCALL, EFER_SCE) |
	       when(edx, CPUID_80000001_EDX_LM, EFER_LME | EFER_LMA) |
	       when(edx, CPUID_80000001_EDX_NX, EFER_NXE) |
	       when(edx, CPUID_80000001_EDX_FFXSR, EFER_FFXSR) |
	       when(cpuid->leaf_80000001_ecx, CPUID_80000001_ECX_TCE, EFER_TCE);
}

static bool is_tcg(const struct svm_cpuid *cpuid)
{
	return cpuid->leaf_40000000_ebx == CPUID_40000000_EBX_TCG &&
	       cpuid->leaf_40000000_ecx == CPUID_40000000_ECX_TCG &&
	       cpuid->leaf_40000000_edx == CPUID_40000000_EDX_TCG;
}

void svm_features_decode(const struct svm_cpuid *cpuid, struct svm_features *out_features)
{
	uint32_t edx = cpuid->leaf_8000000a_edx;
	*out_features = (struct svm_features){
		.has_svm = cpuid->leaf_80000001_ecx & CPUID_80000001_ECX_SVM,
		.has_nested_paging = edx & CPUID_8000000A_EDX_NP,
		.has_flush_by_asid = edx & CPUID_8000000A_EDX_FLUSH_BY_ASID,
		.injects_twice = is_tcg(cpuid),
		.asid_count = cpuid->leaf_8000000a_ebx,
		.clean_bits = edx & CPUID_8000000A_EDX_CLEAN ? CLEAN_KEPT : 0,
		.cr4_allowed = cr4_allowed(cpuid),
		.efer_allowed = efer_allowed(cpuid),
		.physical_address_bits = cpuid->leaf_80000008_eax & 0xff,
		.linear_address_bits = cpuid->leaf_7_ecx & CPUID_7_ECX_LA57 ? LINEAR_BITS_5_LEVEL
									    : LINEAR_BITS_4_LEVEL,
	};
}

const char *svm_features_refuse(const struct svm_features *features, uint64_t vm_cr)
{
	if (!features->has_svm)
		return "The CPU has no AMD-V (SVM).";
	if (vm_cr & VM_CR_SVMDIS)
		return "The firmware disabled AMD-V (SVM); enable it in the firmware's setup.";
	if (!features->has_nested_paging)
		return "The CPU has AMD-V (SVM), but without nested paging.";
	if (features->asid_count < 2)
		return "The CPU has AMD-V (SVM), but no address space identifier for guests.";
	return NULL;
}
