/* SPDX-License-Identifier: MIT */
/*
 * Holding, releasing, and the jobs: see vm_internal.h. Every function that changes `hold` changes
 * it under the VM's lock, then kicks the vCPUs. It gives notice of what happened after it has
 * dropped the lock.
 */
#include <quire/log.h>

#include "lib/error_text.h"
#include "arch/x86_64/cpu.h"
#include "kernel/cmdline.h"
#include "kernel/power.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "vm/request.h"

#include "memory_wait.h"
#include "notice.h"
#include "vm_boot.h"
#include "vm_internal.h"

#define HOLD_OFF (VM_HOLD_CREATED | VM_HOLD_STOPPED)

void vm_kick(struct vm *vm)
{
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
		vcpu_request(vm->machine.vcpus[i], VCPU_REQUEST_HOLD);
}

static void hold_set_locked(struct vm *vm, uint32_t hold)
{
	atomic_store_release(&vm->hold, hold);
}

static void job_post_locked(struct vm *vm, enum vm_job job)
{
	vm->job = job;
	hold_set_locked(vm, vm->hold | VM_HOLD_JOB);
}

void vm_job_load_post_locked(struct vm *vm)
{
	if (vm->job == VM_JOB_NONE)
		job_post_locked(vm, VM_JOB_LOAD);
}

/* --- what the operator wants ------------------------------------------------------------------ */

q_status_t vm_start(struct vm *vm)
{
	q_status_t status = Q_STATE;
	spin_lock(&vm->lock);
	if ((vm->hold & HOLD_OFF) && !(vm->hold & VM_HOLD_JOB))
		status = pgm_reserve(vm->machine.pgm);
	if (status == Q_OK)
		job_post_locked(vm, VM_JOB_POWER_ON);
	spin_unlock(&vm->lock);
	if (status == Q_OK)
		vm_kick(vm);
	return status;
}

q_status_t vm_reset(struct vm *vm)
{
	spin_lock(&vm->lock);
	bool is_allowed = !(vm->hold & (HOLD_OFF | VM_HOLD_JOB));
	if (is_allowed)
		job_post_locked(vm, VM_JOB_POWER_ON);
	spin_unlock(&vm->lock);
	if (!is_allowed)
		return Q_STATE;
	vm_kick(vm);
	return Q_OK;
}

q_status_t vm_stop(struct vm *vm)
{
	spin_lock(&vm->lock);
	bool is_off = (vm->hold & HOLD_OFF) && !(vm->hold & VM_HOLD_JOB);
	spin_unlock(&vm->lock);
	if (is_off)
		return Q_STATE;
	vm_stop_post(vm, &(struct vm_ending){ .reason = "by the operator" });
	return Q_OK;
}

q_status_t vm_pause(struct vm *vm)
{
	spin_lock(&vm->lock);
	bool is_allowed = !(vm->hold & (HOLD_OFF | VM_HOLD_OPERATOR));
	if (is_allowed)
		hold_set_locked(vm, vm->hold | VM_HOLD_OPERATOR);
	memory_wait_operator_locked(vm);
	spin_unlock(&vm->lock);
	if (!is_allowed)
		return Q_STATE;
	vm_kick(vm);
	notice_vm(vm, "paused", &(struct vm_ending){ .reason = "by the operator" }, NULL);
	vm_memory_freed();
	return Q_OK;
}

q_status_t vm_resume(struct vm *vm)
{
	spin_lock(&vm->lock);
	bool is_allowed = vm->hold & VM_HOLD_OPERATOR;
	bool waits = vm->hold & VM_HOLD_MEMORY;
	hold_set_locked(vm, vm->hold & ~(uint32_t)VM_HOLD_OPERATOR);
	memory_wait_operator_locked(vm);
	spin_unlock(&vm->lock);
	if (!is_allowed)
		return Q_STATE;
	vm_kick(vm);
	if (waits)
		notice_vm(vm, "paused", &(struct vm_ending){ .reason = "out of memory" }, NULL);
	else
		notice_vm(vm, "resumed", NULL, NULL);
	return Q_OK;
}

void vm_watcher_set(struct vm *vm, struct thread *watcher)
{
	spin_lock(&vm->lock);
	vm->watcher = watcher;
	spin_unlock(&vm->lock);
}

/* --- what the guest wants --------------------------------------------------------------------- */

void vm_stop_post(struct vm *vm, const struct vm_ending *ending)
{
	spin_lock(&vm->lock);
	/* The first reason is the cause. */
	if (vm->job != VM_JOB_STOP) {
		vm->ending = *ending;
		job_post_locked(vm, VM_JOB_STOP);
	}
	spin_unlock(&vm->lock);
	vm_kick(vm);
}

void vm_power_request_handle(struct vm *vm)
{
	enum vpc_power what;
	uint32_t value;
	if (!machine_power_request_take(&vm->machine, &what, &value))
		return;
	switch (what) {
	case VPC_POWER_OFF: vm_stop_post(vm, &(struct vm_ending){ .reason = "power-off" }); return;
	case VPC_POWER_DEBUG_EXIT:
		vm_stop_post(vm, &(struct vm_ending){ .reason = "debug exit",
						      .status = value,
						      .is_failure = value != 0 });
		return;
	case VPC_POWER_RESET: break;
	}
	if (vm->config.on_reset == VM_ON_RESET_STOP)
		vm_stop_post(vm, &(struct vm_ending){ .reason = "reset" });
	else if (vm_reset(vm) == Q_OK)
		log_info("vm %s: resets itself", vm->config.name);
}

