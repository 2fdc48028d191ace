/* SPDX-License-Identifier: MIT */
/*
 * Turns capability MSRs and CPUID words into what this backend needs to know: the features
 * in Intel SDM vol. 3, appendix "VMX Capability Reporting Facility", and which bits of CR4
 * and EFER the CPU has.
 *
 * There is one way to do each thing: a control is required, or Quire does without it. All
 * CPUs with unrestricted guest have the required ones. The few optional ones are used
 * where the CPU has them, and Quire works the same without.
 */
#include <quire/x86_state.h>

#include "vmx_internal.h"

#define BASIC_REVISION    MASK64(30, 0)
#define BASIC_SIZE        MASK64(44, 32)
#define BASIC_32_BIT      BIT64(48)
#define BASIC_MEMORY_TYPE MASK64(53, 50)
#define MEMORY_WRITE_BACK 6u

#define MISC_TIMER_SHIFT MASK64(4, 0)

#define EPT_FOUR_LEVELS    BIT64(6)
#define EPT_WRITE_BACK     BIT64(14)
#define EPT_LARGE_2M       BIT64(16)
#define EPT_INVEPT         BIT64(20)
#define EPT_ACCESSED_DIRTY BIT64(21)
#define EPT_INVEPT_SINGLE  BIT64(25)
#define EPT_INVEPT_ALL     BIT64(26)
#define EPT_INVVPID        BIT64(32)
#define EPT_INVVPID_SINGLE BIT64(41)
#define EPT_INVVPID_ALL    BIT64(42)
#define EPT_NEEDED         (EPT_FOUR_LEVELS | EPT_WRITE_BACK | EPT_LARGE_2M | EPT_INVEPT)

#define PIN_REQUIRED (PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS)
#define PIN_OPTIONAL PIN_PREEMPTION_TIMER

#define PRIMARY_REQUIRED                                                                         \
	(PRIMARY_TSC_OFFSET | PRIMARY_HLT | PRIMARY_MWAIT | PRIMARY_RDPMC | PRIMARY_TPR_SHADOW | \
	 PRIMARY_IO | PRIMARY_MSR_BITMAP | PRIMARY_MONITOR | PRIMARY_SECONDARY)
#define PRIMARY_REFUSED                                                          \
	(PRIMARY_INVLPG | PRIMARY_RDTSC | PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE | \
	 PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE | PRIMARY_MOV_DR)

#define SECONDARY_REQUIRED (SECONDARY_EPT | SECONDARY_UNRESTRICTED_GUEST | SECONDARY_WBINVD)
#define SECONDARY_OPTIONAL (SECONDARY_VPID | SECONDARY_INVPCID)

#define EXIT_REQUIRED                                                                      \
	(EXIT_SAVE_DEBUG | EXIT_HOST_64 | EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | \
	 EXIT_LOAD_EFER)
#define EXIT_REFUSED (EXIT_ACKNOWLEDGE | EXIT_SAVE_PREEMPTION_TIMER)

#define ENTRY_REQUIRED (ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)
#define ENTRY_REFUSED  (ENTRY_IA32E | ENTRY_SMM | ENTRY_DUAL_MONITOR_OFF)

struct vmx_features vmx_features;

static uint32_t must_be_1(uint64_t allowed)
{
	return (uint32_t)allowed;
}

static uint32_t may_be_1(uint64_t allowed)
{
	return (uint32_t)(allowed >> 32);
}

static bool contradicts_itself(uint64_t allowed)
{
	return must_be_1(allowed) & ~may_be_1(allowed);
}

bool vmx_control_adjust(uint64_t allowed, uint32_t required, uint32_t optional, uint32_t refused,
			uint32_t *out_control)
{
	bool is_possible = !(required & ~may_be_1(allowed)) && !(refused & must_be_1(allowed));
	if (contradicts_itself(allowed) || !is_possible)
		return false;
	*out_control = required | (optional & may_be_1(allowed)) | must_be_1(allowed);
	return true;
}

static uint64_t when(uint32_t word, uint32_t flag, uint64_t bits)
{
	return word & flag ? bits : 0;
}

static uint64_t cr4_allowed(const struct vmx_words *words)
{
	uint64_t known = CR4_ALWAYS | when(words->leaf_1_ecx, CPUID_1_ECX_PCID, CR4_PCIDE) |
			 when(words->leaf_1_ecx, CPUID_1_ECX_XSAVE, CR4_OSXSAVE) |
			 when(words->leaf_7_ebx, CPUID_7_EBX_FSGSBASE, CR4_FSGSBASE) |
			 when(words->leaf_7_ebx, CPUID_7_EBX_SMEP, CR4_SMEP) |
			 when(words->leaf_7_ebx, CPUID_7_EBX_SMAP, CR4_SMAP) |
			 when(words->leaf_7_ecx, CPUID_7_ECX_UMIP, CR4_UMIP) |
			 when(words->leaf_7_ecx, CPUID_7_ECX_PKU, CR4_PKE) |
			 when(words->leaf_7_ecx, CPUID_7_ECX_LA57, CR4_LA57);
	return known & words->cr4_fixed1;
}

static uint64_t efer_allowed(const struct vmx_words *words)
{
	uint32_t edx = words->leaf_80000001_edx;
	return when(edx, CPUID_80000001_EDX_SYSCALL, EFER_SCE) |
	       when(edx, CPUID_80000001_EDX_LM, EFER_LME | EFER_LMA) |
	       when(edx, CPUID_80000001_EDX_NX, EFER_NXE);
}

