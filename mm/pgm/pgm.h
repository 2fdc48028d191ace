/* SPDX-License-Identifier: MIT */
/*
 * PGM, the page manager: one VM's guest-physical memory. The design page is in
 * pgm.c. Only the VM's own vCPU threads, or any thread while none of them runs,
 * may call the functions that change its memory. These functions take the PGM
 * lock; they are marked Q_EXCLUDES where they are defined, because struct pgm is
 * incomplete here.
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
	uint64_t ram_bytes;        /* whole pages; RAM is 0..640K, 1M..hole, 4G..rest */
	uint64_t guaranteed_bytes; /* of ram_bytes */
	enum gmm_overcommit overcommit;
	bool has_dirty_bits; /* the CPU sets dirty bits in nested tables */
	bool works_ahead;    /* needs dirty bits, and overcommit other than NONE; see pgm_ahead.c */
	enum gmm_priority priority;
	bool is_bound; /* to memory of its own; needs overcommit NONE; see gmm.h */
	struct gmm_region bound_range;
};

/* RAM above this goes above 4 GiB; the hole below 4 GiB is for devices. */
#define PGM_RAM_HOLE_START 0xc0000000ull
#define PGM_RAM_LOW_END    0xa0000ull
#define PGM_RAM_HIGH_START 0x100000ull
/*
 * The width of guest-physical addresses, as CPUID reports it to the guest. A VM's
 * frames may end earlier: GMM's tracking word must be able to hold each of them.
 */
#define PGM_GPA_BITS      (GMM_WORD_BITS == 64 ? 38u : 36u)
#define PGM_GPA_LIMIT     (1ull << PGM_GPA_BITS)
#define PGM_GFN_LIMIT     (PGM_GPA_LIMIT >> PAGE_SHIFT)
#define PGM_GFN_END       (GMM_GFN_LAST < PGM_GFN_LIMIT ? GMM_GFN_LAST + 1ull : PGM_GFN_LIMIT)
#define PGM_RAM_BYTES_MAX ((PGM_GFN_END << PAGE_SHIFT) - (1ull << 32) + PGM_RAM_HOLE_START)

/*
 * Registers the VM with GMM (admission) and makes all RAM the zero page. Fails
 * like gmm_vm_create(), or with Q_NO_MEMORY. Q_RANGE: ram_bytes is impossible, or
 * guaranteed_bytes is more than that.
 */
q_status_t pgm_create(const struct pgm_config *config, struct pgm **out_pgm) Q_MUST_USE;
void pgm_destroy(struct pgm *pgm);

/* What pgm_create() claims. `base`: guarantee and stock; `kernel`: tables and records. Pure. */
struct gmm_claims pgm_claims(const struct pgm_config *config);

/* As at power-on: gives every page back to GMM and makes all RAM the zero page. ROM stays. */
void pgm_reset(struct pgm *pgm);

/*
 * A VM that is off needs no guarantee: pgm_unreserve() lets other VMs have what
 * this one claims, pgm_reserve() claims it again, or returns Q_DECLINED. A new VM
 * is reserved.
 */
void pgm_unreserve(struct pgm *pgm);
q_status_t pgm_reserve(struct pgm *pgm) Q_MUST_USE;

/*
 * Adds ROM, filled from `image` (8-byte aligned). Its pages are allocated in one
 * batch and not cleared first; pages of zeros are the zero page and cost nothing.
 * Guest writes end as PGM_DENIED. Q_INVALID: not whole pages; Q_RANGE: beyond the
 * guest-physical space; Q_CONFLICT: overlaps a region; Q_LIMIT: more ROM than was
 * promised at creation, or too many regions; Q_NO_MEMORY. Q_STATE: the VM has device
 * memory, whose promised pages the ROM could use up.
 */
q_status_t pgm_rom_add(struct pgm *pgm, gpa_t start, const void *image,
		       uint64_t size_bytes) Q_MUST_USE;
/*
 * Reserves a place for MMIO: nothing else can be added there. Accesses end as PGM_MMIO,
 * as they do wherever there is no memory. Q_INVALID, Q_RANGE, Q_CONFLICT, Q_LIMIT.
 */
