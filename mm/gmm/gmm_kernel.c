/* SPDX-License-Identifier: MIT */
/*
 * Kernel pages: nested tables, records, the heap. They are in KERNEL chunks, and a
 * chunk is mapped for as long as it is a KERNEL chunk.
 *
 * The free pages for a VM's SHADOW and FIXED accounts are provided when the VM is
 * admitted (G8), so an allocation within these accounts cannot fail. Quire's own
 * allocations have no limit but the machine: they may take new chunks, as long as
 * the claims of all VMs still fit beside them.
 *
 * physmem_kernel_map() and physmem_kernel_unmap() are called with gmm.lock held,
 * but not gmm.set_lock, and must not call GMM. Pages are cleared outside the locks.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "gmm_internal.h"

/* --- chunks ----------------------------------------------------------------------------- */

static void chunks_unmap(const struct list_node *from, const struct list_node *end)
{
	for (const struct list_node *node = from->next; node != end; node = node->next)
		physmem_kernel_unmap(list_entry(node, struct gmm_chunk, link)->base,
				     GMM_CHUNK_SIZE);
}

/* Maps all of the chunks or none. */
static q_status_t chunks_map(const struct list_node *chunks)
{
	list_for_each(node, chunks)
	{
		hpa_t base = list_entry(node, struct gmm_chunk, link)->base;
		q_status_t status = physmem_kernel_map(base, GMM_CHUNK_SIZE);
		if (status != Q_OK) {
			chunks_unmap(chunks, node);
			return status;
		}
	}
	return Q_OK;
}

q_status_t gmm_kernel_grow(uint64_t chunk_count)
{
	struct list_node chunks;

	list_init(&chunks);
	for (uint64_t i = 0; i < chunk_count; i++) {
		struct gmm_chunk *chunk = gmm_chunk_supplied();
		/* gmm_claims_fit() counted them. */
		Q_ASSERT(chunk);
		gmm_chunk_detach(chunk, GMM_CHUNK_KERNEL);
		list_add_tail(&chunks, &chunk->link);
	}
	spin_unlock(&gmm.set_lock);
	q_status_t status = chunks_map(&chunks);
	spin_lock(&gmm.set_lock);
	while (!list_is_empty(&chunks)) {
		struct gmm_chunk *chunk = list_entry(chunks.next, struct gmm_chunk, link);
		list_remove(&chunk->link);
		if (status == Q_OK)
			gmm_chunk_attach(chunk, GMM_VM_QUIRE);
		else
			gmm_chunk_supply(chunk);
	}
	return status;
}

/* True if a wholly free chunk could go back and at least `kept` unclaimed pages would stay. */
static bool can_spare(uint64_t kept) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_set *set = &gmm.kernel_set;

	return set->whole_count > 0 &&
	       set->free_pages - gmm.claims.kernel >= GMM_PAGES_PER_CHUNK + kept;
}

void gmm_kernel_trim(uint64_t kept)
{
	while (can_spare(kept)) {
		struct gmm_chunk *chunk = gmm_set_emptiest(&gmm.kernel_set);
		gmm_chunk_leave(chunk);
		spin_unlock(&gmm.set_lock);
		physmem_kernel_unmap(chunk->base, GMM_CHUNK_SIZE);
		spin_lock(&gmm.set_lock);
		gmm_chunk_supply(chunk);
	}
}

void gmm_kernel_spare(void)
{
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	gmm_kernel_trim(0);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
}

/* --- pages --------------------------------------------------------------------------------- */

static struct gmm_claims claims_with_a_page(void) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_claims claims = gmm.claims;

	claims.kernel++;
	return claims;
}

/* Checks whether a page is free for the VM. Q_STATE: Quire has to take a chunk first. */
static q_status_t page_admit(gmm_vm_t handle, enum gmm_account account) Q_REQUIRES(gmm.set_lock)
{
	uint64_t chunks;

	if (handle != GMM_VM_QUIRE) {
		const struct gmm_vm *vm = gmm_vm_find(handle);
		return vm->allocated[account] < vm->promised[account] ? Q_OK : Q_LIMIT;
	}
	if (!gmm_claims_fit(claims_with_a_page(), &chunks))
		return Q_NO_MEMORY;
	return chunks == 0 ? Q_OK : Q_STATE;
}

