/* SPDX-License-Identifier: MIT */
/*
 * Decides which event the guest's next entry delivers. In this order: an exception that a handler
 * raised, or an event whose delivery the last exit interrupted; then an NMI; then an interrupt, if
 * the guest can take one. An interrupt that must wait asks for an exit as soon as the guest can
 * take it; a blocked NMI is looked at again before each entry.
 *
 * An interrupted INT n is simply executed again: RIP still points to it.
 *
 * All functions run in the vCPU's thread.
 */
#ifndef VM_MACHINE_INJECT_H
#define VM_MACHINE_INJECT_H

#include <quire/event.h>

struct vcpu;

/*
 * Queues an exception, which the instruction at RIP raised, for the next entry. If the last exit
 * interrupted the delivery of another exception, the two combine as on a CPU: to a double fault,
 * or to a triple fault, which stops the VM (Intel SDM vol. 3, "Interrupt 8 - Double Fault
 * Exception (#DF)").
 */
void inject_exception(struct vcpu *vcpu, enum exception_vector vector);
void inject_exception_code(struct vcpu *vcpu, enum exception_vector vector, uint32_t error_code);
/* The same for #PF; sets CR2 to `address`. */
void inject_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code);

/* Call after an exit that interrupted a delivery: keeps the event for the next entry. */
void inject_interrupted(struct vcpu *vcpu);

/*
 * Hands the next event to the backend. Call before an entry if `injection_is_due`, with interrupts
 * disabled. Takes the devices lock.
 */
void inject_prepare(struct vcpu *vcpu);

/* True if an event has come that ends HLT. Takes the devices lock. */
bool inject_ends_halt(struct vcpu *vcpu);

#endif
