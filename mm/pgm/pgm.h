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
};

/* RAM above this goes above 4 GiB; the hole below 4 GiB is for devices. */
#define PGM_RAM_HOLE_START 0xc0000000ull
#define PGM_RAM_LOW_END    0xa0000ull
#define PGM_RAM_HIGH_START 0x100000ull
#define PGM_GPA_LIMIT      (1ull << 36) /* 24-bit frame numbers in the tracking word */

/*
 * Registers the VM with GMM (admission) and makes all RAM the zero page.
 * Q_DECLINED, Q_LIMIT and Q_NO_MEMORY as gmm_vm_create(); Q_RANGE: ram_bytes.
 */
q_status_t pgm_create(const struct pgm_config *config, struct pgm **out_pgm) Q_MUST_USE;
void pgm_destroy(struct pgm *pgm);

/* All RAM is the zero page again, and every page went back to GMM; as at power-on. ROM stays. */
void pgm_reset(struct pgm *pgm);

/*
 * ROM: allocated in one batch, not cleared, filled from `image` (8-byte aligned;
 * pages of zeros are the zero page and cost nothing); reads as it,
 * guest writes are PGM_DENIED. Page aligned, outside RAM: else Q_CONFLICT.
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
	PGM_NO_MEMORY, /* GMM is out of pages: pause the VM, then retry */
};

struct pgm_fault {
	/* From the exit record; constant. */
	gpa_t addr;
	enum mem_access access;
};

/* Takes the PGM lock. Allocates from the handy pages only. */
enum pgm_outcome pgm_fault_handle(struct pgm *pgm, const struct pgm_fault *fault);

/* True when the handy stock is low: call pgm_handy_refill() at a safe point. */
bool pgm_handy_is_low(const struct pgm *pgm);
/* Refills, clears and reports in one batch. Q_NO_MEMORY or Q_LIMIT only if not one page could be had. */
q_status_t pgm_handy_refill(struct pgm *pgm) Q_MUST_USE;

/* --- guest memory by guest-physical address ------------------------------------ */

/*
 * Bytes to and from guest memory, page by page through the mapping cache.
 * Reads never allocate; writes allocate as guest writes do. Q_RANGE: some of it
 * is no RAM (reads: nor ROM); Q_NO_MEMORY. *out_done, if not NULL, says how many
 * bytes were moved, also on failure.
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
 * Guest-virtual to guest-physical in every paging mode, without setting
 * accessed or dirty bits. Q_NOT_FOUND / Q_DENIED: *out_error_code is #PF's.
 */
q_status_t pgm_walk(struct pgm *pgm, const struct pgm_walk_regs *regs, uint64_t virt,
		    enum mem_access access, gpa_t *out_addr, uint32_t *out_error_code) Q_MUST_USE;

/* --- for the vCPU loop ------------------------------------------------------------ */

hpa_t pgm_slat_root(const struct pgm *pgm);
/* A vCPU that entered with an older generation must flush before it enters again. */
uint64_t pgm_slat_generation(const struct pgm *pgm);

/* --- figures and checks --------------------------------------------------------------- */

/* pages == zero + private_pages + shared + ballooned (RAM); rom apart: its pages that are not zero. */
struct pgm_stats {
	uint64_t pages, zero, private_pages, shared, monitored, ballooned;
	uint64_t rom, handy, reserved, table_pages, record_bytes;
	uint64_t faults_read, faults_write, refills;
};
void pgm_stats(const struct pgm *pgm, struct pgm_stats *out_stats);
gmm_vm_t pgm_vm(const struct pgm *pgm);

/* Double entry: asserts that records, tables and GMM's words agree. */
void pgm_check(struct pgm *pgm);

#endif
