/* SPDX-License-Identifier: MIT */
/*
 * PGM, the page manager: one VM's guest-physical memory. The design page is in
 * pgm.c. Functions that change a VM's memory are called by that VM's vCPU
 * threads (or while it has none running) and take the PGM lock themselves.
 */
#ifndef MM_PGM_PGM_H
#define MM_PGM_PGM_H

#include <quire/addr.h>
#include <quire/status.h>
#include <quire/vmexit.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/slat.h"

struct pgm;

struct pgm_config {
	const struct slat_format *format;
	uint64_t ram_bytes;        /* page multiple; RAM is 0..640K, 1M..hole, 4G..rest */
	uint64_t guaranteed_bytes; /* of it */
	enum gmm_overcommit overcommit;
	bool has_dirty_bits; /* the CPU sets them in nested tables */
	bool works_ahead;    /* where it does, and with any overcommit but NONE; see pgm_ahead.c */
	enum gmm_priority priority;
	bool is_bound; /* to memory of its own, with overcommit NONE; see gmm.h */
	struct gmm_region bound_range;
};

/* RAM above this goes above 4 GiB; the hole below 4 GiB is for devices. */
#define PGM_RAM_HOLE_START 0xc0000000ull
#define PGM_RAM_LOW_END    0xa0000ull
#define PGM_RAM_HIGH_START 0x100000ull
/*
 * Guest-physical addresses have this many bits: what CPUID tells the guest.
 * Frames end with what a tracking word of GMM can hold, and never beyond.
 */
#define PGM_GPA_BITS      (GMM_WORD_BITS == 64 ? 38u : 36u)
#define PGM_GPA_LIMIT     (1ull << PGM_GPA_BITS)
#define PGM_GFN_LIMIT     (PGM_GPA_LIMIT >> PAGE_SHIFT)
#define PGM_GFN_END       (GMM_GFN_LAST < PGM_GFN_LIMIT ? GMM_GFN_LAST + 1ull : PGM_GFN_LIMIT)
#define PGM_RAM_BYTES_MAX ((PGM_GFN_END << PAGE_SHIFT) - (1ull << 32) + PGM_RAM_HOLE_START)

/*
 * Registers the VM with GMM (admission) and makes all RAM the zero page.
 * Q_DECLINED, Q_LIMIT and Q_NO_MEMORY as gmm_vm_create(); Q_RANGE: ram_bytes.
 */
q_status_t pgm_create(const struct pgm_config *config, struct pgm **out_pgm) Q_MUST_USE;
void pgm_destroy(struct pgm *pgm);

/* All RAM is the zero page again, and every page went back to GMM; as at power-on. ROM stays. */
void pgm_reset(struct pgm *pgm);

/*
 * A VM that is off needs no guarantee: pgm_unreserve() lets others have what it
 * claims, pgm_reserve() claims it again, or is Q_DECLINED. Created: reserved.
 */
void pgm_unreserve(struct pgm *pgm);
q_status_t pgm_reserve(struct pgm *pgm) Q_MUST_USE;

/*
 * ROM: allocated in one batch, not cleared, filled from `image` (8-byte aligned;
 * pages of zeros are the zero page and cost nothing); reads as it,
 * guest writes are PGM_DENIED. Page aligned, outside RAM: else Q_CONFLICT. Q_STATE:
 * there is device memory already, and what it was promised would serve ROM, too.
 */
q_status_t pgm_rom_add(struct pgm *pgm, gpa_t start, const void *image,
		       uint64_t size_bytes) Q_MUST_USE;
/* Accesses there end as PGM_MMIO. Everything that is nothing does so, too. */
q_status_t pgm_mmio_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes) Q_MUST_USE;

/* --- the fault path ---------------------------------------------------------- */

enum pgm_outcome {
	PGM_RESOLVED,  /* mapped: re-enter the guest at the same RIP */
	PGM_MMIO,      /* no memory there: emulate the instruction */
	PGM_DENIED,    /* memory, but this access is not allowed (ROM write) */
	PGM_EMULATE,   /* memory, but no table can say so: emulate with pgm_read(), pgm_write() */
	PGM_HANDLER,   /* memory, but a handler wants the access first: emulate it */
	PGM_NO_MEMORY, /* GMM is out of pages: pause the VM, then retry */
};

