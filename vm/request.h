/* SPDX-License-Identifier: MIT */
/*
 * What others ask of a VM. Only a VM's own vCPU threads change its memory;
 * everybody else posts a request, which the thread of vCPU 0 carries out at its
 * next safe point, whether the VM runs, sleeps, is paused, or is off.
 *
 * Any thread may post that knows the VM will not go away meanwhile: the
 * operator's, one with a reference (vm_get_after()), or one of its own vCPUs. A
 * waiter need not know it, and holds no reference. A vCPU's thread that posts to
 * its own VM carries out all that is queued there and then, so it holds no lock,
 * nor a pointer into guest memory. It does not wait for another VM: that one's
 * could be waiting for it.
 *
 * A VM that is destroyed answers with Q_CANCELLED. Order, classes, and whose
 * the storage is when: lib/request_queue.h.
 */
#ifndef VM_REQUEST_H
#define VM_REQUEST_H

#include "lib/request_queue.h"
#include "mm/pgm/pgm.h"

struct vm;
struct vcpu;

enum vm_request_kind {
	VM_REQUEST_PING, /* nothing, but the VM's thread came by */
	VM_REQUEST_NOTE_DIRTY,
	/* About `pages`; what each means is in mm/pgm/pgm.h. The request itself ends with Q_OK. */
	VM_REQUEST_MONITOR,
	VM_REQUEST_UNMONITOR,
	VM_REQUEST_ZERO,
	VM_REQUEST_SHARE,
	VM_REQUEST_MOVE,
};

/* The VM's thread is kept by one request for no longer than this takes. */
#define VM_REQUEST_PAGES_MAX 64u
#define VM_REQUEST_RANGE_MAX 256u

struct vm_request_page {
	gfn_t gfn;
	page_id_t expected; /* Q_STATE: it has another page by now */
	page_id_t shared;   /* SHARE: with what */
	q_status_t status;  /* the answer, once the request is done */
};

/* The poster fills in `kind`, what belongs to it, and `request.class`; the rest starts as all zero. */
struct vm_request {
	struct request request;
	enum vm_request_kind kind;
	unsigned count;                /* of frames or pages: at most as above */
	gfn_t first;                   /* NOTE_DIRTY */
	struct vm_request_page *pages; /* the poster's; the others */
};

/* Does not wait. The answer: request_is_done(&request->request), then its `status`. */
void vm_request_post(struct vm *vm, struct vm_request *request);
/* Sleeps until a request that was posted is answered, and returns its status. One thread. */
q_status_t vm_request_wait(struct vm_request *request);

/* --- for vm/ ----------------------------------------------------------------------------- */

/* In a vCPU's thread, no lock held: carries out what is queued. */
void vm_requests_serve(struct vm *vm);
/* Answers what is queued, and all that comes, with Q_CANCELLED. */
void vm_requests_close(struct vm *vm);

#endif
