/* SPDX-License-Identifier: MIT */
/* What the scanner's files share. Everything belongs to its thread. The design page is in scan.c. */
#ifndef VM_SCAN_INTERNAL_H
#define VM_SCAN_INTERNAL_H

#include "vm/request.h"
#include "vm/scan.h"
#include "vm/vm.h"

/* A page as the scanner saw it; the VM by number, since it may be gone when it is asked. */
struct scan_page {
	uint64_t vm_number;
	gfn_t gfn;
	page_id_t id;
	q_status_t status; /* of the last request about it */
	bool is_watched;   /* at our request, and not exchanged */
	struct share_page as_shared;
};

extern struct scan_stats scan_figures;

/* The VM of that number with a reference, or NULL; see vm_get_after(). */
struct vm *scan_vm_get(uint64_t number);
/* The same by its handle in GMM. */
struct vm *scan_vm_of(gmm_vm_t handle);

/* Asks the pages' owners; each page's answer is in its `status`. `shared`: SHARE, one for each page. */
void scan_ask(enum vm_request_kind kind, struct scan_page *const *pages, const page_id_t *shared,
	      unsigned count);

/* --- scan_merge.c ----------------------------------------------------------------------- */

/* Takes note of a proposal. Not while it is full. */
void scan_merge_add(const struct scan_page *page, const struct share_match *match);
bool scan_merge_is_full(void);
/* Carries out all that was noted. May sleep. */
void scan_merge_run(void);

/* --- scan_room.c ------------------------------------------------------------------------ */

/* No chunk is free for more shared pages: empties one, if that is possible. May sleep. */
void scan_room_make(void);

#endif
