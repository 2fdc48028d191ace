/* SPDX-License-Identifier: MIT */
/*
 * The handy stock: pages that are allocated and cleared before they are needed. So
 * the fault path just takes one: it cannot wait or fail half way, and asks GMM for no
 * guest page. (It asks only for whole chunks, in a VM that owns all its memory, see
 * pgm_large.c.) The vCPU loop, where waiting is allowed, refills the stock when
 * PGM_HANDY_LOW pages are left.
 *
 * GMM does not know which guest page a handy page becomes. The fault path notes that
 * in a report, together with the shared page that the handy page replaced; the next
 * refill sends all reports. Code that frees pages sends the reports first, so that
 * GMM never hears of a page that is gone.
 *
 * H1  handy_count + report_count never exceeds PGM_HANDY_MAX: each report is about a
 *     page that left the stock, and a refill starts by sending all reports.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/atomic.h>

#include "pgm_internal.h"

bool pgm_handy_is_low(const struct pgm *pgm)
{
	/* Without the lock: a refill that is one fault early or late does no harm. */
	return atomic_load_relaxed(&pgm->handy_count) <= PGM_HANDY_LOW;
}

const struct gmm_page *pgm_handy_take(struct pgm *pgm, gfn_t gfn, page_id_t shared)
{
	if (pgm->handy_count == 0)
		return NULL;
	unsigned left = pgm->handy_count - 1;
	const struct gmm_page *page = &pgm->handy->fresh[left];
	atomic_store_relaxed(&pgm->handy_count, left);
	/* H1: there is room for the report. */
	pgm->handy->reports[pgm->report_count++] =
		(struct pgm_report){ .id = page->id, .gfn = (uint32_t)gfn.raw, .shared = shared };
	return page;
}

/* Takes back the report about a page, sent or not: GMM then knows no guest frame for the page. */
static void report_cancel(struct pgm *pgm, page_id_t id) Q_REQUIRES(pgm->lock)
{
	struct pgm_report *reports = pgm->handy->reports;

	for (unsigned i = 0; i < pgm->report_count; i++) {
		if (reports[i].id.raw != id.raw)
			continue;
		Q_ASSERT(page_id_is_nil(reports[i].shared));
		reports[i] = reports[--pgm->report_count];
		return;
	}
	q_status_t status = gmm_page_set_gfn(pgm->vm, id, GFN_UNKNOWN);
	Q_ASSERT(status == Q_OK);
}

void pgm_handy_return(struct pgm *pgm, struct gmm_page page)
{
	report_cancel(pgm, page.id);
	/* H1: its report was cancelled, or the last refill left room for it (A2). */
	Q_ASSERT(pgm->handy_count + pgm->report_count < PGM_HANDY_MAX);
	page.is_zeroed = true;
	pgm->handy->fresh[pgm->handy_count] = page;
	atomic_store_relaxed(&pgm->handy_count, pgm->handy_count + 1);
}

void pgm_handy_report(struct pgm *pgm)
{
	page_id_t dropped[PGM_HANDY_MAX];
	unsigned count = 0, done;

	for (unsigned i = 0; i < pgm->report_count; i++) {
		const struct pgm_report *report = &pgm->handy->reports[i];
		q_status_t status = gmm_page_set_gfn(pgm->vm, report->id, gfn(report->gfn));
		Q_ASSERT(status == Q_OK);
		if (!page_id_is_nil(report->shared))
			dropped[count++] = report->shared;
	}
	pgm->report_count = 0;
	if (count == 0)
		return;
	q_status_t status = gmm_shared_put(pgm->vm, dropped, count, &done);
	Q_ASSERT(status == Q_OK && done == count);
}

/* Gets *want pages, or as many as can be had, and sets *want to how many it got. */
static q_status_t pages_get(struct pgm *pgm, struct gmm_page *out_pages, unsigned *want)
{
	q_status_t status = gmm_pages_alloc(pgm->vm, out_pages, *want);

	/* Others allocate at the same time. This ends because it asks for fewer pages each time. */
	while (status != Q_OK && *want > 0) {
		*want = (unsigned)gmm_pages_available(pgm->vm, *want - 1);
		if (*want == 0)
			return status;
		status = gmm_pages_alloc(pgm->vm, out_pages, *want);
	}
	return status;
}

q_status_t pgm_handy_refill_locked(struct pgm *pgm)
{
	pgm_handy_report(pgm);
	unsigned taken = pgm_ahead_age(pgm);
	struct gmm_page *fresh = &pgm->handy->fresh[pgm->handy_count];
	/* A2 */
	unsigned wanted = PGM_HANDY_MAX - pgm->handy_count - pgm->ahead.count, count = wanted;
	if (wanted == 0)
		return Q_OK;
	q_status_t status = pages_get(pgm, fresh, &count);
	if (status != Q_OK) {
		taken += pgm_ahead_take_all(pgm);
		return taken > 0 ? Q_OK : status;
	}
	for (unsigned i = 0; i < count; i++)
		if (!fresh[i].is_zeroed)
			gmm_page_clear(fresh[i].id);
	atomic_store_relaxed(&pgm->handy_count, pgm->handy_count + count);
	pgm->counters.refills++;
	/* Memory is short, so unused pages that were handed out ahead go back to the stock. */
	if (count < wanted)
		(void)pgm_ahead_take_all(pgm);
	return Q_OK;
}

q_status_t pgm_handy_refill(struct pgm *pgm) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = pgm_handy_refill_locked(pgm);
	spin_unlock(&pgm->lock);
	return status;
}

void pgm_handy_drop(struct pgm *pgm)
{
	page_id_t ids[PGM_HANDY_MAX];
	unsigned done;

	Q_ASSERT(pgm->report_count == 0);
	for (unsigned i = 0; i < pgm->handy_count; i++)
		ids[i] = pgm->handy->fresh[i].id;
	q_status_t status = gmm_pages_free(pgm->vm, ids, pgm->handy_count, &done);
	Q_ASSERT(status == Q_OK && done == pgm->handy_count);
	atomic_store_relaxed(&pgm->handy_count, 0);
}
