/* SPDX-License-Identifier: MIT */
/*
 * The balloon: pages that the guest says it does not use.
 *
 * PGM does not trust the guest's list, but keeps the state of each page in its
 * record: a page that is listed twice counts once, and a write takes a page out of
 * the balloon (pgm_back.c). GMM counts ballooned pages against the VM's promise, so
 * the VM cannot inflate the balloon and then allocate as much as before.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"
#include "pgm_transition.h"

/* --- inflate --------------------------------------------------------------------------- */

/* True: the page went into the balloon. */
static bool page_inflate(struct pgm *pgm, gfn_t gfn, struct pgm_free_batch *batch)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find_ram(pgm, gfn);

	if (!record || !pgm_transition_is_legal(*record, PGM_OP_BALLOON))
		return false;
	slat_unmap(&pgm->slat, gfn, gfn_next(gfn));
	pgm_page_release(pgm, record, batch);
	*record = pgm_record_emptied(pgm, *record, PGM_STATE_BALLOONED);
	pgm->ballooned_pages++;
	return true;
}

static unsigned balloon_inflate_locked(struct pgm *pgm, const gfn_t *gfns, unsigned count)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_free_batch batch = { .private_count = 0 };
	unsigned done = 0;

	pgm_handy_report(pgm);
	for (unsigned i = 0; i < count; i++)
		done += page_inflate(pgm, gfns[i], &batch);
	pgm_free_flush(pgm, &batch);
	if (done == 0)
		return 0;
	/* It fits: all RAM and all that is allocated besides RAM was promised. */
	q_status_t status = gmm_balloon_inflate(pgm->vm, done);
	Q_ASSERT(status == Q_OK);
	return done;
}

void pgm_balloon_inflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done)
	Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	*out_done = balloon_inflate_locked(pgm, gfns, count);
	spin_unlock(&pgm->lock);
}

/* --- deflate ----------------------------------------------------------------------------- */

static bool page_deflate(struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find_ram(pgm, gfn);

	if (!record || !pgm_transition_is_legal(*record, PGM_OP_DEFLATE))
		return false;
	/* The translation may stay: both states are the zero page. */
	*record = pgm_record_emptied(pgm, *record, PGM_STATE_ZERO);
	pgm->ballooned_pages--;
	return true;
}

void pgm_balloon_deflate(struct pgm *pgm, const gfn_t *gfns, unsigned count, unsigned *out_done)
	Q_EXCLUDES(pgm->lock)
{
	unsigned done = 0;

	spin_lock(&pgm->lock);
	for (unsigned i = 0; i < count; i++)
		done += page_deflate(pgm, gfns[i]);
	q_status_t status = gmm_balloon_deflate(pgm->vm, done);
	spin_unlock(&pgm->lock);
	Q_ASSERT(status == Q_OK);
	*out_done = done;
}
