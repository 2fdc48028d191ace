/* SPDX-License-Identifier: MIT */
/*
 * What the files of mm/pgm share: one VM's struct pgm. The design page is in pgm.c.
 *
 *   pgm.c             creates, resets, destroys; figures
 *   pgm_region.c      the guest-physical map: regions and pages of records
 *   pgm_record.h      pure: the 16 bytes of a record; what each state guarantees
 *   pgm_transition.c  pure: which operations a page allows, and what it becomes
 *   pgm_check.c       asserts all invariants
 *
 *   pgm_fault.c       a guest's fault: classify, back, map
 *   pgm_back.c        makes a page the VM's own, as its first write does
 *   pgm_handy.c       the stock of ready pages, and the reports to GMM
 *   pgm_ahead.c       maps and hands out pages ahead of a guest's faults
 *   pgm_large.c       blocks of 512 pages as one nested entry
 *   slat.c            walks and changes nested tables of either format
 *   slat_npt.c        pure: AMD's format
 *   slat_ept.c        pure: Intel's format
 *
 *   pgm_access.c      the hypervisor reads and writes guest memory
 *   pgm_walk.c        guest-virtual to guest-physical, for the emulator
 *   pgm_handler.c     ranges whose accesses go to a handler first
 *
 *   pgm_page.c        what other threads ask of a page: monitor, share, zero, move
 *   pgm_dirty.c       moves dirty bits into records
 *   pgm_balloon.c     the guest's balloon
 *   pgm_restore.c     fills memory from a saved state
 *   pgm_free.c        pages on their way back to GMM, in batches
 *
 *   pgm_rom.c         ROM
 *   pgm_rom_shadow.c  ROM with RAM in its shadow
 *   pgm_device.c      device memory
 *   pgm_shelf.c       records of memory that is not in the map
 *   pgm_promise.c     raises and lowers what GMM promised
 *
 * Lock: the PGM lock, one for each VM (rank LOCK_RANK_PGM), guards everything that is
 * not pure. Q_REQUIRES(pgm->lock) marks functions that need it, Q_EXCLUDES those that
 * take it. The functions of slat.c need it as well, but know no struct pgm to name it.
 *
 * Threads: the VM's vCPU threads, or any thread while none of them runs, as when a VM
 * is created or destroyed. Any thread at any time, without the lock: pgm_page_look(),
 * pgm_page_next_private(), pgm_stats() and the accessors at the end of pgm.c.
 */
#ifndef MM_PGM_PGM_INTERNAL_H
#define MM_PGM_PGM_INTERNAL_H

#include <quire/assert.h>
#include <quire/compiler.h>
#include <quire/lock.h>

#include "mm/pgm/pgm.h"

#include "pgm_record.h"

/* --- the levels of records ---------------------------------------------------- */

#define PGM_RECORDS_SHIFT   8  /* records in a page: 1 MiB of guest memory */
#define PGM_DIRECTORY_SHIFT 17 /* what one directory covers: 512 MiB */
#define PGM_RECORDS         (1u << PGM_RECORDS_SHIFT)
#define PGM_DIRECTORY_SIZE  (1u << (PGM_DIRECTORY_SHIFT - PGM_RECORDS_SHIFT))
#define PGM_DIRECTORY_COUNT (PGM_GFN_LIMIT >> PGM_DIRECTORY_SHIFT)

struct pgm_directory {
	struct pgm_record *pages[PGM_DIRECTORY_SIZE]; /* NULL: no record page */
};

_Static_assert(PGM_GFN_LIMIT <= SLAT_GFN_LIMIT, "nested tables reach every guest frame");
_Static_assert(sizeof(struct pgm_directory) == PAGE_SIZE, "a directory is one page");
_Static_assert(PGM_DIRECTORY_COUNT * sizeof(struct pgm_directory *) <= PAGE_SIZE,
	       "all directories of a VM are named in one page");

/* --- the guest-physical map ------------------------------------------------------ */

#define PGM_REGION_MAX 32u

enum pgm_region_kind {
	PGM_REGION_RAM,
	PGM_REGION_ROM,
	PGM_REGION_ROM_SHADOWED,
	PGM_REGION_DEVICE,
	PGM_REGION_MMIO,
};

struct pgm_region {
	gfn_t start, end; /* half open, never empty */
	enum pgm_region_kind kind;
	struct pgm_shelf *shelf; /* shadowed ROM: records of the pages that are not read */
};

/* --- shelves ------------------------------------------------------------------------ */

