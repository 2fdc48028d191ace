/* SPDX-License-Identifier: MIT */
/*
 * Physical handlers: ranges of memory whose accesses a caller's handler wants to see
 * first. Ranges are few and change seldom; they are a sorted array. The fault path
 * only needs a summary of two bits in each page's record:
 *
 *   none   the page has no handler
 *   write  the record is read-only, so nested tables never map it writable
 *   all    no nested table maps the page
 *
 * PGM does not call handlers. If a handler wants an access, a guest's fault ends as
 * PGM_HANDLER, with the tag of the range, and an access by the hypervisor returns
 * Q_HANDLER; in both cases nothing was read or written. The caller knows what tags
 * mean and holds no lock: it serves the access, and may then access the memory behind
 * the handler. So no callback runs under the PGM lock, and PGM's users need no lock
 * order with it.
 *
 * Invariants, asserted by pgm_check():
 *   K1  Ranges are sorted, disjoint and not empty, and two that touch differ in
 *       kind or tag.
 *   K2  A record's two bits are the kind of the range that covers the page, or
 *       none. Every page of a range is RAM, ROM or device memory.
 *   K3  A page whose handler wants every access is not mapped; one whose handler
 *       wants writes is not mapped writable.
 *
 * Lock: PGM, for everything here. Cost: a range is 24 bytes; a look-up is a binary
 * search, which only accesses that a handler wants need.
 */
#include "mm/pgm/pgm_handler.h"

#include <quire/assert.h>

#include "pgm_internal.h"
#include "pgm_transition.h"

static bool is_same(const struct pgm_handler *a, const struct pgm_handler *b)
{
	return a->kind == b->kind && a->tag == b->tag;
}

