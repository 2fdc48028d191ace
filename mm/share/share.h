/* SPDX-License-Identifier: MIT */
/*
 * Which pages look alike: the working set of the sharing scanner. The design
 * page is in share.c. It proposes only: what two pages really hold, and whether
 * they still do, is decided by PGM when it is asked to share them.
 *
 * Everything here belongs to the scanner's thread; there is no lock. Content is
 * reached by page id through the mapping cache.
 */
#ifndef MM_SHARE_SHARE_H
#define MM_SHARE_SHARE_H

#include <quire/addr.h>
#include <quire/status.h>

#include "mm/gmm/gmm.h"

/* Sharing groups: pages are only ever compared inside one. */
typedef uint16_t share_group_t;
/* Of VMs that share with nobody, nor with each other: only their pages of zeros are found. */
#define SHARE_GROUP_NONE ((share_group_t)0)

struct share_config {
	uint64_t size_bytes; /* of the working set; whole pages */
	uint64_t key_mask;   /* of the hash, what is used: all ones but in tests */
};

/* `memory`: size_bytes, zeroed, page aligned, and the module's from now on. */
void share_init(const struct share_config *config, void *memory);

/* A new pass over all VMs begins: shared pages that no VM uses any more are let go. */
void share_pass_begin(void);

/* One page of RAM of a VM, which is private and has no handler. */
struct share_page {
	gmm_vm_t vm;
	share_group_t group;
	gfn_t gfn;
	page_id_t id;
	/* The CPU says that it was not written since the last pass; if it does not know, false. */
	bool is_settled;
};

enum share_advice {
	SHARE_NOTHING, /* noted, or not worth it now */
	SHARE_ZERO,    /* it is all zero */
	SHARE_JOIN,    /* it looks like the shared page `shared` */
	SHARE_PAIR,    /* it looks like `other` */
};

struct share_match {
	enum share_advice advice;
	share_group_t group;
	uint64_t key;
	bool is_whole;    /* the key is of all bytes */
	page_id_t shared; /* JOIN */
	gmm_vm_t other_vm;
	gfn_t other_gfn; /* PAIR: its page must be looked up anew */
};

/* Looks at a page's content and says what could be done with it. */
struct share_match share_look(const struct share_page *page);

enum share_comparison {
	SHARE_EQUAL,
	SHARE_DIFFERENT, /* though the keys agree: from now on such pages are hashed as a whole */
	SHARE_CHANGED,   /* the other page does not look like this any more, or is gone */
};
/* Compares the page that the match is about with the one that it names. */
enum share_comparison share_compare(const struct share_match *match, page_id_t page,
				    page_id_t other);
/*
 * Whether the page that the match names looks like it still, by its key, which
 * costs little. If it does not, it is no candidate any more.
 */
bool share_is_like(const struct share_match *match, page_id_t other);
/* The other page of a pair is no candidate any more. */
void share_forget(const struct share_match *match);
/* A pair was merged into `shared`; the hold that Quire has on it is now the working set's. */
void share_add(const struct share_match *match, page_id_t shared);
/* `page` is a reference to a shared page now. If it is broken, it will be left alone for a while. */
void share_merged(const struct share_page *page);

/*
 * Lets go of shared pages that no VM uses any more; returns how many. They cost
 * memory until then. share_pass_begin() does it.
 */
uint64_t share_reap(void);
/* Drops everything. */
void share_clear(void);

struct share_stats {
	uint64_t size_bytes, entry_count;  /* how many there is room for */
	uint64_t candidates, shared_pages; /* how many entries are what */
	uint64_t looked, zero, left_alone, joins, pairs;
	uint64_t differed, evicted, broken, hashed_whole;
	uint32_t pass;
};
void share_stats(struct share_stats *out_stats);

/* XXH3 of a page's content, for checks from outside. False: no such page. Any thread. */
bool share_hash(page_id_t id, uint64_t *out_hash);

/* Asserts the invariants of the working set. */
void share_check(void);

#endif