#define PGM_SHELF_RECORD_PAGES 510u
#define PGM_SHELF_PAGES_MAX    ((uint64_t)PGM_SHELF_RECORD_PAGES << PGM_RECORDS_SHIFT)

/* Records of memory that is not in the guest-physical map, see pgm_shelf.c. */
struct pgm_shelf {
	hpa_t self;
	uint64_t page_count;
	hpa_t records[PGM_SHELF_RECORD_PAGES];
};

/* --- device memory -------------------------------------------------------------------- */

#define PGM_DEVICE_MAX 4u

struct pgm_device {
	struct pgm_shelf *shelf; /* its records while it is mapped nowhere */
	gfn_t start;             /* if it is mapped: where */
	bool is_mapped, is_tracked;
};

/* --- physical handlers ----------------------------------------------------------- */

#define PGM_HANDLER_MAX 32u

struct pgm_handler {
	gfn_t start, end; /* half open, never empty */
	enum pgm_handler_kind kind;
	uint32_t tag;
};

/* --- promises ---------------------------------------------------------------------- */

/* FIXED pages other than records: struct pgm, the handy stock, the page of directories. */
#define PGM_FIXED_PAGES 3u
/* By how many pages promises are raised or lowered. */
struct pgm_promise {
	uint64_t base, guaranteed, shadow, fixed;
};

/* Promised at creation, so that pgm_rom_add() need not raise promises. */
#define PGM_ROM_PAGES        64u
#define PGM_ROM_RECORD_PAGES 4u /* records and directories for ROM in two places */
#define PGM_ROM_TABLES       PGM_ROM_RECORD_PAGES /* nested tables likewise, see pgm_rom.c */

/* --- the handy stock --------------------------------------------------------------- */

#define PGM_HANDY_MAX  128u
#define PGM_HANDY_LOW  32u /* refill at the next safe point */
#define PGM_HANDY_SYNC 8u  /* callers that may wait refill at once */

/* What the next refill tells GMM about a page that left the stock. */
struct pgm_report {
	page_id_t id;
	uint32_t gfn;
	page_id_t shared; /* not NIL: the shared page that it replaced; drop this reference */
};

struct pgm_handy {
	struct gmm_page fresh[PGM_HANDY_MAX]; /* a stack */
	struct pgm_report reports[PGM_HANDY_MAX];
};

_Static_assert(sizeof(struct pgm_handy) <= PAGE_SIZE, "the stock is one page");

/* --- working ahead, see pgm_ahead.c ---------------------------------------------- */

#define PGM_AHEAD_MAX   64u /* pages handed out whose use is not yet known */
#define PGM_AHEAD_BATCH 16u
#define PGM_RUN_COUNT   2u /* runs followed at the same time, for each kind of access */
#define PGM_RUN_NOWHERE (~0ull)

_Static_assert(PGM_AHEAD_MAX + PGM_HANDY_LOW < PGM_HANDY_MAX, "a refill leaves the stock high");

/* A series of faults, up or down, each where the one before left off. */
struct pgm_run {
	uint64_t up, down; /* guest frames: a fault there continues the run */
	unsigned batch;    /* pages wanted ahead at its last fault */
};

struct pgm_runs {
	struct pgm_run runs[PGM_RUN_COUNT];
	unsigned oldest;
};

struct pgm_ahead {
	struct pgm_runs reads, writes;
	unsigned count, old_count; /* old: listed before the last refill; they come first */
	uint32_t gfns[PGM_AHEAD_MAX];
};

/* --- one VM ----------------------------------------------------------------------------- */

struct pgm {
	struct spinlock lock; /* rank LOCK_RANK_PGM */

	/* Fixed by pgm_create(). */
	gmm_vm_t vm;
	enum gmm_overcommit overcommit;
	enum gmm_priority priority;
	bool is_bound;
	uint64_t ram_pages;
	gfn_t ram_end;
	bool has_dirty_bits, works_ahead;
	uint64_t reserved_pages; /* what pgm_reserve() claims of BASE; pgm_promise.c changes it */
	page_id_t zero_id;
	hfn_t zero_frame;
	struct pgm_handy *handy;
	struct pgm_directory **directories; /* a page; its entries are guarded by lock */

