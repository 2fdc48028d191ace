/* SPDX-License-Identifier: MIT */
/*
 * What other threads ask a VM to do with one of its pages: monitor it, share it, make
 * it the zero page, move it.
 *
 * The thread that asks saw the page earlier, without a lock, so it may have changed.
 * Each request names the page id that was seen, and is refused with Q_STATE and
 * without any effect if the record has another id or is in another state by now:
 *
 *                  pgm_page_monitor        pgm_page_share
 *          NORMAL ------------------> MONITORED ----------> SHARED
 *            |    <------------------     |
 *            |     a write (written-to),  |
 *            |     pgm_page_unmonitor     |
 *            +------------+---------------+
 *                         | pgm_page_zero, if it is all zero
 *                         v
 *                        ZERO
 *
 * Monitoring removes the page's translation. A later write faults, makes the page
 * NORMAL and is noted: so a page that is still MONITORED after a while does not change
 * often. pgm_page_share() compares the contents, under the lock and while nothing can
 * write to either page. No other comparison counts: the scanner goes by keys.
 *
 * A page's translation is removed before its content is compared or the page is freed;
 * every vCPU flushes before it enters again.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/atomic.h>

#include "pgm_internal.h"
#include "pgm_transition.h"

/* --- the precondition ----------------------------------------------------------------- */

/* The record, if it still has the expected private page and allows the operation; else NULL. */
static struct pgm_record *page_expect(const struct pgm *pgm, gfn_t gfn, page_id_t expected,
				      enum pgm_operation operation) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find_ram(pgm, gfn);

	if (!record || !pgm_transition_is_legal(*record, operation))
		return NULL;
	/* The caller saw a private page. A shared one that has its id now must not become zero. */
	if (page_id_is_nil(expected) || pgm_record_id(*record).raw != expected.raw ||
	    pgm_record_state(*record) == PGM_STATE_SHARED)
		return NULL;
	return record;
}

static void page_unmap(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock)
{
	slat_unmap(&pgm->slat, gfn, gfn_next(gfn));
}

/* --- monitor ------------------------------------------------------------------------------ */

static struct pgm_record record_in_state(struct pgm_record record, enum pgm_state state)
{
	return pgm_record_replace(record, state, pgm_record_frame(record), pgm_record_id(record));
}

static q_status_t page_monitor_locked(struct pgm *pgm, gfn_t gfn, page_id_t expected)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = page_expect(pgm, gfn, expected, PGM_OP_MONITOR);

	if (!record)
		return Q_STATE;
	*record = record_in_state(*record, PGM_STATE_MONITORED);
	pgm->monitored_pages++;
	page_unmap(pgm, gfn);
	return Q_OK;
}

q_status_t pgm_page_monitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = page_monitor_locked(pgm, gfn, expected);
	spin_unlock(&pgm->lock);
	return status;
}

static q_status_t page_unmonitor_locked(struct pgm *pgm, gfn_t gfn, page_id_t expected)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = page_expect(pgm, gfn, expected, PGM_OP_UNMONITOR);

	if (!record)
		return Q_STATE;
	/* A read-only translation may stay: the next write faults on it and maps the page anew. */
	*record = record_in_state(*record, PGM_STATE_NORMAL);
	pgm->monitored_pages--;
	return Q_OK;
}

q_status_t pgm_page_unmonitor(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = page_unmonitor_locked(pgm, gfn, expected);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- share ----------------------------------------------------------------------------------- */

static q_status_t page_share_locked(struct pgm *pgm, gfn_t gfn, page_id_t expected,
				    page_id_t shared) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = page_expect(pgm, gfn, expected, PGM_OP_SHARE);

	if (!record)
		return Q_STATE;
	page_unmap(pgm, gfn);
	/*
	 * The page may have been written and monitored anew since its key was taken. Now
	 * nothing can write to either page, so this is the comparison that counts.
	 */
	if (!gmm_page_is_equal(expected, shared))
		return Q_STATE;
	pgm_handy_report(pgm);
	q_status_t status = gmm_shared_replace(pgm->vm, expected, shared);
	if (status != Q_OK)
		return status;
	*record = pgm_record_replace(*record, PGM_STATE_SHARED, gmm_page_frame(shared), shared);
	pgm->monitored_pages--;
	pgm->private_pages--;
	pgm->shared_pages++;
	return Q_OK;
}

