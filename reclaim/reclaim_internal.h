/* SPDX-License-Identifier: MIT */
/*
 * What the files of reclaim/ share. Their threads get memory back: they look, propose by
 * request, and change nothing themselves. The files:
 *
 *   share_scan.c   the sharing scanner's passes, speed and switches; its thread, idle priority
 *   share_merge.c  from pages that look alike to one shared page, in batches; the same thread
 *   room.c         empties a chunk when none is free for shared pages; the same thread
 *   ask.c          finds VMs and asks them about pages; any thread
 *   zero_ahead.c   clears free pages; its own thread, idle priority
 *
 * No file takes a lock. A VM is looked at under a reference (vm_get_after()), which is dropped
 * before the thread sleeps; so VMs are remembered by number and pages by frame and id.
 */
#ifndef RECLAIM_RECLAIM_INTERNAL_H
#define RECLAIM_RECLAIM_INTERNAL_H

#include "vm/request.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"

/* A page as the thread saw it, and what its VM said last about it. */
struct reclaim_page {
	uint64_t vm_number;
	gfn_t gfn;
	page_id_t id;
	q_status_t status; /* of the last request about it */
	bool is_watched;   /* its VM monitors it at our request, and it is not exchanged */
	struct share_page as_shared;
};

/* The scanner thread's; others read a figure at a time. */
extern struct share_scan_stats scan_figures;

/* --- ask.c ------------------------------------------------------------------------------ */

/* The VM of that number with a reference, or NULL; see vm_get_after(). */
struct vm *reclaim_vm_get(uint64_t number);
/* The same by its handle in GMM. */
struct vm *reclaim_vm_of(gmm_vm_t handle);

/* Posts the request and waits for its answer. Q_CANCELLED: the VM is gone. */
q_status_t reclaim_request(uint64_t vm_number, struct vm_request *request) Q_MUST_USE;
/*
 * Asks the pages' VMs; each page's answer is in its `status`. Neighbours in the list of one VM
 * share a request. `shared`: one for each page, for VM_REQUEST_SHARE; else NULL.
 */
void reclaim_ask(enum vm_request_kind kind, struct reclaim_page *const *pages,
		 const page_id_t *shared, unsigned count);

/* --- share_merge.c ---------------------------------------------------------------------- */

/* Takes note of a proposal. Not while it is full. */
void share_merge_add(const struct reclaim_page *page, const struct share_match *match);
bool share_merge_is_full(void);
/* Carries out all that was noted. Sleeps. */
void share_merge_run(void);

/* --- room.c ----------------------------------------------------------------------------- */

/* No chunk is free for more shared pages: empties one, if that is possible. Sleeps. */
void room_make(void);

#endif
