/* SPDX-License-Identifier: MIT */
/*
 * The rules that a VMCS must obey for a CPU to accept it, except those for guest state:
 * Intel SDM vol. 3, "Checks on VMX Controls", "Checks on Host Control Registers, MSRs, and
 * SSP", "Checks on Host Segment and Descriptor-Table Registers". Rules for fields that
 * Quire never sets are left out.
 */
#include <quire/x86_state.h>

#include "vmx_internal.h"

#define SELECTOR_RPL_TI 7u

static const char *const rule_text[] = {
#define RULE_TEXT(name, text) text,
	VMX_RULES(RULE_TEXT)
#undef RULE_TEXT
};

/* --- controls ------------------------------------------------------------------------ */

static bool is_disallowed(uint64_t control, uint64_t allowed)
{
	uint32_t must = (uint32_t)allowed, may = (uint32_t)(allowed >> 32);
	return (must & ~control) || (control & ~(uint64_t)may);
}

static bool is_page_misplaced(uint64_t page, const struct vmx_features *features)
{
	return (page & PAGE_MASK) || page >> features->physical_address_bits;
}

static bool is_eptp_bad(uint64_t eptp, const struct vmx_features *features)
{
	return (eptp & EPTP_FORM) != (EPTP_WRITE_BACK | EPTP_FOUR_LEVELS) ||
	       ((eptp & EPTP_ACCESSED_DIRTY) && !features->has_ept_accessed_dirty) ||
	       (eptp & EPTP_RESERVED) || eptp >> features->physical_address_bits;
}

uint64_t vmx_check_controls(const struct vmx_controls *controls,
			    const struct vmx_features *features)
{
	uint64_t secondary = controls->secondary;
	bool has_ept = secondary & SECONDARY_EPT;
	bool is_timer_lost = (controls->exit & EXIT_SAVE_PREEMPTION_TIMER) &&
			     !(controls->pin & PIN_PREEMPTION_TIMER);

	return vmx_violation(VMX_RULE_PIN_CONTROLS,
			     is_disallowed(controls->pin, features->pin_allowed)) |
	       vmx_violation(VMX_RULE_PRIMARY_CONTROLS,
			     is_disallowed(controls->primary, features->primary_allowed)) |
	       vmx_violation(VMX_RULE_SECONDARY_CONTROLS,
			     is_disallowed(secondary, features->secondary_allowed)) |
	       vmx_violation(VMX_RULE_EXIT_CONTROLS,
			     is_disallowed(controls->exit, features->exit_allowed)) |
	       vmx_violation(VMX_RULE_ENTRY_CONTROLS,
			     is_disallowed(controls->entry, features->entry_allowed)) |
	       vmx_violation(VMX_RULE_MSR_BITMAP,
			     is_page_misplaced(controls->msr_bitmap, features)) |
	       vmx_violation(VMX_RULE_VIRTUAL_APIC,
			     is_page_misplaced(controls->virtual_apic, features)) |
	       vmx_violation(VMX_RULE_TPR_THRESHOLD, controls->tpr_threshold >> 4) |
	       vmx_violation(VMX_RULE_VPID, (secondary & SECONDARY_VPID) && controls->vpid == 0) |
	       vmx_violation(VMX_RULE_EPTP, has_ept && is_eptp_bad(controls->eptp, features)) |
	       vmx_violation(VMX_RULE_UNRESTRICTED_GUEST,
			     (secondary & SECONDARY_UNRESTRICTED_GUEST) && !has_ept) |
	       vmx_violation(VMX_RULE_VIRTUAL_NMIS,
			     (controls->pin & PIN_VIRTUAL_NMIS) && !(controls->pin & PIN_NMI)) |
	       vmx_violation(VMX_RULE_TIMER_SAVE, is_timer_lost);
}

/* --- the event to inject --------------------------------------------------------------- */

static bool is_vector_bad(uint64_t type, uint64_t vector)
{
	if (type == VMCS_EVENT_NMI)
		return vector != VECTOR_NMI;
	return type == VMCS_EVENT_EXCEPTION && vector >= VECTOR_EXCEPTION_COUNT;
}

/* True if the word has an error code and vmx_event.c would give none, or the reverse. */
static bool is_error_code_bad(uint64_t word, const struct vmx_guest *guest)
{
	struct guest_event event = {
		.type = field_get(word, VMCS_EVENT_TYPE) == VMCS_EVENT_EXCEPTION
				? GUEST_EVENT_EXCEPTION
				: GUEST_EVENT_INTERRUPT,
		.vector = (uint8_t)field_get(word, VMCS_EVENT_VECTOR),
	};
	uint32_t right = vmx_event_encode(&event, guest->cr0 & CR0_PE);
	return (word ^ right) & VMCS_EVENT_HAS_ERROR_CODE;
}

