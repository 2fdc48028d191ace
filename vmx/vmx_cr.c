/* SPDX-License-Identifier: MIT */
/*
 * Guests' writes to CR0 and CR4 that the CPU may not carry out alone.
 *
 * Some bits are not the guest's: those that VMX fixes, CR0.CD and CR0.NW, and bits of CR4
 * that no guest may have. The guest reads them from the read shadow. If a write leaves
 * them as they are in the shadow, the CPU carries it out without an exit; all other writes
 * exit, and this file handles them.
 *
 * They are not emulated. The handler puts the new value into the shadow, and the guest
 * executes its instruction again. Now none of these bits differs, so the CPU carries out
 * the rest, with everything that belongs to switching paging and long mode on and off. If
 * the instruction then faults for a reason that the handler does not check, the guest sees
 * CD, NW and NE as it wanted to write them; they have no effect.
 */
#include <quire/x86_state.h>

#include "vmx_internal.h"

bool vmx_cr_value_is_legal(unsigned cr, uint64_t value, const struct vmx_features *features)
{
	if (cr == 4)
		return !(value & features->cr4_owned);
	if (value >> 32)
		return false;
	if ((value & CR0_PG) && !(value & CR0_PE))
		return false;
	return x86_cr0_caching_is_valid(value);
}

/* Outside of 64-bit code MOV takes the lower half of the register. */
static uint64_t gpr_value(struct virt_vcpu *vcpu, unsigned gpr)
{
	uint64_t value = vcpu->regs->gpr[gpr];
	bool is_long_mode = vmcs_read(vcpu, VMCS_GUEST_EFER) & EFER_LMA;
	uint64_t cs = vmcs_read(vcpu, VMCS_GUEST_ATTRIBUTES + 2 * SEG_CS);
	return is_long_mode && (cs & SEG_ATTR_L) ? value : (uint32_t)value;
}

void vmx_cr_exit_handle(struct virt_vcpu *vcpu, uint64_t qualification, struct vmexit *out_exit)
{
	unsigned cr = (unsigned)field_get(qualification, CR_QUALIFICATION_REGISTER);
	/* With Quire's controls and masks no other access exits. */
	if (field_get(qualification, CR_QUALIFICATION_ACCESS) != CR_ACCESS_WRITE ||
	    (cr != 0 && cr != 4)) {
		out_exit->kind = VMEXIT_FATAL;
		out_exit->fatal.reason = VMCS_EXIT_CR_ACCESS;
		out_exit->fatal.info[0] = qualification;
		return;
	}

	uint64_t value = gpr_value(vcpu, (unsigned)field_get(qualification, CR_QUALIFICATION_GPR));
	if (!vmx_cr_value_is_legal(cr, value, &vmx_features)) {
		out_exit->kind = VMEXIT_EXCEPTION;
		out_exit->exception.vector = VECTOR_GP;
		out_exit->exception.has_error_code = true;
		out_exit->exception.error_code = 0;
		return;
	}
	vmcs_write(vcpu, cr == 0 ? VMCS_CR0_SHADOW : VMCS_CR4_SHADOW, value);
}
