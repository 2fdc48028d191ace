/* SPDX-License-Identifier: MIT */
/*
 * Private pages whose place matters: a whole chunk, which one large nested entry
 * can map, and a better place for a page that keeps a chunk from going back to
 * the machine.
 *
 * A place is better if its chunk is fuller; of two chunks with equally many free
 * pages, the one at the lower address counts as fuller. So a page never moves
 * back and forth, and repeated moves come to an end. The VM's own chunks are
 * looked at first, because a page in another VM's chunk makes it a mixed one. But
 * where memory is short and free pages are scattered over all VMs, only moves to
 * other VMs' chunks make a chunk wholly free.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* --- whole chunks ----------------------------------------------------------------- */

/* Makes all pages of a wholly free chunk private, with consecutive guest frames. */
static void chunk_fill(struct gmm_chunk *chunk, gmm_vm_t vm, gfn_t first_gfn)
	Q_REQUIRES(gmm.set_lock)
{
	gmm_set_remove(chunk);
	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++)
		chunk->words[i] = gmm_word_private(vm, gfn(first_gfn.raw + i));
	chunk->stale_head = GMM_INDEX_NIL;
	chunk->zeroed_head = GMM_INDEX_NIL;
	chunk->free_count = 0;
	chunk->zeroed_count = 0;
	chunk->tag = vm;
	chunk->own_count = GMM_PAGES_PER_CHUNK;
	gmm_set_add(chunk);
}

/* *out_needs_spare: no chunk is at hand, but KERNEL memory can spare one. */
static q_status_t chunk_alloc_locked(gmm_vm_t vm, gfn_t first_gfn, struct gmm_page *out_first,
				     bool *out_needs_spare) Q_REQUIRES(gmm.set_lock)
{
	*out_needs_spare = false;
	q_status_t status = gmm_private_admit(vm, GMM_PAGES_PER_CHUNK);
	if (status != Q_OK)
		return status;
	struct gmm_chunk *chunk = gmm_private_whole(vm);
	if (!chunk) {
		/* A bound VM uses its own chunks only. */
		*out_needs_spare =
			!gmm_vm_find(vm)->is_bound && gmm_pages_at_hand(vm) < gmm_available_pages();
		return Q_NO_MEMORY;
	}
	out_first->id = gmm_page_id(chunk, 0);
	out_first->frame = hpa_to_hfn(chunk->base);
	out_first->is_zeroed = chunk->zeroed_count == GMM_PAGES_PER_CHUNK;
	chunk_fill(chunk, vm, first_gfn);
	gmm_vm_charge(vm, GMM_BASE, GMM_PAGES_PER_CHUNK);
	return Q_OK;
}

q_status_t gmm_chunk_alloc(gmm_vm_t vm, gfn_t first_gfn, struct gmm_page *out_first)
{
	if (!is_aligned(first_gfn.raw, GMM_PAGES_PER_CHUNK) ||
	    first_gfn.raw > GMM_GFN_LAST - (GMM_PAGES_PER_CHUNK - 1))
		return Q_RANGE;
	q_status_t status;
	bool needs_spare;

	do {
		spin_lock(&gmm.set_lock);
		status = chunk_alloc_locked(vm, first_gfn, out_first, &needs_spare);
		spin_unlock(&gmm.set_lock);
		if (needs_spare)
			gmm_kernel_spare();
	} while (needs_spare);
	return status;
}

/* --- better places ------------------------------------------------------------------ */

/* How many chunks of one list a call looks at. A later call may see others. */
#define LOOK_MAX 16u

static bool is_better(const struct gmm_chunk *chunk, const struct gmm_chunk *than)
{
	if (chunk->free_count != than->free_count)
		return chunk->free_count < than->free_count;
	return chunk < than;
}

