/* SPDX-License-Identifier: MIT */
/*
 * Shadowed ROM: each guest page exists twice, as the virgin page, which holds
 * the image, and as the shadow page, which is RAM. The mode of a page, kept in
 * its record, says which of the two is read and what becomes of writes:
 *
 *   mode                  read     written   in nested tables
 *   READ_ROM              virgin   neither   virgin, read-only
 *   READ_ROM_WRITE_RAM    virgin   shadow    virgin, read-only; writes are emulated
 *   READ_RAM              shadow   neither   shadow, read-only
 *   READ_RAM_WRITE_RAM    shadow   shadow    shadow
 *
 * The map has the record of the half that is read. The record of the other half, the
 * hidden one, lies on the region's shelf, without handler and with mode READ_ROM. A
 * mode that changes which half is read swaps the two records; the handler belongs to
 * the address and stays.
 *
 * The shadow starts as the zero page. Writes allocate its pages, like those of RAM.
 *
 * Invariants, asserted by pgm_check():
 *   R1  Virgin and shadow are each ZERO or NORMAL, and a recount gives
 *       rom_private_pages (with plain ROM's) and rom_shadow_pages.
 *   R2  Virgin pages hold the image for ever: none of their records takes writes.
 *   R3  After pgm_reset() all modes are READ_ROM and all shadows ZERO.
 */
#include "mm/pgm/pgm_rom_shadow.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "pgm_internal.h"
#include "pgm_transition.h"

static bool reads_ram(enum pgm_rom_mode mode)
{
	return mode == PGM_ROM_READ_RAM || mode == PGM_ROM_READ_RAM_WRITE_RAM;
}

struct pgm_record *pgm_rom_hidden(const struct pgm *pgm, gfn_t gfn)
{
	const struct pgm_region *rom = pgm_region_find(pgm, gfn);

	Q_ASSERT(rom && rom->kind == PGM_REGION_ROM_SHADOWED);
	return pgm_shelf_record(rom->shelf, gfn.raw - rom->start.raw);
}

