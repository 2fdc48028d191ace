/* SPDX-License-Identifier: MIT */
/*
 * A VM that needs memory when there is none is held until there is some, and
 * then goes on where it was. Nothing of it is lost and nobody else stops.
 *
 * Whose turn it is, GMM says (gmm_wait_begin()). A VM that waits has
 * VM_HOLD_MEMORY and one vCPU whose thread tries: when it is woken because
 * memory may be there, and now and then while its VM is the first waiter. What
 * the operator wants goes first: a job ends the wait, a pause gives up the place
 * in the queue and resume takes a new one.
 */
#ifndef VM_MEMORY_WAIT_H
#define VM_MEMORY_WAIT_H

#include "vm_internal.h"

/* In the vCPU's thread: its guest needs `page_count` pages. Waits already: nothing. */
void memory_wait_start(struct vcpu *vcpu, uint64_t page_count);
/* In vCPU 0's thread: the kernel needs at most `page_count` more. The wait ends with the load. */
void memory_wait_start_load(struct vm *vm, uint64_t page_count);

/* In the thread of the vCPU that waits: one try, then sleep if there still is none. */
void memory_wait_turn(struct vcpu *vcpu);

/* The VM wants no memory any more. */
void memory_wait_cancel_locked(struct vm *vm) Q_REQUIRES(vm->lock);
/* VM_HOLD_OPERATOR came or went. */
void memory_wait_operator_locked(struct vm *vm) Q_REQUIRES(vm->lock);

#endif
