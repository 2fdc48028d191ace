/* SPDX-License-Identifier: MIT */
/*
 * References to VMs, with the operator and its visitors as host threads, under ThreadSanitizer.
 * Visitors walk the table and access each VM; the operator creates and destroys VMs. If a VM goes
 * before its last visitor, that shows as a race or as an access to freed memory.
 */
#include "test.h"

#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <pthread.h>

#include <quire/atomic.h>

#include "kernel/thread.h"

#include "vm/vm_internal.h"

#define VISITORS 3u
#define VMS      4u
#define LIVES    2000u

struct thread {
	sem_t permit;
};

static struct thread operator;
static uint32_t must_end; /* atomic */
static uint32_t visits;   /* atomic */

struct thread *thread_self(void)
{
	return &operator; /* only it destroys VMs */
}

void thread_park(void)
{
	sem_wait(&operator.permit);
}

void thread_unpark(struct thread *thread)
{
	sem_post(&thread->permit);
}

/* Numbers only grow, and a VM that is found stays while it is looked at. */
static void walk(void)
{
	uint64_t number = 0;
	struct vm *vm;
	while ((vm = vm_get_after(number)) != NULL) {
		if (vm_number(vm) <= number)
			abort();
		number = vm_number(vm);
		atomic_add_relaxed(&vm->machine.power_request, 1);
		sched_yield();
		if (vm->machine.vcpu_count != number % 7)
			abort();
		vm_put(vm);
		atomic_add_relaxed(&visits, 1);
	}
}

static void *visitor_run(void *argument)
{
	(void)argument;
	while (!atomic_load_acquire(&must_end))
		walk();
	return NULL;
}

static struct vm *vm_new(unsigned i)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	list_init(&vm->node);
	vm->config.name[0] = (char)('a' + i % VMS);
	/* What a visitor reads is written before the VM is in the table. */
	static uint64_t number;
	vm->machine.vcpu_count = (unsigned)(++number % 7);
	EXPECT(vm_table_add(vm) == Q_OK);
	EXPECT(vm_number(vm) == number);
	return vm;
}

static void vm_end(struct vm *vm)
{
	vm_table_remove(vm);
	vm_references_wait(vm);
	vm->machine.vcpu_count = 99; /* not atomic: a visitor that still looks at it is a race */
	free(vm);
}

TEST(vm_table, a_vm_stays_until_its_last_visitor_left)
{
	pthread_t visitors[VISITORS];
	struct vm *vms[VMS] = { NULL };
	sem_init(&operator.permit, 0, 0);
	for (unsigned i = 0; i < VISITORS; i++)
		EXPECT(pthread_create(&visitors[i], NULL, visitor_run, NULL) == 0);
	for (unsigned i = 0; i < LIVES || atomic_load_relaxed(&visits) < LIVES; i++) {
		struct vm **vm = &vms[i % VMS];
		if (*vm)
			vm_end(*vm);
		*vm = vm_new(i);
	}
	atomic_store_release(&must_end, 1);
	for (unsigned i = 0; i < VISITORS; i++)
		pthread_join(visitors[i], NULL);
	for (unsigned i = 0; i < VMS; i++)
		vm_end(vms[i]);
	EXPECT(vm_get_after(0) == NULL);
	sem_destroy(&operator.permit);
}
