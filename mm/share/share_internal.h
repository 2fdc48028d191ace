/* SPDX-License-Identifier: MIT */
/*
 * What the files of mm/share share: the working set.
 *
 *   share.h           the interface
 *   share.c           design page, entries, what to propose, ageing, checks
 *   share_history.c   guest pages that were merged, and those written again
 *   share_key.c       pure: keys of page contents
 *
 * Locks: none. Thread: the sharing scanner's; pure functions may run in any.
 */
#ifndef MM_SHARE_SHARE_INTERNAL_H
#define MM_SHARE_SHARE_INTERNAL_H

#include <quire/bits.h>

#include "mm/share/share.h"

/*
 * The states of an entry. Each says what is guaranteed, then what ends it; all but
 * UNUSED end in entry_drop().
 *
 *   UNUSED     It is empty. entry_make() gives it to a new content.
 *   CANDIDATE  The guest page had this content in pass `pass`; it may have changed
 *              since, or be gone. share_forget() ends it when it has changed,
 *              share_add() when it was merged, a comparison that finds a difference,
 *              or entry_make() when another content needs the place.
 *   SHARED     Quire holds the page, so the id names this shared page, and its content
 *              never changes. share_reap() ends it when no VM uses the page, and so
 *              does all that ends a candidate, except share_forget().
 *   AMBIGUOUS  Two pages with this key differ. entry_make() and share_add() end it.
 *
 * share_clear() ends them all.
 */
enum share_entry_kind {
	SHARE_ENTRY_UNUSED,
	SHARE_ENTRY_CANDIDATE,
	SHARE_ENTRY_SHARED,
	SHARE_ENTRY_AMBIGUOUS,
};

struct share_entry {
	uint32_t key;   /* the key's upper half; the lower one chose the bucket */
	uint32_t where; /* candidate: guest frame; shared: page id */
	uint16_t vm;    /* candidate */
	uint16_t group;
	uint16_t pass; /* in which it was met last */
	uint8_t kind;  /* enum share_entry_kind */
	uint8_t unused;
};

_Static_assert(sizeof(struct share_entry) == 16, "at most 16 bytes a candidate");

/* A guest page that was merged, found by a hash of VM and frame. Another page may take the slot. */
struct share_history {
	uint16_t tag;
	uint8_t failures; /* how often it was merged and written again */
	uint8_t next;     /* bit 7: merged; else the pass, modulo 128, in which the wait ends */
};

struct share {
	struct share_entry *entries;
	uint64_t entry_count, bucket_count;
	struct share_history *history;
	uint64_t history_count;
	uint64_t key_mask;
	uint64_t zero_key; /* of a page of zeros */
	struct share_stats stats;
};

extern struct share share;

/* --- share_key.c: pure ---------------------------------------------------------------- */

bool share_content_is_zero(const void *content);
uint64_t share_key_sample(const void *content);
uint64_t share_key_whole(const void *content);

/* --- share_history.c -------------------------------------------------------------------- */

void share_history_init(void *memory, uint64_t size_bytes);
/* True if the page is left alone, because its VM wrote to it after a merge. Notes such a write. */
bool share_history_says_wait(const struct share_page *page);
void share_history_clear(void);

#endif
