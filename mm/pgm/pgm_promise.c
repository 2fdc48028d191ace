/* SPDX-License-Identifier: MIT */
/*
 * What GMM promised the VM, raised when memory is added that was not there at
 * creation (shadowed ROM, device memory): an admission like the first one. What
 * is within a promise and set aside cannot be refused later. The guarantee that
 * pgm_reserve() claims again is what it was raised to.
 *
 * Lock: PGM, so that nobody else changes the promises meanwhile.
 */
#include <quire/assert.h>

#include "pgm_internal.h"

/* Modulo 2^64, so that lowering is raising by the complement. */
static q_status_t promise_add(struct pgm *pgm, struct pgm_promise more) Q_REQUIRES(pgm->lock)
{
	struct gmm_vm_stats now;

	gmm_vm_stats(pgm->vm, &now);
	if (now.guaranteed_base != pgm->reserved_pages)
		return Q_STATE; /* unreserved: there is no guarantee that could be raised */
	struct gmm_vm_config wanted = {
		.pages = { [GMM_BASE] = now.promised[GMM_BASE] + more.base,
			   [GMM_SHADOW] = now.promised[GMM_SHADOW] + more.shadow,
			   [GMM_FIXED] = now.promised[GMM_FIXED] + more.fixed },
		.guaranteed_base_pages = now.guaranteed_base + more.guaranteed,
		.overcommit = pgm->overcommit,
		.priority = pgm->priority,
		.is_bound = pgm->is_bound,
	};
	q_status_t status = gmm_vm_resize(pgm->vm, &wanted);
	gmm_vm_stats(pgm->vm, &now);
	pgm->reserved_pages = now.guaranteed_base;
	return status;
}

q_status_t pgm_promise_raise(struct pgm *pgm, struct pgm_promise more)
{
	return promise_add(pgm, more);
}

void pgm_promise_lower(struct pgm *pgm, struct pgm_promise less)
{
	struct pgm_promise negative = { -less.base, -less.guaranteed, -less.shadow, -less.fixed };

	/* What was allocated of it is given back: smaller promises are never declined. */
	q_status_t status = promise_add(pgm, negative);
	Q_ASSERT(status == Q_OK);
}
