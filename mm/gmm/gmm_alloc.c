/* SPDX-License-Identifier: MIT */
/*
 * Private pages, one by one: allocate, free, report, look up, zero ahead. Whole
 * chunks and better places are in gmm_place.c.
 *
 * An allocation is admitted as a whole before the first page is touched; after
 * that it cannot fail, so there is nothing to roll back. Where the pages come
 * from, in this order:
 *
 *   1. chunks tagged with this VM, fullest first;
 *   2. a wholly free chunk that GMM kept;
 *   3. a chunk from the machine, if need be one that KERNEL memory can spare;
 *   4. chunks of other VMs: those of the VM with most free pages, emptiest first,
 *      so that as few chunks as possible get mixed.
 *
 * For a bound VM there is step 1 only, which always has enough (G17).
 *
 * Page ids come from records that a bug may have damaged, so every function
 * that takes one checks it against the words before it changes anything.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "gmm_internal.h"

/* --- allocate ----------------------------------------------------------------------------- */

q_status_t gmm_private_admit(gmm_vm_t handle, uint64_t count)
{
	const struct gmm_vm *vm = gmm_vm_find(handle);

	if (count > gmm_vm_room(vm) + vm->set_aside)
		return Q_LIMIT;
	return count > gmm_pages_for(handle) ? Q_NO_MEMORY : Q_OK;
}

/* Of all VMs that are not bound, takes the one with most free pages; returns its emptiest chunk. */
static struct gmm_chunk *foreign_chunk(void) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_set *richest = &gmm.private_sets[0];

	for (unsigned i = 1; i < GMM_VM_COUNT; i++)
		if (gmm.private_sets[i].free_pages > richest->free_pages &&
		    gmm.vms[i].bound_chunks == 0)
			richest = &gmm.private_sets[i];
	return gmm_set_emptiest(richest);
}

struct gmm_chunk *gmm_private_whole(gmm_vm_t vm)
{
	if (gmm.vms[vm].is_bound)
		return gmm_set_whole(&gmm.private_sets[vm]);
	struct gmm_chunk *chunk = gmm_set_whole(&gmm.private_sets[GMM_VM_QUIRE]);

	return chunk ? chunk : gmm_chunk_take(GMM_CHUNK_PRIVATE);
}

static struct gmm_chunk *chunk_choose(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk = gmm_set_fullest(&gmm.private_sets[vm]);

	if (!chunk)
		chunk = gmm_private_whole(vm);
	return chunk ? chunk : foreign_chunk();
}

unsigned gmm_private_draw(struct gmm_chunk *chunk, gmm_vm_t vm, struct gmm_page *out_pages,
			  unsigned want)
{
	unsigned count = want < chunk->free_count ? want : chunk->free_count;

	gmm_set_remove(chunk);
	if (chunk->tag == GMM_VM_QUIRE)
		chunk->tag = vm;
	for (unsigned i = 0; i < count; i++) {
		struct gmm_page *page = &out_pages[i];
		uint32_t index = gmm_chain_pop(chunk, &page->is_zeroed);
		chunk->words[index] = gmm_word_private(vm, GFN_UNKNOWN);
		page->id = gmm_page_id(chunk, index);
		page->frame = hpa_to_hfn(gmm_page_address(chunk, index));
	}
	if (chunk->tag == vm)
		chunk->own_count = (uint16_t)(chunk->own_count + count);
	gmm_set_add(chunk);
	return count;
}

/* Cannot fail: the pages are at hand, and the VM may have them. */
static void pages_draw(gmm_vm_t vm, struct gmm_page *out_pages, unsigned count)
	Q_REQUIRES(gmm.set_lock)
{
	for (unsigned done = 0; done < count;) {
		struct gmm_chunk *chunk = chunk_choose(vm);
		Q_ASSERT(chunk);
		done += gmm_private_draw(chunk, vm, out_pages + done, count - done);
	}
	gmm_vm_charge(vm, GMM_BASE, count);
}

q_status_t gmm_pages_alloc(gmm_vm_t vm, struct gmm_page *out_pages, unsigned count)
{
	q_status_t status;
	bool is_at_hand;

	/* Another CPU may take the pages that KERNEL memory has just spared. Then ask again. */
	do {
		spin_lock(&gmm.set_lock);
		status = gmm_private_admit(vm, count);
		is_at_hand = count <= gmm_pages_at_hand(vm);
		if (status == Q_OK && is_at_hand)
			pages_draw(vm, out_pages, count);
		spin_unlock(&gmm.set_lock);
		if (status == Q_OK && !is_at_hand)
			gmm_kernel_spare();
	} while (status == Q_OK && !is_at_hand);
	return status;
}

/* --- free -------------------------------------------------------------------------------------- */

q_status_t gmm_private_find(gmm_vm_t vm, page_id_t id, struct gmm_chunk **out_chunk)
{
	struct gmm_chunk *chunk = gmm_chunk_find(id);
	if (!chunk)
		return Q_NOT_FOUND;
	gmm_word_t word = chunk->words[gmm_page_index(id)];
	if (!gmm_chunk_is_guest(chunk) || gmm_word_is_free(word))
		return Q_STATE;
	if (gmm_word_owner(word) != vm)
		return Q_NOT_OWNER;
	*out_chunk = chunk;
	return Q_OK;
}

/* Makes a private page free. The chunk is in no set. */
static void page_release(struct gmm_chunk *chunk, uint32_t index, gmm_vm_t vm)
	Q_REQUIRES(gmm.set_lock)
{
	gmm_chain_push(chunk, index, false);
	if (chunk->tag == vm)
		chunk->own_count--;
}

void gmm_private_trim(uint64_t kept)
{
	struct gmm_set *whole = &gmm.private_sets[GMM_VM_QUIRE];

	while (whole->whole_count > kept)
		gmm_chunk_return(gmm_set_emptiest(whole));
}

