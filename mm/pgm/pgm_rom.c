/* SPDX-License-Identifier: MIT */
/*
 * ROM: memory that is filled once, from an image, and that no guest writes.
 *
 * At creation, GMM promised the few pages, records and tables that ROMs need
 * (PGM_ROM_PAGES and its neighbours). So adding ROM changes no promise and is no
 * admission; larger ROM is refused. Nested tables are not checked: a table covers
 * more than the record page or directory of the same place, so where these exist or
 * are allowed, the table is also. ROM pages are never cleared: the image fills them.
 * A page of the image that is all zero becomes the VM's zero page, so that a mostly
 * empty BIOS area costs little.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "pgm_internal.h"

static q_status_t allowance_check(const struct pgm *pgm, const struct pgm_region *rom)
	Q_REQUIRES(pgm->lock)
{
	struct gmm_vm_stats stats;

	if (rom->end.raw - rom->start.raw > PGM_ROM_PAGES - pgm->rom_pages)
		return Q_LIMIT;
	gmm_vm_stats(pgm->vm, &stats);
	uint64_t records_left = stats.promised[GMM_FIXED] - stats.allocated[GMM_FIXED];
	if (pgm_record_pages_missing(pgm, rom->start, rom->end) > records_left)
		return Q_LIMIT;
	return Q_OK;
}

bool pgm_rom_page_is_zero(const uint8_t *page)
{
	const uint64_t *words = (const uint64_t *)page;
	uint64_t any = 0;

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		any |= words[i];
	return any == 0;
}

void pgm_rom_page_fill(struct pgm *pgm, gfn_t gfn, page_id_t id, const uint8_t *image)
{
	q_status_t status = gmm_page_set_gfn(pgm->vm, id, gfn);

	Q_ASSERT(status == Q_OK);
	memcpy(gmm_page_map(id), image, PAGE_SIZE);
}

/* Fills one page and makes its record. Nothing here can fail. */
static void rom_page_install(struct pgm *pgm, gfn_t gfn, const struct gmm_page *page,
			     const uint8_t *image) Q_REQUIRES(pgm->lock)
{
	pgm_rom_page_fill(pgm, gfn, page->id, image);
	*pgm_record_find(pgm, gfn) =
		pgm_record_make(PGM_TYPE_ROM, PGM_STATE_NORMAL, page->frame, page->id);
}

/* `pages` has one page for each page of the image that is not zero. */
static void rom_install(struct pgm *pgm, const struct pgm_region *rom, const uint8_t *image,
			const struct gmm_page *pages) Q_REQUIRES(pgm->lock)
{
	for (gfn_t at = rom->start; at.raw < rom->end.raw; at.raw++, image += PAGE_SIZE) {
		if (pgm_rom_page_is_zero(image))
			*pgm_record_find(pgm, at) = pgm_record_make(PGM_TYPE_ROM, PGM_STATE_ZERO,
								    pgm->zero_frame, PAGE_ID_NIL);
		else
			rom_page_install(pgm, at, pages++, image);
	}
	pgm_region_insert(pgm, *rom);
	pgm->rom_pages += rom->end.raw - rom->start.raw;
}

static q_status_t rom_add_locked(struct pgm *pgm, struct pgm_region rom, const uint8_t *image)
	Q_REQUIRES(pgm->lock)
{
	struct gmm_page pages[PGM_ROM_PAGES];
	unsigned count = 0;

	q_status_t status = allowance_check(pgm, &rom);
	if (status == Q_OK)
		status = pgm_record_pages_make(pgm, rom.start, rom.end);
	if (status != Q_OK)
		return status;
	for (uint64_t i = 0; i < rom.end.raw - rom.start.raw; i++)
		count += !pgm_rom_page_is_zero(image + i * PAGE_SIZE);
	if (count)
		status = gmm_pages_alloc(pgm->vm, pages, count);
	if (status != Q_OK)
		return status;
	rom_install(pgm, &rom, image, pages);
	pgm->rom_private_pages += count;
	return Q_OK;
}

q_status_t pgm_rom_add(struct pgm *pgm, gpa_t start, const void *image, uint64_t size_bytes)
	Q_EXCLUDES(pgm->lock)
{
	struct pgm_region rom = { .kind = PGM_REGION_ROM };

	spin_lock(&pgm->lock);
	q_status_t status = pgm_region_admit(pgm, start, size_bytes, &rom);
	if (status == Q_OK && pgm->device_count)
		status = Q_STATE;
	if (status == Q_OK)
		status = rom_add_locked(pgm, rom, image);
	spin_unlock(&pgm->lock);
	return status;
}
