/* SPDX-License-Identifier: MIT */
/*
 * Backing a page: making it the VM's own and NORMAL, as its first write does, by the
 * guest or on its behalf. What happens depends on the state:
 *
 *   ZERO       a page of the handy stock, which is all zero, replaces the zero page;
 *              or a whole chunk replaces it in 512 records, see pgm_large.c
 *   BALLOONED  a page of the stock likewise, and the balloon has one page less: a
 *              guest that writes to a page it gave back takes it again
 *   SHARED     a page of the stock gets a copy of the shared page's content; the
 *              reference is dropped with the next report, so the content stays
 *              until then
 *   MONITORED  no page is needed; the record notes that the page was written
 *
 * The record is changed first, then the content; the caller maps the page last. So
 * no translation ever leads to a page that is not filled yet.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"

bool pgm_page_needs_stock(struct pgm_record record)
{
	return pgm_record_state(record) != PGM_STATE_NORMAL &&
	       pgm_record_state(record) != PGM_STATE_MONITORED;
}

/* Installs a handy page where a handler or ROM's shadow is: type, handler and mode stay. */
Q_NOINLINE static void odd_page_install(struct pgm *pgm, struct pgm_record *record,
					const struct gmm_page *page) Q_REQUIRES(pgm->lock)
{
	*record = pgm_record_replace(*record, PGM_STATE_NORMAL, page->frame, page->id);
	if (pgm_record_type(*record) == PGM_TYPE_RAM)
		pgm->private_pages++;
	else
		pgm->rom_shadow_pages++;
}

static bool page_take(struct pgm *pgm, gfn_t gfn, struct pgm_record *record, page_id_t shared)
	Q_REQUIRES(pgm->lock)
{
	const struct gmm_page *page = pgm_handy_take(pgm, gfn, shared);
	if (!page && pgm_ahead_take_all(pgm) > 0)
		page = pgm_handy_take(pgm, gfn, shared);
	if (!page)
		return false;
	if (!pgm_record_is_plain_ram(*record)) {
		odd_page_install(pgm, record, page);
		return true;
	}
	*record = pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, page->frame, page->id);
	pgm->private_pages++;
	return true;
}

static bool zero_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	if (pgm_large_has_right(pgm) && pgm_large_back(pgm, gfn))
		return true;
	return page_take(pgm, gfn, record, PAGE_ID_NIL);
}

static bool shared_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	page_id_t shared = pgm_record_id(*record);

	if (!page_take(pgm, gfn, record, shared))
		return false;
	pgm->shared_pages--;
	pgm->counters.copies++;
	gmm_page_copy(pgm_record_id(*record), shared);
	return true;
}

static bool ballooned_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	if (!page_take(pgm, gfn, record, PAGE_ID_NIL))
		return false;
	q_status_t status = gmm_balloon_deflate(pgm->vm, 1);
	Q_ASSERT(status == Q_OK);
	pgm->ballooned_pages--;
	return true;
}

static void monitored_page_back(struct pgm *pgm, struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	if (pgm_record_type(*record) == PGM_TYPE_DEVICE) {
		pgm_device_note_write(record);
		return;
	}
	*record = pgm_record_replace(*record, PGM_STATE_NORMAL, pgm_record_frame(*record),
				     pgm_record_id(*record));
	record->d2 |= PGM_RECORD_WRITTEN_TO;
	pgm->monitored_pages--;
	pgm->counters.monitor_hits++;
}

bool pgm_page_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
{
	switch (pgm_record_state(*record)) {
	case PGM_STATE_NORMAL: return true;
	case PGM_STATE_ZERO: return zero_page_back(pgm, gfn, record);
	case PGM_STATE_SHARED: return shared_page_back(pgm, gfn, record);
	case PGM_STATE_BALLOONED: return ballooned_page_back(pgm, gfn, record);
	case PGM_STATE_MONITORED: monitored_page_back(pgm, record); return true;
	}
	Q_ASSERT(!"a record's state is one of these");
	return false;
}
