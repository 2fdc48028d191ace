/* SPDX-License-Identifier: MIT */
/*
 * Shared pages. A page in a SHARED chunk is read-only and has a count of
 * references: how many guest pages it backs. GMM deliberately does not record
 * which VMs use it, so a page that half the machine shares costs one word like
 * any other. Each VM's books say how many references the VM has.
 *
 * A hold is a reference of Quire itself: the sharing scanner holds a page while it
 * makes it known to the VMs that can share it, and as long as it can propose it.
 * Holds are counted apart from references. They save nothing, so pages_saved is
 * right also in the middle of a merge.
 *
 *                      gmm_shared_alloc          1 hold, no reference
 *   gmm_shared_replace, gmm_shared_get           one more
 *                      gmm_shared_put            one less; FREE at 0 holds, 0 references
 *
 * SHARED chunks come from the machine and go back as soon as they are wholly
 * free: their free pages are of no use to VMs, and one merge hardly ever fills a
 * chunk. The fullest chunk is used first.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* Finds the chunk of a shared page. Q_NOT_FOUND; Q_STATE: it is not a shared page. */
static q_status_t shared_find(page_id_t id, struct gmm_chunk **out_chunk) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk = gmm_chunk_find(id);
	if (!chunk)
		return Q_NOT_FOUND;
	if (chunk->kind != GMM_CHUNK_SHARED || gmm_word_is_free(chunk->words[gmm_page_index(id)]))
		return Q_STATE;
	*out_chunk = chunk;
	return Q_OK;
}

void gmm_shared_keep(uint64_t page_count)
{
	spin_lock(&gmm.set_lock);
	gmm.kept_for_sharing = page_count;
	spin_unlock(&gmm.set_lock);
}

/* --- alloc --------------------------------------------------------------------------- */

/*
 * Returns a SHARED chunk with a free page. NULL: all chunks are claimed or in use, or, if
 * *out_needs_spare, KERNEL memory has to spare one first.
 */
static struct gmm_chunk *chunk_choose(bool *out_needs_spare) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk = gmm_set_fullest(&gmm.shared_set);

	*out_needs_spare = false;
	if (chunk)
		return chunk;
	/* G9: at least what is claimed is available. */
	uint64_t available = gmm_available_pages();
	if (available - gmm.claims.base < GMM_PAGES_PER_CHUNK)
		return NULL;
	chunk = gmm_chunk_take(GMM_CHUNK_SHARED);
	*out_needs_spare = !chunk && gmm_pages_at_hand(GMM_VM_QUIRE) < available;
	return chunk;
}

static q_status_t alloc_locked(struct gmm_page *out_page, bool *out_needs_spare)
	Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk = chunk_choose(out_needs_spare);
	if (!chunk)
		return Q_NO_MEMORY;
	gmm_set_remove(chunk);
	uint32_t index = gmm_chain_pop(chunk, &out_page->is_zeroed);
	chunk->words[index] = gmm_word_shared(0, 1);
	gmm_set_add(chunk);
	gmm.shared_holds++;
	out_page->id = gmm_page_id(chunk, index);
	out_page->frame = hpa_to_hfn(gmm_page_address(chunk, index));
	return Q_OK;
}

q_status_t gmm_shared_alloc(struct gmm_page *out_page)
{
	q_status_t status;
	bool needs_spare;

	do {
		spin_lock(&gmm.set_lock);
		status = alloc_locked(out_page, &needs_spare);
		spin_unlock(&gmm.set_lock);
		if (needs_spare)
			gmm_kernel_spare();
	} while (needs_spare);
	return status;
}

/* --- get ------------------------------------------------------------------------------ */

/* Finds the chunk of a shared page that can have one more reference, else Q_LIMIT. */
static q_status_t referable_find(page_id_t id, struct gmm_chunk **out_chunk)
	Q_REQUIRES(gmm.set_lock)
{
	q_status_t status = shared_find(id, out_chunk);
	if (status != Q_OK)
		return status;
	gmm_word_t word = (*out_chunk)->words[gmm_page_index(id)];
	return gmm_word_references(word) < GMM_WORD_REFERENCE_MAX ? Q_OK : Q_LIMIT;
}

/* Cannot fail: referable_find() found the page. The caller changes the VM's books. */
static void reference_add(struct gmm_chunk *chunk, page_id_t id) Q_REQUIRES(gmm.set_lock)
{
	gmm_word_t *word = &chunk->words[gmm_page_index(id)];
	uint32_t references = gmm_word_references(*word);

	*word = gmm_word_shared(references + 1, gmm_word_holds(*word));
	gmm.shared_references++;
	gmm.pages_saved += references > 0;
}

