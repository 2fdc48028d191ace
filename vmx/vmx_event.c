/* SPDX-License-Identifier: MIT */
/*
 * Events for the guest: VM-entry interruption information and IDT-vectoring information,
 * which share one format; the interrupt window; and what blocks interrupts and NMIs.
 *
 * The window is a VM-execution control: the exit comes as soon as RFLAGS.IF and the
 * interrupt shadow allow an interrupt, before the next instruction.
 *
 * An entry fails if an event that must not have an error code has one, or one that must
 * have it lacks it. The caller need not know which: here the vector decides.
 */
#include <quire/assert.h>
#include <quire/x86_state.h>

#include "vmx_internal.h"

/* Lengths of INT3 and INTO, and of INT n, without prefixes. */
#define SOFT_EXCEPTION_BYTES 1u
#define SOFT_INTERRUPT_BYTES 2u

static uint64_t event_type_encode(enum guest_event_type type)
{
	switch (type) {
	case GUEST_EVENT_INTERRUPT: return VMCS_EVENT_INTERRUPT;
	case GUEST_EVENT_NMI: return VMCS_EVENT_NMI;
	case GUEST_EVENT_EXCEPTION: return VMCS_EVENT_EXCEPTION;
	case GUEST_EVENT_SOFT_EXCEPTION: return VMCS_EVENT_SOFT_EXCEPTION;
	case GUEST_EVENT_SOFT_INTERRUPT: return VMCS_EVENT_SOFT_INTERRUPT;
	case GUEST_EVENT_NONE: break;
	}
	Q_ASSERT(!"an event that can be encoded");
	return 0;
}

/* True if an entry demands an error code: SDM vol. 3, "VM-Entry Controls for Event Injection". */
static bool pushes_error_code(const struct guest_event *event)
{
	return event->type == GUEST_EVENT_EXCEPTION && event->vector < VECTOR_EXCEPTION_COUNT &&
	       (ERROR_CODE_VECTORS >> event->vector & 1);
}

uint32_t vmx_event_encode(const struct guest_event *event, bool is_protected)
{
	if (event->type == GUEST_EVENT_NONE)
		return 0;
	uint64_t word = VMCS_EVENT_VALID;
	word = field_set(word, VMCS_EVENT_VECTOR, event->vector);
	word = field_set(word, VMCS_EVENT_TYPE, event_type_encode(event->type));
	if (is_protected && pushes_error_code(event))
		word |= VMCS_EVENT_HAS_ERROR_CODE;
	return (uint32_t)word;
}

static enum guest_event_type event_type_decode(uint64_t type)
{
	switch (type) {
	case VMCS_EVENT_INTERRUPT: return GUEST_EVENT_INTERRUPT;
	case VMCS_EVENT_NMI: return GUEST_EVENT_NMI;
	case VMCS_EVENT_EXCEPTION: return GUEST_EVENT_EXCEPTION;
	case VMCS_EVENT_SOFT_INTERRUPT: return GUEST_EVENT_SOFT_INTERRUPT;
	case VMCS_EVENT_SOFT_EXCEPTION: return GUEST_EVENT_SOFT_EXCEPTION;
	/* RIP still points to INT1, so the guest executes it again. */
	case VMCS_EVENT_PRIVILEGED_EXCEPTION:
	default: return GUEST_EVENT_NONE;
	}
}

bool vmx_event_decode(uint32_t word, uint32_t error_code, uint32_t insn_length,
		      struct guest_event *out_event)
{
	if (!(word & VMCS_EVENT_VALID))
		return false;
	enum guest_event_type type = event_type_decode(field_get(word, VMCS_EVENT_TYPE));
	if (type == GUEST_EVENT_NONE)
		return false;

	bool is_soft = type == GUEST_EVENT_SOFT_INTERRUPT || type == GUEST_EVENT_SOFT_EXCEPTION;
	bool has_error_code = word & VMCS_EVENT_HAS_ERROR_CODE;
	*out_event = (struct guest_event){
		.type = type,
		.vector = (uint8_t)field_get(word, VMCS_EVENT_VECTOR),
		.has_error_code = has_error_code,
		.insn_length = is_soft ? (uint8_t)insn_length : 0,
		.error_code = has_error_code ? error_code : 0,
	};
	return true;
}

uint32_t vmx_event_insn_length(const struct guest_event *event)
{
	if (event->type == GUEST_EVENT_SOFT_INTERRUPT)
		return event->insn_length ? event->insn_length : SOFT_INTERRUPT_BYTES;
	if (event->type == GUEST_EVENT_SOFT_EXCEPTION)
		return event->insn_length ? event->insn_length : SOFT_EXCEPTION_BYTES;
	return 0;
}

void vmx_event_inject(struct virt_vcpu *vcpu, const struct guest_event *event)
{
	vmx_vmcs_load(vcpu);
	/* Only exceptions depend on the mode; interrupts, the frequent events, save the VMREAD. */
	bool is_protected =
		event->type == GUEST_EVENT_EXCEPTION && (vmcs_read(vcpu, VMCS_GUEST_CR0) & CR0_PE);
	uint32_t word = vmx_event_encode(event, is_protected);
	vmcs_write(vcpu, VMCS_ENTRY_EVENT, word);
	if (event->type == GUEST_EVENT_NONE)
		return;
	if (word & VMCS_EVENT_HAS_ERROR_CODE)
		vmcs_write(vcpu, VMCS_ENTRY_ERROR_CODE,
			   event->has_error_code ? event->error_code : 0);
	uint32_t insn_length = vmx_event_insn_length(event);
	if (insn_length)
		vmcs_write(vcpu, VMCS_ENTRY_INSN_LENGTH, insn_length);

	/* The handler of any event starts without an interrupt shadow. */
	uint32_t blocking = vcpu->interruptibility & ~BLOCKING_SHADOW;
	/* The entry demands that NMIs are not blocked; the delivery of this one blocks them. */
	if (event->type == GUEST_EVENT_NMI)
		blocking &= ~BLOCKING_NMI;
	vmx_interruptibility_set(vcpu, blocking);
}

void vmx_interrupt_window_set(struct virt_vcpu *vcpu, bool is_wanted)
{
	uint32_t others = vcpu->primary_controls & ~PRIMARY_INTERRUPT_WINDOW;
	uint32_t controls = is_wanted ? others | PRIMARY_INTERRUPT_WINDOW : others;
	if (controls == vcpu->primary_controls)
		return;
	vmx_vmcs_load(vcpu);
	vmcs_write(vcpu, VMCS_PRIMARY_CONTROLS, controls);
	vcpu->primary_controls = controls;
}

void vmx_insn_skipped(struct virt_vcpu *vcpu)
{
	vmx_interruptibility_set(vcpu, vcpu->interruptibility & ~BLOCKING_SHADOW);
}

void vmx_interruptibility_set(struct virt_vcpu *vcpu, uint32_t blocking)
{
	if (Q_LIKELY(blocking == vcpu->interruptibility))
		return;
	vmx_vmcs_load(vcpu);
	vmcs_write(vcpu, VMCS_GUEST_INTERRUPTIBILITY, blocking);
	vcpu->interruptibility = blocking;
}
