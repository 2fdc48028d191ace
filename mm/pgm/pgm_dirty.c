/* SPDX-License-Identifier: MIT */
/*
 * Moves the CPU's dirty bits from the nested tables into the records, where other
 * threads can read them without a lock.
 *
 * They are a hint. A CPU that caches a translation as dirty does not set the bit
 * again, so the generation is raised, once for all bits that were cleared. Until a
 * vCPU has flushed, its writes may go unnoticed here. To be sure, monitor the page.
 */
#include "mm/pgm/pgm.h"

#include "pgm_internal.h"

/* Only private pages in this state are mapped writable. */
static bool may_be_dirty(const struct pgm_record *record)
{
	return record && pgm_record_state(*record) == PGM_STATE_NORMAL;
}

static void page_note(struct pgm *pgm, gfn_t gfn, struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	uint32_t mark = record->d2 & PGM_RECORD_AHEAD;

	/* First: once its dirty bit is clear, a page that was handed out ahead would look unused. */
	pgm_ahead_use(record);
	if (slat_dirty_take(&pgm->slat, gfn))
		record->d2 |= PGM_RECORD_LATELY;
	else
		record->d2 = (record->d2 & ~PGM_RECORD_LATELY) | mark;
}

bool pgm_has_dirty_bits(const struct pgm *pgm)
{
	return pgm->has_dirty_bits;
}

void pgm_dirty_note(struct pgm *pgm, gfn_t first, unsigned count) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	for (gfn_t gfn = first; gfn.raw < first.raw + count; gfn.raw++) {
		struct pgm_record *record = pgm_record_find_ram(pgm, gfn);
		if (may_be_dirty(record))
			page_note(pgm, gfn, record);
	}
	slat_dirty_done(&pgm->slat);
	spin_unlock(&pgm->lock);
}
