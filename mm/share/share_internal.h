/* SPDX-License-Identifier: MIT */
/* What the files of mm/share share: the working set. The design page is in share.c. */
#ifndef MM_SHARE_SHARE_INTERNAL_H
#define MM_SHARE_SHARE_INTERNAL_H

#include <quire/bits.h>

#include "mm/share/share.h"

enum share_entry_kind {
	SHARE_ENTRY_UNUSED,
	SHARE_ENTRY_CANDIDATE,
	SHARE_ENTRY_SHARED,
	SHARE_ENTRY_AMBIGUOUS,
};

struct share_entry {
	uint32_t key;   /* its upper half; the lower one chose the bucket */
	uint32_t where; /* candidate: guest frame; shared: page id */
	uint16_t vm;    /* candidate */
	uint16_t group;
	uint16_t pass; /* when it was last met */
	uint8_t kind;  /* enum share_entry_kind */
	uint8_t unused;
};

_Static_assert(sizeof(struct share_entry) == 16, "at most 16 bytes a candidate");

/* A guest page that was merged. Looked up by a hash of where it is; others may take its place. */
struct share_history {
	uint16_t tag;
	uint8_t failures; /* how often it was merged and written again */
	uint8_t next;     /* bit 7: it is merged; else the pass, modulo 128, to wait for */
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
/* The page was merged before and written soon after: not yet again. */
bool share_history_says_wait(const struct share_page *page);
void share_history_clear(void);

#endif
