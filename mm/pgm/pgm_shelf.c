/* SPDX-License-Identifier: MIT */
/*
 * Shelves: records of memory that is not in the guest-physical map at present. The
 * hidden half of shadowed ROM has its records on a shelf, and so has device memory
 * while it is mapped nowhere.
 *
 * A shelf is a page, its head, with the addresses of pages of records. The FIXED
 * account pays for all of them.
 */
#include <quire/assert.h>
#include <quire/physmem.h>

#include "pgm_internal.h"

_Static_assert(sizeof(struct pgm_shelf) == PAGE_SIZE, "a shelf's head is one page");

static uint64_t record_pages(uint64_t page_count)
{
	return align_up(page_count, PGM_RECORDS) >> PGM_RECORDS_SHIFT;
}

uint64_t pgm_shelf_size(uint64_t page_count)
{
	return 1 + record_pages(page_count);
}

static hpa_t shelf_page_alloc(struct pgm *pgm) Q_REQUIRES(pgm->lock)
{
	hpa_t page = hpa(0);

	/* It was promised, so GMM has a page for it. */
	q_status_t status = gmm_kernel_page_alloc(pgm->vm, GMM_FIXED, &page);
	Q_ASSERT(status == Q_OK);
	pgm->shelf_pages++;
	return page;
}

struct pgm_shelf *pgm_shelf_make(struct pgm *pgm, uint64_t page_count)
{
	Q_ASSERT(page_count <= PGM_SHELF_PAGES_MAX);
	hpa_t page = shelf_page_alloc(pgm);
	struct pgm_shelf *shelf = physmem_kernel_ptr(page); /* zeroed */

	shelf->self = page;
	shelf->page_count = page_count;
	for (uint64_t i = 0; i < record_pages(page_count); i++)
		shelf->records[i] = shelf_page_alloc(pgm);
	return shelf;
}

void pgm_shelf_free(struct pgm *pgm, struct pgm_shelf *shelf)
{
	pgm->shelf_pages -= pgm_shelf_size(shelf->page_count);
	for (uint64_t i = 0; i < record_pages(shelf->page_count); i++)
		gmm_kernel_page_free(pgm->vm, GMM_FIXED, shelf->records[i]);
	gmm_kernel_page_free(pgm->vm, GMM_FIXED, shelf->self);
}

struct pgm_record *pgm_shelf_record(const struct pgm_shelf *shelf, uint64_t index)
{
	Q_ASSERT(index < shelf->page_count);
	struct pgm_record *page = physmem_kernel_ptr(shelf->records[index >> PGM_RECORDS_SHIFT]);
	return &page[index & (PGM_RECORDS - 1)];
}
