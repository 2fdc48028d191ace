/* SPDX-License-Identifier: MIT */
/*
 * The loop of a vCPU's thread: it runs the guest, then attends to what was requested.
 *
 * attend() is the vCPU's safe point: here the thread may wait for memory, for the operator, or for
 * an interrupt. It holds no lock across a run, a park or a yield.
 */
#include "kernel/thread.h"
#include "vm/request.h"

#include "memory_wait.h"
#include "vm_internal.h"

/* Requests that are served before the loop looks at `hold`. */
#define SAFE_POINT_REQUESTS \
	((uint32_t)(VCPU_REQUEST_SERVE | VCPU_REQUEST_WISH | VCPU_REQUEST_POWER))

/* Carries out what the handler of the last exit could not do itself. */
static void wish_grant(struct vcpu *vcpu)
{
	const struct vcpu_wish wish = vcpu_wish_take(vcpu);
	switch (wish.kind) {
	case VCPU_WISH_NOTHING: return;
	case VCPU_WISH_MEMORY: memory_wait_start(vcpu, wish.page_count); return;
	case VCPU_WISH_STOP:
		vm_stop_post(vm_of(vcpu),
			     &(struct vm_ending){ .reason = wish.reason, .is_failure = true });
		return;
	}
}

/* Serves requests, and waits while the VM is held or the vCPU sleeps. False: the thread ends. */
static bool attend(struct vcpu *vcpu)
{
	struct vm *vm = vm_of(vcpu);
	if (thread_should_yield())
		thread_yield();
	for (;;) {
		uint32_t requests = atomic_exchange_acq_rel(&vcpu->requests, 0);
		if (requests & VCPU_REQUEST_END)
			return false;
		if (requests & VCPU_REQUEST_SERVE)
			vm_requests_serve(vm);
		if (requests & VCPU_REQUEST_WISH)
			wish_grant(vcpu);
		if (requests & VCPU_REQUEST_POWER)
			vm_power_request_handle(vm);
		if (atomic_load_relaxed(&vm->hold)) {
			/* The other requests are about a guest that runs: they wait until then. */
			vcpu_request_self(vcpu, requests & ~SAFE_POINT_REQUESTS);
			vm_hold_wait(vcpu);
			continue;
		}
		vcpu_requests_serve(vcpu, requests);
		if (vcpu_is_awake(vcpu))
			return true;
		pgm_ahead_rest(vm->machine.pgm);
		if (!atomic_load_relaxed(&vcpu->requests))
			thread_park();
	}
}

void vm_loop(void *vcpu)
{
	do
		vcpu_run(vcpu);
	while (attend(vcpu));
}
