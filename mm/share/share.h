/* SPDX-License-Identifier: MIT */
/*
 * The working set of the sharing scanner: finds pages that look alike. The design
 * page is in share.c. It only proposes. PGM compares the contents when it is asked
 * to exchange a guest page for a shared one, and so decides.
 *
 * Everything here belongs to the scanner's thread; there is no lock. Contents are
 * reached by page id through the mapping cache.
 */
#ifndef MM_SHARE_SHARE_H
#define MM_SHARE_SHARE_H

#include <quire/addr.h>
#include <quire/status.h>

#include "mm/gmm/gmm.h"

/* A sharing group: a page is compared with pages of its own group only. */
typedef uint16_t share_group_t;
/* The group of VMs that share with no VM, nor with each other: only their zero pages are found. */
#define SHARE_GROUP_NONE ((share_group_t)0)

struct share_config {
	uint64_t size_bytes; /* of the working set, whole pages */
	uint64_t key_mask;   /* the bits of the hash that count: all of them, except in tests */
};

/* `memory`: size_bytes, zeroed, page aligned; it belongs to this module from here on. */
void share_init(const struct share_config *config, void *memory);

/* Begins a new pass over all VMs, and calls share_reap(). */
void share_pass_begin(void);

/* A page of a VM's RAM that is private and has no handler. */
struct share_page {
	gmm_vm_t vm;
	share_group_t group;
	gfn_t gfn;
	page_id_t id;
	/* The CPU says that it was not written since the last pass; false if it does not say. */
	bool is_settled;
};

enum share_advice {
	SHARE_NOTHING, /* nothing to do now; the page may have been noted */
	SHARE_ZERO,    /* it is all zero */
	SHARE_JOIN,    /* it looks like the shared page `shared` */
	SHARE_PAIR,    /* it looks like the page other_vm, other_gfn */
};

struct share_match {
	enum share_advice advice;
	share_group_t group;
	uint64_t key;
	bool is_whole;     /* the key is of all bytes */
	page_id_t shared;  /* JOIN */
	gmm_vm_t other_vm; /* PAIR */
	gfn_t other_gfn;   /* PAIR: the caller must look up which page this is now */
};

/* Looks at a page's content and says what could be done with it. */
struct share_match share_look(const struct share_page *page);

enum share_comparison {
	SHARE_EQUAL,
	SHARE_DIFFERENT, /* though the keys agree: from here on such pages are hashed as a whole */
	SHARE_CHANGED,   /* one of the two does not have the match's key any more, or is gone */
};
/* Compares the page that the match was made for with `other`, the page that it names. */
enum share_comparison share_compare(const struct share_match *match, page_id_t page,
				    page_id_t other);
/*
 * True if the page that the match names still has the match's key, which costs little to
 * find out. Otherwise the other page of a pair is dropped as a candidate.
 */
bool share_is_like(const struct share_match *match, page_id_t other);
/* Drops the other page of a pair as a candidate. */
void share_forget(const struct share_match *match);
/* Notes that a pair was merged into `shared`. The caller's hold on it passes to the working set. */
void share_add(const struct share_match *match, page_id_t shared);
/*
 * Notes that the guest page is backed by a shared page now. If its VM writes to it, the
 * page is left alone for a while.
 */
void share_merged(const struct share_page *page);

/*
 * Lets go of shared pages that no VM uses any more, and returns how many. Until then
 * they cost memory.
 */
uint64_t share_reap(void);
/* Empties the working set, and lets go of all shared pages. */
void share_clear(void);

struct share_stats {
	uint64_t size_bytes, entry_count;  /* how many entries there is room for */
	uint64_t candidates, shared_pages; /* how many entries of each kind */
	uint64_t looked, zero, left_alone, joins, pairs;
	uint64_t differed, evicted, broken, hashed_whole;
	uint32_t pass;
};
void share_stats(struct share_stats *out_stats);

/* Hashes a page's content (XXH3), for checks from outside. False: no such page. Any thread. */
bool share_hash(page_id_t id, uint64_t *out_hash);

/* Asserts the invariants of the working set. */
void share_check(void);

#endif