	/* Guarded by lock. pgm_stats() and others read figures without it, which may be stale. */
	struct slat slat;
	unsigned region_count;
	struct pgm_region regions[PGM_REGION_MAX]; /* sorted, disjoint */
	unsigned device_count;
	struct pgm_device devices[PGM_DEVICE_MAX];
	uint64_t device_pages;
	unsigned handler_count;
	struct pgm_handler handlers[PGM_HANDLER_MAX]; /* sorted, disjoint */
	unsigned handy_count, report_count;
	struct pgm_ahead ahead;
	uint64_t record_pages;    /* and directories */
	uint64_t shelf_pages;     /* heads and record pages */
	uint64_t private_pages;   /* of RAM: NORMAL and MONITORED */
	uint64_t monitored_pages; /* of RAM; part of private_pages */
	uint64_t shared_pages, ballooned_pages;
	uint64_t rom_pages;         /* of plain ROM, with those that are the zero page */
	uint64_t rom_private_pages; /* of plain and shadowed ROM, without the zero page */
	uint64_t rom_shadow_pages;  /* in the shadow of ROM, without the zero page */
	struct pgm_counters counters;
};

_Static_assert(sizeof(struct pgm) <= PAGE_SIZE, "struct pgm is one page");

/*
 * The record of a guest page; NULL if no record page covers it. Readers that
 * tolerate stale values call it, and pgm_record_find_ram(), without the lock.
 */
static inline struct pgm_record *pgm_record_find(const struct pgm *pgm, gfn_t gfn)
{
	if (gfn.raw >= PGM_GFN_END)
		return NULL;
	const struct pgm_directory *directory = pgm->directories[gfn.raw >> PGM_DIRECTORY_SHIFT];
	if (!directory)
		return NULL;
	struct pgm_record *page =
		directory->pages[(gfn.raw >> PGM_RECORDS_SHIFT) & (PGM_DIRECTORY_SIZE - 1)];
	return page ? &page[gfn.raw & (PGM_RECORDS - 1)] : NULL;
}

/*
 * The records from `gfn` on that follow each other in memory, at most as far as `end`.
 * They must exist.
 */
static inline struct pgm_record *pgm_records_from(const struct pgm *pgm, gfn_t gfn, gfn_t end,
						  uint64_t *out_count) Q_REQUIRES(pgm->lock)
{
	uint64_t in_page = PGM_RECORDS - (gfn.raw & (PGM_RECORDS - 1));
	struct pgm_record *first = pgm_record_find(pgm, gfn);

	Q_ASSERT(first);
	*out_count = uint64_min(in_page, end.raw - gfn.raw);
	return first;
}

/* The record of RAM at power-on. */
static inline struct pgm_record pgm_record_of_empty_ram(const struct pgm *pgm)
{
	return pgm_record_make(PGM_TYPE_RAM, PGM_STATE_ZERO, pgm->zero_frame, PAGE_ID_NIL);
}

/* The record if the page is RAM, else NULL. */
static inline struct pgm_record *pgm_record_find_ram(const struct pgm *pgm, gfn_t gfn)
{
	struct pgm_record *record = pgm_record_find(pgm, gfn);
	return record && pgm_record_type(*record) == PGM_TYPE_RAM ? record : NULL;
}

/* The record of the same page without memory of its own; `state` is ZERO or BALLOONED. */
static inline struct pgm_record pgm_record_emptied(const struct pgm *pgm, struct pgm_record record,
						   enum pgm_state state)
{
	return pgm_record_replace(record, state, pgm->zero_frame, PAGE_ID_NIL);
}

/* The record if the page is RAM, ROM or device memory, else NULL. */
static inline struct pgm_record *pgm_record_find_memory(const struct pgm *pgm, gfn_t gfn)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find(pgm, gfn);
	return record && pgm_record_is_memory(*record) ? record : NULL;
}

/* --- pgm.c, under the lock ------------------------------------------------------------------ */