void vm_exit_if_idle(void)
{
	if (vm_any_alive())
		return;
	switch (options()->exit_mode) {
	case EXIT_MODE_PROMPT: return;
	case EXIT_MODE_POWEROFF: power_off(vm_exit_status());
	case EXIT_MODE_HALT: power_halt(vm_exit_status());
	}
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* Changes `hold` at the end of a job. JOB stays if another job was posted meanwhile. */
static void job_finish(struct vm *vm, uint32_t clear, uint32_t set)
{
	spin_lock(&vm->lock);
	if (clear & VM_HOLD_MEMORY)
		memory_wait_cancel_locked(vm);
	uint32_t hold = (vm->hold & ~clear) | set;
	/* A STOP ends here. Until now it was still posted, see job_take_locked(). */
	if (set & VM_HOLD_STOPPED)
		vm->job = VM_JOB_NONE;
	if (vm->job == VM_JOB_NONE)
		hold &= ~(uint32_t)VM_HOLD_JOB;
	hold_set_locked(vm, hold);
	spin_unlock(&vm->lock);
	vm_kick(vm);
}

static void watcher_wake(struct vm *vm)
{
	spin_lock(&vm->lock);
	if (vm->watcher)
		thread_unpark(vm->watcher);
	spin_unlock(&vm->lock);
}

static void stop_finish(struct vm *vm, const char *detail)
{
	machine_power_off(&vm->machine);
	pgm_unreserve(vm->machine.pgm);
	serial_finish(&vm->machine.serial);
	job_finish(vm, VM_HOLD_CREATED | VM_HOLD_OPERATOR | VM_HOLD_MEMORY, VM_HOLD_STOPPED);
	notice_vm(vm, "stopped", &vm->ending, detail);
	watcher_wake(vm);
	vm_exit_if_idle();
}

/* Says, once, how long the machine took until it started its first guest. */
static void first_guest_report(void)
{
	static bool is_reported;
	if (is_reported)
		return;
	is_reported = true;
	log_notice("quire: first guest instruction after %llu ticks",
		   (unsigned long long)(cpu_rdtsc() - time_start()));
}

static void job_load(struct vm *vm)
{
	struct error_text error = { "" };
	q_status_t status = vm_boot_load(vm, &error);
	if (status == Q_NO_MEMORY) {
		memory_wait_start_load(vm, vm_boot_pages_max(vm));
		job_finish(vm, HOLD_OFF, 0);
		return;
	}
	if (status != Q_OK) {
		vm_stop_post(vm,
			     &(struct vm_ending){ .reason = "cannot start", .is_failure = true });
		stop_finish(vm, error.text);
		return;
	}
	first_guest_report();
	job_finish(vm, HOLD_OFF | VM_HOLD_MEMORY, 0);
	notice_vm(vm, "started", NULL, NULL);
}

static void job_run(struct vm *vm, enum vm_job job)
{
	switch (job) {
	case VM_JOB_NONE: return;
	case VM_JOB_POWER_ON:
		machine_power_on(&vm->machine);
		job_load(vm);
		break;
	case VM_JOB_LOAD: job_load(vm); break;
	case VM_JOB_STOP: stop_finish(vm, NULL); break;
	}
	/* The job may have given memory back, or the VM may have left the queue of waiters. */
	vm_memory_freed();
}

static enum vm_job job_take_locked(struct vm *vm, const struct vcpu *vcpu) Q_REQUIRES(vm->lock)
{
	enum vm_job job = vm->job;
	if (vcpu->index != 0 || vm->held_count != vm->machine.vcpu_count)
		return VM_JOB_NONE;
	/* A STOP stays until it is done, so that no later reason takes the place of its own. */
	if (job != VM_JOB_STOP)
		vm->job = VM_JOB_NONE;
	if (job == VM_JOB_POWER_ON)
		vm->ending = (struct vm_ending){ 0 };
	/* A power-on or a stop no longer needs the memory that the VM waits for. A load does. */
	if (job == VM_JOB_POWER_ON || job == VM_JOB_STOP)
		memory_wait_cancel_locked(vm);
	return job;
}

static bool must_end(struct vcpu *vcpu)
{
	return atomic_load_acquire(&vcpu->requests) & VCPU_REQUEST_END;
}

/* A held VM serves requests as well, for example about a page of a paused VM. */
static void requests_serve_if_asked(struct vcpu *vcpu)
{
	const uint32_t serve = VCPU_REQUEST_SERVE;
	if (atomic_and_acq_rel(&vcpu->requests, ~serve) & serve)
		vm_requests_serve(vm_of(vcpu));
}

/* One turn, without the lock: serves requests, then does a job, tries for memory, or sleeps. */
static void hold_turn(struct vcpu *vcpu, enum vm_job job, bool is_memory_waiter)
{
	/* A request that arrives after this leaves a permit, so the park below returns at once. */
	requests_serve_if_asked(vcpu);
	if (job != VM_JOB_NONE)
		job_run(vm_of(vcpu), job);
	else if (is_memory_waiter)
		memory_wait_turn(vcpu);
	else
		thread_park();
}

void vm_hold_wait(struct vcpu *vcpu)
{
	struct vm *vm = vm_of(vcpu);
	spin_lock(&vm->lock);
	vm->held_count++;
	/* vCPU 0 may be waiting for this vCPU to be held as the last one. */
	if (vm->job != VM_JOB_NONE && vcpu->index != 0)
		thread_unpark(vm->machine.vcpus[0]->thread);
	while (vm->hold && !must_end(vcpu)) {
		enum vm_job job = job_take_locked(vm, vcpu);
		bool is_memory_waiter =
			vm->wait.vcpu == vcpu && !(vm->hold & (VM_HOLD_JOB | VM_HOLD_OPERATOR));
		spin_unlock(&vm->lock);
		hold_turn(vcpu, job, is_memory_waiter);
		spin_lock(&vm->lock);
	}
	vm->held_count--;
	spin_unlock(&vm->lock);
}
