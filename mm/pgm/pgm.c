/* SPDX-License-Identifier: MIT */
/*
 * PGM, the page manager: one VM's guest-physical memory.
 *
 * Each page of RAM starts as the VM's one zero page, mapped read-only. The first
 * write replaces it by a page of the VM's own; reading never does. So a guest costs
 * as much as it has written. Pages with equal contents may become one shared page,
 * and pages that the guest does not need go into the balloon; the next write makes
 * either the VM's own again.
 *
 *              ZERO, SHARED, BALLOONED, MONITORED
 *        a write |                        ^  pgm_page_zero, pgm_page_share,
 *                v                        |  pgm_balloon_inflate, pgm_page_monitor
 *              NORMAL --------------------+
 *
 * pgm_back.c makes the way down, pgm_page.c and pgm_balloon.c the ways up;
 * pgm_reset() and pgm_restore_begin() make every page ZERO. pgm_ahead.c takes a
 * page from ZERO to NORMAL ahead of its first write, and back if no write comes.
 *
 * What a VM consists of, and which account in GMM pays for it:
 *
 *   struct pgm          one page         FIXED
 *   handy stock         one page         FIXED    pgm_handy.c
 *   records             16 bytes a page  FIXED    pgm_record.h, pgm_region.c
 *   nested tables       derived          SHADOW   slat.c
 *   shelves             16 bytes a page  FIXED    pgm_shelf.c
 *   device memory                        FIXED    pgm_device.c
 *   RAM pages, references to shared
 *   ones, ROM and its shadow, the zero
 *   page and those in the handy stock    BASE     pgm_back.c, pgm_ahead.c, pgm_large.c,
 *                                                 pgm_page.c, pgm_restore.c, pgm_rom.c,
 *                                                 pgm_rom_shadow.c
 *
 * The VM's accounts in GMM own all of it, struct pgm included. So one call of
 * gmm_vm_destroy() gives back a VM, whole or half built, once its references to
 * shared pages are dropped.
 *
 * Invariants, asserted by pgm_check():
 *   P1  Regions are sorted, disjoint and below PGM_GFN_END. Each page of a region
 *       of memory has a record of the region's type; all other records are zero.
 *   P2  A ROM page is ZERO or NORMAL. A recount by state gives ram_pages,
 *       private_pages, monitored_pages, shared_pages, ballooned_pages, rom_pages,
 *       rom_private_pages and rom_shadow_pages.
 *   P3  ZERO and BALLOONED mean the zero page's frame and no id.
 *   P4  The id of a NORMAL or MONITORED page is a private page of this VM with
 *       that frame. GMM knows its guest frame, or a report is waiting; never both.
 *   P5  Pages in the handy stock are private, have no guest frame, and the next
 *       one to be taken is all zero.
 *   P6  The zero page is all zero.
 *   P7  A record is read-only unless it is NORMAL, has no handler, and is RAM, device
 *       memory, or ROM's shadow in mode READ_RAM_WRITE_RAM.
 *   P8  A leaf of the nested tables maps one page of memory or 512, each to the frame
 *       of its record. It can be read, and written only if none of the records is
 *       read-only.
 *   P9  GMM's accounts of the VM hold exactly the pages listed above.
 *   P10 The id of a SHARED page is a shared page with that frame. GMM counts a
 *       reference of this VM for each such record, and for each report that
 *       drops one.
 *   P11 For each large leaf the SHADOW account has one table left, so that the leaf
 *       can be split at any time.
 *   P12 A page that is marked as handed out ahead has a small leaf of its own, and
 *       is all zero unless that is dirty; A1 and A2 of pgm_ahead.c.
 *
 * When a present translation changes, the generation of the nested tables rises. A
 * vCPU flushes before it enters if the generation is not that of its last entry.
 * Pages go back to GMM only while no vCPU is in the guest: the vCPUs' threads make
 * all changes, and share one CPU.
 *
 * Locks: one per VM (LOCK_RANK_PGM), taken before GMM's.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/physmem.h>

#include "pgm_internal.h"

/* --- layout ------------------------------------------------------------------------- */

