/* SPDX-License-Identifier: MIT */
/*
 * All VMs, in the order of creation, and the state of each. Only the operator's thread adds and
 * removes VMs, so it may walk without the lock. Other threads walk between vm_table_enter() and
 * vm_table_leave(); or by number, because the VM that they looked at last may be gone.
 */
#include <quire/assert.h>
#include <quire/atomic.h>

#include "lib/string.h"
#include "kernel/thread.h"

#include "vm_internal.h"

static struct list_node vms = { &vms, &vms };
static uint64_t last_number; /* for the operator's thread only */
static struct spinlock table_lock = { .rank = LOCK_RANK_VM_TABLE, .name = "vm table" };

static struct vm *entry_of(struct list_node *node)
{
	return list_entry(node, struct vm, node);
}

struct vm *vm_find(const char *name)
{
	list_for_each(node, &vms)
	{
		if (strcmp(entry_of(node)->config.name, name) == 0)
			return entry_of(node);
	}
	return NULL;
}

q_status_t vm_table_add(struct vm *vm)
{
	if (vm_find(vm->config.name))
		return Q_EXISTS;
	vm->number = ++last_number;
	spin_lock(&table_lock);
	list_add_tail(&vms, &vm->node);
	spin_unlock(&table_lock);
	return Q_OK;
}

void vm_table_remove(struct vm *vm)
{
	spin_lock(&table_lock);
	list_remove(&vm->node);
	spin_unlock(&table_lock);
}

void vm_table_enter(void) Q_NO_ANALYSIS
{
	spin_lock(&table_lock);
}

void vm_table_leave(void) Q_NO_ANALYSIS
{
	spin_unlock(&table_lock);
}

struct vm *vm_next(const struct vm *previous)
{
	struct list_node *node = previous ? previous->node.next : vms.next;
	return node == &vms ? NULL : entry_of(node);
}

/* --- references ------------------------------------------------------------------------------- */

uint64_t vm_number(const struct vm *vm)
{
	return vm->number;
}

static struct vm *find_after_locked(uint64_t number)
{
	list_for_each(node, &vms)
	{
		if (entry_of(node)->number > number)
			return entry_of(node);
	}
	return NULL;
}

struct vm *vm_get_after(uint64_t number)
{
	spin_lock(&table_lock);
	struct vm *vm = find_after_locked(number);
	if (vm)
		vm->reference_count++;
	spin_unlock(&table_lock);
	return vm;
}

void vm_put(struct vm *vm)
{
	spin_lock(&table_lock);
	Q_ASSERT(vm->reference_count);
	/* The destroyer needs the lock to see the count fall, so the VM still exists here. */
	if (--vm->reference_count == 0 && vm->destroyer)
		thread_unpark(vm->destroyer);
	spin_unlock(&table_lock);
}

void vm_references_wait(struct vm *vm)
{
	spin_lock(&table_lock);
	vm->destroyer = thread_self();
	while (vm->reference_count) {
		spin_unlock(&table_lock);
		thread_park();
		spin_lock(&table_lock);
	}
	spin_unlock(&table_lock);
}

/* --- states ----------------------------------------------------------------------------------- */

bool vm_is_alive(const struct vm *vm)
{
	uint32_t hold = atomic_load_acquire(&vm->hold);
	return !(hold & (VM_HOLD_CREATED | VM_HOLD_STOPPED)) || (hold & VM_HOLD_JOB);
}

bool vm_any_alive(void)
{
	bool is_alive = false;
	spin_lock(&table_lock);
	list_for_each(node, &vms) is_alive |= vm_is_alive(entry_of(node));
	spin_unlock(&table_lock);
	return is_alive;
}

enum exit_status vm_exit_status(void)
{
	enum exit_status status = EXIT_STATUS_OK;
	spin_lock(&table_lock);
	list_for_each(node, &vms)
	{
		if (entry_of(node)->ending.is_failure)
			status = EXIT_STATUS_VM;
	}
	spin_unlock(&table_lock);
	return status;
}

enum vm_state vm_state(const struct vm *vm)
{
	uint32_t hold = vm->hold;
	if (hold & VM_HOLD_STOPPED)
		return VM_STOPPED;
	if (hold & VM_HOLD_CREATED)
		return VM_CREATED;
	if (hold & (VM_HOLD_OPERATOR | VM_HOLD_MEMORY))
		return VM_PAUSED;
	return VM_RUNNING;
}

const char *vm_state_text(const struct vm *vm)
{
	switch (vm_state(vm)) {
	case VM_CREATED: return "created";
	case VM_RUNNING: return "running";
	case VM_PAUSED: return vm->hold & VM_HOLD_OPERATOR ? "paused" : "paused (out of memory)";
	case VM_STOPPED: return vm->ending.is_failure ? "stopped (failed)" : "stopped";
	}
	return "";
}
