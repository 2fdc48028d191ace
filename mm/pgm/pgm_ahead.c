/* SPDX-License-Identifier: MIT */
/*
 * Working ahead of a guest that goes through its memory page by page, so that not
 * every page costs an exit.
 *
 * A run is a series of faults, up or down, each where the one before left off. From
 * the second fault of a run on, the next pages of the run are mapped as well, twice
 * as many each time. These are pages that the VM has anyway, and, in a run of writes,
 * pages that are still the zero page: for these, pages of the stock are handed out
 * ahead of the first write.
 *
 * A page handed out ahead that stays unused is taken back. It is still all zero then,
 * and goes back to the stock as it is. The dirty bit of its leaf tells whether it was
 * used, so a VM works ahead only on CPUs with dirty bits. A VM with overcommit = none
 * does not: it owns its memory and gets whole chunks of it (pgm_large.c).
 *
 * The mark PGM_RECORD_AHEAD says that a page was handed out ahead and is not known to
 * be used. It goes with any change of the record (pgm_record_seal()). Code that writes
 * to the page other than through the nested tables, maps it anew or removes its leaf
 * must remove the mark with pgm_ahead_use(); code that clears its dirty bit must do
 * that first. A block with a marked page is not mapped as a large one. The scanner
 * skips marked pages.
 *
 * A1  Marked records are RAM, NORMAL and without a handler, and each is in the
 *     list. The list may also hold pages that lost their mark since.
 * A2  The stock and the marked pages that are unused are together at most
 *     PGM_HANDY_MAX. So working ahead never gives a VM more pages, and there is
 *     room in the stock for every page that is taken back.
 *
 * Pages are taken back by the second refill after they were handed out, when
 * the guest rests, and when no other page can be had.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/atomic.h>

#include "pgm_internal.h"

/* --- runs of faults ------------------------------------------------------------------ */

/* Finds the run that the fault continues. Returns its direction, +1 or -1; 0: a run begins here. */
static int run_continue(struct pgm_runs *runs, gfn_t gfn, struct pgm_run **out_run)
{
	for (unsigned i = 0; i < PGM_RUN_COUNT; i++) {
		struct pgm_run *run = &runs->runs[i];
		if (run->up != gfn.raw && run->down != gfn.raw)
			continue;
		runs->oldest = i ^ 1;
		*out_run = run;
		return run->up == gfn.raw ? 1 : -1;
	}
	*out_run = &runs->runs[runs->oldest];
	runs->oldest ^= 1;
	return 0;
}

/* Makes the run go on after `at`, in the direction of `step`; 0: in either. */
static void run_set(struct pgm_run *run, int step, gfn_t at, unsigned batch)
{
	run->up = step >= 0 ? at.raw + 1 : PGM_RUN_NOWHERE;
	run->down = step <= 0 ? at.raw - 1 : PGM_RUN_NOWHERE;
	run->batch = batch;
}

/* --- handing out ---------------------------------------------------------------------- */

static bool is_marked(const struct pgm_record *record)
{
	return record->d2 & PGM_RECORD_AHEAD;
}

static void page_map(struct pgm *pgm, gfn_t gfn, struct pgm_record record) Q_REQUIRES(pgm->lock)
{
	q_status_t status = slat_map(&pgm->slat, gfn, pgm_record_frame(record), SLAT_ALL, 1);

	/* The fault that led here made the table, or there is a large leaf that maps the same. */
	Q_ASSERT(status == Q_OK);
}

/* True for an unmarked page of the VM's own that takes every access. */
static bool is_own(const struct pgm_record *record)
{
	return pgm_record_is_plain_ram(*record) && pgm_record_state(*record) == PGM_STATE_NORMAL &&
	       !is_marked(record);
}

static bool is_untouched(const struct pgm_record *record)
{
	return pgm_record_is_plain_ram(*record) && pgm_record_state(*record) == PGM_STATE_ZERO;
}

/* Hands out one page, unless too few would be left in the stock. */
static bool page_hand_out(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_ahead *ahead = &pgm->ahead;

	if (pgm->handy_count <= PGM_HANDY_LOW || ahead->count == PGM_AHEAD_MAX)
		return false;
	bool is_backed = pgm_page_back(pgm, gfn, record);
	Q_ASSERT(is_backed);
	record->d2 |= PGM_RECORD_AHEAD;
	ahead->gfns[ahead->count++] = (uint32_t)gfn.raw;
	pgm->counters.ahead_given++;
	page_map(pgm, gfn, *record);
	return true;
}

/* Maps one more page of a run. False: the run ends before that page. */
static bool page_prepare(struct pgm *pgm, gfn_t gfn, enum mem_access access) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find(pgm, gfn);

	if (!record)
		return false;
	if (access == MEM_WRITE && is_untouched(record))
		return page_hand_out(pgm, gfn, record);
	if (!is_own(record))
		return false;
	page_map(pgm, gfn, *record);
	return true;
}

