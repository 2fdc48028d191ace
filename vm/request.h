/* SPDX-License-Identifier: MIT */
/*
 * Requests to a VM. Only a VM's own vCPU threads change its memory. All other threads post
 * requests, which vCPU 0's thread carries out at its next safe point, whether the VM runs, sleeps,
 * is paused, or is off.
 *
 * A thread may post only while the VM cannot go away: the operator's thread, a thread with a
 * reference (vm_get_after()), or one of the VM's own vCPU threads. To wait for the answer a thread
 * needs no reference, and must not have one. A vCPU's thread that posts to its own VM carries out
 * at once all that is queued there, so it must hold no lock and no pointer into guest memory. It
 * must not wait for a request to another VM, whose thread could be waiting for this VM in turn.
 *
 * A VM that is destroyed answers with Q_CANCELLED. lib/request_queue.h says in which order
 * requests are served, and who owns a request's storage when.
 */
#ifndef VM_REQUEST_H
#define VM_REQUEST_H

#include "lib/request_queue.h"
#include "mm/pgm/pgm.h"

struct vm;
struct vcpu;

enum vm_request_kind {
	VM_REQUEST_PING,       /* does nothing: the answer shows that the VM's thread came by */
	VM_REQUEST_NOTE_DIRTY, /* pgm_dirty_note() */
	/* pgm_page_monitor() and so on, for each of `pages`. The request itself ends with Q_OK. */
	VM_REQUEST_MONITOR,
	VM_REQUEST_UNMONITOR,
	VM_REQUEST_ZERO,
	VM_REQUEST_SHARE,
	VM_REQUEST_MOVE,
};

/* What one request may ask for, so that it does not keep the VM's thread for long. */
#define VM_REQUEST_PAGES_MAX 64u  /* entries of `pages` */
#define VM_REQUEST_RANGE_MAX 256u /* frames of NOTE_DIRTY */

struct vm_request_page {
	gfn_t gfn;
	page_id_t expected; /* the answer is Q_STATE if the frame has another page by now */
	page_id_t shared;   /* SHARE: the shared page to refer to */
	q_status_t status;  /* the answer, once the request is done */
};

/* The poster fills in `kind`, what belongs to it, and `request.class`. The rest starts as zero. */
struct vm_request {
	struct request request;
	enum vm_request_kind kind;
	unsigned count;                /* of frames or of `pages`, within the limits above */
	gfn_t first;                   /* NOTE_DIRTY */
	struct vm_request_page *pages; /* kinds about pages; the poster owns them */
};

/*
 * Posts a request without waiting. Once request_is_done(&request->request), the answer is in
 * request->request.status. The caller holds only locks that rank below LOCK_RANK_SCHED.
 */
void vm_request_post(struct vm *vm, struct vm_request *request);
/* Sleeps until a posted request is answered; returns its status. One thread only; no lock held. */
q_status_t vm_request_wait(struct vm_request *request);

/* --- for vm/ ---------------------------------------------------------------------------------- */

/* Carries out what is queued. In a vCPU's thread of the VM, no lock held. */
void vm_requests_serve(struct vm *vm);
/* Answers what is queued, and all that is posted afterwards, with Q_CANCELLED. No lock held. */
void vm_requests_close(struct vm *vm);

#endif