struct pgm_fault {
	/* From the exit record; constant. */
	gpa_t addr;
	enum mem_access access;

	/* PGM_HANDLER: whose range it is, see pgm_handler_add(). */
	uint32_t handler_tag;
};

/*
 * Takes the PGM lock. Allocates from the handy pages, or with overcommit NONE a
 * whole chunk of GMM's. RAM that will be written has a page of its own afterwards,
 * also if a handler comes first.
 */
enum pgm_outcome pgm_fault_handle(struct pgm *pgm, struct pgm_fault *fault);

/*
 * The guest fills the whole page with zeros: true if that is done, because the
 * page is RAM that reads as zeros without a page of its own. Only counts it.
 */
bool pgm_zero_fill(struct pgm *pgm, gfn_t gfn);

/* True when the handy stock is low: call pgm_handy_refill() at a safe point. */
bool pgm_handy_is_low(const struct pgm *pgm);
/* Refills, clears and reports in one batch. Q_NO_MEMORY or Q_LIMIT only if not one page could be had. */
q_status_t pgm_handy_refill(struct pgm *pgm) Q_MUST_USE;

/* The guest rests: takes back what it was given ahead of its writes and did not use. */
void pgm_ahead_rest(struct pgm *pgm);

/* --- what others ask of a page, see pgm_page.c ------------------------------- */

/*
 * Each is carried out by the VM's own vCPU threads. Q_STATE, and no effect: the
 * page is not, or no longer, RAM with the page id `expected` in the state that
 * the request is about.
 */
q_status_t pgm_page_monitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
q_status_t pgm_page_unmonitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
/*
 * A MONITORED page that holds the same bytes as `shared` becomes a reference to
 * it. The caller has a reference of its own meanwhile. Q_STATE also: they
 * differ. Fails besides as gmm_shared_replace() does.
 */
q_status_t pgm_page_share(struct pgm *pgm, gfn_t gfn, page_id_t expected,
			  page_id_t shared) Q_MUST_USE;
/* A page that is all zero becomes the zero page. Q_STATE also: it is not. */
q_status_t pgm_page_zero(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
/* To a fuller chunk. Q_NOT_FOUND: there is no better place; Q_NO_MEMORY, Q_LIMIT: no room to copy. */
q_status_t pgm_page_move(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;

enum pgm_page_kind {
	PGM_PAGE_ZERO,
	PGM_PAGE_NORMAL,
	PGM_PAGE_MONITORED,
	PGM_PAGE_SHARED,
	PGM_PAGE_BALLOONED,
};

struct pgm_page_view {
	page_id_t id; /* NIL: ZERO, BALLOONED */
	enum pgm_page_kind kind;
	bool was_written_lately; /* when pgm_dirty_note() last looked */
	bool is_watched;         /* has a physical handler */
};

/*
 * Any thread, no lock: what the record of a page of RAM says, which may be
 * stale at once. False: no RAM. The VM must not be destroyed meanwhile.
 */
bool pgm_page_look(const struct pgm *pgm, gfn_t gfn, struct pgm_page_view *out_view);
/* Likewise: the first NORMAL page of [from, end) that may be in use, or `end`. */
gfn_t pgm_page_next_private(const struct pgm *pgm, gfn_t from, gfn_t end);
/* RAM is below this frame, with holes. */
gfn_t pgm_ram_end(const struct pgm *pgm);

/*
 * Moves the dirty bits of the nested tables into the records of `count` pages
 * from `first`: those not written since the last call are not written lately.
 * By the VM's own vCPU threads. Where the CPU keeps no dirty bits, nothing is.
 */
void pgm_dirty_note(struct pgm *pgm, gfn_t first, unsigned count);
bool pgm_has_dirty_bits(const struct pgm *pgm);

/* --- the balloon, see pgm_balloon.c --------------------------------------------- */

/*
 * The guest gives back pages of RAM: their content is lost, they read as zeros,
 * and a write takes them again. The list is the guest's: what is no RAM or is
 * in the balloon already has no effect. *out_done: how many were given back.
 */
void pgm_balloon_inflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done);
/* The guest may use them again: they are the zero page. As above about its list. */
void pgm_balloon_deflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done);

