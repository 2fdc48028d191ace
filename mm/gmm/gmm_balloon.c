/* SPDX-License-Identifier: MIT */
/*
 * The balloon and pages set aside. The balloon lowers what a VM may allocate of
 * its BASE promise; setting aside makes sure that the VM gets it. This is about
 * the books only: pages are allocated and freed elsewhere.
 *
 *   allocated[GMM_BASE] + ballooned + set_aside <= promised[GMM_BASE]      (G7)
 *
 * A guest that inflates its balloon gives up pages of its promise while they are
 * in the balloon. Other VMs can get them only as far as they lie beyond the VM's
 * guarantee, which stays. So a guest can always deflate its balloon, and a reset,
 * which empties it, cannot fail.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* Sets `vm` to `wanted` if the machine can meet the claims: all or nothing. */
static q_status_t vm_claim(struct gmm_vm *vm, const struct gmm_vm *wanted) Q_REQUIRES(gmm.set_lock)
{
	uint64_t kernel_chunks;

	if (!gmm_claims_fit(gmm_claims_with(vm, wanted), &kernel_chunks))
		return Q_NO_MEMORY;
	/* G8: the kernel claims have not changed, so they are covered. */
	Q_ASSERT(kernel_chunks == 0);
	gmm_vm_replace(vm, wanted);
	return Q_OK;
}

/* --- balloon ------------------------------------------------------------------------ */

q_status_t gmm_balloon_inflate(gmm_vm_t handle, uint64_t count)
{
	spin_lock(&gmm.set_lock);
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;
	bool has_room = count <= gmm_vm_room(vm);
	if (has_room) {
		wanted.ballooned += count;
		gmm_vm_replace(vm, &wanted);
	}
	spin_unlock(&gmm.set_lock);
	return has_room ? Q_OK : Q_LIMIT;
}

static q_status_t deflate_locked(gmm_vm_t handle, uint64_t count) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;

	if (count > vm->ballooned)
		return Q_STATE;
	wanted.ballooned -= count;
	gmm_vm_replace(vm, &wanted);
	return Q_OK;
}

q_status_t gmm_balloon_deflate(gmm_vm_t vm, uint64_t count)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = deflate_locked(vm, count);
	spin_unlock(&gmm.set_lock);
	return status;
}

void gmm_balloon_reset(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = deflate_locked(vm, gmm_vm_find(vm)->ballooned);
	spin_unlock(&gmm.set_lock);
	Q_ASSERT(status == Q_OK);
}

/* --- set aside ------------------------------------------------------------------------- */

static q_status_t set_aside_locked(gmm_vm_t handle, uint64_t count, bool keeps_freed)
	Q_REQUIRES(gmm.set_lock)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;

	if (count > gmm_vm_room(vm) + vm->set_aside)
		return Q_LIMIT;
	/* Before `count` is added to other claims, so that the sum cannot overflow. */
	if (count > (uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT)
		return Q_NO_MEMORY;
	wanted.set_aside = count;
	wanted.keeps_freed = keeps_freed;
	return vm_claim(vm, &wanted);
}

q_status_t gmm_set_aside(gmm_vm_t vm, uint64_t count)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = set_aside_locked(vm, count, true);
	spin_unlock(&gmm.set_lock);
	return status;
}

void gmm_set_aside_end(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = set_aside_locked(vm, 0, false);
	spin_unlock(&gmm.set_lock);
	/* Claims only shrink, so this cannot fail. */
	Q_ASSERT(status == Q_OK);
}
