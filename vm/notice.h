/* SPDX-License-Identifier: MIT */
/*
 * Notices of what happened to VMs: a line in the log for people and, with events=json, a line for
 * programs that starts with '@'. No lock is held at a call.
 */
#ifndef VM_NOTICE_H
#define VM_NOTICE_H

#include "vm/vm_config.h"

struct vm;
struct vm_ending;

/* Says that a VM is in `state` now, and why. `ending` and `detail` may be NULL. */
void notice_vm(const struct vm *vm, const char *state, const struct vm_ending *ending,
	       const char *detail);

/* A VM that waits for memory, and for how much. */
struct memory_waiter {
	vm_name_t name;
	uint64_t page_count;
	enum gmm_priority priority;
};
#define MEMORY_WAITERS_LISTED 16u
/*
 * Says that all `count` VMs that could run wait for memory. `waiters` has the first
 * MEMORY_WAITERS_LISTED of them.
 */
void notice_exhausted(const struct memory_waiter *waiters, unsigned count);

#endif