/* --- restoring saved memory, see pgm_restore.c ------------------------------------ */

/*
 * All RAM becomes the zero page, and `page_count` pages are set aside for what
 * the saved state holds. Q_NO_MEMORY, Q_LIMIT: refused, and nothing was touched.
 * The VM does not run until pgm_restore_end().
 */
q_status_t pgm_restore_begin(struct pgm *pgm, uint64_t page_count) Q_MUST_USE;
/* Fills one page; not cleared before. Q_STATE: done already; Q_RANGE: no RAM; Q_LIMIT: too many. */
q_status_t pgm_restore_page(struct pgm *pgm, gfn_t gfn, const void *content) Q_MUST_USE;
void pgm_restore_end(struct pgm *pgm);

/* --- guest memory by guest-physical address ------------------------------------ */

/*
 * Bytes to and from guest memory, page by page through the mapping cache.
 * Reads never allocate; writes allocate as guest writes do. Q_RANGE: some of it
 * is no RAM (reads: nor ROM); Q_NO_MEMORY; Q_HANDLER: the next byte's page has a
 * handler that wants the access, see pgm_handler.h. *out_done, if not NULL, says
 * how many bytes were moved, also on failure.
 */
q_status_t pgm_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes,
		    uint64_t *out_done) Q_MUST_USE;
q_status_t pgm_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
		     uint64_t *out_done) Q_MUST_USE;

struct pgm_walk_regs {
	uint64_t cr0, cr3, cr4, efer;
	bool is_user; /* CPL 3 */
};
/*
 * Guest-virtual to guest-physical in every paging mode. Reading and writing set
 * accessed and dirty bits that are not set yet; so, like a write, it may refill the
 * stock, and end with Q_NO_MEMORY. Q_NOT_FOUND / Q_DENIED: *out_error_code is #PF's.
 */
q_status_t pgm_walk(struct pgm *pgm, const struct pgm_walk_regs *regs, uint64_t virt,
		    enum mem_access access, gpa_t *out_addr, uint32_t *out_error_code) Q_MUST_USE;

/* --- for the vCPU loop ------------------------------------------------------------ */

hpa_t pgm_slat_root(const struct pgm *pgm);
/* A vCPU that entered with an older generation must flush before it enters again. */
uint64_t pgm_slat_generation(const struct pgm *pgm);

/* --- figures and checks --------------------------------------------------------------- */

/*
 * Events, counted since the VM was created. A new counter is one line here and the
 * line that counts: pgm_stats() and `memory --json` have all of them.
 */
#define PGM_COUNTERS(X)                                                \
	X(faults_read, "read and execute faults on memory")            \
	X(faults_write, "write faults on memory that takes writes")    \
	X(refills, "refills of the handy stock that brought pages")    \
	X(copies, "writes to shared pages: each makes a copy")         \
	X(monitor_hits, "writes to monitored pages of RAM")            \
	X(elided, "pages that the guest cleared and that stayed zero") \
	X(ahead_given, "pages handed out ahead of their first write")  \
	X(ahead_taken, "pages handed out ahead, not used and taken back")

struct pgm_counters {
#define PGM_COUNTER_FIELD(name, text) uint64_t name;
	PGM_COUNTERS(PGM_COUNTER_FIELD)
#undef PGM_COUNTER_FIELD
};

/*
 * pages == zero + private_pages + shared + ballooned (RAM); rom apart: its pages
 * that are not zero, rom_shadow: those in the shadow of ROM. device: pages of
 * device memory, mapped or not.
 */
struct pgm_stats {
	uint64_t pages, zero, private_pages, shared, monitored, ballooned;
	uint64_t rom, rom_shadow, device, handy, reserved, table_pages, record_bytes;
	uint64_t large; /* mappings of 2 MiB each */
	uint64_t ahead; /* private pages given ahead, at most; not yet known to be used */
	struct pgm_counters counters;
};
void pgm_stats(const struct pgm *pgm, struct pgm_stats *out_stats);
gmm_vm_t pgm_vm(const struct pgm *pgm);

/* Double entry: asserts that records, tables and GMM's words agree. */
void pgm_check(struct pgm *pgm);

#endif
