/* SPDX-License-Identifier: MIT */
/*
 * Raises GMM's promises to the VM when memory is added that was not there at creation
 * (shadowed ROM, device memory). That is an admission like the first one: GMM refuses it
 * now or keeps what it promised. pgm_reserve() later claims the raised guarantee.
 *
 * Lock: PGM, so that no other thread changes the promises meanwhile.
 */
#include <quire/assert.h>

#include "pgm_internal.h"

/* Adds modulo 2^64, so that negative figures lower the promises. */
static q_status_t promise_add(struct pgm *pgm, struct pgm_promise more) Q_REQUIRES(pgm->lock)
{
	struct gmm_vm_stats now;

	gmm_vm_stats(pgm->vm, &now);
	if (now.guaranteed_base != pgm->reserved_pages)
		return Q_STATE; /* unreserved: there is no guarantee to raise */
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

	/* The caller freed what it allocated within `less`, and lowering is never declined. */
	q_status_t status = promise_add(pgm, negative);
	Q_ASSERT(status == Q_OK);
}