static q_status_t hold_add(page_id_t id) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;
	q_status_t status = shared_find(id, &chunk);
	if (status != Q_OK)
		return status;
	gmm_word_t *word = &chunk->words[gmm_page_index(id)];
	if (gmm_word_holds(*word) == GMM_WORD_HOLD_MAX)
		return Q_LIMIT;
	*word = gmm_word_shared(gmm_word_references(*word), gmm_word_holds(*word) + 1);
	gmm.shared_holds++;
	return Q_OK;
}

static q_status_t get_locked(gmm_vm_t handle, page_id_t id) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;

	if (handle == GMM_VM_QUIRE)
		return hold_add(id);
	struct gmm_vm *vm = gmm_vm_find(handle);
	if (vm->is_bound)
		return Q_DENIED;
	q_status_t status = referable_find(id, &chunk);
	if (status != Q_OK)
		return status;
	if (gmm_vm_room(vm) == 0)
		return Q_LIMIT;
	struct gmm_vm wanted = *vm;
	wanted.allocated[GMM_BASE]++;
	wanted.shared_references++;
	gmm_vm_replace(vm, &wanted);
	reference_add(chunk, id);
	return Q_OK;
}

q_status_t gmm_shared_get(gmm_vm_t vm, page_id_t shared)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = get_locked(vm, shared);
	spin_unlock(&gmm.set_lock);
	return status;
}

/* --- replace ----------------------------------------------------------------------------- */

static q_status_t replace_locked(gmm_vm_t vm, page_id_t private_page, page_id_t shared)
	Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *private_chunk, *shared_chunk;
	struct gmm_vm *books = gmm_vm_find(vm), wanted;
	if (books->is_bound)
		return Q_DENIED;
	q_status_t status = gmm_private_find(vm, private_page, &private_chunk);
	if (status == Q_OK)
		status = referable_find(shared, &shared_chunk);
	if (status != Q_OK)
		return status;
	gmm_private_free(private_chunk, vm, gmm_page_index(private_page));
	/* An exchange: the VM has as many pages as before, and none that it freed is set aside. */
	wanted = *books;
	wanted.shared_references++;
	gmm_vm_replace(books, &wanted);
	reference_add(shared_chunk, shared);
	return Q_OK;
}

q_status_t gmm_shared_replace(gmm_vm_t vm, page_id_t private_page, page_id_t shared)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = replace_locked(vm, private_page, shared);
	spin_unlock(&gmm.set_lock);
	return status;
}

/* --- put ---------------------------------------------------------------------------------- */

/* Frees a page that has no reference and no hold any more. */
static void page_free(struct gmm_chunk *chunk, uint32_t index) Q_REQUIRES(gmm.set_lock)
{
	gmm_set_remove(chunk);
	gmm_chain_push(chunk, index, false);
	gmm_set_add(chunk);
	if (chunk->free_count == GMM_PAGES_PER_CHUNK)
		gmm_chunk_return(chunk);
}

static void reference_drop(gmm_vm_t handle, gmm_word_t *word) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;
	uint32_t references = gmm_word_references(*word);

	wanted.allocated[GMM_BASE]--;
	wanted.shared_references--;
	gmm_vm_replace(vm, &wanted);
	*word = gmm_word_shared(references - 1, gmm_word_holds(*word));
	gmm.shared_references--;
	gmm.pages_saved -= references > 1;
}

static void hold_drop(gmm_word_t *word) Q_REQUIRES(gmm.set_lock)
{
	*word = gmm_word_shared(gmm_word_references(*word), gmm_word_holds(*word) - 1);
	gmm.shared_holds--;
}

static bool may_put(gmm_vm_t vm, gmm_word_t word) Q_REQUIRES(gmm.set_lock)
{
	if (vm == GMM_VM_QUIRE)
		return gmm_word_holds(word) > 0;
	return gmm_word_references(word) > 0 && gmm_vm_find(vm)->shared_references > 0;
}

static q_status_t put_locked(gmm_vm_t vm, page_id_t id) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;
	q_status_t status = shared_find(id, &chunk);
	if (status != Q_OK)
		return status;
	gmm_word_t *word = &chunk->words[gmm_page_index(id)];
	if (!may_put(vm, *word))
		return Q_NOT_OWNER;
	if (vm == GMM_VM_QUIRE)
		hold_drop(word);
	else
		reference_drop(vm, word);
	if (gmm_word_references(*word) == 0 && gmm_word_holds(*word) == 0)
		page_free(chunk, gmm_page_index(id));
	return Q_OK;
}

q_status_t gmm_shared_put(gmm_vm_t vm, const page_id_t *ids, unsigned count, unsigned *out_done)
{
	q_status_t status = Q_OK;
	unsigned done = 0;

	spin_lock(&gmm.set_lock);
	while (done < count) {
		status = put_locked(vm, ids[done]);
		if (status != Q_OK)
			break;
		done++;
	}
	spin_unlock(&gmm.set_lock);
	/* Also on failure: the caller has to know which references are gone. */
	*out_done = done;
	return status;
}