void pgm_reset_locked(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_region.c ---------------------------------------------------------------------------- */

/* Q_INVALID: not whole pages; Q_RANGE: beyond PGM_GFN_END. */
q_status_t pgm_range_check(gpa_t start, uint64_t size_bytes) Q_MUST_USE;
/* Likewise, and Q_CONFLICT: overlaps a region; Q_LIMIT: no room for one more region. */
q_status_t pgm_region_admit(const struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			    struct pgm_region *out_region) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/* Adds a region that was admitted. */
void pgm_region_insert(struct pgm *pgm, struct pgm_region region) Q_REQUIRES(pgm->lock);
/* Removes the region that starts at `start`. Its records must be zero already. */
void pgm_region_remove(struct pgm *pgm, gfn_t start) Q_REQUIRES(pgm->lock);
/* The region that covers the page, or NULL. */
const struct pgm_region *pgm_region_find(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);

/* How many record pages and directories pgm_record_pages_make() would allocate. */
uint64_t pgm_record_pages_missing(const struct pgm *pgm, gfn_t start, gfn_t end)
	Q_REQUIRES(pgm->lock);
/*
 * Makes the record pages and directories of [start, end) that are missing. After a
 * failure those made so far stay: they are empty, and the next try uses them.
 */
q_status_t pgm_record_pages_make(struct pgm *pgm, gfn_t start, gfn_t end)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;
/* The most that pgm_record_pages_make() allocates for `page_count` pages in a row anywhere. */
uint64_t pgm_record_pages_anywhere(uint64_t page_count);
/* Frees the record pages and directories around [start, end) that are all zero. */
void pgm_record_pages_trim(struct pgm *pgm, gfn_t start, gfn_t end) Q_REQUIRES(pgm->lock);

/* --- pgm_promise.c, under the lock ----------------------------------------------------------- */

/* An admission: fails like gmm_vm_resize(), and with Q_STATE if the VM is unreserved. */
q_status_t pgm_promise_raise(struct pgm *pgm, struct pgm_promise more)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;
void pgm_promise_lower(struct pgm *pgm, struct pgm_promise less) Q_REQUIRES(pgm->lock);

/* --- pgm_shelf.c, under the lock --------------------------------------------------------------- */

/* Pages of the FIXED account that a shelf for `page_count` records takes. */
uint64_t pgm_shelf_size(uint64_t page_count);
/* Makes a shelf whose records are all zero. Its pages must have been promised. */
struct pgm_shelf *pgm_shelf_make(struct pgm *pgm, uint64_t page_count) Q_REQUIRES(pgm->lock);
void pgm_shelf_free(struct pgm *pgm, struct pgm_shelf *shelf) Q_REQUIRES(pgm->lock);
struct pgm_record *pgm_shelf_record(const struct pgm_shelf *shelf, uint64_t index);

/* --- pgm_rom.c, under the lock ---------------------------------------------------------------- */

bool pgm_rom_page_is_zero(const uint8_t *page);
/* Fills the VM's page `id` with a page of `image` and tells GMM its guest frame. */
void pgm_rom_page_fill(struct pgm *pgm, gfn_t gfn, page_id_t id, const uint8_t *image)
	Q_REQUIRES(pgm->lock);

/* --- pgm_rom_shadow.c, under the lock ------------------------------------------------------------ */

/* Of a page of shadowed ROM: the record of the half that is not read. */
struct pgm_record *pgm_rom_hidden(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);
/* Likewise: the record of the half that takes writes, or NULL if writes are ignored. */
struct pgm_record *pgm_rom_written(const struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock);
/* Sets all modes to READ_ROM and frees all shadow pages. */
void pgm_rom_reset(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_handler.c, under the lock --------------------------------------------------------- */

/* The range that covers the page, or NULL. */
const struct pgm_handler *pgm_handler_find(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);
void pgm_handlers_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock);
void pgm_handler_record_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record)
	Q_REQUIRES(pgm->lock);

/* True if a handler wants the access before it goes to memory. */
static inline bool pgm_handler_wants(struct pgm_record record, enum mem_access access)
{
	enum pgm_handler_kind kind = pgm_record_handler(record);
	return kind != PGM_HANDLER_NONE && (kind == PGM_HANDLER_ALL || access == MEM_WRITE);
}

/* --- pgm_large.c, under the lock --------------------------------------------------------------- */

/* True if the page's place in its block of guest memory is the frame's place in its chunk. */
static inline bool pgm_large_is_at_place(gfn_t gfn, hfn_t frame)
{
	return (gfn.raw ^ frame.raw) % PAGES_PER_LARGE == 0;
}

/* True if the whole block of a page, which may be mapped writable, can be one large entry. */
bool pgm_large_is_whole(const struct pgm *pgm, gfn_t gfn, hfn_t frame) Q_REQUIRES(pgm->lock);
/* Maps that block as one large entry. Q_NO_MEMORY: no page for a table above it. */
q_status_t pgm_large_map(struct pgm *pgm, gfn_t gfn, hfn_t frame) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/* Whole chunks are for VMs that have a right to all their memory. */
static inline bool pgm_large_has_right(const struct pgm *pgm)
{
	return GMM_PAGES_PER_CHUNK == PAGES_PER_LARGE && pgm->overcommit == GMM_OVERCOMMIT_NONE;
}
/* Backs the whole block of a page of RAM with one chunk. False: impossible, nothing changed. */
bool pgm_large_back(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);

