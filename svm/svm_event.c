/* SPDX-License-Identifier: MIT */
/*
 * Events for the guest: EVENTINJ and EXITINTINFO, which share one format; the interrupt
 * window; and what blocks interrupts and NMIs.
 *
 * QEMU (7.2, without KVM) may deliver an interrupt from EVENTINJ a second time, with
 * RFLAGS.IF clear: it leaves the vector set as an exception to be raised. On QEMU an
 * interrupt is therefore injected as a virtual one (V_IRQ) that is not intercepted; QEMU
 * delivers it like an interrupt of a device. An interrupt is injected only if the guest
 * can take it at once, so only an interrupt of the machine can come before it. Then V_IRQ
 * is still set at the exit. svm_exit.c reports this as an interrupted delivery, and the
 * interrupt is injected again. Two kinds of interrupt use EVENTINJ on QEMU as well: those
 * injected while the window is wanted, because the window needs V_IRQ; and those with a
 * vector below 32, which an interrupted delivery would report as exceptions.
 *
 * The window is a virtual interrupt (V_IRQ) that is intercepted before it is delivered. It
 * has the highest priority and ignores the task priority, so it exits as soon as RFLAGS.IF
 * and the interrupt shadow allow an interrupt. If RFLAGS.IF is already set when the window
 * is asked for, and only the shadow blocks interrupts, two emulators err: QEMU exits at
 * once, because it forgets the shadow at VMRUN, and Bochs does not exit at all.
 */
#include <quire/assert.h>

#include "svm_internal.h"

static uint64_t event_type_encode(enum guest_event_type type)
{
	switch (type) {
	case GUEST_EVENT_INTERRUPT: return VMCB_EVENT_INTERRUPT;
	case GUEST_EVENT_NMI: return VMCB_EVENT_NMI;
	case GUEST_EVENT_EXCEPTION:
	case GUEST_EVENT_SOFT_EXCEPTION: return VMCB_EVENT_EXCEPTION;
	case GUEST_EVENT_SOFT_INTERRUPT: return VMCB_EVENT_SOFT_INTERRUPT;
	case GUEST_EVENT_NONE: break;
	}
	Q_ASSERT(!"an event that can be encoded");
	return 0;
}

uint64_t svm_event_encode(const struct guest_event *event)
{
	if (event->type == GUEST_EVENT_NONE)
		return 0;
	uint64_t word = VMCB_EVENT_VALID;
	word = field_set(word, VMCB_EVENT_VECTOR, event->vector);
	word = field_set(word, VMCB_EVENT_TYPE, event_type_encode(event->type));
	if (!event->has_error_code)
		return word;
	word |= VMCB_EVENT_HAS_ERROR_CODE;
	return field_set(word, VMCB_EVENT_ERROR_CODE, event->error_code);
}

/* The CPU reports INT3 and INTO as exceptions; nothing else raises their vectors. */
static enum guest_event_type exception_type(uint8_t vector)
{
	/* Not an exception: QEMU reports a virtual interrupt this way. */
	if (vector >= VECTOR_EXCEPTION_COUNT)
		return GUEST_EVENT_INTERRUPT;
	if (vector == VECTOR_BP || vector == VECTOR_OF)
		return GUEST_EVENT_SOFT_EXCEPTION;
	return GUEST_EVENT_EXCEPTION;
}

static enum guest_event_type event_type_decode(uint64_t type, uint8_t vector)
{
	switch (type) {
	case VMCB_EVENT_INTERRUPT: return GUEST_EVENT_INTERRUPT;
	case VMCB_EVENT_NMI: return GUEST_EVENT_NMI;
	case VMCB_EVENT_EXCEPTION: return exception_type(vector);
	case VMCB_EVENT_SOFT_INTERRUPT: return GUEST_EVENT_SOFT_INTERRUPT;
	default: return GUEST_EVENT_NONE;
	}
}