struct ram_layout {
	struct pgm_region ranges[3]; /* sorted */
	unsigned count;
	uint64_t pages;
	gfn_t low_end, high_end; /* below 4 GiB; above it, or 4 GiB itself */
};

#define GFN_4G gfn(BIT64(32) >> PAGE_SHIFT)

static void range_add(struct ram_layout *layout, uint64_t start, uint64_t end)
{
	struct pgm_region ram = { .start = gpa_to_gfn(gpa(start)),
				  .end = gpa_to_gfn(gpa(end)),
				  .kind = PGM_REGION_RAM };

	if (end <= start)
		return;
	layout->ranges[layout->count++] = ram;
	layout->pages += ram.end.raw - ram.start.raw;
}

/* As on any PC, `ram_bytes` includes the 384 KiB below 1 MiB, where there is no RAM. */
static q_status_t layout_make(uint64_t ram_bytes, struct ram_layout *out_layout)
{
	const uint64_t high_start = BIT64(32);

	if (ram_bytes == 0 || !is_aligned(ram_bytes, PAGE_SIZE) || ram_bytes > PGM_RAM_BYTES_MAX)
		return Q_RANGE;
	uint64_t low_end = uint64_min(ram_bytes, PGM_RAM_HOLE_START);
	uint64_t high_end = high_start + (ram_bytes - low_end);
	struct ram_layout layout = { .low_end = gpa_to_gfn(gpa(low_end)),
				     .high_end = gpa_to_gfn(gpa(high_end)) };
	range_add(&layout, 0, uint64_min(low_end, PGM_RAM_LOW_END));
	range_add(&layout, PGM_RAM_HIGH_START, low_end);
	range_add(&layout, high_start, high_end);
	*out_layout = layout;
	return Q_OK;
}

static uint64_t blocks(uint64_t pages, unsigned shift)
{
	return align_up(pages, BIT64(shift)) >> shift;
}

/* Record pages and directories for all RAM. 4 GiB is a multiple of what either covers. */
static uint64_t record_pages_for(const struct ram_layout *layout)
{
	uint64_t low = layout->low_end.raw, high = layout->high_end.raw - GFN_4G.raw;

	return blocks(low, PGM_RECORDS_SHIFT) + blocks(low, PGM_DIRECTORY_SHIFT) +
	       blocks(high, PGM_RECORDS_SHIFT) + blocks(high, PGM_DIRECTORY_SHIFT);
}

/* Nested tables for all RAM, but none for the hole. */
static uint64_t tables_for(const struct ram_layout *layout)
{
	return slat_tables_worst_case(layout->low_end) + slat_tables_worst_case(layout->high_end) -
	       slat_tables_worst_case(GFN_4G);
}

/* --- create and destroy ------------------------------------------------------------------ */

static q_status_t kernel_page_alloc(gmm_vm_t vm, void **out_page)
{
	hpa_t page;

	q_status_t status = gmm_kernel_page_alloc(vm, GMM_FIXED, &page);
	if (status == Q_OK)
		*out_page = physmem_kernel_ptr(page);
	return status;
}

static q_status_t zero_page_make(struct pgm *pgm)
{
	struct gmm_page page;

	q_status_t status = gmm_pages_alloc(pgm->vm, &page, 1);
	if (status != Q_OK)
		return status;
	if (!page.is_zeroed)
		gmm_page_clear(page.id);
	pgm->zero_id = page.id;
	pgm->zero_frame = page.frame;
	return Q_OK;
}

/* Without the lock, like all of pgm_create(): no other thread knows the VM yet. */
static q_status_t ram_add(struct pgm *pgm, struct pgm_region ram) Q_NO_ANALYSIS
{
	struct pgm_record empty = pgm_record_of_empty_ram(pgm);
	uint64_t count;

	q_status_t status = pgm_record_pages_make(pgm, ram.start, ram.end);
	if (status != Q_OK)
		return status;
	for (gfn_t gfn = ram.start; gfn.raw < ram.end.raw; gfn.raw += count) {
		struct pgm_record *records = pgm_records_from(pgm, gfn, ram.end, &count);
		for (uint64_t i = 0; i < count; i++)
			records[i] = empty;
	}
	pgm_region_insert(pgm, ram);
	pgm->ram_pages += ram.end.raw - ram.start.raw;
	pgm->ram_end = ram.end;
	return Q_OK;
}