/* Returns a chunk of the set that is better than `than`; NULL: none of those looked at is. */
static struct gmm_chunk *better_in(const struct gmm_set *set, const struct gmm_chunk *than)
	Q_REQUIRES(gmm.set_lock)
{
	for (unsigned class = 0; class <= gmm_class_of(than) && class < GMM_CLASS_WHOLE; class ++) {
		unsigned looked = 0;
		list_for_each(node, &set->lists[class])
		{
			struct gmm_chunk *chunk = list_entry(node, struct gmm_chunk, link);
			if (is_better(chunk, than))
				return chunk;
			if (++looked == LOOK_MAX)
				break;
		}
	}
	return NULL;
}

/* BOUND chunks take no pages of other VMs, and their own pages never move. */
static struct gmm_chunk *better_chunk(const struct gmm_chunk *than, gmm_vm_t vm)
	Q_REQUIRES(gmm.set_lock)
{
	if (than->kind == GMM_CHUNK_BOUND)
		return NULL;
	struct gmm_chunk *chunk = better_in(&gmm.private_sets[vm], than);
	for (unsigned other = 1; !chunk && other < GMM_VM_COUNT; other++)
		if (gmm.vms[other].bound_chunks == 0)
			chunk = better_in(&gmm.private_sets[other], than);
	return chunk;
}

/*
 * A move gives back as much as it takes, so the VM needs no turn among the waiters. It
 * needs one unclaimed page until the old page is freed.
 */
static q_status_t move_admit(gmm_vm_t handle) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_vm *vm = gmm_vm_find(handle);

	if (gmm_vm_room(vm) + vm->set_aside == 0)
		return Q_LIMIT;
	return gmm_available_pages() == gmm.claims.base ? Q_NO_MEMORY : Q_OK;
}

static q_status_t move_alloc_locked(gmm_vm_t vm, page_id_t from, struct gmm_page *out_page)
	Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;
	q_status_t status = gmm_private_find(vm, from, &chunk);
	if (status != Q_OK)
		return status;
	struct gmm_chunk *better = better_chunk(chunk, vm);
	if (!better)
		return Q_NOT_FOUND;
	status = move_admit(vm);
	if (status != Q_OK)
		return status;
	unsigned count = gmm_private_draw(better, vm, out_page, 1);
	Q_ASSERT(count == 1);
	gmm_vm_charge(vm, GMM_BASE, 1);
	return Q_OK;
}

q_status_t gmm_page_move_alloc(gmm_vm_t vm, page_id_t from, struct gmm_page *out_page)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = move_alloc_locked(vm, from, out_page);
	spin_unlock(&gmm.set_lock);
	return status;
}

/* --- emptying a chunk ----------------------------------------------------------------- */

/* Returns the `rank`-th chunk of one class over all VMs. Counts *rank down on the way. */
static const struct gmm_chunk *source_in_class(unsigned class, unsigned *rank)
	Q_REQUIRES(gmm.set_lock)
{
	for (unsigned vm = 1; vm < GMM_VM_COUNT; vm++) {
		if (gmm.vms[vm].bound_chunks > 0)
			continue;
		list_for_each(node, &gmm.private_sets[vm].lists[class])
		{
			if ((*rank)-- == 0)
				return list_entry(node, struct gmm_chunk, link);
		}
	}
	return NULL;
}

static const struct gmm_chunk *source_find(unsigned rank) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_chunk *chunk = NULL;

	/* With fewer free pages in all, no chunk's used pages fit into the others' free ones. */
	if (gmm.private_free_pages < GMM_PAGES_PER_CHUNK)
		return NULL;
	for (unsigned class = GMM_CLASS_WHOLE; !chunk && class -- > 0;)
		chunk = source_in_class(class, &rank);
	return chunk;
}

bool gmm_move_source(unsigned rank, page_id_t *out_first)
{
	spin_lock(&gmm.set_lock);
	const struct gmm_chunk *chunk = source_find(rank);
	if (chunk)
		*out_first = gmm_page_id(chunk, 0);
	spin_unlock(&gmm.set_lock);
	return chunk;
}