void gmm_private_free(struct gmm_chunk *chunk, gmm_vm_t vm, uint32_t index)
{
	gmm_set_remove(chunk);
	page_release(chunk, index, vm);
	gmm_set_add(chunk);
	gmm_private_trim(GMM_WHOLE_KEPT);
}

static q_status_t page_free_locked(gmm_vm_t vm, page_id_t id) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;
	q_status_t status = gmm_private_find(vm, id, &chunk);
	if (status != Q_OK)
		return status;
	gmm_private_free(chunk, vm, gmm_page_index(id));
	return Q_OK;
}

q_status_t gmm_pages_free(gmm_vm_t vm, const page_id_t *ids, unsigned count, unsigned *out_done)
{
	q_status_t status = Q_OK;
	unsigned done = 0;

	spin_lock(&gmm.set_lock);
	while (done < count) {
		status = page_free_locked(vm, ids[done]);
		if (status != Q_OK)
			break;
		done++;
	}
	gmm_vm_discharge(vm, GMM_BASE, done);
	spin_unlock(&gmm.set_lock);
	/* Also on failure: the caller has to know which pages are gone. */
	*out_done = done;
	return status;
}

void gmm_private_release(struct gmm_chunk *chunk, gmm_vm_t vm)
{
	unsigned count = 0;

	if (chunk->tag != vm && !gmm_chunk_is_mixed(chunk))
		return;
	gmm_set_remove(chunk);
	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++) {
		gmm_word_t word = chunk->words[i];
		if (gmm_word_is_free(word) || gmm_word_owner(word) != vm)
			continue;
		page_release(chunk, i, vm);
		count++;
	}
	gmm_set_add(chunk);
	gmm_vm_discharge(vm, GMM_BASE, count);
	gmm_private_trim(GMM_WHOLE_KEPT);
}

/* --- report and look up ---------------------------------------------------------------------------- */

static q_status_t set_gfn_locked(gmm_vm_t vm, page_id_t id, gfn_t frame) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_chunk *chunk;
	q_status_t status = gmm_private_find(vm, id, &chunk);
	if (status == Q_OK)
		chunk->words[gmm_page_index(id)] = gmm_word_private(vm, frame);
	return status;
}

q_status_t gmm_page_set_gfn(gmm_vm_t vm, page_id_t id, gfn_t frame)
{
	if (frame.raw > GMM_GFN_LAST && frame.raw != GFN_UNKNOWN.raw)
		return Q_RANGE;
	spin_lock(&gmm.set_lock);
	q_status_t status = set_gfn_locked(vm, id, frame);
	spin_unlock(&gmm.set_lock);
	return status;
}

static struct gmm_page_info info_of(enum gmm_chunk_kind kind, gmm_word_t word)
{
	struct gmm_page_info info = { .kind = GMM_PAGE_FREE, .gfn = GFN_UNKNOWN };

	if (gmm_word_is_free(word))
		return info;
	switch (kind) {
	case GMM_CHUNK_PRIVATE:
	case GMM_CHUNK_BOUND:
		info.kind = GMM_PAGE_PRIVATE;
		info.owner = gmm_word_owner(word);
		info.gfn = gmm_word_gfn(word);
		return info;
	case GMM_CHUNK_KERNEL:
		info.kind = GMM_PAGE_KERNEL;
		info.owner = gmm_word_owner(word);
		return info;
	case GMM_CHUNK_SHARED:
		info.kind = GMM_PAGE_SHARED;
		info.references = (uint64_t)gmm_word_references(word) + gmm_word_holds(word);
		return info;
	case GMM_CHUNK_FREE:
	case GMM_CHUNK_KIND_COUNT: break;
	}
	Q_ASSERT(false);
	return info;
}

q_status_t gmm_page_info(page_id_t id, struct gmm_page_info *out_info)
{
	q_status_t status = Q_NOT_FOUND;

	spin_lock(&gmm.set_lock);
	const struct gmm_chunk *chunk = gmm_chunk_find(id);
	if (chunk) {
		*out_info = info_of(chunk->kind, chunk->words[gmm_page_index(id)]);
		status = Q_OK;
	}
	spin_unlock(&gmm.set_lock);
	return status;
}

hfn_t gmm_page_frame(page_id_t id)
{
	spin_lock(&gmm.set_lock);
	const struct gmm_chunk *chunk = gmm_chunk_find(id);
	spin_unlock(&gmm.set_lock);
	Q_ASSERT(chunk);
	/* The base is fixed, and the caller makes sure that the chunk stays. */
	return hpa_to_hfn(gmm_page_address(chunk, gmm_page_index(id)));
}

/* --- zero ahead -------------------------------------------------------------------------------------- */

static bool zero_one_ahead_locked(void) Q_REQUIRES(gmm.set_lock)
{
	if (list_is_empty(&gmm.stale))
		return false;
	struct gmm_chunk *chunk = list_entry(gmm.stale.next, struct gmm_chunk, stale_link);
	gmm_set_remove(chunk);
	uint32_t index = gmm_chain_pop_stale(chunk);
	memset(gmm_map_chunk_page(chunk, index), 0, PAGE_SIZE);
	gmm_chain_push(chunk, index, true);
	gmm_set_add(chunk);
	return true;
}

unsigned gmm_zero_ahead(unsigned count)
{
	unsigned done = 0;
	bool has_more = true;

	/* Takes the lock anew for each page, so that no other CPU waits for longer. */
	while (done < count && has_more) {
		spin_lock(&gmm.set_lock);
		has_more = zero_one_ahead_locked();
		spin_unlock(&gmm.set_lock);
		done += has_more;
	}
	return done;
}