q_status_t pgm_page_share(struct pgm *pgm, gfn_t gfn, page_id_t expected, page_id_t shared)
	Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = page_share_locked(pgm, gfn, expected, shared);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- zero --------------------------------------------------------------------------------------- */

static q_status_t page_zero_locked(struct pgm *pgm, gfn_t gfn, page_id_t expected)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_free_batch batch = { .private_count = 0 };
	struct pgm_record *record = page_expect(pgm, gfn, expected, PGM_OP_ZERO);

	if (!record)
		return Q_STATE;
	/* First, so that the guest cannot write between the comparison and the exchange. */
	page_unmap(pgm, gfn);
	pgm_ahead_use(record);
	if (!gmm_page_is_zero(expected))
		return Q_STATE;
	pgm_handy_report(pgm);
	pgm_page_release(pgm, record, &batch);
	pgm_free_flush(pgm, &batch);
	return Q_OK;
}

q_status_t pgm_page_zero(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = page_zero_locked(pgm, gfn, expected);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- move --------------------------------------------------------------------------------------- */

static q_status_t page_move_locked(struct pgm *pgm, gfn_t gfn, page_id_t expected)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = page_expect(pgm, gfn, expected, PGM_OP_MOVE);
	struct gmm_page page;
	unsigned done;

	if (!record)
		return Q_STATE;
	pgm_handy_report(pgm);
	q_status_t status = gmm_page_move_alloc(pgm->vm, expected, &page);
	if (status != Q_OK)
		return status;
	page_unmap(pgm, gfn);
	gmm_page_copy(page.id, expected);
	status = gmm_page_set_gfn(pgm->vm, page.id, gfn);
	Q_ASSERT(status == Q_OK);
	*record = pgm_record_replace(*record, pgm_record_state(*record), page.frame, page.id);
	status = gmm_pages_free(pgm->vm, &expected, 1, &done);
	Q_ASSERT(status == Q_OK && done == 1);
	return Q_OK;
}

q_status_t pgm_page_move(struct pgm *pgm, gfn_t gfn, page_id_t expected) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = page_move_locked(pgm, gfn, expected);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- look ----------------------------------------------------------------------------------------- */

bool pgm_page_look(const struct pgm *pgm, gfn_t gfn, struct pgm_page_view *out_view)
{
	const struct pgm_record *record = pgm_record_find_ram(pgm, gfn);
	if (!record)
		return false;
	/*
	 * Two loads without a lock may see different moments. Then the id and the state do
	 * not belong together, and a request that follows from them is refused.
	 */
	struct pgm_record seen = { .q0 = atomic_load_relaxed(&record->q0),
				   .d2 = atomic_load_relaxed(&record->d2) };
	*out_view = (struct pgm_page_view){
		.id = pgm_record_id(seen),
		.kind = (enum pgm_page_kind)pgm_record_state(seen),
		.was_written_lately = seen.d2 & PGM_RECORD_LATELY,
		.has_handler = field_get(seen.d2, PGM_RECORD_HANDLER) != 0,
	};
	return true;
}

/*
 * Looks for an unmarked NORMAL page of RAM from *from to the end of its page of records.
 * *from becomes its frame, or if there is none, the first frame after the page of records.
 */
static bool private_find(const struct pgm_record *record, gfn_t *from)
{
	const uint32_t mask = PGM_RECORD_TYPE | PGM_RECORD_STATE | PGM_RECORD_AHEAD;
	const uint32_t wanted = (uint32_t)(field_set(0, PGM_RECORD_TYPE, PGM_TYPE_RAM) |
					   field_set(0, PGM_RECORD_STATE, PGM_STATE_NORMAL));

	do {
		if ((atomic_load_relaxed(&record->d2) & mask) == wanted)
			return true;
		record++;
		from->raw++;
	} while (!is_aligned(from->raw, PGM_RECORDS));
	return false;
}

gfn_t pgm_page_next_private(const struct pgm *pgm, gfn_t from, gfn_t end)
{
	while (from.raw < end.raw) {
		const struct pgm_record *record = pgm_record_find(pgm, from);
		if (!record)
			from = gfn(align_down(from.raw, PGM_RECORDS) + PGM_RECORDS);
		else if (private_find(record, &from))
			break;
	}
	return from.raw < end.raw ? from : end;
}