bool svm_event_decode(uint64_t word, struct guest_event *out_event)
{
	if (!(word & VMCB_EVENT_VALID))
		return false;
	uint8_t vector = (uint8_t)field_get(word, VMCB_EVENT_VECTOR);
	enum guest_event_type type = event_type_decode(field_get(word, VMCB_EVENT_TYPE), vector);
	if (type == GUEST_EVENT_NONE)
		return false;

	bool has_error_code = word & VMCB_EVENT_HAS_ERROR_CODE;
	*out_event = (struct guest_event){
		.type = type,
		.vector = vector,
		.has_error_code = has_error_code,
		.error_code = has_error_code ? (uint32_t)field_get(word, VMCB_EVENT_ERROR_CODE) : 0,
	};
	return true;
}

static bool is_soft(const struct guest_event *event)
{
	return event->type == GUEST_EVENT_SOFT_INTERRUPT ||
	       event->type == GUEST_EVENT_SOFT_EXCEPTION;
}

static void intercept_1_change(struct vmcb *vmcb, uint32_t bit, bool is_wanted)
{
	uint32_t others = vmcb->control._intercept_1 & ~bit;
	vmcb_set_intercept_1(vmcb, is_wanted ? others | bit : others);
}

/* --- virtual interrupts ------------------------------------------------------------------ */

static void v_irq_set(struct vmcb_control *control, bool is_set)
{
	control->v_irq = is_set ? VMCB_V_IRQ : 0;
	control->v_priority = is_set ? VMCB_V_PRIORITY_MAX | VMCB_V_IGN_TPR : 0;
}

bool svm_interrupt_is_virtual(const struct vmcb_control *control)
{
	return control->v_irq && !(control->_intercept_1 & INTERCEPT_VINTR);
}

/* Moves an interrupt from EVENTINJ to V_IRQ if the machine is QEMU and V_IRQ can take it. */
static void virtual_prefer(const struct virt_vcpu *vcpu)
{
	struct vmcb_control *control = &vcpu->vmcb->control;
	struct guest_event event;

	if (!svm_features.injects_twice || control->v_irq ||
	    !svm_event_decode(control->event_inject, &event) ||
	    event.type != GUEST_EVENT_INTERRUPT || event.vector < VECTOR_EXCEPTION_COUNT ||
	    !(vcpu->regs->rflags & RFLAGS_IF))
		return;
	control->event_inject = 0;
	control->v_vector = event.vector;
	v_irq_set(control, true);
}

/* --- injecting ------------------------------------------------------------------------------ */

void svm_event_inject(struct virt_vcpu *vcpu, const struct guest_event *event)
{
	struct vmcb *vmcb = vcpu->vmcb;

	if (svm_interrupt_is_virtual(&vmcb->control))
		v_irq_set(&vmcb->control, false);
	/* RIP still points to the INT instruction, so the guest executes it again. */
	if (event->type == GUEST_EVENT_NONE || is_soft(event)) {
		vmcb->control.event_inject = 0;
		return;
	}
	vmcb->control.event_inject = svm_event_encode(event);
	/* The handler of any event starts without an interrupt shadow. */
	vmcb->control.interrupt_shadow = 0;
	if (event->type == GUEST_EVENT_NMI)
		svm_nmi_block_set(vmcb, true);
	virtual_prefer(vcpu);
}

void svm_interrupt_window_set(struct virt_vcpu *vcpu, bool is_wanted)
{
	struct vmcb *vmcb = vcpu->vmcb;

	if (svm_interrupt_is_virtual(&vmcb->control)) {
		struct guest_event event = { .type = GUEST_EVENT_INTERRUPT,
					     .vector = vmcb->control.v_vector };
		vmcb->control.event_inject = svm_event_encode(&event);
	}
	v_irq_set(&vmcb->control, is_wanted);
	intercept_1_change(vmcb, INTERCEPT_VINTR, is_wanted);
	virtual_prefer(vcpu);
}

void svm_insn_skipped(struct virt_vcpu *vcpu)
{
	vcpu->vmcb->control.interrupt_shadow = 0;
}

bool svm_nmi_is_blocked(const struct vmcb *vmcb)
{
	return vmcb->control._intercept_1 & INTERCEPT_IRET;
}

void svm_nmi_block_set(struct vmcb *vmcb, bool is_blocked)
{
	intercept_1_change(vmcb, INTERCEPT_IRET, is_blocked);
}