static bool are_inconsistent(const struct vmx_words *words)
{
	uint64_t size_bytes = field_get(words->basic, BASIC_SIZE);
	bool has_bad_basic = size_bytes == 0 || size_bytes > PAGE_SIZE ||
			     (words->basic & BASIC_32_BIT) ||
			     field_get(words->basic, BASIC_MEMORY_TYPE) != MEMORY_WRITE_BACK;
	bool has_bad_control = contradicts_itself(words->pin) ||
			       contradicts_itself(words->primary) ||
			       contradicts_itself(words->secondary) ||
			       contradicts_itself(words->exit) || contradicts_itself(words->entry);
	bool has_bad_fixed = (words->cr0_fixed0 & ~words->cr0_fixed1) ||
			     (words->cr4_fixed0 & ~words->cr4_fixed1) ||
			     !(words->cr4_fixed1 & CR4_VMXE);
	return has_bad_basic || has_bad_control || has_bad_fixed;
}

/* Picks the types of INVEPT and INVVPID. False if INVEPT cannot flush all contexts. */
static bool invalidations_decode(uint64_t ept_vpid, struct vmx_features *features)
{
	features->invept = ept_vpid & EPT_INVEPT_SINGLE ? INVEPT_SINGLE : INVEPT_ALL;
	features->invvpid = INVVPID_NONE;
	if (ept_vpid & EPT_INVVPID) {
		if (ept_vpid & EPT_INVVPID_SINGLE)
			features->invvpid = INVVPID_SINGLE;
		else if (ept_vpid & EPT_INVVPID_ALL)
			features->invvpid = INVVPID_ALL;
	}
	/* VPIDs are used again only after INVEPT for all contexts. */
	return ept_vpid & EPT_INVEPT_ALL;
}

static bool controls_decode(const struct vmx_words *words, struct vmx_features *features)
{
	features->pin_allowed = words->pin;
	features->primary_allowed = words->primary;
	features->secondary_allowed = words->secondary;
	features->exit_allowed = words->exit;
	features->entry_allowed = words->entry;
	uint32_t later = PRIMARY_INTERRUPT_WINDOW;
	bool has_later =
		(may_be_1(words->primary) & later) && (may_be_1(words->entry) & ENTRY_IA32E);
	return has_later &&
	       vmx_control_adjust(words->pin, PIN_REQUIRED, PIN_OPTIONAL, 0, &features->pin) &&
	       vmx_control_adjust(words->primary, PRIMARY_REQUIRED, 0, PRIMARY_REFUSED | later,
				  &features->primary) &&
	       vmx_control_adjust(words->secondary, SECONDARY_REQUIRED, SECONDARY_OPTIONAL, 0,
				  &features->secondary) &&
	       vmx_control_adjust(words->exit, EXIT_REQUIRED, 0, EXIT_REFUSED, &features->exit) &&
	       vmx_control_adjust(words->entry, ENTRY_REQUIRED, 0, ENTRY_REFUSED, &features->entry);
}

static void registers_decode(const struct vmx_words *words, struct vmx_features *features)
{
	/* VMX fixes PE and PG as well, but not for unrestricted guests. */
	features->cr0_fixed = words->cr0_fixed0 & ~(CR0_PE | CR0_PG);
	/* An exit leaves CD and NW as the guest had them, so they would also slow down Quire. */
	features->cr0_owned = features->cr0_fixed | CR0_CD | CR0_NW;
	features->cr4_fixed = words->cr4_fixed0 | CR4_VMXE;
	features->cr4_allowed = cr4_allowed(words) & ~features->cr4_fixed;
	features->cr4_owned = ~features->cr4_allowed;
	features->efer_allowed = efer_allowed(words);
	features->physical_address_bits = words->leaf_80000008_eax & 0xff;
	features->linear_address_bits =
		words->leaf_7_ecx & CPUID_7_ECX_LA57 ? LINEAR_BITS_5_LEVEL : LINEAR_BITS_4_LEVEL;
}

const char *vmx_features_decode(const struct vmx_words *words, struct vmx_features *out_features)
{
	*out_features = (struct vmx_features){ 0 };
	if (!(words->leaf_1_ecx & CPUID_1_ECX_VMX))
		return "The CPU has no VT-x (VMX).";
	if ((words->feature_control & FEATURE_CONTROL_LOCKED) &&
	    !(words->feature_control & FEATURE_CONTROL_OUTSIDE_SMX))
		return "The firmware disabled VT-x (VMX); enable it in the firmware's setup.";
	if (are_inconsistent(words))
		return "The CPU has VT-x (VMX), but its capability registers contradict "
		       "themselves.";
	if (!(may_be_1(words->primary) & PRIMARY_SECONDARY) ||
	    !(may_be_1(words->secondary) & SECONDARY_EPT))
		return "The CPU has VT-x (VMX), but without nested paging (EPT).";
	if (!(may_be_1(words->secondary) & SECONDARY_UNRESTRICTED_GUEST))
		return "The CPU has VT-x (VMX) and EPT, but without unrestricted guest.";
	if ((words->ept_vpid & EPT_NEEDED) != EPT_NEEDED ||
	    !invalidations_decode(words->ept_vpid, out_features))
		return "The CPU has VT-x (VMX), but its nested paging (EPT) lacks what Quire "
		       "needs.";
	if (!controls_decode(words, out_features))
		return "The CPU has VT-x (VMX), but lacks controls that Quire needs.";

	out_features->revision = (uint32_t)field_get(words->basic, BASIC_REVISION);
	out_features->has_vpid = out_features->secondary & SECONDARY_VPID;
	out_features->has_preemption_timer = out_features->pin & PIN_PREEMPTION_TIMER;
	out_features->preemption_timer_shift = (unsigned)field_get(words->misc, MISC_TIMER_SHIFT);
	out_features->has_ept_accessed_dirty = words->ept_vpid & EPT_ACCESSED_DIRTY;
	registers_decode(words, out_features);
	return NULL;
}
