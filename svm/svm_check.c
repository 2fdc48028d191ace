/* SPDX-License-Identifier: MIT */
/*
 * The rules that a VMCB must obey for a CPU to accept it: APM vol. 2, "Canonicalization
 * and Consistency Checks", "Event Injection", "Nested Paging". Three go beyond what VMRUN
 * checks: EFER.LMA, which emulators take as it is; the privilege level; and addresses that
 * are not canonical, for which VMRUN and VMLOAD either fail or change the address. CR0
 * with PG but without PE passes, as it does on a CPU.
 */
#include <quire/log.h>
#include <quire/x86_state.h>

#include "svm_internal.h"

#define CR3_ADDRESS_HIGH_BITS MASK64(63, 52)

static const char *const rule_text[] = {
#define RULE_TEXT(name, text) text,
	SVM_RULES(RULE_TEXT)
#undef RULE_TEXT
};

static uint64_t violation(enum svm_rule rule, bool is_violated)
{
	return is_violated ? BIT64(rule) : 0;
}

/* --- the control area ---------------------------------------------------------------- */

static uint64_t event_violations(uint64_t event)
{
	if (!(event & VMCB_EVENT_VALID))
		return 0;
	uint64_t type = field_get(event, VMCB_EVENT_TYPE);
	uint64_t vector = field_get(event, VMCB_EVENT_VECTOR);
	bool is_known = type == VMCB_EVENT_INTERRUPT || type == VMCB_EVENT_NMI ||
			type == VMCB_EVENT_EXCEPTION || type == VMCB_EVENT_SOFT_INTERRUPT;
	bool is_bad_exception = type == VMCB_EVENT_EXCEPTION &&
				(vector == VECTOR_NMI || vector >= VECTOR_EXCEPTION_COUNT);
	return violation(SVM_RULE_EVENT_TYPE, !is_known) |
	       violation(SVM_RULE_EVENT_VECTOR, is_bad_exception) |
	       violation(SVM_RULE_EVENT_RESERVED, event & VMCB_EVENT_RESERVED);
}

static bool is_map_misplaced(uint64_t base, uint64_t size_bytes, uint64_t limit)
{
	return (base & PAGE_MASK) || range_exceeds(base, size_bytes, limit);
}

uint64_t svm_check_control(const struct vmcb_control *control, const struct svm_features *features)
{
	uint64_t limit = BIT64(features->physical_address_bits);
	bool maps_misplaced = is_map_misplaced(control->_iopm_base, SVM_IOPM_BYTES, limit) ||
			      is_map_misplaced(control->_msrpm_base, SVM_MSRPM_BYTES, limit);
	bool is_asid_bad = control->_asid == 0 || control->_asid >= features->asid_count;

	return violation(SVM_RULE_VMRUN_INTERCEPT, !(control->_intercept_2 & INTERCEPT_VMRUN)) |
	       violation(SVM_RULE_ASID, is_asid_bad) |
	       violation(SVM_RULE_PERMISSION_MAPS, maps_misplaced) |
	       violation(SVM_RULE_NESTED_CR3,
			 is_map_misplaced(control->_nested_cr3, PAGE_SIZE, limit)) |
	       event_violations(control->event_inject);
}

/* --- the save area ------------------------------------------------------------------- */

static bool has_noncanonical(const struct vmcb_save *save, unsigned bits)
{
	const uint64_t addresses[] = {
		save->es.base,      save->cs.base,      save->ss.base,        save->ds.base,
		save->fs.base,      save->gs.base,      save->gdtr.base,      save->idtr.base,
		save->ldtr.base,    save->tr.base,      save->lstar,          save->cstar,
		save->sysenter_esp, save->sysenter_eip, save->kernel_gs_base,
	};
	for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++) {
		if (!x86_is_canonical(addresses[i], bits))
			return true;
	}
	return false;
}

static uint64_t long_mode_violations(const struct vmcb_save *save)
{
	bool is_paged = save->cr0 & CR0_PG;
	bool is_long = is_paged && (save->efer & EFER_LME);
	bool is_lma = save->efer & EFER_LMA;
	uint32_t cs = svm_attributes_decode(save->cs.attributes);
	bool is_cs_bad = (cs & SEG_ATTR_L) && (cs & SEG_ATTR_DB);

	return violation(SVM_RULE_EFER_LMA, is_lma != is_long) |
	       violation(SVM_RULE_LONG_MODE_PAE, is_long && !(save->cr4 & CR4_PAE)) |
	       violation(SVM_RULE_LONG_MODE_PE, is_long && !(save->cr0 & CR0_PE)) |
	       violation(SVM_RULE_LONG_MODE_CS, is_long && (save->cr4 & CR4_PAE) && is_cs_bad);
}

uint64_t svm_check_save(const struct vmcb_save *save, const struct svm_features *features)
{
	bool is_noncanonical = has_noncanonical(save, features->linear_address_bits);

	return violation(SVM_RULE_EFER_SVME, !(save->efer & EFER_SVME)) |
	       violation(SVM_RULE_EFER_RESERVED, save->efer & ~features->efer_allowed) |
	       violation(SVM_RULE_CR0_CACHE, !x86_cr0_caching_is_valid(save->cr0)) |
	       violation(SVM_RULE_CR0_HIGH, save->cr0 >> 32) |
	       violation(SVM_RULE_CR3_RESERVED, save->cr3 & CR3_ADDRESS_HIGH_BITS) |
	       violation(SVM_RULE_CR4_RESERVED, save->cr4 & ~features->cr4_allowed) |
	       violation(SVM_RULE_DR6_HIGH, save->dr6 >> 32) |
	       violation(SVM_RULE_DR7_HIGH, save->dr7 >> 32) |
	       violation(SVM_RULE_PAT, !x86_pat_is_valid(save->pat)) |
	       violation(SVM_RULE_CPL, save->cpl > 3) |
	       violation(SVM_RULE_CANONICAL, is_noncanonical) | long_mode_violations(save);
}

bool svm_check(struct virt_vcpu *vcpu)
{
	uint64_t violated = svm_check_control(&vcpu->vmcb->control, &svm_features) |
			    svm_check_save(&vcpu->vmcb->save, &svm_features);
	for (unsigned rule = 0; rule < SVM_RULE_COUNT; rule++) {
		if (violated & BIT64(rule))
			log_error("svm: %s", rule_text[rule]);
	}
	return violated == 0;
}
