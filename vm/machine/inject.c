/* SPDX-License-Identifier: MIT */
#include "inject.h"

#include "vcpu.h"

/* Contributory exceptions: two of them make a double fault. #PF is a class of its own. */
static bool is_contributory(unsigned vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

static bool makes_double_fault(unsigned first, unsigned second)
{
	if (is_contributory(first))
		return is_contributory(second);
	if (first == VECTOR_PF)
		return second == VECTOR_PF || is_contributory(second);
	return false;
}

static void raise(struct vcpu *vcpu, struct guest_event event)
{
	const struct vmexit *exit = &vcpu->exit;
	if (exit->has_vectoring && exit->vectoring.type == GUEST_EVENT_EXCEPTION) {
		if (exit->vectoring.vector == VECTOR_DF) {
			vcpu_wish_stop(vcpu, "triple fault");
			return;
		}
		if (makes_double_fault(exit->vectoring.vector, event.vector))
			event = (struct guest_event){ .type = GUEST_EVENT_EXCEPTION,
						      .vector = VECTOR_DF,
						      .has_error_code = true };
	}
	vcpu->queued = event;
	vcpu->injection_is_due = true;
}

void inject_exception(struct vcpu *vcpu, enum exception_vector vector)
{
	raise(vcpu,
	      (struct guest_event){ .type = GUEST_EVENT_EXCEPTION, .vector = (uint8_t)vector });
}

void inject_exception_code(struct vcpu *vcpu, enum exception_vector vector, uint32_t error_code)
{
	raise(vcpu, (struct guest_event){ .type = GUEST_EVENT_EXCEPTION,
					  .vector = (uint8_t)vector,
					  .has_error_code = true,
					  .error_code = error_code });
}

void inject_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	state.cr2 = address;
	/* Only CR2 differs from what the CPU itself saved, so the state cannot be refused. */
	if (vcpu->ops->state_set(vcpu->virt, &state) == Q_OK)
		inject_exception_code(vcpu, VECTOR_PF, error_code);
}

void inject_interrupted(struct vcpu *vcpu)
{
	const struct guest_event *event = &vcpu->exit.vectoring;
	if (event->type == GUEST_EVENT_SOFT_INTERRUPT || event->type == GUEST_EVENT_SOFT_EXCEPTION)
		return;
	vcpu->queued = *event;
	vcpu->injection_is_due = true;
}

static bool nmi_is_blocked(struct vcpu *vcpu)
{
	struct guest_state state;
	vcpu->ops->state_get(vcpu->virt, &state);
	return state.nmi_blocked;
}

static void inject(struct vcpu *vcpu, enum guest_event_type type, unsigned vector)
{
	struct guest_event event = { .type = type, .vector = (uint8_t)vector };
	vcpu->ops->event_inject(vcpu->virt, &event);
}

/* Injects the queued event or an NMI. True if it did: then no interrupt fits into this entry. */
static bool inject_urgent(struct vcpu *vcpu)
{
	if (vcpu->queued.type != GUEST_EVENT_NONE) {
		vcpu->ops->event_inject(vcpu->virt, &vcpu->queued);
		vcpu->queued.type = GUEST_EVENT_NONE;
		return true;
	}
	if (!vcpu->nmi_pending || nmi_is_blocked(vcpu))
		return false;
	vcpu->nmi_pending = false;
	inject(vcpu, GUEST_EVENT_NMI, VECTOR_NMI);
	return true;
}

void inject_prepare(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	spin_lock(&machine->devices_lock);
	vcpu->nmi_pending |= vpc_nmi_take(machine->vpc, vcpu->index);
	bool is_full = inject_urgent(vcpu);
	bool is_pending = vpc_interrupt_pending(machine->vpc, vcpu->index);
	if (is_pending && !is_full && vcpu->can_interrupt) {
		inject(vcpu, GUEST_EVENT_INTERRUPT, vpc_interrupt_take(machine->vpc, vcpu->index));
		is_pending = vpc_interrupt_pending(machine->vpc, vcpu->index);
	}
	spin_unlock(&machine->devices_lock);

	if (is_pending != vcpu->window_is_set) {
		vcpu->ops->interrupt_window_set(vcpu->virt, is_pending);
		vcpu->window_is_set = is_pending;
	}
	/* No exit reports the end of NMI blocking, so look again before each entry. */
	vcpu->injection_is_due = vcpu->nmi_pending;
}

bool inject_ends_halt(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	spin_lock(&machine->devices_lock);
	vcpu->nmi_pending |= vpc_nmi_take(machine->vpc, vcpu->index);
	bool is_pending = vpc_interrupt_pending(machine->vpc, vcpu->index);
	spin_unlock(&machine->devices_lock);
	vcpu->injection_is_due = true;
	return (vcpu->nmi_pending && !nmi_is_blocked(vcpu)) ||
	       vcpu->queued.type != GUEST_EVENT_NONE ||
	       (is_pending && (vcpu->regs.rflags & RFLAGS_IF));
}
