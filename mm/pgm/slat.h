/* SPDX-License-Identifier: MIT */
/*
 * Second-level address translation: nested tables in either vendor's format.
 * Tables are derived from PGM's records and may be thrown away at any time.
 * Formats are pure functions; slat.c walks and changes tables. Callers hold the
 * PGM lock.
 */
#ifndef MM_PGM_SLAT_H
#define MM_PGM_SLAT_H

#include <quire/addr.h>
#include <quire/status.h>

#include "mm/gmm/gmm.h"

enum slat_permission {
	SLAT_READ = 1,
	SLAT_WRITE = 2,
	SLAT_EXEC = 4,
	SLAT_READ_EXEC = SLAT_READ | SLAT_EXEC,
	SLAT_ALL = SLAT_READ | SLAT_WRITE | SLAT_EXEC,
};

/*
 * The geometry of the tables, the same in both formats: slat.c draws it, and each
 * format asserts that its entries fit. Leaves are of level 1 (4 KiB) or 2 (2 MiB).
 */
#define SLAT_ROOT_LEVEL  4u
#define SLAT_LARGE_LEVEL 2u
#define SLAT_INDEX_BITS  9u /* bits of the guest frame that choose the slot, at each level */
#define SLAT_SLOTS       (1u << SLAT_INDEX_BITS)
#define SLAT_GFN_LIMIT   (1ull << (SLAT_ROOT_LEVEL * SLAT_INDEX_BITS))

struct slat_entry {
	bool is_present;
	bool is_leaf;
	uint8_t permission; /* enum slat_permission */
	bool accessed, dirty;
	hfn_t frame; /* the leaf's page, or the next table */
};

struct slat_format {
	const char *name;
	uint64_t (*encode_leaf)(hfn_t frame, uint8_t permission, unsigned level);
	uint64_t (*encode_table)(hfn_t table);
	struct slat_entry (*decode)(uint64_t entry, unsigned level);

	/* The same as masks: a walk need not call decode(). */
	uint64_t present; /* an entry with none of these bits is not present */
	uint64_t large;   /* an entry above level 1 with this bit is a leaf */
	uint64_t address; /* of the page or the next table */
	uint64_t noted;   /* accessed and dirty: hardware sets them in leaves at any time */
	uint64_t dirty;   /* the dirty bit; stays clear where the CPU does not keep it */
};

extern const struct slat_format slat_npt; /* APM vol. 2, "Nested Paging" */
extern const struct slat_format slat_ept; /* Intel SDM vol. 3, "EPT Translation Mechanism" */

struct slat {
	const struct slat_format *format;
	gmm_vm_t vm; /* its SHADOW account pays for tables */
	hpa_t root;
	uint64_t table_pages;
	uint64_t large_pages; /* leaves of level 2 */
	/* Raised after a present entry changed: cached translations are stale. */
	uint64_t generation;
	bool has_cleared_dirty; /* since slat_dirty_done() */
};

q_status_t slat_init(struct slat *slat, const struct slat_format *format, gmm_vm_t vm) Q_MUST_USE;
/* Frees all tables. No CPU may use them. */
void slat_fini(struct slat *slat);

/*
 * Maps a 4 KiB (level 1) or 2 MiB (level 2) page, replacing what is there. Raises
 * the generation if a present translation was replaced by a different one. A 2 MiB
 * page frees the table that it replaces, so no CPU may be in the guest then.
 * Q_NO_MEMORY: no page for a table, and nothing changed.
 */
q_status_t slat_map(struct slat *slat, gfn_t gfn, hfn_t frame, uint8_t permission,
		    unsigned level) Q_MUST_USE;
/*
 * Makes every translation in [start, end) read-only and keeps what hardware noted in
 * it; raises the generation if one was writable. A large page is split first; if
 * there is no page for the table, its whole translation is removed.
 */
void slat_protect(struct slat *slat, gfn_t start, gfn_t end);
/*
 * Removes every translation in [start, end); raises the generation if there was one.
 * A large page that sticks out of the range is treated as in slat_protect().
 */
void slat_unmap(struct slat *slat, gfn_t start, gfn_t end);
/*
 * Removes the 4 KiB leaf of `gfn`, unless a write went through it, and raises the
 * generation. False: the leaf is dirty, or there is none. Only for CPUs with dirty
 * bits.
 */
bool slat_unmap_clean(struct slat *slat, gfn_t gfn);
/* Drops every translation and every table but the root. No CPU may be in the guest. */
void slat_clear(struct slat *slat);
/* Finds the leaf that translates `gfn`; false if there is none. */
bool slat_lookup(const struct slat *slat, gfn_t gfn, struct slat_entry *out_entry,
		 unsigned *out_level);

/*
 * True if the 4 KiB page was written through its translation since the last call, whose
 * dirty bit it clears. The dirty bit of a 2 MiB page stays: it is about 512 pages.
 */
bool slat_dirty_take(struct slat *slat, gfn_t gfn);
/* Ends a series of slat_dirty_take(): raises the generation if a bit was cleared. */
void slat_dirty_done(struct slat *slat);

struct slat_leaf {
	gfn_t gfn, end; /* what it translates; half open */
	struct slat_entry entry;
};
/* Finds the first leaf that translates anything in [from, end); false if there is none. */
bool slat_leaf_next(const struct slat *slat, gfn_t from, gfn_t end, struct slat_leaf *out_leaf);

/* Table pages, besides the root, that are needed to map all of [start, end). */
uint64_t slat_tables_below_root(gfn_t start, gfn_t end);
/* The most table pages, besides the root, that `page_count` pages in a row need anywhere. */
uint64_t slat_tables_anywhere(uint64_t page_count);
/* Table pages that map all guest memory below `top`, the root included. */
uint64_t slat_tables_worst_case(gfn_t top);

#endif