q_status_t pgm_mmio_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes) Q_MUST_USE;

/* --- the fault path ---------------------------------------------------------- */

enum pgm_outcome {
	PGM_RESOLVED,  /* mapped: re-enter the guest at the same RIP */
	PGM_MMIO,      /* no memory there: emulate the instruction */
	PGM_DENIED,    /* memory, but this access is not allowed (ROM write) */
	PGM_EMULATE,   /* no table can map it for this access: emulate by pgm_read(), pgm_write() */
	PGM_HANDLER,   /* memory, but a handler wants the access first: emulate it */
	PGM_NO_MEMORY, /* no page could be had: pause the VM, then retry */
};

struct pgm_fault {
	/* From the exit record; constant. */
	gpa_t addr;
	enum mem_access access;

	/* Set with PGM_HANDLER: the tag of the range, see pgm_handler_add(). */
	uint32_t handler_tag;
};

/*
 * Makes memory ready for the access that faulted. Allocates from the handy stock, or
 * with overcommit NONE a whole chunk from GMM. After a write fault a page of RAM is
 * the VM's own, even if the outcome is PGM_HANDLER.
 */
enum pgm_outcome pgm_fault_handle(struct pgm *pgm, struct pgm_fault *fault);

/*
 * The guest is about to fill the whole page with zeros. True if that needs no work,
 * because the page is RAM without a handler and still the zero page. Only counts it.
 */
bool pgm_zero_fill(struct pgm *pgm, gfn_t gfn);

/* True when the handy stock is low: call pgm_handy_refill() at a safe point. */
bool pgm_handy_is_low(const struct pgm *pgm);
/* Sends the reports, fills the stock up, clears. Q_NO_MEMORY, Q_LIMIT: it got no page at all. */
q_status_t pgm_handy_refill(struct pgm *pgm) Q_MUST_USE;

/* Call when the guest rests: takes back the pages handed out ahead that it did not use. */
void pgm_ahead_rest(struct pgm *pgm);

/* --- what others ask of a page, see pgm_page.c ------------------------------- */

/*
 * The VM's own vCPU threads carry these out. Each is refused with Q_STATE, and
 * changes nothing, unless the page is private RAM with the page id `expected`, in a
 * state from which the operation is legal (pgm_transition.h).
 */

/* Makes the page MONITORED: its next write will be noted. */
q_status_t pgm_page_monitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
/* Makes it NORMAL again. */
q_status_t pgm_page_unmonitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
/*
 * Replaces a MONITORED page that holds the same bytes as `shared` by a reference to
 * `shared`. The caller must hold a reference of its own until then. Q_STATE also
 * if the contents differ. Fails otherwise like gmm_shared_replace().
 */
q_status_t pgm_page_share(struct pgm *pgm, gfn_t gfn, page_id_t expected,
			  page_id_t shared) Q_MUST_USE;
/* Replaces a page that is all zero by the zero page. Q_STATE also if it is not all zero. */
q_status_t pgm_page_zero(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;
/* Moves it to a fuller chunk. Q_NOT_FOUND: none is better; Q_NO_MEMORY, Q_LIMIT: no page for it. */
q_status_t pgm_page_move(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_MUST_USE;

enum pgm_page_kind {
	PGM_PAGE_ZERO,
	PGM_PAGE_NORMAL,
	PGM_PAGE_MONITORED,
	PGM_PAGE_SHARED,
	PGM_PAGE_BALLOONED,
};

struct pgm_page_view {
	page_id_t id; /* NIL for ZERO and BALLOONED */
	enum pgm_page_kind kind;
	bool was_written_lately; /* as of the last pgm_dirty_note() */
	bool has_handler;        /* its writes, or all accesses, go to a handler first */
};

/*
 * What the record of a page of RAM says. Any thread, without a lock: the answer may
 * be stale at once. False: not RAM. The VM must not be destroyed meanwhile.
 */
bool pgm_page_look(const struct pgm *pgm, gfn_t gfn, struct pgm_page_view *out_view);
/* Likewise without a lock: the first NORMAL page of [from, end) that may be in use, or `end`. */
gfn_t pgm_page_next_private(const struct pgm *pgm, gfn_t from, gfn_t end);
/* All RAM is below this frame; there are holes in it. */
gfn_t pgm_ram_end(const struct pgm *pgm);

/*
 * Moves the dirty bits of the nested tables into the records of `count` pages from
 * `first`: afterwards "written lately" means written since the last call. The VM's
 * own vCPU threads call it. Where the CPU keeps no dirty bits, no page was written
 * lately.
 */
void pgm_dirty_note(struct pgm *pgm, gfn_t first, unsigned count);
bool pgm_has_dirty_bits(const struct pgm *pgm);

/* --- the balloon, see pgm_balloon.c --------------------------------------------- */

/*
 * The guest gives back pages of RAM. Their content is lost: they read as zeros until
 * a write takes them out of the balloon. The list comes from the guest, so frames
 * that are not RAM or already in the balloon have no effect. *out_done: how many
 * pages went into the balloon.
 */
void pgm_balloon_inflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done);
/* Takes the pages out again: they are the zero page. The list is treated as above. */
void pgm_balloon_deflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done);

