/* SPDX-License-Identifier: MIT */
/*
 * The guest-physical map: which addresses are RAM, ROM, device memory or MMIO, and
 * the records of those that are memory.
 *
 * Regions are few, and mostly looked up when something is added; they are a sorted
 * array. Records are looked up at every fault; three loads find one:
 *
 *     struct pgm       page of the VM         directory (512 MiB)   record page (1 MiB)
 *     directories ---> [PGM_DIRECTORY_COUNT] ---> pages[512] ---------> records[256]
 *
 * Only memory has records that are not all zero. MMIO needs none: its region just
 * keeps the place taken. Record pages of RAM and ROM stay for good; when device memory
 * is unmapped, those that only it needed are freed.
 *
 * Lock: PGM, for everything here.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/physmem.h>

#include "pgm_internal.h"

/* --- regions -------------------------------------------------------------------------- */

static bool region_overlaps(const struct pgm *pgm, gfn_t start, gfn_t end) Q_REQUIRES(pgm->lock)
{
	for (unsigned i = 0; i < pgm->region_count; i++) {
		const struct pgm_region *region = &pgm->regions[i];
		if (start.raw < region->end.raw && region->start.raw < end.raw)
			return true;
	}
	return false;
}

void pgm_region_remove(struct pgm *pgm, gfn_t start)
{
	unsigned i = 0;

	while (i < pgm->region_count && pgm->regions[i].start.raw != start.raw)
		i++;
	Q_ASSERT(i < pgm->region_count);
	pgm->region_count--;
	for (; i < pgm->region_count; i++)
		pgm->regions[i] = pgm->regions[i + 1];
}

const struct pgm_region *pgm_region_find(const struct pgm *pgm, gfn_t gfn)
{
	for (unsigned i = 0; i < pgm->region_count; i++) {
		const struct pgm_region *region = &pgm->regions[i];
		if (gfn.raw >= region->start.raw && gfn.raw < region->end.raw)
			return region;
	}
	return NULL;
}

q_status_t pgm_range_check(gpa_t start, uint64_t size_bytes)
{
	if (size_bytes == 0 || gpa_offset(start) != 0 || !is_aligned(size_bytes, PAGE_SIZE))
		return Q_INVALID;
	if (range_exceeds(start.raw, size_bytes, PGM_GFN_END << PAGE_SHIFT))
		return Q_RANGE;
	return Q_OK;
}

q_status_t pgm_region_admit(const struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			    struct pgm_region *out_region)
{
	q_status_t status = pgm_range_check(start, size_bytes);
	if (status != Q_OK)
		return status;
	gfn_t first = gpa_to_gfn(start), end = gpa_to_gfn(gpa_add(start, size_bytes));
	if (region_overlaps(pgm, first, end))
		return Q_CONFLICT;
	if (pgm->region_count == PGM_REGION_MAX)
		return Q_LIMIT;
	out_region->start = first;
	out_region->end = end;
	return Q_OK;
}

void pgm_region_insert(struct pgm *pgm, struct pgm_region region)
{
	unsigned i = pgm->region_count++;

	Q_ASSERT(i < PGM_REGION_MAX);
	for (; i > 0 && pgm->regions[i - 1].start.raw > region.start.raw; i--)
		pgm->regions[i] = pgm->regions[i - 1];
	pgm->regions[i] = region;
}

