/* SPDX-License-Identifier: MIT */
/*
 * Restoring memory from a saved state. The state says in advance how many of its
 * pages are not zero. So GMM can refuse before anything is lost, and once it sets
 * the pages aside, restoring cannot fail half way. Pages are not cleared: each is
 * filled as a whole.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "pgm_internal.h"

static q_status_t restore_begin_locked(struct pgm *pgm, uint64_t page_count) Q_REQUIRES(pgm->lock)
{
	if (page_count > pgm->ram_pages)
		return Q_LIMIT;
	/* The reset below frees the VM's private pages, and GMM sets them aside in addition. */
	uint64_t freed = pgm->private_pages;
	uint64_t more = page_count > freed ? page_count - freed : 0;
	struct gmm_vm_stats now;
	gmm_vm_stats(pgm->vm, &now);
	/* The reset empties the balloon, so its pages already count as room for the VM. */
	gmm_balloon_reset(pgm->vm);
	q_status_t status = gmm_set_aside(pgm->vm, more);
	if (status == Q_OK) {
		pgm_reset_locked(pgm);
		return Q_OK;
	}
	q_status_t inflated = gmm_balloon_inflate(pgm->vm, now.ballooned_pages);
	Q_ASSERT(inflated == Q_OK);
	return status;
}

q_status_t pgm_restore_begin(struct pgm *pgm, uint64_t page_count) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = restore_begin_locked(pgm, page_count);
	spin_unlock(&pgm->lock);
	return status;
}

static q_status_t restore_page_locked(struct pgm *pgm, gfn_t gfn, const void *content)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find_ram(pgm, gfn);
	struct gmm_page page;

	if (!record)
		return Q_RANGE;
	if (pgm_record_state(*record) != PGM_STATE_ZERO)
		return Q_STATE;
	q_status_t status = gmm_pages_alloc(pgm->vm, &page, 1);
	if (status != Q_OK)
		return status;
	memcpy(gmm_page_map(page.id), content, PAGE_SIZE);
	status = gmm_page_set_gfn(pgm->vm, page.id, gfn);
	Q_ASSERT(status == Q_OK);
	*record = pgm_record_replace(*record, PGM_STATE_NORMAL, page.frame, page.id);
	pgm->private_pages++;
	return Q_OK;
}

q_status_t pgm_restore_page(struct pgm *pgm, gfn_t gfn, const void *content) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = restore_page_locked(pgm, gfn, content);
	spin_unlock(&pgm->lock);
	return status;
}

void pgm_restore_end(struct pgm *pgm)
{
	gmm_set_aside_end(pgm->vm);
}
