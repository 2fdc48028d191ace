/* SPDX-License-Identifier: MIT */
/*
 * What the guest's next entry delivers. In order: an exception that a handler
 * raised, or else an event whose delivery the last exit interrupted; then an
 * NMI; then an interrupt, if the guest can take one. What must wait asks for an
 * exit as soon as it can be taken.
 *
 * An interrupted INT n is simply executed again: RIP still points to it.
 */
#ifndef VM_EVENT_H
#define VM_EVENT_H

#include <quire/event.h>

struct vcpu;

/*
 * The instruction at RIP raises an exception; queued for the next entry. Meets
 * an exception that was being delivered as a CPU would: double fault, and a
 * triple fault stops the VM (Intel SDM vol. 3, "Interrupt 8: Double Fault").
 */
void event_exception(struct vcpu *vcpu, enum exception_vector vector);
void event_exception_code(struct vcpu *vcpu, enum exception_vector vector, uint32_t error_code);
/* #PF with CR2. */
void event_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code);

/* After an exit that interrupted a delivery: keeps the event for the next entry. */
void event_interrupted(struct vcpu *vcpu);

/* Before an entry, interrupts disabled, when `event_due`. */
void event_prepare(struct vcpu *vcpu);

/* Is there anything that ends HLT? */
bool event_wakes(struct vcpu *vcpu);

#endif