q_status_t pgm_mmio_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes) Q_EXCLUDES(pgm->lock)
{
	struct pgm_region region = { .kind = PGM_REGION_MMIO };

	spin_lock(&pgm->lock);
	q_status_t status = pgm_region_admit(pgm, start, size_bytes, &region);
	if (status == Q_OK)
		pgm_region_insert(pgm, region);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- record pages ------------------------------------------------------------------------ */

static struct pgm_directory **directory_slot(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock)
{
	return &pgm->directories[gfn.raw >> PGM_DIRECTORY_SHIFT];
}

static struct pgm_record **page_slot(struct pgm_directory *directory, gfn_t gfn)
{
	return &directory->pages[(gfn.raw >> PGM_RECORDS_SHIFT) % PGM_DIRECTORY_SIZE];
}

static uint64_t block_count(gfn_t start, gfn_t end, unsigned shift)
{
	return ((end.raw - 1) >> shift) - (start.raw >> shift) + 1;
}

uint64_t pgm_record_pages_missing(const struct pgm *pgm, gfn_t start, gfn_t end)
{
	uint64_t missing = 0;

	for (uint64_t i = 0; i < block_count(start, end, PGM_DIRECTORY_SHIFT); i++)
		missing += !pgm->directories[(start.raw >> PGM_DIRECTORY_SHIFT) + i];
	for (uint64_t i = 0; i < block_count(start, end, PGM_RECORDS_SHIFT); i++) {
		gfn_t block = gfn(((start.raw >> PGM_RECORDS_SHIFT) + i) << PGM_RECORDS_SHIFT);
		missing += !pgm_record_find(pgm, block);
	}
	return missing;
}

/* A zeroed page of the FIXED account. */
static q_status_t fixed_page_alloc(struct pgm *pgm, void **out_page) Q_REQUIRES(pgm->lock)
{
	hpa_t page;

	q_status_t status = gmm_kernel_page_alloc(pgm->vm, GMM_FIXED, &page);
	if (status != Q_OK)
		return status;
	pgm->record_pages++;
	*out_page = physmem_kernel_ptr(page);
	return Q_OK;
}

/* Makes the record page of one frame, and its directory, unless they exist. */
static q_status_t record_page_make(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock)
{
	struct pgm_directory **directory = directory_slot(pgm, gfn);
	void *page;

	if (!*directory) {
		q_status_t status = fixed_page_alloc(pgm, &page);
		if (status != Q_OK)
			return status;
		*directory = page;
	}
	if (*page_slot(*directory, gfn))
		return Q_OK;
	q_status_t status = fixed_page_alloc(pgm, &page);
	if (status == Q_OK)
		*page_slot(*directory, gfn) = page;
	return status;
}

q_status_t pgm_record_pages_make(struct pgm *pgm, gfn_t start, gfn_t end)
{
	gfn_t block = gfn(align_down(start.raw, PGM_RECORDS));

	for (; block.raw < end.raw; block.raw += PGM_RECORDS) {
		q_status_t status = record_page_make(pgm, block);
		if (status != Q_OK)
			return status;
	}
	return Q_OK;
}

/* The most blocks that `page_count` pages in a row can touch. */
static uint64_t blocks_anywhere(uint64_t page_count, unsigned shift)
{
	return block_count(gfn(BIT64(shift) - 1), gfn(BIT64(shift) - 1 + page_count), shift);
}

uint64_t pgm_record_pages_anywhere(uint64_t page_count)
{
	return blocks_anywhere(page_count, PGM_RECORDS_SHIFT) +
	       blocks_anywhere(page_count, PGM_DIRECTORY_SHIFT);
}

static bool is_empty(const void *page)
{
	const uint64_t *words = page;

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		if (words[i])
			return false;
	return true;
}

/* Frees a page that is all zero. True if it did. */
static bool fixed_page_trim(struct pgm *pgm, const void *page) Q_REQUIRES(pgm->lock)
{
	if (!page || !is_empty(page))
		return false;
	gmm_kernel_page_free(pgm->vm, GMM_FIXED, physmem_kernel_hpa(page));
	pgm->record_pages--;
	return true;
}

void pgm_record_pages_trim(struct pgm *pgm, gfn_t start, gfn_t end)
{
	gfn_t block = gfn(align_down(start.raw, PGM_RECORDS));

	for (; block.raw < end.raw; block.raw += PGM_RECORDS) {
		struct pgm_directory **directory = directory_slot(pgm, block);
		if (!*directory)
			continue;
		struct pgm_record **page = page_slot(*directory, block);
		if (fixed_page_trim(pgm, *page))
			*page = NULL;
		if (fixed_page_trim(pgm, *directory))
			*directory = NULL;
	}
}