/* --- pgm_device.c, under the lock ------------------------------------------------------------- */

/* The record of the device's page `index`, in the map or on the device's shelf. */
struct pgm_record *pgm_device_record(const struct pgm *pgm, const struct pgm_device *device,
				     uint64_t index) Q_REQUIRES(pgm->lock);
/* Notes that a MONITORED page of a device is about to be written, and makes it NORMAL. */
void pgm_device_note_write(struct pgm_record *record);

/* --- pgm_access.c ------------------------------------------------------------------------------ */

/* Reads an aligned word of 4 or 8 bytes, for table walks. Q_RANGE: it is not in memory. */
q_status_t pgm_word_read_locked(const struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				uint64_t *out_word) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/*
 * Replaces such a word by `word` if it still is `expected`, in one atomic step, as
 * a locked instruction of the guest does. Q_CONFLICT: it was another one; Q_RANGE:
 * the memory that is read there takes no writes; Q_HANDLER; Q_NO_MEMORY.
 */
q_status_t pgm_word_exchange_locked(struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				    uint64_t expected, uint64_t word)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;

/* --- pgm_handy.c, under the lock -------------------------------------------------------------- */

q_status_t pgm_handy_refill_locked(struct pgm *pgm) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/*
 * Takes a zeroed page for `gfn` from the stock, or returns NULL if the stock is
 * empty. The pointer is valid until the next refill. `shared`: the shared page that
 * the page replaces, or NIL.
 */
const struct gmm_page *pgm_handy_take(struct pgm *pgm, gfn_t gfn, page_id_t shared)
	Q_REQUIRES(pgm->lock);
/* Sends all reports to GMM. Must precede freeing, counting or sharing pages. */
void pgm_handy_report(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* Puts a page back that was taken, is still all zero, and is in no record and no table. */
void pgm_handy_return(struct pgm *pgm, struct gmm_page page) Q_REQUIRES(pgm->lock);
/* Gives the stock back to GMM; after pgm_handy_report(). */
void pgm_handy_drop(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_ahead.c, under the lock --------------------------------------------------------------- */

/* Call when a fault of the guest at `gfn` was resolved and its page mapped. */
void pgm_ahead_follow(struct pgm *pgm, gfn_t gfn, enum mem_access access) Q_REQUIRES(pgm->lock);
/* Removes the mark of a page: it counts as used, because it is or because its leaf cannot tell. */
static inline void pgm_ahead_use(struct pgm_record *record)
{
	record->d2 &= ~PGM_RECORD_AHEAD;
}
/* At a refill: takes back unused pages handed out before the last one. Returns how many. */
unsigned pgm_ahead_age(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* Takes back all unused pages. Returns how many. */
unsigned pgm_ahead_take_all(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* Forgets all runs and pages. Records must be as at power-on. */
void pgm_ahead_reset(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_back.c, under the lock ---------------------------------------------------------------- */

/*
 * Backs a page: makes a page of RAM, ROM's shadow or a device the VM's own and
 * NORMAL. False: no page could be had, and nothing changed. If the page was mapped,
 * the caller must map it anew or remove the translation.
 */
bool pgm_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record) Q_REQUIRES(pgm->lock);
/* True if pgm_page_back() would take a page from the stock. */
bool pgm_page_needs_stock(struct pgm_record record);

/* --- pgm_free.c, under the lock ------------------------------------------------------------------ */

#define PGM_FREE_BATCH 64u

/* Pages on their way back to GMM. No translation leads to them any more. */
struct pgm_free_batch {
	page_id_t private_ids[PGM_FREE_BATCH], shared_ids[PGM_FREE_BATCH];
	unsigned private_count, shared_count;
};

/*
 * Makes a page of RAM ZERO and puts its own page, or its reference to a shared one,
 * into the batch. The caller must have removed its translation.
 */
void pgm_page_release(struct pgm *pgm, struct pgm_record *record, struct pgm_free_batch *batch)
	Q_REQUIRES(pgm->lock);
/* Frees what is in the batch. */
void pgm_free_flush(struct pgm *pgm, struct pgm_free_batch *batch) Q_REQUIRES(pgm->lock);
/* Releases every page of RAM. The nested tables must be empty. */
void pgm_ram_release(struct pgm *pgm) Q_REQUIRES(pgm->lock);

#endif
