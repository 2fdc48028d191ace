/* SPDX-License-Identifier: MIT */
#include "memory_wait.h"

#include "lib/format.h"
#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "notice.h"

/* Memory may come back without vm_memory_freed(): Quire's own heap also gives some back. */
#define RETRY_US 250000u

/* Guarded by the VM table's lock. All VMs wait, and a notice has said so. */
static bool is_exhausted;

/* --- begin and end ---------------------------------------------------------------------------- */

/* A VM is in GMM's queue exactly while it waits and is not paused by the operator. */
static void queue_update_locked(struct vm *vm)
{
	if (vm->wait.vcpu && !(vm->hold & VM_HOLD_OPERATOR))
		gmm_wait_begin(pgm_vm(vm->machine.pgm));
	else
		gmm_wait_end(pgm_vm(vm->machine.pgm));
}

void memory_wait_operator_locked(struct vm *vm)
{
	if (vm->wait.vcpu)
		queue_update_locked(vm);
}

void memory_wait_cancel_locked(struct vm *vm)
{
	if (!vm->wait.vcpu)
		return;
	vm->wait.vcpu = NULL;
	atomic_store_release(&vm->hold, vm->hold & ~(uint32_t)VM_HOLD_MEMORY);
	queue_update_locked(vm);
}

/* Begins to wait. False: the VM waits already. */
static bool start(struct vcpu *vcpu, uint64_t page_count, bool is_for_load)
{
	struct vm *vm = vm_of(vcpu);
	spin_lock(&vm->lock);
	bool is_new = !vm->wait.vcpu;
	if (is_new) {
		vm->wait = (struct memory_wait){ .vcpu = vcpu, .is_for_load = is_for_load };
		atomic_store_release(&vm->hold, vm->hold | VM_HOLD_MEMORY);
		queue_update_locked(vm);
	}
	if (is_new || is_for_load)
		vm->wait.page_count = page_count;
	spin_unlock(&vm->lock);
	if (!is_new)
		return false;
	/* The VM could run until now. So if all VMs wait after this, that is reported again. */
	vm_table_enter();
	is_exhausted = false;
	vm_table_leave();
	vm_kick(vm);
	return true;
}

static void report_paused(struct vm *vm, const char *what, uint64_t page_count)
{
	char needs[64];
	format_text(needs, sizeof(needs), "%s %llu page%s", what, (unsigned long long)page_count,
		    page_count == 1 ? "" : "s");
	notice_vm(vm, "paused", &(struct vm_ending){ .reason = "out of memory" }, needs);
	/* Wakes the first waiter: it may find that now all VMs wait. */
	vm_memory_freed();
}

void memory_wait_start(struct vcpu *vcpu, uint64_t page_count)
{
	if (start(vcpu, page_count, false))
		report_paused(vm_of(vcpu), "needs", page_count);
}

void memory_wait_start_load(struct vm *vm, uint64_t page_count)
{
	if (start(vm->machine.vcpus[0], page_count, true))
		report_paused(vm, "its kernel needs up to", page_count);
}

/* --- all VMs wait ----------------------------------------------------------------------------- */

struct census {
	struct memory_waiter waiters[MEMORY_WAITERS_LISTED];
	unsigned waiting, running;
};

static void census_add(struct census *census, struct vm *vm)
{
	spin_lock(&vm->lock);
	bool can_run = vm_is_alive(vm) && !(vm->hold & VM_HOLD_OPERATOR);
	bool waits = can_run && vm->wait.vcpu && !(vm->hold & VM_HOLD_JOB);
	census->running += can_run && !waits;
	if (waits && census->waiting < MEMORY_WAITERS_LISTED) {
		struct memory_waiter *waiter = &census->waiters[census->waiting];
		string_copy(waiter->name, sizeof(waiter->name), vm->config.name);
		waiter->page_count = vm->wait.page_count;
		waiter->priority = vm->config.priority;
	}
	census->waiting += waits;
	spin_unlock(&vm->lock);
}

/* The first waiter found no memory. If no VM runs that could give some back, says so, once. */
static void exhaustion_report(void)
{
	struct census census = { .waiting = 0 };
	vm_table_enter();
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		census_add(&census, vm);
	bool was_exhausted = is_exhausted;
	is_exhausted = census.waiting > 0 && census.running == 0;
	bool is_news = is_exhausted && !was_exhausted;
	vm_table_leave();
	if (is_news)
		notice_exhausted(census.waiters, census.waiting);
}

/* --- the waiter's turn ------------------------------------------------------------------------ */

static void sleep_until_woken(const struct vm *vm)
{
	if (gmm_wait_first() != pgm_vm(vm->machine.pgm)) {
		thread_park();
		return;
	}
	exhaustion_report();
	thread_park_until(cpu_rdtsc() + time_ticks_from_us(RETRY_US));
}

/* There is memory: lets the guest go on, or posts the rest of its power-on. */
static void go_on(struct vm *vm)
{
	spin_lock(&vm->lock);
	bool is_for_load = vm->wait.vcpu && vm->wait.is_for_load;
	if (is_for_load)
		vm_job_load_post_locked(vm);
	else
		memory_wait_cancel_locked(vm);
	bool is_running = !vm->hold;
	spin_unlock(&vm->lock);
	vm_kick(vm);
	if (is_running)
		notice_vm(vm, "resumed", &(struct vm_ending){ .reason = "memory is there again" },
			  NULL);
	if (!is_for_load)
		vm_memory_freed();
}

void memory_wait_turn(struct vcpu *vcpu)
{
	struct vm *vm = vm_of(vcpu);
	if (pgm_handy_refill(vm->machine.pgm) == Q_OK)
		go_on(vm);
	else
		sleep_until_woken(vm);
}

void vm_memory_freed(void)
{
	gmm_vm_t first = gmm_wait_first();
	if (first == GMM_VM_QUIRE)
		return;
	vm_table_enter();
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm)) {
		if (pgm_vm(vm->machine.pgm) != first)
			continue;
		spin_lock(&vm->lock);
		if (vm->wait.vcpu)
			thread_unpark(vm->wait.vcpu->thread);
		spin_unlock(&vm->lock);
	}
	vm_table_leave();
}
