/* SPDX-License-Identifier: MIT */
/*
 * Large mappings: an aligned block of 512 guest pages whose memory is one whole
 * chunk, in order, is one 2 MiB entry of the nested tables. That saves the guest
 * a level of its nested walks, and 511 faults.
 *
 *   made    The first write to a wholly untouched block of a VM with overcommit =
 *           none takes a whole chunk, if one is free, and backs all 512 pages with
 *           it. Such a VM has a right to all its memory anyway; any other VM pays
 *           for what it writes, page by page.
 *   split   slat.c splits the entry when a page of the block gets another
 *           permission, another frame or none. The other 511 stay mapped and keep
 *           what hardware noted. The SHADOW account has the table for this (P11).
 *   mended  Whenever a page of the block is mapped writable, the block is checked
 *           again and becomes one entry as soon as it can. Only a page whose place
 *           in its chunk is its place in the block leads to a check, so in other
 *           VMs this costs one comparison.
 *
 * No list of large blocks is kept: records say which blocks can be large, the nested
 * tables which are. A chunk of 1 MiB (GMM_CHUNK_SHIFT 20) is never large enough.
 *
 * Lock: PGM. Mending frees a table: no vCPU may be in the guest (S6 in slat.c).
 */
#include <quire/assert.h>

#include "pgm_internal.h"

_Static_assert(PAGES_PER_LARGE % PGM_RECORDS == 0, "a block's records are whole pages");

static gfn_t block_start(gfn_t gfn)
{
	return (gfn_t){ align_down(gfn.raw, PAGES_PER_LARGE) };
}

/* --- one record ------------------------------------------------------------------------------ */

/*
 * The bits of d2 that decide how the page is mapped. PGM_RECORD_AHEAD is one: such a
 * page needs a leaf of its own, with its own dirty bit.
 */
static uint32_t kind_bits(struct pgm_record record)
{
	return record.d2 &
	       (uint32_t) ~(PGM_RECORD_WRITTEN_TO | PGM_RECORD_MIGRATION | PGM_RECORD_LATELY);
}

static bool is_writable_at(struct pgm_record record, hfn_t frame)
{
	struct pgm_record normal =
		pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, frame, PAGE_ID_NIL);

	return kind_bits(record) == normal.d2 && pgm_record_frame(record).raw == frame.raw;
}

static bool is_untouched(const struct pgm *pgm, struct pgm_record record)
{
	struct pgm_record zero =
		pgm_record_make(PGM_TYPE_RAM, PGM_STATE_ZERO, pgm->zero_frame, PAGE_ID_NIL);

	return kind_bits(record) == zero.d2 && record.q0 == zero.q0;
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* The record of the block's page `index`; all zero if no record page covers it. */
static struct pgm_record record_at(const struct pgm *pgm, gfn_t start, unsigned index)
	Q_REQUIRES(pgm->lock)
{
	const struct pgm_record *record = pgm_record_find(pgm, gfn(start.raw + index));
	return record ? *record : (struct pgm_record){ 0 };
}

bool pgm_large_is_whole(const struct pgm *pgm, gfn_t gfn, hfn_t frame)
{
	gfn_t start = block_start(gfn);
	uint64_t base = frame.raw - (gfn.raw - start.raw);

	if (GMM_PAGES_PER_CHUNK < PAGES_PER_LARGE || !pgm_large_is_at_place(gfn, frame))
		return false;
	/* The last page first: in a block that is filled up or down, it or page 0 fails at once. */
	if (!is_writable_at(record_at(pgm, start, PAGES_PER_LARGE - 1),
			    hfn(base + PAGES_PER_LARGE - 1)))
		return false;
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++)
		if (!is_writable_at(record_at(pgm, start, i), hfn(base + i)))
			return false;
	return true;
}

static bool is_block_untouched(const struct pgm *pgm, gfn_t start) Q_REQUIRES(pgm->lock)
{
	if (!is_untouched(pgm, record_at(pgm, start, PAGES_PER_LARGE - 1)))
		return false;
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++)
		if (!is_untouched(pgm, record_at(pgm, start, i)))
			return false;
	return true;
}

static void block_fill(struct pgm *pgm, gfn_t start, const struct gmm_page *first)
	Q_REQUIRES(pgm->lock)
{
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++) {
		page_id_t id = { first->id.raw + i };
		if (!first->is_zeroed)
			gmm_page_clear(id);
		*pgm_record_find(pgm, gfn(start.raw + i)) = pgm_record_make(
			PGM_TYPE_RAM, PGM_STATE_NORMAL, hfn(first->frame.raw + i), id);
	}
	pgm->private_pages += PAGES_PER_LARGE;
}

bool pgm_large_back(struct pgm *pgm, gfn_t gfn)
{
	gfn_t start = block_start(gfn);
	struct gmm_page first;

	if (!is_block_untouched(pgm, start))
		return false;
	/* If no chunk is wholly free, the caller takes a single page. */
	if (gmm_chunk_alloc(pgm->vm, start, &first) != Q_OK)
		return false;
	block_fill(pgm, start, &first);
	/* The zero page may be mapped at any page of the block. */
	slat_unmap(&pgm->slat, start, (gfn_t){ start.raw + PAGES_PER_LARGE });
	return true;
}

q_status_t pgm_large_map(struct pgm *pgm, gfn_t gfn, hfn_t frame)
{
	uint64_t offset = gfn.raw % PAGES_PER_LARGE;

	return slat_map(&pgm->slat, block_start(gfn), hfn(frame.raw - offset), SLAT_ALL, 2);
}
