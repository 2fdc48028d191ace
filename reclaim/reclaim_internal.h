/* SPDX-License-Identifier: MIT */
/*
 * What the files of reclaim/ share. Their threads get memory back. They look, propose by request,
 * and change nothing themselves. The files:
 *
 *   share_scan.c   the sharing scanner's passes, rate and switches; its thread, idle priority
 *   share_merge.c  from pages that look alike to one shared page, in batches; the same thread
 *   room.c         empties a chunk when none is free for shared pages; the same thread
 *   ask.c          finds VMs and asks them about pages; any thread
 *   zero_ahead.c   clears free pages; its own thread, idle priority
 *
 * No file has a lock. A thread looks at a VM under a reference (vm_get_after()), which it drops
 * before it sleeps. So it remembers VMs by number, and pages by frame and id.
 */
#ifndef RECLAIM_RECLAIM_INTERNAL_H
#define RECLAIM_RECLAIM_INTERNAL_H

#include "vm/request.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"

/* A page as the thread saw it, and what its VM last answered about it. */
struct reclaim_page {
	uint64_t vm_number;
	gfn_t gfn;
	page_id_t id;
	q_status_t status; /* of the last request about it */
	bool is_watched;   /* its VM monitors it for the scanner, and has not exchanged it */
	struct share_page as_shared; /* for share_merged() */
};

/* The scanner's thread counts here. The operator's thread reads a figure at a time. */
extern struct share_scan_stats scan_figures;

/* --- ask.c ------------------------------------------------------------------------------------ */

/* Returns the VM of that number with a reference, or NULL; see vm_get_after(). */
struct vm *reclaim_vm_get(uint64_t number);
/* The same for the VM with that handle in GMM. */
struct vm *reclaim_vm_of(gmm_vm_t handle);

/* Posts a request and waits for the answer. Q_CANCELLED: the VM is gone. No lock, no reference. */
q_status_t reclaim_request(uint64_t vm_number, struct vm_request *request) Q_MUST_USE;
/*
 * Makes a request to the VM of each page and waits for the answers, which are in each page's
 * `status`. Pages of one VM that follow each other share a request. `shared` has the shared page
 * for each page, for VM_REQUEST_SHARE; else it is NULL. No lock, no reference.
 */
void reclaim_ask(enum vm_request_kind kind, struct reclaim_page *const *pages,
		 const page_id_t *shared, unsigned count);

/* --- share_merge.c ---------------------------------------------------------------------------- */

/* Notes a proposal. Not to be called while share_merge_is_full(). */
void share_merge_add(const struct reclaim_page *page, const struct share_match *match);
bool share_merge_is_full(void);
/* Carries out all proposals that were noted. Sleeps meanwhile: no lock, no reference. */
void share_merge_run(void);

/* --- room.c ----------------------------------------------------------------------------------- */

/* Empties a chunk for more shared pages, if possible. Sleeps meanwhile: no lock, no reference. */
void room_make(void);

#endif
