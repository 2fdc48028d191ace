/* SPDX-License-Identifier: MIT */
/*
 * What the guest's next entry delivers. In order: an exception that a handler
 * raised, or else an event whose delivery the last exit interrupted; then an
 * NMI; then an interrupt, if the guest can take one. What must wait asks for an
 * exit as soon as it can be taken.
 *
 * An interrupted INT n is simply executed again: RIP still points to it.
 */
#ifndef VM_MACHINE_INJECT_H
#define VM_MACHINE_INJECT_H

#include <quire/event.h>

struct vcpu;

/*
 * The instruction at RIP raises an exception; queued for the next entry. Meets
 * an exception that was being delivered as a CPU would: double fault, and a
 * triple fault stops the VM (Intel SDM vol. 3, "Interrupt 8: Double Fault").
 */
void inject_exception(struct vcpu *vcpu, enum exception_vector vector);
void inject_exception_code(struct vcpu *vcpu, enum exception_vector vector, uint32_t error_code);
/* #PF with CR2. */
void inject_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code);

/* After an exit that interrupted a delivery: keeps the event for the next entry. */
void inject_interrupted(struct vcpu *vcpu);

/* Before an entry, interrupts disabled, when `injection_is_due`. */
void inject_prepare(struct vcpu *vcpu);

/* Is there anything that ends HLT? */
bool inject_ends_halt(struct vcpu *vcpu);

#endif