/* After a failure, what was made so far belongs to the VM and is freed with it. */
static q_status_t pgm_build(struct pgm *pgm, const struct slat_format *format,
			    const struct ram_layout *layout)
{
	void *handy, *directories;

	spin_init(&pgm->lock, LOCK_RANK_PGM, "pgm");
	q_status_t status = kernel_page_alloc(pgm->vm, &handy);
	if (status == Q_OK)
		status = kernel_page_alloc(pgm->vm, &directories);
	if (status != Q_OK)
		return status;
	pgm->handy = handy;
	pgm->directories = directories;
	status = slat_init(&pgm->slat, format, pgm->vm);
	if (status != Q_OK)
		return status;
	status = zero_page_make(pgm);
	for (unsigned i = 0; i < layout->count && status == Q_OK; i++)
		status = ram_add(pgm, layout->ranges[i]);
	return status;
}

static q_status_t pgm_create_in(gmm_vm_t vm, const struct pgm_config *config,
				const struct ram_layout *layout, struct pgm **out_pgm) Q_NO_ANALYSIS
{
	void *page;

	q_status_t status = kernel_page_alloc(vm, &page);
	if (status != Q_OK)
		return status;
	struct pgm *pgm = page; /* zeroed */
	struct gmm_vm_stats stats;
	gmm_vm_stats(vm, &stats);
	pgm->vm = vm;
	pgm->reserved_pages = stats.guaranteed_base;
	pgm->overcommit = config->overcommit;
	pgm->priority = config->priority;
	pgm->is_bound = config->is_bound;
	pgm->has_dirty_bits = config->has_dirty_bits;
	/* A VM that owns all its memory gets whole chunks instead, see pgm_large.c. */
	pgm->works_ahead = config->works_ahead && config->has_dirty_bits &&
			   config->overcommit != GMM_OVERCOMMIT_NONE;
	pgm_ahead_reset(pgm);
	status = pgm_build(pgm, config->format, layout);
	if (status == Q_OK)
		*out_pgm = pgm;
	return status;
}

static struct gmm_vm_config promises_of(const struct pgm_config *config,
					const struct ram_layout *layout)
{
	uint64_t own_pages = 1 + PGM_HANDY_MAX; /* the zero page, the handy stock */
	uint64_t guaranteed = uint64_min(pages_from_bytes(config->guaranteed_bytes), layout->pages);
	return (struct gmm_vm_config){
		.pages = { [GMM_BASE] = layout->pages + own_pages + PGM_ROM_PAGES,
			   [GMM_SHADOW] = tables_for(layout) + PGM_ROM_TABLES,
			   [GMM_FIXED] = PGM_FIXED_PAGES + record_pages_for(layout) +
					 PGM_ROM_RECORD_PAGES },
		.guaranteed_base_pages = guaranteed + own_pages,
		.overcommit = config->overcommit,
		.priority = config->priority,
		.is_bound = config->is_bound,
		.bound_range = config->bound_range,
	};
}

struct gmm_claims pgm_claims(const struct pgm_config *config)
{
	struct ram_layout layout;
	if (layout_make(config->ram_bytes, &layout) != Q_OK)
		return (struct gmm_claims){ 0 };
	struct gmm_vm_config promises = promises_of(config, &layout);
	bool has_all = config->overcommit == GMM_OVERCOMMIT_NONE;
	return (struct gmm_claims){
		.base = has_all ? promises.pages[GMM_BASE] : promises.guaranteed_base_pages,
		.kernel = promises.pages[GMM_SHADOW] + promises.pages[GMM_FIXED],
	};
}

