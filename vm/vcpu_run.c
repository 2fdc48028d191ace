/* SPDX-License-Identifier: MIT */
/*
 * The loop of a vCPU's thread: safe point, entry, exit, handler.
 *
 * `requests` is the one word that a turn looks at before it enters; everything
 * that is not an exit arrives through it. It is read with interrupts disabled,
 * so what an interrupt handler asks for between that look and the entry ends
 * the guest's run at once (the interrupt stays pending and exits).
 *
 * All vCPUs run on one CPU today: while this thread runs, no other vCPU is in
 * its guest, and a changed nested table needs a flush at each vCPU's own next
 * entry only. Locks: none is held across an entry, a park or a yield.
 */
#include "vcpu.h"

#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"
#include "vm/request.h"

#include "event.h"
#include "exit.h"
#include "memory_wait.h"

/* Requests that are served whether the VM is held or not. */
#define SAFE_POINT_REQUESTS \
	((uint32_t)(VCPU_REQUEST_SERVE | VCPU_REQUEST_WISH | VCPU_REQUEST_POWER))

/* Carries out what the last exit's handler left. */
static void wish_grant(struct vcpu *vcpu)
{
	struct vcpu_wish wish = vcpu->wish;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_NOTHING };
	switch (wish.kind) {
	case VCPU_WISH_NOTHING: return;
	case VCPU_WISH_MEMORY: memory_wait_start(vcpu, wish.page_count); return;
	case VCPU_WISH_STOP:
		vm_stop_post(vcpu->vm,
			     &(struct vm_ending){ .reason = wish.reason, .is_failure = true });
		return;
	}
}

/* Serves the requests of devices, local APICs and memory. */
static void requests_serve(struct vcpu *vcpu, uint32_t requests)
{
	if (requests & VCPU_REQUEST_RESET)
		vcpu_power_on(vcpu);
	if (requests & VCPU_REQUEST_TIMER)
		vm_devices_advance(vcpu);
	if (requests & VCPU_REQUEST_EVENT)
		vcpu->event_due = true;
	if (requests & (VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP))
		vcpu_start_up(vcpu, requests);
	/* Failing is no harm yet: the fault that finds the stock empty waits for memory. */
	if (requests & VCPU_REQUEST_REFILL)
		(void)!pgm_handy_refill(vcpu->vm->pgm);
}

/* Whether the thread may enter the guest as far as the vCPU's own activity goes. */
static bool is_awake(struct vcpu *vcpu)
{
	if (vcpu->activity == VCPU_HALTED && event_wakes(vcpu))
		vcpu->activity = VCPU_RUNNABLE;
	return vcpu->activity == VCPU_RUNNABLE;
}

/* The safe point: everything may happen here. False: the thread ends. */
static bool attend(struct vcpu *vcpu)
{
	if (thread_should_yield())
		thread_yield();
	for (;;) {
		uint32_t requests = atomic_exchange_acq_rel(&vcpu->requests, 0);
		if (requests & VCPU_REQUEST_END)
			return false;
		if (requests & VCPU_REQUEST_SERVE)
			vm_requests_serve(vcpu->vm);
		if (requests & VCPU_REQUEST_WISH)
			wish_grant(vcpu);
		if (requests & VCPU_REQUEST_POWER)
			vm_power_request_handle(vcpu->vm);
		if (atomic_load_relaxed(&vcpu->vm->hold)) {
			/* Kept for later: they are about the guest, which does not run. */
			vcpu_request_self(vcpu, requests & ~SAFE_POINT_REQUESTS);
			vm_hold_wait(vcpu);
			continue;
		}
		requests_serve(vcpu, requests);
		if (is_awake(vcpu))
			return true;
		pgm_ahead_rest(vcpu->vm->pgm);
		if (!atomic_load_relaxed(&vcpu->requests))
			thread_park();
	}
}

/* Runs the guest until its next exit. False, and not entered: attend() is due. */
static bool enter(struct vcpu *vcpu)
{
	const struct virt_ops *ops = vcpu->ops;
	cpu_irq_disable();
	if (Q_UNLIKELY(atomic_load_relaxed(&vcpu->requests) || thread_should_yield())) {
		cpu_irq_enable();
		return false;
	}
	if (Q_UNLIKELY(vcpu->event_due))
		event_prepare(vcpu);
	uint64_t generation = pgm_slat_generation(vcpu->vm->pgm);
	if (Q_UNLIKELY(generation != vcpu->slat_generation)) {
		ops->slat_flush(vcpu->virt);
		vcpu->slat_generation = generation;
	}
	lazy_load(&vcpu->lazy);
	ops->run(vcpu->virt, &vcpu->exit);
	cpu_irq_enable();
	return true;
}

/* The guest's task priority, which it may change without an exit. */
static void task_priority_update(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	vcpu->cr8 = vcpu->regs.cr8;
	vm_devices_enter(vm);
	vpc_cr8_set(vm->vpc, vcpu->index, vcpu->cr8);
	vm_devices_leave(vm, vcpu);
}

static void handle(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	vcpu->exit_tsc = cpu_rdtsc();
	vcpu->can_interrupt = exit->can_interrupt;
	if (Q_UNLIKELY(vcpu->regs.cr8 != vcpu->cr8))
		task_priority_update(vcpu);
	if (Q_UNLIKELY(exit->has_vectoring))
		event_interrupted(vcpu);
	exit_dispatch(vcpu);

	struct vm_exit_figures *figures = &vcpu->figures[exit->kind];
	figures->count++;
	figures->ticks += cpu_rdtsc() - vcpu->exit_tsc;
}

void vcpu_run(void *argument)
{
	struct vcpu *vcpu = argument;
	for (;;) {
		if (Q_LIKELY(enter(vcpu)))
			handle(vcpu);
		else if (!attend(vcpu))
			return;
	}
}
