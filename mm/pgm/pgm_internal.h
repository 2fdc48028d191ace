/* SPDX-License-Identifier: MIT */
/* What the files of mm/pgm share: one VM's struct pgm. The design page is in pgm.c. */
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
	struct pgm_record *pages[PGM_DIRECTORY_SIZE]; /* NULL: nothing there */
};

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
	struct pgm_shelf *shelf; /* shadowed ROM: the halves that are not read */
};

/* --- shelves ------------------------------------------------------------------------ */

#define PGM_SHELF_RECORD_PAGES 510u
#define PGM_SHELF_PAGES_MAX    ((uint64_t)PGM_SHELF_RECORD_PAGES << PGM_RECORDS_SHIFT)

/* Records of guest pages that are not in the map now. */
struct pgm_shelf {
	hpa_t self;
	uint64_t page_count;
	hpa_t records[PGM_SHELF_RECORD_PAGES];
};

/* --- device memory -------------------------------------------------------------------- */

#define PGM_DEVICE_MAX 4u

struct pgm_device {
	struct pgm_shelf *shelf; /* its records while it is mapped nowhere */
	gfn_t start;             /* where it is mapped */
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

/* FIXED pages besides records: struct pgm, the handy stock, the page of directories. */
#define PGM_FIXED_PAGES 3u
/* How much more, in pages. */
struct pgm_promise {
	uint64_t base, guaranteed, shadow, fixed;
};

/* Promised at creation, so that pgm_rom_add() raises nothing. */
#define PGM_ROM_PAGES        64u
#define PGM_ROM_RECORD_PAGES 4u /* records and directories that only ROM needs: two pieces' */
#define PGM_ROM_TABLES       PGM_ROM_RECORD_PAGES /* nested tables likewise, see pgm_rom.c */

/* --- the handy stock --------------------------------------------------------------- */

#define PGM_HANDY_MAX  128u
#define PGM_HANDY_LOW  32u /* refill at the next safe point */
#define PGM_HANDY_SYNC 8u  /* who may wait refills at once */

/* A page that left the stock; GMM is told at the next refill. */
struct pgm_report {
	page_id_t id;
	uint32_t gfn;
	page_id_t shared; /* whose place it took, if not NIL: that reference is to be dropped */
};

struct pgm_handy {
	struct gmm_page fresh[PGM_HANDY_MAX]; /* a stack */
	struct pgm_report reports[PGM_HANDY_MAX];
};

_Static_assert(sizeof(struct pgm_handy) <= PAGE_SIZE, "the stock is one page");

/* --- working ahead, see pgm_ahead.c ---------------------------------------------- */

#define PGM_AHEAD_MAX   64u /* pages handed out whose use is not yet known */
#define PGM_AHEAD_BATCH 16u
#define PGM_RUN_COUNT   2u /* that are followed at the same time */
#define PGM_RUN_NOWHERE (~0ull)

_Static_assert(PGM_AHEAD_MAX + PGM_HANDY_LOW < PGM_HANDY_MAX, "a refill leaves the stock high");

/* Faults at neighbours, one after the other. */
struct pgm_run {
	uint64_t up, down; /* guest frames: a fault there continues it */
	unsigned batch;    /* pages mapped ahead at the last one */
};

struct pgm_runs {
	struct pgm_run runs[PGM_RUN_COUNT];
	unsigned oldest;
};

struct pgm_ahead {
	struct pgm_runs reads, writes;
	unsigned count, old_count; /* old: handed out before the last refill; they come first */
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
	uint64_t reserved_pages; /* of BASE, while it is not unreserved */
	page_id_t zero_id;
	hfn_t zero_frame;
	struct pgm_handy *handy;
	struct pgm_directory **directories; /* a page; its entries are guarded by lock */