/* Makes a chunk KERNEL so that a page is unclaimed, unless one is unclaimed by now. */
static q_status_t page_provide(void)
{
	uint64_t chunks;

	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	q_status_t status = gmm_claims_fit(claims_with_a_page(), &chunks) ? Q_OK : Q_NO_MEMORY;
	if (status == Q_OK)
		status = gmm_kernel_grow(chunks);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
	return status;
}

static hpa_t page_take(gmm_vm_t vm, enum gmm_account account, bool *out_is_zeroed)
	Q_REQUIRES(gmm.set_lock)
{
	/* G8: the VM's page is provided, or page_admit() found one for Quire. */
	struct gmm_chunk *chunk = gmm_set_fullest(&gmm.kernel_set);
	Q_ASSERT(chunk);
	gmm_set_remove(chunk);
	uint32_t index = gmm_chain_pop(chunk, out_is_zeroed);
	chunk->words[index] = gmm_word_kernel(vm, account);
	gmm_set_add(chunk);
	if (vm != GMM_VM_QUIRE)
		gmm_vm_charge(vm, account, 1);
	return gmm_page_address(chunk, index);
}

q_status_t gmm_kernel_page_alloc(gmm_vm_t vm, enum gmm_account account, hpa_t *out_page)
{
	Q_ASSERT(account == GMM_SHADOW || account == GMM_FIXED);
	q_status_t status, provided = Q_OK;
	bool is_zeroed = false;
	hpa_t page = hpa(0);

	/* Another CPU may take the page that was just provided. Then provide another. */
	do {
		spin_lock(&gmm.set_lock);
		status = page_admit(vm, account);
		if (status == Q_OK)
			page = page_take(vm, account, &is_zeroed);
		spin_unlock(&gmm.set_lock);
		if (status == Q_STATE)
			provided = page_provide();
	} while (status == Q_STATE && provided == Q_OK);
	if (status != Q_OK)
		return status == Q_STATE ? provided : status;
	if (!is_zeroed)
		memset(physmem_kernel_ptr(page), 0, PAGE_SIZE);
	*out_page = page;
	return Q_OK;
}

/*
 * Gives back the chunks that can be spared, without waiting for slow work. If another
 * thread holds gmm.lock, that thread or the next free gives them back. Their pages
 * count as available even before.
 */
static void trim_if_idle(void)
{
	if (!spin_try_lock(&gmm.lock))
		return;
	spin_lock(&gmm.set_lock);
	gmm_kernel_trim(GMM_KERNEL_PAGES_KEPT);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
}

void gmm_kernel_page_free(gmm_vm_t vm, enum gmm_account account, hpa_t page)
{
	struct gmm_chunk *chunk = gmm_chunk_at(page);
	Q_ASSERT(chunk && is_aligned(page.raw, PAGE_SIZE));
	uint32_t index = (uint32_t)((page.raw - chunk->base.raw) >> PAGE_SHIFT);

	spin_lock(&gmm.set_lock);
	Q_ASSERT(chunk->kind == GMM_CHUNK_KERNEL);
	Q_ASSERT(chunk->words[index] == gmm_word_kernel(vm, account));
	gmm_set_remove(chunk);
	gmm_chain_push(chunk, index, false);
	gmm_set_add(chunk);
	if (vm != GMM_VM_QUIRE)
		gmm_vm_discharge(vm, account, 1);
	bool has_spare = can_spare(GMM_KERNEL_PAGES_KEPT);
	spin_unlock(&gmm.set_lock);
	if (has_spare)
		trim_if_idle();
}

void gmm_kernel_release(struct gmm_chunk *chunk, gmm_vm_t vm)
{
	gmm_set_remove(chunk);
	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++) {
		gmm_word_t word = chunk->words[i];
		if (gmm_word_is_free(word) || gmm_word_owner(word) != vm)
			continue;
		gmm_chain_push(chunk, i, false);
		gmm_vm_discharge(vm, gmm_word_account(word), 1);
	}
	gmm_set_add(chunk);
}