/* --- taking back ------------------------------------------------------------------------ */

static bool is_used(const struct pgm *pgm, gfn_t gfn) Q_REQUIRES(pgm->lock)
{
	struct slat_entry entry;
	unsigned level;

	/* Without a leaf it may have been used. */
	return !slat_lookup(&pgm->slat, gfn, &entry, &level) || entry.dirty;
}

/* Takes one page back. False: it was used. */
static bool page_take_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	if (!slat_unmap_clean(&pgm->slat, gfn))
		return false;
	struct gmm_page page = { .frame = pgm_record_frame(*record), .id = pgm_record_id(*record) };
	*record = pgm_record_emptied(pgm, *record, PGM_STATE_ZERO);
	pgm->private_pages--;
	pgm->counters.ahead_taken++;
	pgm_handy_return(pgm, page);
	return true;
}

/*
 * Goes through the list. Takes back the unused pages among the first `take_count`
 * and forgets all used ones. Returns how many were taken back.
 */
static unsigned list_clean(struct pgm *pgm, unsigned take_count) Q_REQUIRES(pgm->lock)
{
	struct pgm_ahead *ahead = &pgm->ahead;
	unsigned kept = 0, taken = 0, kept_old = 0;

	for (unsigned i = 0; i < ahead->count; i++) {
		gfn_t at = gfn(ahead->gfns[i]);
		struct pgm_record *record = pgm_record_find(pgm, at);
		if (!is_marked(record))
			continue;
		if (i < take_count && page_take_back(pgm, at, record)) {
			taken++;
			continue;
		}
		bool is_kept = i >= take_count && !is_used(pgm, at);
		/* Skips a second entry for the page. The loop below marks the kept pages again. */
		pgm_ahead_use(record);
		if (!is_kept)
			continue;
		kept_old += i < ahead->old_count;
		ahead->gfns[kept++] = (uint32_t)at.raw;
	}
	for (unsigned i = 0; i < kept; i++)
		pgm_record_find(pgm, gfn(ahead->gfns[i]))->d2 |= PGM_RECORD_AHEAD;
	ahead->count = kept;
	ahead->old_count = kept_old;
	return taken;
}

unsigned pgm_ahead_age(struct pgm *pgm)
{
	unsigned taken = list_clean(pgm, pgm->ahead.old_count);

	pgm->ahead.old_count = pgm->ahead.count;
	return taken;
}

unsigned pgm_ahead_take_all(struct pgm *pgm)
{
	return list_clean(pgm, pgm->ahead.count);
}

void pgm_ahead_rest(struct pgm *pgm) Q_EXCLUDES(pgm->lock)
{
	/* Without the lock: the next call takes care of a page that is handed out meanwhile. */
	if (atomic_load_relaxed(&pgm->ahead.count) == 0)
		return;
	spin_lock(&pgm->lock);
	(void)pgm_ahead_take_all(pgm);
	spin_unlock(&pgm->lock);
}

/* --- following the guest ------------------------------------------------------------- */

void pgm_ahead_follow(struct pgm *pgm, gfn_t at, enum mem_access access)
{
	struct pgm_runs *runs = access == MEM_WRITE ? &pgm->ahead.writes : &pgm->ahead.reads;
	struct pgm_run *run;
	int step = run_continue(runs, at, &run);

	if (step == 0) {
		run_set(run, 0, at, 1);
		return;
	}
	unsigned batch = run->batch * 2 < PGM_AHEAD_BATCH ? run->batch * 2 : PGM_AHEAD_BATCH;
	if (access == MEM_WRITE && pgm->ahead.count + batch > PGM_AHEAD_MAX)
		(void)list_clean(pgm, 0); /* makes room, if some are used */
	for (unsigned i = 0; i < batch; i++) {
		gfn_t next = gfn(at.raw + (uint64_t)step);
		/* Not beyond the table of the first page: the next table may be missing. */
		if ((next.raw ^ at.raw) >= PAGES_PER_LARGE || !page_prepare(pgm, next, access))
			break;
		at = next;
	}
	run_set(run, step, at, batch);
}

void pgm_ahead_reset(struct pgm *pgm)
{
	struct pgm_run nothing = { PGM_RUN_NOWHERE, PGM_RUN_NOWHERE, 0 };

	for (unsigned i = 0; i < PGM_RUN_COUNT; i++)
		pgm->ahead.reads.runs[i] = pgm->ahead.writes.runs[i] = nothing;
	pgm->ahead.count = 0;
	pgm->ahead.old_count = 0;
}