/* --- restoring saved memory, see pgm_restore.c ------------------------------------ */

/*
 * Makes all RAM the zero page and sets `page_count` pages aside, as many as the
 * saved state will fill. Q_NO_MEMORY, Q_LIMIT: refused, and nothing was touched. The
 * VM must not run until pgm_restore_end().
 */
q_status_t pgm_restore_begin(struct pgm *pgm, uint64_t page_count) Q_MUST_USE;
/* Fills one page of RAM. Q_STATE: it is filled already; Q_RANGE: not RAM; Q_LIMIT: too many. */
q_status_t pgm_restore_page(struct pgm *pgm, gfn_t gfn, const void *content) Q_MUST_USE;
void pgm_restore_end(struct pgm *pgm);

/* --- guest memory by guest-physical address ------------------------------------ */

/*
 * Move bytes to and from guest memory, page by page through the mapping cache.
 * Reads never allocate; writes allocate as guest writes do. Q_RANGE: the next byte is
 * in no memory, or in memory that takes no writes; Q_NO_MEMORY; Q_HANDLER: its page
 * has a handler that wants the access, see pgm_handler.h. *out_done, if not NULL, is
 * the number of bytes moved, also on failure.
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
 * Translates guest-virtual to guest-physical, in every paging mode. For reads and
 * writes it sets the accessed and dirty bits that are still clear, so like a write it
 * may refill the handy stock or return Q_NO_MEMORY. Q_NOT_FOUND, Q_DENIED: the guest
 * gets #PF with *out_error_code. Q_RANGE: a table is not in memory; Q_INVALID: `virt`
 * is not canonical.
 */
q_status_t pgm_walk(struct pgm *pgm, const struct pgm_walk_regs *regs, uint64_t virt,
		    enum mem_access access, gpa_t *out_addr, uint32_t *out_error_code) Q_MUST_USE;

/* --- for the vCPU loop ------------------------------------------------------------ */

hpa_t pgm_slat_root(const struct pgm *pgm);
/* A vCPU whose last entry saw another generation must flush its TLB before it enters. */
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
 * RAM: pages == zero + private_pages + shared + ballooned; monitored is part of
 * private_pages. rom and rom_shadow count pages of ROM and of its shadow that are not
 * the zero page; device counts all pages of device memory, mapped or not.
 */
struct pgm_stats {
	uint64_t pages, zero, private_pages, shared, monitored, ballooned;
	uint64_t rom, rom_shadow, device, handy, reserved, table_pages, record_bytes;
	uint64_t large; /* mappings of 2 MiB each */
	uint64_t ahead; /* pages handed out ahead and not known to be used; an upper bound */
	struct pgm_counters counters;
};
void pgm_stats(const struct pgm *pgm, struct pgm_stats *out_stats);
gmm_vm_t pgm_vm(const struct pgm *pgm);

/* Double entry: asserts that records, nested tables and GMM's books agree. Changes nothing. */
void pgm_check(struct pgm *pgm);

#endif