q_status_t pgm_create(const struct pgm_config *config, struct pgm **out_pgm)
{
	struct ram_layout layout;
	gmm_vm_t vm;

	q_status_t status = layout_make(config->ram_bytes, &layout);
	if (status != Q_OK)
		return status;
	if (config->guaranteed_bytes > config->ram_bytes)
		return Q_RANGE;
	struct gmm_vm_config promises = promises_of(config, &layout);
	status = gmm_vm_create(&promises, &vm);
	if (status != Q_OK)
		return status;
	status = pgm_create_in(vm, config, &layout, out_pgm);
	if (status != Q_OK)
		gmm_vm_destroy(vm);
	return status;
}

void pgm_destroy(struct pgm *pgm)
{
	/* GMM finds a VM's own pages, but not the shared pages that it uses. */
	if (pgm->shared_pages > 0 || pgm->report_count > 0)
		pgm_reset(pgm);
	/* Frees struct pgm also. */
	gmm_vm_destroy(pgm->vm);
}

/* --- reset ---------------------------------------------------------------------------------- */

void pgm_reset_locked(struct pgm *pgm)
{
	/* Translations first: none may lead to a page that GMM gives to another VM. */
	slat_clear(&pgm->slat);
	pgm_ram_release(pgm);
	pgm_rom_reset(pgm);
	pgm_handy_drop(pgm);
	pgm_ahead_reset(pgm);
	gmm_balloon_reset(pgm->vm);
}

void pgm_reset(struct pgm *pgm) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	pgm_reset_locked(pgm);
	spin_unlock(&pgm->lock);
}

void pgm_unreserve(struct pgm *pgm)
{
	q_status_t status = gmm_vm_reserve(pgm->vm, 0);
	Q_ASSERT(status == Q_OK);
}

q_status_t pgm_reserve(struct pgm *pgm)
{
	return gmm_vm_reserve(pgm->vm, pgm->reserved_pages);
}

/* --- for the vCPU loop, and figures ------------------------------------------------------------ */

hpa_t pgm_slat_root(const struct pgm *pgm)
{
	return pgm->slat.root;
}

uint64_t pgm_slat_generation(const struct pgm *pgm)
{
	/* Pairs with the release in slat.c: a CPU that sees the number sees the changed entries. */
	return atomic_load_acquire(&pgm->slat.generation);
}

gfn_t pgm_ram_end(const struct pgm *pgm)
{
	return pgm->ram_end;
}

gmm_vm_t pgm_vm(const struct pgm *pgm)
{
	return pgm->vm;
}

#define COUNTER_LOAD(name, text) .name = atomic_load_relaxed(&pgm->counters.name),

void pgm_stats(const struct pgm *pgm, struct pgm_stats *out_stats)
{
	struct gmm_vm_stats gmm;

	gmm_vm_stats(pgm->vm, &gmm);
	/* Without the PGM lock: each figure is true, but they may be from different moments. */
	uint64_t private_pages = atomic_load_relaxed(&pgm->private_pages);
	uint64_t shared = atomic_load_relaxed(&pgm->shared_pages);
	uint64_t ballooned = atomic_load_relaxed(&pgm->ballooned_pages);
	*out_stats = (struct pgm_stats){
		.pages = pgm->ram_pages,
		.zero = pgm->ram_pages - private_pages - shared - ballooned,
		.private_pages = private_pages,
		.shared = shared,
		.monitored = atomic_load_relaxed(&pgm->monitored_pages),
		.ballooned = ballooned,
		.rom = atomic_load_relaxed(&pgm->rom_private_pages),
		.rom_shadow = atomic_load_relaxed(&pgm->rom_shadow_pages),
		.device = atomic_load_relaxed(&pgm->device_pages),
		.handy = atomic_load_relaxed(&pgm->handy_count),
		.reserved = gmm.guaranteed_base,
		.table_pages = atomic_load_relaxed(&pgm->slat.table_pages),
		.large = atomic_load_relaxed(&pgm->slat.large_pages),
		.record_bytes = (atomic_load_relaxed(&pgm->record_pages) +
				 atomic_load_relaxed(&pgm->shelf_pages)) *
				PAGE_SIZE,
		.ahead = atomic_load_relaxed(&pgm->ahead.count),
		.counters = { PGM_COUNTERS(COUNTER_LOAD) },
	};
}