	/* Guarded by lock; counters are also read without it, see pgm_stats(). */
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
	uint64_t record_pages;    /* with directories */
	uint64_t shelf_pages;     /* with their heads */
	uint64_t private_pages;   /* of RAM: NORMAL and MONITORED */
	uint64_t monitored_pages; /* of them */
	uint64_t shared_pages, ballooned_pages;
	uint64_t rom_pages;         /* of the guest's ROM */
	uint64_t rom_private_pages; /* of that and of shadowed ROM not the zero page */
	uint64_t rom_shadow_pages;  /* in the shadow of ROM, not the zero page */
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

/* The records from `gfn` on that follow each other in memory, not beyond `end`; they exist. */
static inline struct pgm_record *pgm_record_run(const struct pgm *pgm, gfn_t gfn, gfn_t end,
						uint64_t *out_count) Q_REQUIRES(pgm->lock)
{
	uint64_t in_page = PGM_RECORDS - (gfn.raw & (PGM_RECORDS - 1));
	struct pgm_record *first = pgm_record_find(pgm, gfn);

	Q_ASSERT(first);
	*out_count = uint64_min(in_page, end.raw - gfn.raw);
	return first;
}

/* What RAM is at power-on. */
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

/* The same page with no memory of its own: ZERO or BALLOONED. */
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

/* Q_INVALID: not whole pages; Q_RANGE. */
q_status_t pgm_range_check(gpa_t start, uint64_t size_bytes) Q_MUST_USE;
/* As above, and Q_CONFLICT: overlaps a region; Q_LIMIT: no room for it. */
q_status_t pgm_region_admit(const struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			    struct pgm_region *out_region) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/* Adds a region that was admitted. */
void pgm_region_insert(struct pgm *pgm, struct pgm_region region) Q_REQUIRES(pgm->lock);
/* Removes the region that starts there. Its records are zero already. */
void pgm_region_remove(struct pgm *pgm, gfn_t start) Q_REQUIRES(pgm->lock);
/* The region that covers the page, or NULL. */
const struct pgm_region *pgm_region_find(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);

/* How many record pages and directories pgm_record_pages_make() would allocate. */
uint64_t pgm_record_pages_missing(const struct pgm *pgm, gfn_t start, gfn_t end)
	Q_REQUIRES(pgm->lock);
/* After a failure what was made stays, empty: it means nothing and is used by the next try. */
q_status_t pgm_record_pages_make(struct pgm *pgm, gfn_t start, gfn_t end)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;

/* --- pgm_promise.c, under the lock ----------------------------------------------------------- */

/* Admission: Q_DECLINED, Q_NO_MEMORY as gmm_vm_resize(); Q_STATE: unreserved. */
q_status_t pgm_promise_raise(struct pgm *pgm, struct pgm_promise more)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;
void pgm_promise_lower(struct pgm *pgm, struct pgm_promise less) Q_REQUIRES(pgm->lock);

/* --- pgm_shelf.c, under the lock --------------------------------------------------------------- */

/* Pages of the FIXED account that a shelf for so many records takes. */
uint64_t pgm_shelf_size(uint64_t page_count);
/* Of what was promised; all records are zero. */
struct pgm_shelf *pgm_shelf_make(struct pgm *pgm, uint64_t page_count) Q_REQUIRES(pgm->lock);
void pgm_shelf_free(struct pgm *pgm, struct pgm_shelf *shelf) Q_REQUIRES(pgm->lock);
struct pgm_record *pgm_shelf_record(const struct pgm_shelf *shelf, uint64_t index);

/* --- pgm_rom.c, under the lock ---------------------------------------------------------------- */

bool pgm_rom_page_is_zero(const uint8_t *page);
/* Fills the VM's page `id` and tells GMM its guest frame. */
void pgm_rom_page_fill(struct pgm *pgm, gfn_t gfn, page_id_t id, const uint8_t *image)
	Q_REQUIRES(pgm->lock);

/* --- pgm_rom_shadow.c, under the lock ------------------------------------------------------------ */

/* The half of a page of shadowed ROM that is not read. */
struct pgm_record *pgm_rom_hidden(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);
/* The half that takes writes, or NULL if they are ignored. */
struct pgm_record *pgm_rom_written(const struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock);
/* Reads ROM and ignores writes again; shadows are all zero and own nothing. */
void pgm_rom_reset(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_handler.c, under the lock --------------------------------------------------------- */

/* The range that covers the page, or NULL. */
const struct pgm_handler *pgm_handler_find(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);
void pgm_handlers_check(const struct pgm *pgm) Q_REQUIRES(pgm->lock);
void pgm_handler_record_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record)
	Q_REQUIRES(pgm->lock);

/* True: a handler wants to see such an access before memory does. */
static inline bool pgm_handler_wants(struct pgm_record record, enum mem_access access)
{
	enum pgm_handler_kind kind = pgm_record_handler(record);
	return kind != PGM_HANDLER_NONE && (kind == PGM_HANDLER_ALL || access == MEM_WRITE);
}

/* The most that pgm_record_pages_make() allocates for so many pages in one place. */
uint64_t pgm_record_pages_anywhere(uint64_t page_count);
/* Frees the record pages and directories of [start, end) that have no record. */
void pgm_record_pages_trim(struct pgm *pgm, gfn_t start, gfn_t end) Q_REQUIRES(pgm->lock);

/* --- pgm_large.c, under the lock --------------------------------------------------------------- */

/* The page has the place in a chunk that it has in its block. */
static inline bool pgm_large_is_at_place(gfn_t gfn, hfn_t frame)
{
	return (gfn.raw ^ frame.raw) % PAGES_PER_LARGE == 0;
}

/* A page of RAM, mapped writable, at its place: can all of its block be one large entry? */
bool pgm_large_is_whole(const struct pgm *pgm, gfn_t gfn, hfn_t frame) Q_REQUIRES(pgm->lock);
/* Maps that block. Q_NO_MEMORY: no page for a table above it. */
q_status_t pgm_large_map(struct pgm *pgm, gfn_t gfn, hfn_t frame) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/* Whole chunks are for VMs that have a right to all their memory. */
static inline bool pgm_large_has_right(const struct pgm *pgm)
{
	return GMM_PAGES_PER_CHUNK == PAGES_PER_LARGE && pgm->overcommit == GMM_OVERCOMMIT_NONE;
}
/* Backs the whole block of a page of RAM with a chunk. False: it cannot be; nothing changed. */
bool pgm_large_back(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock);

/* --- pgm_device.c, under the lock ------------------------------------------------------------- */

/* Of page `index` of the device, in the map or on its shelf. */
struct pgm_record *pgm_device_record(const struct pgm *pgm, const struct pgm_device *device,
				     uint64_t index) Q_REQUIRES(pgm->lock);
/* A page of a device is about to be written. */
void pgm_device_note_write(struct pgm_record *record);

/* --- pgm_access.c ------------------------------------------------------------------------------ */

/* An aligned word of 4 or 8 bytes of memory, under the lock: for table walks. Q_RANGE. */
q_status_t pgm_word_read_locked(const struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				uint64_t *out_word) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/*
 * Exchanges such a word, if it is still `expected`, as a write of the guest does.
 * Q_CONFLICT: it is not; Q_RANGE: what is read there takes no writes; Q_HANDLER;
 * Q_NO_MEMORY.
 */
q_status_t pgm_word_exchange_locked(struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				    uint64_t expected, uint64_t word)
	Q_REQUIRES(pgm->lock) Q_MUST_USE;

/* --- pgm_handy.c, under the lock -------------------------------------------------------------- */

q_status_t pgm_handy_refill_locked(struct pgm *pgm) Q_REQUIRES(pgm->lock) Q_MUST_USE;
/*
 * A zeroed page for `gfn`, or NULL if the stock is empty; valid until the next
 * refill. `shared`: the page whose place it takes, or NIL.
 */
const struct gmm_page *pgm_handy_take(struct pgm *pgm, gfn_t gfn, page_id_t shared)
	Q_REQUIRES(pgm->lock);
/* Tells GMM what it does not know yet; before pages are freed, counted or shared. */
void pgm_handy_report(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* A page that was taken and is still all zero comes back: nobody reaches it any more. */
void pgm_handy_return(struct pgm *pgm, struct gmm_page page) Q_REQUIRES(pgm->lock);
/* Gives the stock back to GMM; after pgm_handy_report(). */
void pgm_handy_drop(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_ahead.c, under the lock --------------------------------------------------------------- */

/* A fault of the guest at `gfn` was resolved, and its page mapped. */
void pgm_ahead_follow(struct pgm *pgm, gfn_t gfn, enum mem_access access) Q_REQUIRES(pgm->lock);
/* The page is used, or its leaf will not tell. */
static inline void pgm_ahead_use(struct pgm_record *record)
{
	record->d2 &= ~PGM_RECORD_AHEAD;
}
/* At a refill: takes back what was there at the one before. Returns how many pages. */
unsigned pgm_ahead_age(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* Takes back all that is unused. Returns how many pages. */
unsigned pgm_ahead_take_all(struct pgm *pgm) Q_REQUIRES(pgm->lock);
/* All records are as at power-on. */
void pgm_ahead_reset(struct pgm *pgm) Q_REQUIRES(pgm->lock);

/* --- pgm_back.c, under the lock ---------------------------------------------------------------- */

/*
 * Makes a page of RAM, or of ROM's shadow, the VM's own and writable. False:
 * there is no page, nothing changed. Where it was mapped, the caller maps it
 * anew or removes that.
 */
bool pgm_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record) Q_REQUIRES(pgm->lock);
/* pgm_page_back() takes a page from the stock for it. */
bool pgm_page_needs_stock(struct pgm_record record);

/* --- pgm_free.c, under the lock ------------------------------------------------------------------ */

#define PGM_FREE_BATCH 64u

/* Pages on their way back to GMM. No translation leads to them any more. */
struct pgm_free_batch {
	page_id_t private_ids[PGM_FREE_BATCH], shared_ids[PGM_FREE_BATCH];
	unsigned private_count, shared_count;
};

/*
 * Takes a RAM page's own or shared page away, which goes back with the batch,
 * and makes it ZERO. The caller has removed its translation.
 */
void pgm_page_release(struct pgm *pgm, struct pgm_record *record, struct pgm_free_batch *batch)
	Q_REQUIRES(pgm->lock);
/* Frees what is in the batch. */
void pgm_free_flush(struct pgm *pgm, struct pgm_free_batch *batch) Q_REQUIRES(pgm->lock);
/* Releases every page of RAM. The nested tables are empty. */
void pgm_ram_release(struct pgm *pgm) Q_REQUIRES(pgm->lock);

#endif