struct pgm_record *pgm_rom_written(const struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
{
	switch (pgm_record_rom_mode(*record)) {
	case PGM_ROM_READ_ROM:
	case PGM_ROM_READ_RAM: return NULL;
	case PGM_ROM_READ_ROM_WRITE_RAM: return pgm_rom_hidden(pgm, gfn);
	case PGM_ROM_READ_RAM_WRITE_RAM: return record;
	}
	return NULL;
}

/* --- add --------------------------------------------------------------------------------- */

#define BATCH 64u

/* Pages for the image, allocated in batches. */
struct supply {
	uint64_t left; /* still to be allocated */
	unsigned count;
	struct gmm_page pages[BATCH];
};

static q_status_t supply_take(struct pgm *pgm, struct supply *supply, struct gmm_page *out_page)
{
	if (supply->count == 0) {
		unsigned count = supply->left < BATCH ? (unsigned)supply->left : BATCH;
		q_status_t status = gmm_pages_alloc(pgm->vm, supply->pages, count);
		if (status != Q_OK)
			return status;
		supply->left -= count;
		supply->count = count;
	}
	*out_page = supply->pages[--supply->count];
	return Q_OK;
}

static struct pgm_record zero_record(const struct pgm *pgm)
{
	return pgm_record_make(PGM_TYPE_ROM_SHADOWED, PGM_STATE_ZERO, pgm->zero_frame, PAGE_ID_NIL);
}

/* Makes a page the zero page again. True if it had a page of its own, which is freed. */
static bool page_free(struct pgm *pgm, struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	page_id_t id = pgm_record_id(*record);
	unsigned done;

	if (pgm_record_state(*record) == PGM_STATE_ZERO)
		return false;
	q_status_t status = gmm_pages_free(pgm->vm, &id, 1, &done);
	Q_ASSERT(status == Q_OK);
	*record = zero_record(pgm);
	return true;
}

/* Makes the virgin pages, on the shelf. After a failure there are none. */
static q_status_t virgins_make(struct pgm *pgm, const struct pgm_region *rom, const uint8_t *image,
			       uint64_t private_count) Q_REQUIRES(pgm->lock)
{
	uint64_t count = rom->end.raw - rom->start.raw;
	struct supply supply = { .left = private_count };
	struct gmm_page page;

	for (uint64_t i = 0; i < count; i++) {
		struct pgm_record *record = pgm_shelf_record(rom->shelf, i);
		*record = zero_record(pgm);
		if (pgm_rom_page_is_zero(image + i * PAGE_SIZE))
			continue;
		q_status_t status = supply_take(pgm, &supply, &page);
		if (status != Q_OK) {
			while (i-- > 0)
				page_free(pgm, pgm_shelf_record(rom->shelf, i));
			return status;
		}
		pgm_rom_page_fill(pgm, gfn(rom->start.raw + i), page.id, image + i * PAGE_SIZE);
		*record = pgm_record_replace(*record, PGM_STATE_NORMAL, page.frame, page.id);
	}
	return Q_OK;
}

/* Puts the virgins into the map and the shadows onto the shelf. Nothing here can fail. */
static void rom_install(struct pgm *pgm, const struct pgm_region *rom) Q_REQUIRES(pgm->lock)
{
	q_status_t status = pgm_record_pages_make(pgm, rom->start, rom->end);

	Q_ASSERT(status == Q_OK); /* its pages were promised */
	for (gfn_t at = rom->start; at.raw < rom->end.raw; at.raw++) {
		struct pgm_record *hidden = pgm_shelf_record(rom->shelf, at.raw - rom->start.raw);
		*pgm_record_find(pgm, at) = *hidden;
		*hidden = zero_record(pgm);
	}
	pgm_region_insert(pgm, *rom);
}

static q_status_t add_locked(struct pgm *pgm, struct pgm_region rom, const uint8_t *image)
	Q_REQUIRES(pgm->lock)
{
	uint64_t count = rom.end.raw - rom.start.raw, private_count = 0;

	if (count > PGM_SHELF_PAGES_MAX)
		return Q_LIMIT;
	for (uint64_t i = 0; i < count; i++)
		private_count += !pgm_rom_page_is_zero(image + i * PAGE_SIZE);
	struct pgm_promise more = {
		.base = private_count + count,
		.guaranteed = private_count,
		.shadow = slat_tables_below_root(rom.start, rom.end),
		.fixed = pgm_record_pages_missing(pgm, rom.start, rom.end) + pgm_shelf_size(count),
	};
	q_status_t status = pgm_promise_raise(pgm, more);
	if (status != Q_OK)
		return status;
	rom.shelf = pgm_shelf_make(pgm, count);
	status = virgins_make(pgm, &rom, image, private_count);
	if (status != Q_OK) {
		pgm_shelf_free(pgm, rom.shelf);
		pgm_promise_lower(pgm, more);
		return status;
	}
	rom_install(pgm, &rom);
	pgm->rom_private_pages += private_count;
	return Q_OK;
}

q_status_t pgm_rom_add_shadowed(struct pgm *pgm, gpa_t start, const void *image,
				uint64_t size_bytes) Q_EXCLUDES(pgm->lock)
{
	struct pgm_region rom = { .kind = PGM_REGION_ROM_SHADOWED };

	spin_lock(&pgm->lock);
	q_status_t status = pgm_region_admit(pgm, start, size_bytes, &rom);
	if (status == Q_OK && pgm->device_count)
		status = Q_STATE;
	if (status == Q_OK)
		status = add_locked(pgm, rom, image);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- modes -------------------------------------------------------------------------------- */

/* True if a translation made from `before` allows what `after` must not, or leads elsewhere. */
static bool is_stale(struct pgm_record before, struct pgm_record after)
{
	return before.q0 != after.q0 ||
	       (!pgm_record_is_read_only(before) && pgm_record_is_read_only(after));
}

static void page_mode_set(struct pgm *pgm, gfn_t gfn, enum pgm_rom_mode mode) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find(pgm, gfn);
	struct pgm_record *hidden = pgm_rom_hidden(pgm, gfn);
	struct pgm_record before = *record, read = *record, other = *hidden;

	if (reads_ram(pgm_record_rom_mode(before)) != reads_ram(mode)) {
		read = pgm_record_with_handler(*hidden, pgm_record_handler(before));
		other = pgm_record_with_handler(before, PGM_HANDLER_NONE);
	}
	*record = pgm_record_with_rom_mode(read, mode);
	*hidden = pgm_record_with_rom_mode(other, PGM_ROM_READ_ROM);
	if (is_stale(before, *record))
		slat_unmap(&pgm->slat, gfn, (gfn_t){ gfn.raw + 1 });
}

static q_status_t mode_set_locked(struct pgm *pgm, gfn_t start, gfn_t end, enum pgm_rom_mode mode)
	Q_REQUIRES(pgm->lock)
{
	for (gfn_t gfn = start; gfn.raw < end.raw; gfn.raw++) {
		const struct pgm_record *record = pgm_record_find(pgm, gfn);
		if (!record || !pgm_transition_is_legal(*record, PGM_OP_ROM_MODE))
			return Q_STATE;
	}
	for (gfn_t gfn = start; gfn.raw < end.raw; gfn.raw++)
		page_mode_set(pgm, gfn, mode);
	return Q_OK;
}

q_status_t pgm_rom_mode_set(struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			    enum pgm_rom_mode mode) Q_EXCLUDES(pgm->lock)
{
	if (mode > PGM_ROM_READ_RAM_WRITE_RAM)
		return Q_INVALID;
	q_status_t status = pgm_range_check(start, size_bytes);
	if (status != Q_OK)
		return status;
	spin_lock(&pgm->lock);
	status = mode_set_locked(pgm, gpa_to_gfn(start), gpa_to_gfn(gpa_add(start, size_bytes)),
				 mode);
	spin_unlock(&pgm->lock);
	return status;
}

static void region_reset(struct pgm *pgm, const struct pgm_region *rom) Q_REQUIRES(pgm->lock)
{
	for (gfn_t gfn = rom->start; gfn.raw < rom->end.raw; gfn.raw++) {
		page_mode_set(pgm, gfn, PGM_ROM_READ_ROM);
		pgm->rom_shadow_pages -= page_free(pgm, pgm_rom_hidden(pgm, gfn));
	}
}

void pgm_rom_reset(struct pgm *pgm)
{
	for (unsigned i = 0; i < pgm->region_count; i++)
		if (pgm->regions[i].kind == PGM_REGION_ROM_SHADOWED)
			region_reset(pgm, &pgm->regions[i]);
}
