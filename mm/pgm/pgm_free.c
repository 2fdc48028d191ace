/* SPDX-License-Identifier: MIT */
/*
 * Pages on their way back to GMM, in batches.
 *
 * The order is always the same: remove the translations, send the handy stock's
 * reports to GMM, make the record ZERO, put the page into a batch, free the batch. A
 * vCPU that may still have a translation in its TLB flushes before it enters the
 * guest again, since the removal raised the generation of the nested tables.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"

void pgm_free_flush(struct pgm *pgm, struct pgm_free_batch *batch)
{
	unsigned done;
	q_status_t status;

	if (batch->private_count > 0) {
		status = gmm_pages_free(pgm->vm, batch->private_ids, batch->private_count, &done);
		Q_ASSERT(status == Q_OK && done == batch->private_count);
	}
	if (batch->shared_count > 0) {
		status = gmm_shared_put(pgm->vm, batch->shared_ids, batch->shared_count, &done);
		Q_ASSERT(status == Q_OK && done == batch->shared_count);
	}
	batch->private_count = 0;
	batch->shared_count = 0;
}

static void private_release(struct pgm *pgm, page_id_t id, struct pgm_free_batch *batch)
	Q_REQUIRES(pgm->lock)
{
	batch->private_ids[batch->private_count++] = id;
	pgm->private_pages--;
	if (batch->private_count == PGM_FREE_BATCH)
		pgm_free_flush(pgm, batch);
}

static void shared_release(struct pgm *pgm, page_id_t id, struct pgm_free_batch *batch)
	Q_REQUIRES(pgm->lock)
{
	batch->shared_ids[batch->shared_count++] = id;
	pgm->shared_pages--;
	if (batch->shared_count == PGM_FREE_BATCH)
		pgm_free_flush(pgm, batch);
}

void pgm_page_release(struct pgm *pgm, struct pgm_record *record, struct pgm_free_batch *batch)
{
	struct pgm_record old = *record;

	Q_ASSERT(pgm->report_count == 0);
	*record = pgm_record_emptied(pgm, old, PGM_STATE_ZERO);
	switch (pgm_record_state(old)) {
	case PGM_STATE_ZERO: return;
	case PGM_STATE_BALLOONED: pgm->ballooned_pages--; return;
	case PGM_STATE_MONITORED: pgm->monitored_pages--; Q_FALLTHROUGH;
	case PGM_STATE_NORMAL: private_release(pgm, pgm_record_id(old), batch); return;
	case PGM_STATE_SHARED: shared_release(pgm, pgm_record_id(old), batch); return;
	}
	Q_ASSERT(!"a record's state is one of these");
}

static void region_release(struct pgm *pgm, const struct pgm_region *ram,
			   struct pgm_free_batch *batch) Q_REQUIRES(pgm->lock)
{
	const struct pgm_record empty = pgm_record_of_empty_ram(pgm);
	uint64_t count;

	for (gfn_t gfn = ram->start; gfn.raw < ram->end.raw; gfn.raw += count) {
		struct pgm_record *records = pgm_records_from(pgm, gfn, ram->end, &count);
		for (uint64_t i = 0; i < count; i++)
			/* Before the guest ran, nearly all are empty. */
			if (records[i].q0 != empty.q0 || records[i].d2 != empty.d2)
				pgm_page_release(pgm, &records[i], batch);
	}
}

void pgm_ram_release(struct pgm *pgm)
{
	struct pgm_free_batch batch = { .private_count = 0 };

	pgm_handy_report(pgm);
	for (unsigned i = 0; i < pgm->region_count; i++)
		if (pgm->regions[i].kind == PGM_REGION_RAM)
			region_release(pgm, &pgm->regions[i], &batch);
	pgm_free_flush(pgm, &batch);
}