uint64_t vmx_check_event(const struct vmx_controls *controls, const struct vmx_guest *guest)
{
	uint64_t word = controls->event;
	if (!(word & VMCS_EVENT_VALID))
		return 0;
	uint64_t type = field_get(word, VMCS_EVENT_TYPE);
	uint64_t vector = field_get(word, VMCS_EVENT_VECTOR);
	uint64_t length = controls->event_insn_length;
	bool is_soft = type >= VMCS_EVENT_SOFT_INTERRUPT && type <= VMCS_EVENT_SOFT_EXCEPTION;
	bool is_interrupt = type == VMCS_EVENT_INTERRUPT;
	uint64_t blockers = is_interrupt ? BLOCKING_SHADOW : BLOCKING_MOV_SS | BLOCKING_NMI;
	bool is_blockable = is_interrupt || type == VMCS_EVENT_NMI;

	return vmx_violation(VMX_RULE_EVENT_TYPE, type == 1 || type == 7) |
	       vmx_violation(VMX_RULE_EVENT_VECTOR, is_vector_bad(type, vector)) |
	       vmx_violation(VMX_RULE_EVENT_ERROR_CODE, is_error_code_bad(word, guest)) |
	       vmx_violation(VMX_RULE_EVENT_RESERVED, word & VMCS_EVENT_RESERVED) |
	       vmx_violation(VMX_RULE_EVENT_LENGTH,
			     is_soft && (length == 0 || length > INSN_MAX_BYTES)) |
	       vmx_violation(VMX_RULE_EVENT_BLOCKED,
			     is_blockable && (guest->interruptibility & blockers)) |
	       vmx_violation(VMX_RULE_EVENT_IF, is_interrupt && !(guest->rflags & RFLAGS_IF));
}

/* --- host state ------------------------------------------------------------------------ */

static bool has_bad_selector(const struct vmx_host *host)
{
	uint64_t all = host->es | host->cs | host->ss | host->ds | host->fs | host->gs | host->tr;
	return (all & SELECTOR_RPL_TI) || host->cs == 0 || host->tr == 0;
}

static bool has_noncanonical(const struct vmx_host *host, unsigned bits)
{
	const uint64_t addresses[] = {
		host->fs_base,   host->gs_base,      host->tr_base,      host->gdtr_base,
		host->idtr_base, host->sysenter_esp, host->sysenter_eip, host->rip,
	};
	for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++) {
		if (!x86_is_canonical(addresses[i], bits))
			return true;
	}
	return false;
}

uint64_t vmx_check_host(const struct vmx_host *host, const struct vmx_features *features)
{
	uint64_t cr0_needed = features->cr0_fixed | CR0_PE | CR0_PG;
	uint64_t cr4_needed = features->cr4_fixed | CR4_PAE;
	uint64_t efer_needed = EFER_LME | EFER_LMA;

	return vmx_violation(VMX_RULE_HOST_CR0, cr0_needed & ~host->cr0) |
	       vmx_violation(VMX_RULE_HOST_CR3, host->cr3 >> features->physical_address_bits) |
	       vmx_violation(VMX_RULE_HOST_CR4, cr4_needed & ~host->cr4) |
	       vmx_violation(VMX_RULE_HOST_EFER, efer_needed & ~host->efer) |
	       vmx_violation(VMX_RULE_HOST_PAT, !x86_pat_is_valid(host->pat)) |
	       vmx_violation(VMX_RULE_HOST_SELECTORS, has_bad_selector(host)) |
	       vmx_violation(VMX_RULE_HOST_CANONICAL,
			     has_noncanonical(host, features->linear_address_bits));
}

/* --- the whole VMCS, and refused entries --------------------------------------------------- */

static const char *const error_texts[] = {
	[1] = "VMCALL in VMX root operation",
	[2] = "VMCLEAR with an invalid address",
	[3] = "VMCLEAR with the VMXON region",
	[4] = "VMLAUNCH with a VMCS that was launched",
	[5] = "VMRESUME with a VMCS that was not launched",
	[6] = "VMRESUME after VMXOFF",
	[7] = "invalid controls",
	[8] = "invalid host state",
	[9] = "VMPTRLD with an invalid address",
	[10] = "VMPTRLD with the VMXON region",
	[11] = "VMPTRLD with the wrong revision",
	[12] = "VMREAD or VMWRITE of a field that does not exist",
	[13] = "VMWRITE to a read-only field",
	[15] = "VMXON in VMX root operation",
	[16] = "invalid executive-VMCS pointer",
	[17] = "executive VMCS not launched",
	[18] = "executive-VMCS pointer is not the VMXON region",
	[19] = "VMCALL with a VMCS that was launched",
	[20] = "VMCALL with invalid exit controls",
	[22] = "VMCALL with the wrong MSEG revision",
	[23] = "VMXOFF under dual-monitor treatment",
	[24] = "VMCALL with invalid SMM-monitor features",
	[25] = "invalid controls in the executive VMCS",
	[26] = "events blocked by MOV SS",
	[28] = "invalid operand of INVEPT or INVVPID",
};

const char *vmx_error_text(uint32_t error)
{
	if (error >= ARRAY_COUNT(error_texts) || !error_texts[error])
		return "no error that the manual knows";
	return error_texts[error];
}

bool vmx_check(struct virt_vcpu *vcpu)
{
	_Static_assert(ARRAY_COUNT(rule_text) == VMX_RULE_COUNT, "each rule has its text");
	struct vmx_controls controls;
	struct vmx_guest guest;
	struct vmx_host host;
	vmx_controls_read(vcpu, &controls);
	vmx_guest_read(vcpu, &guest);
	vmx_host_read(vcpu, &host);

	if (vcpu->entry_error)
		log_error("vmx: entry refused with error %u: %s", vcpu->entry_error,
			  vmx_error_text(vcpu->entry_error));
	uint64_t violated =
		vmx_check_controls(&controls, &vmx_features) | vmx_check_event(&controls, &guest) |
		vmx_check_host(&host, &vmx_features) | vmx_check_guest(&guest, &vmx_features);
	for (unsigned rule = 0; rule < VMX_RULE_COUNT; rule++) {
		if (violated & BIT64(rule))
			log_error("vmx: %s", rule_text[rule]);
	}
	return violated == 0;
}
