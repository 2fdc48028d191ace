/* SPDX-License-Identifier: MIT */
/*
 * A request takes three steps: check that the page is still as the poster saw it, change it,
 * update the nested tables. mm/pgm does all three under the PGM lock. This file decides which
 * thread does them and which one is woken.
 *
 * A waiter's thread cannot end before request_release(), so it still exists when it is woken.
 */
#include "vm/request.h"

#include <quire/assert.h>

#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"

#include "vm_internal.h"

static q_status_t page_execute(struct pgm *pgm, enum vm_request_kind kind,
			       const struct vm_request_page *page)
{
	switch (kind) {
	case VM_REQUEST_MONITOR: return pgm_page_monitor(pgm, page->gfn, page->expected);
	case VM_REQUEST_UNMONITOR: return pgm_page_unmonitor(pgm, page->gfn, page->expected);
	case VM_REQUEST_ZERO: return pgm_page_zero(pgm, page->gfn, page->expected);
	case VM_REQUEST_SHARE: return pgm_page_share(pgm, page->gfn, page->expected, page->shared);
	case VM_REQUEST_MOVE: return pgm_page_move(pgm, page->gfn, page->expected);
	case VM_REQUEST_PING:
	case VM_REQUEST_NOTE_DIRTY: break;
	}
	Q_ASSERT(!"a request about pages");
	return Q_INVALID;
}

static void execute(struct pgm *pgm, const struct vm_request *request)
{
	switch (request->kind) {
	case VM_REQUEST_PING: return;
	case VM_REQUEST_NOTE_DIRTY: pgm_dirty_note(pgm, request->first, request->count); return;
	case VM_REQUEST_MONITOR:
	case VM_REQUEST_UNMONITOR:
	case VM_REQUEST_ZERO:
	case VM_REQUEST_SHARE:
	case VM_REQUEST_MOVE:
		for (unsigned i = 0; i < request->count; i++)
			request->pages[i].status =
				page_execute(pgm, request->kind, &request->pages[i]);
		return;
	}
	Q_ASSERT(!"a request of no kind");
}

static void answer(struct request *request, q_status_t status)
{
	struct thread *waiter = request_answer(request, status);
	if (!waiter)
		return;
	thread_unpark(waiter);
	request_release(request);
}

void vm_requests_serve(struct vm *vm)
{
	struct request_batch batch = { 0 };
	struct request *request;
	while ((request = request_queue_next(&vm->requests, &batch)) != NULL) {
		execute(vm->machine.pgm, container_of(request, struct vm_request, request));
		answer(request, Q_OK);
	}
}

void vm_requests_close(struct vm *vm)
{
	struct request_batch left = { 0 };
	struct request *request;
	request_queue_close(&vm->requests, &left);
	while ((request = request_queue_next(&vm->requests, &left)) != NULL)
		answer(request, Q_CANCELLED);
}

static bool is_own_thread(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
		if (vm->machine.vcpus[i]->thread == thread_self())
			return true;
	return false;
}

void vm_request_post(struct vm *vm, struct vm_request *request)
{
	if (!request_queue_post(&vm->requests, &request->request))
		return;
	if (is_own_thread(vm))
		vm_requests_serve(vm);
	else
		vcpu_request(vm->machine.vcpus[0], VCPU_REQUEST_SERVE);
}

q_status_t vm_request_wait(struct vm_request *request)
{
	struct request *inner = &request->request;
	if (request_wait_start(inner, thread_self())) {
		while (request_is_unanswered(inner))
			thread_park();
		/* Another CPU is on its way from thread_unpark() to request_release(). */
		while (!request_is_done(inner))
			cpu_pause();
	}
	return inner->status;
}