/* The index of the first range that ends after `at`, or handler_count. */
static unsigned index_after(const struct pgm *pgm, gfn_t at) Q_REQUIRES(pgm->lock)
{
	unsigned low = 0, high = pgm->handler_count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (pgm->handlers[middle].end.raw > at.raw)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

const struct pgm_handler *pgm_handler_find(const struct pgm *pgm, gfn_t gfn)
{
	unsigned i = index_after(pgm, gfn);

	if (i == pgm->handler_count || pgm->handlers[i].start.raw > gfn.raw)
		return NULL;
	return &pgm->handlers[i];
}

/* Replaces `removed` ranges from index `at` on by `count` others. There must be room. */
static void ranges_replace(struct pgm *pgm, unsigned at, unsigned removed,
			   const struct pgm_handler *with, unsigned count) Q_REQUIRES(pgm->lock)
{
	unsigned end = pgm->handler_count - removed + count;

	Q_ASSERT(end <= PGM_HANDLER_MAX);
	if (count > removed)
		for (unsigned i = end; i-- > at + count;)
			pgm->handlers[i] = pgm->handlers[i - count + removed];
	else
		for (unsigned i = at + count; i < end; i++)
			pgm->handlers[i] = pgm->handlers[i - count + removed];
	for (unsigned i = 0; i < count; i++)
		pgm->handlers[at + i] = with[i];
	pgm->handler_count = end;
}

/* Writes the summary into the records and removes what the tables must no longer allow. */
static void summary_set(struct pgm *pgm, gfn_t start, gfn_t end, enum pgm_handler_kind kind)
	Q_REQUIRES(pgm->lock)
{
	for (gfn_t gfn = start; gfn.raw < end.raw; gfn.raw++) {
		struct pgm_record *record = pgm_record_find(pgm, gfn);
		*record = pgm_record_with_handler(*record, kind);
	}
	switch (kind) {
	case PGM_HANDLER_NONE: return; /* the tables allow too little: the next fault mends that */
	case PGM_HANDLER_WRITE: slat_protect(&pgm->slat, start, end); return;
	case PGM_HANDLER_ALL: slat_unmap(&pgm->slat, start, end); return;
	}
}

/* --- add --------------------------------------------------------------------------------- */

/* True if all of it is memory. Memory can have a handler in any state. */
static bool is_all_memory(const struct pgm *pgm, gfn_t start, gfn_t end) Q_REQUIRES(pgm->lock)
{
	for (gfn_t gfn = start; gfn.raw < end.raw; gfn.raw++) {
		const struct pgm_record *record = pgm_record_find(pgm, gfn);
		if (!record || !pgm_transition_is_legal(*record, PGM_OP_HANDLE))
			return false;
	}
	return true;
}

static q_status_t add_locked(struct pgm *pgm, struct pgm_handler wanted) Q_REQUIRES(pgm->lock)
{
	gfn_t start = wanted.start, end = wanted.end;
	unsigned at = index_after(pgm, start), removed = 0;
	const struct pgm_handler *next = &pgm->handlers[at];

	if (!is_all_memory(pgm, start, end))
		return Q_RANGE;
	if (at < pgm->handler_count && next->start.raw < end.raw)
		return Q_CONFLICT;
	if (at < pgm->handler_count && next->start.raw == end.raw && is_same(next, &wanted)) {
		wanted.end = next->end;
		removed++;
	}
	if (at > 0 && next[-1].end.raw == start.raw && is_same(&next[-1], &wanted)) {
		wanted.start = next[-1].start;
		removed++;
		at--;
	}
	if (removed == 0 && pgm->handler_count == PGM_HANDLER_MAX)
		return Q_LIMIT;
	ranges_replace(pgm, at, removed, &wanted, 1);
	summary_set(pgm, start, end, wanted.kind);
	return Q_OK;
}

q_status_t pgm_handler_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			   enum pgm_handler_kind kind, uint32_t tag) Q_EXCLUDES(pgm->lock)
{
	if (kind != PGM_HANDLER_WRITE && kind != PGM_HANDLER_ALL)
		return Q_INVALID;
	q_status_t status = pgm_range_check(start, size_bytes);
	if (status != Q_OK)
		return status;
	struct pgm_handler wanted = { gpa_to_gfn(start), gpa_to_gfn(gpa_add(start, size_bytes)),
				      kind, tag };
	spin_lock(&pgm->lock);
	status = add_locked(pgm, wanted);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- remove ------------------------------------------------------------------------------- */

static gfn_t gfn_max(gfn_t a, gfn_t b)
{
	return a.raw > b.raw ? a : b;
}

static gfn_t gfn_min(gfn_t a, gfn_t b)
{
	return a.raw < b.raw ? a : b;
}

static q_status_t remove_locked(struct pgm *pgm, gfn_t start, gfn_t end) Q_REQUIRES(pgm->lock)
{
	unsigned first = index_after(pgm, start), last = first, count = 0;
	struct pgm_handler kept[2]; /* the ends of ranges that stick out below and above */

	while (last < pgm->handler_count && pgm->handlers[last].start.raw < end.raw)
		last++;
	if (last == first)
		return Q_NOT_FOUND;
	if (pgm->handlers[first].start.raw < start.raw) {
		kept[count] = pgm->handlers[first];
		kept[count++].end = start;
	}
	if (pgm->handlers[last - 1].end.raw > end.raw) {
		kept[count] = pgm->handlers[last - 1];
		kept[count++].start = end;
	}
	if (pgm->handler_count - (last - first) + count > PGM_HANDLER_MAX)
		return Q_LIMIT;
	for (unsigned i = first; i < last; i++)
		summary_set(pgm, gfn_max(start, pgm->handlers[i].start),
			    gfn_min(end, pgm->handlers[i].end), PGM_HANDLER_NONE);
	ranges_replace(pgm, first, last - first, kept, count);
	return Q_OK;
}

q_status_t pgm_handler_remove(struct pgm *pgm, gpa_t start, uint64_t size_bytes)
	Q_EXCLUDES(pgm->lock)
{
	q_status_t status = pgm_range_check(start, size_bytes);
	if (status != Q_OK)
		return status;
	spin_lock(&pgm->lock);
	status = remove_locked(pgm, gpa_to_gfn(start), gpa_to_gfn(gpa_add(start, size_bytes)));
	spin_unlock(&pgm->lock);
	return status;
}

/* --- check --------------------------------------------------------------------------------- */

void pgm_handlers_check(const struct pgm *pgm)
{
	Q_ASSERT(pgm->handler_count <= PGM_HANDLER_MAX);
	for (unsigned i = 0; i < pgm->handler_count; i++) {
		const struct pgm_handler *range = &pgm->handlers[i];
		Q_ASSERT(range->start.raw < range->end.raw); /* K1 */
		Q_ASSERT(range->kind == PGM_HANDLER_WRITE || range->kind == PGM_HANDLER_ALL);
		Q_ASSERT(is_all_memory(pgm, range->start, range->end)); /* K2 */
		if (i == 0)
			continue;
		Q_ASSERT(range[-1].end.raw <= range->start.raw);
		Q_ASSERT(range[-1].end.raw < range->start.raw || !is_same(&range[-1], range));
	}
}

void pgm_handler_record_check(const struct pgm *pgm, gfn_t gfn, struct pgm_record record)
{
	const struct pgm_handler *handler = pgm_handler_find(pgm, gfn);
	/* K2 */
	Q_ASSERT(pgm_record_handler(record) == (handler ? handler->kind : PGM_HANDLER_NONE));
}
