/* SPDX-License-Identifier: MIT */
/*
 * A VM that needs memory when there is none is held until there is some, and then goes on where it
 * was. It loses nothing, and no other VM stops.
 *
 * GMM keeps the queue of waiters and says whose turn it is (gmm_wait_begin()). A VM that waits has
 * VM_HOLD_MEMORY, and the thread of one of its vCPUs tries for memory: when it is woken because
 * there may be some, and four times a second while its VM is the first waiter. What the operator
 * wants goes first: the jobs POWER_ON and STOP end the wait; a pause gives up the place in the
 * queue, and resume takes a new one.
 */
#ifndef VM_MEMORY_WAIT_H
#define VM_MEMORY_WAIT_H

#include "vm_internal.h"

/*
 * Lets the VM wait for `page_count` pages that its guest needs. No effect if it waits already. In
 * the vCPU's thread, no lock held.
 */
void memory_wait_start(struct vcpu *vcpu, uint64_t page_count);
/*
 * Lets the VM wait for the memory of its kernel: `page_count` more pages at most. If it waits
 * already, sets a new count. The wait ends when the kernel is loaded. In vCPU 0's thread, no lock
 * held.
 */
void memory_wait_start_load(struct vm *vm, uint64_t page_count);

/* Tries once for memory, and sleeps if there is none. In the thread of the vCPU that waits. */
void memory_wait_turn(struct vcpu *vcpu);

/* Ends the wait, if there is one. The caller kicks the vCPUs. */
void memory_wait_cancel_locked(struct vm *vm) Q_REQUIRES(vm->lock);
/* VM_HOLD_OPERATOR has changed: leaves GMM's queue, or joins it again. */
void memory_wait_operator_locked(struct vm *vm) Q_REQUIRES(vm->lock);

#endif
