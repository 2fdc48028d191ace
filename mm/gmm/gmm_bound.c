/* SPDX-License-Identifier: MIT */
/*
 * Bound VMs have memory of their own, for guests whose pages must stay where they
 * are. All BASE pages of a bound VM come from BOUND chunks. GMM takes these as a
 * whole when it creates the VM, from a range of machine addresses if the VM has
 * one, and gives them back to the machine when the VM ends. In between no other
 * VM has a page in them, and no page is shared or moved.
 *
 * So a bound VM's memory is never overcommitted. It claims nothing of the memory
 * that other VMs compete for, and they do not count on its free pages: the
 * sums in gmm_account.c leave both out. Its tables and records are KERNEL pages,
 * like those of any VM. Its balloon and its pages set aside change its own books
 * only.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* A walk over the chunks releases gmm.set_lock for a moment after this many. */
#define CHUNKS_AT_ONCE 64u

static void lock_pause(uint32_t index) Q_REQUIRES(gmm.set_lock)
{
	if (index % CHUNKS_AT_ONCE != CHUNKS_AT_ONCE - 1)
		return;
	spin_unlock(&gmm.set_lock);
	spin_lock(&gmm.set_lock);
}

static bool is_inside(const struct gmm_chunk *chunk, struct gmm_region range)
{
	if (range.start.raw == range.end.raw)
		return true;
	return chunk->base.raw >= range.start.raw && chunk->base.raw < range.end.raw &&
	       range.end.raw - chunk->base.raw >= GMM_CHUNK_SIZE;
}

/* True if G9 would still hold without that many chunks. */
static bool claims_allow(uint64_t chunk_count) Q_REQUIRES(gmm.set_lock)
{
	uint64_t unclaimed = gmm_available_pages() - gmm.claims.base;

	return chunk_count <= unclaimed >> GMM_CHUNK_ID_SHIFT;
}

static void chunk_bind(struct gmm_chunk *chunk, gmm_vm_t vm) Q_REQUIRES(gmm.set_lock)
{
	gmm_chunk_detach(chunk, GMM_CHUNK_BOUND);
	gmm_chunk_attach(chunk, vm);
	gmm.vms[vm].bound_chunks++;
}

q_status_t gmm_bound_take(gmm_vm_t handle, struct gmm_region range, uint64_t count)
{
	const struct gmm_vm *vm = &gmm.vms[handle];

	if (count == 0)
		return Q_OK;
	if (!claims_allow(count))
		return Q_DECLINED;
	/* Chunks that GMM keeps or KERNEL memory can spare may be inside the range. */
	gmm_private_trim(0);
	gmm_kernel_trim(0);
	for (uint32_t i = 0; i < gmm.chunk_count && vm->bound_chunks < count; i++) {
		struct gmm_chunk *chunk = &gmm.chunks[i];
		/* gmm.lock is held, so a FREE chunk is in the supply. */
		if (chunk->kind == GMM_CHUNK_FREE && is_inside(chunk, range) && claims_allow(1))
			chunk_bind(chunk, handle);
		lock_pause(i);
	}
	if (vm->bound_chunks == count)
		return Q_OK;
	gmm_bound_return(handle);
	return Q_DECLINED;
}

void gmm_bound_return(gmm_vm_t handle)
{
	struct gmm_vm *vm = &gmm.vms[handle];

	for (uint32_t i = 0; vm->bound_chunks > 0; i++) {
		struct gmm_chunk *chunk = &gmm.chunks[i];
		/* G17: there are as many chunks as the counter says. */
		Q_ASSERT(i < gmm.chunk_count);
		if (chunk->kind == GMM_CHUNK_BOUND && chunk->tag == handle) {
			gmm_chunk_return(chunk);
			vm->bound_chunks--;
		}
		lock_pause(i);
	}
}
