/* SPDX-License-Identifier: MIT */
/*
 * Kernel pages: nested tables, records, the heap. They live in KERNEL chunks,
 * which are mapped for good from the moment a chunk becomes one until it goes
 * back to the machine.
 *
 * Pages for the SHADOW and FIXED accounts were set aside when their VM was
 * admitted (G8), so an allocation within them takes what is there and cannot
 * fail. Quire's own allocations have no limit but the machine: they may take
 * new chunks, as long as every VM's claims still fit beside them.
 *
 * physmem_kernel_map() and physmem_kernel_unmap() are called with gmm.lock
 * held and must not come back to GMM. Pages are cleared outside the lock.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "gmm_internal.h"

/* --- chunks ----------------------------------------------------------------------------- */

/* Whole chunks that can become KERNEL: those with the machine, then the free PRIVATE ones. */
static struct gmm_chunk *candidate_after(const struct gmm_chunk *chunk)
{
	struct list_node *whole = &gmm.private_sets[GMM_VM_QUIRE].lists[GMM_CLASS_WHOLE];
	struct list_node *node = chunk ? chunk->link.next : gmm.supply.next;

	if (node == &gmm.supply)
		node = whole->next;
	/* gmm_claims_fit() counted them. */
	Q_ASSERT(node != whole);
	return list_entry(node, struct gmm_chunk, link);
}

static void candidates_unmap(uint64_t count)
{
	struct gmm_chunk *chunk = NULL;

	for (uint64_t i = 0; i < count; i++) {
		chunk = candidate_after(chunk);
		physmem_kernel_unmap(chunk->base, GMM_CHUNK_SIZE);
	}
}

/* Maps the first `count` candidates where they are. */
static q_status_t candidates_map(uint64_t count)
{
	struct gmm_chunk *chunk = NULL;

	for (uint64_t i = 0; i < count; i++) {
		chunk = candidate_after(chunk);
		q_status_t status = physmem_kernel_map(chunk->base, GMM_CHUNK_SIZE);
		if (status != Q_OK) {
			candidates_unmap(i);
			return status;
		}
	}
	return Q_OK;
}

q_status_t gmm_kernel_grow(uint64_t chunk_count)
{
	q_status_t status = candidates_map(chunk_count);
	if (status != Q_OK)
		return status;
	/* Each first candidate leaves its list, so the next one moves up: the same as above. */
	for (uint64_t i = 0; i < chunk_count; i++) {
		struct gmm_chunk *chunk = candidate_after(NULL);
		if (chunk->kind == GMM_CHUNK_PRIVATE)
			gmm_chunk_return(chunk);
		gmm_chunk_take(chunk, GMM_CHUNK_KERNEL);
	}
	return Q_OK;
}

void gmm_kernel_trim(uint64_t kept)
{
	struct gmm_set *set = &gmm.kernel_set;

	while (set->whole_count > 0 &&
	       set->free_pages - gmm.claims.kernel >= GMM_PAGES_PER_CHUNK + kept) {
		struct gmm_chunk *chunk = gmm_set_emptiest(set);
		physmem_kernel_unmap(chunk->base, GMM_CHUNK_SIZE);
		gmm_chunk_return(chunk);
	}
}

/* --- pages --------------------------------------------------------------------------------- */

/* Makes sure that a page is free that the caller may have. */
static q_status_t page_admit(gmm_vm_t handle, enum gmm_account account) Q_REQUIRES(gmm.lock)
{
	struct gmm_claims claims = gmm.claims;
	uint64_t chunks;

	if (handle != GMM_VM_QUIRE) {
		const struct gmm_vm *vm = gmm_vm_find(handle);
		return vm->allocated[account] < vm->promised[account] ? Q_OK : Q_LIMIT;
	}
	claims.kernel++;
	if (!gmm_claims_fit(claims, &chunks))
		return Q_NO_MEMORY;
	return gmm_kernel_grow(chunks);
}

static hpa_t page_take(gmm_vm_t vm, enum gmm_account account) Q_REQUIRES(gmm.lock)
{
	/* G8: page_admit() found one, or it was set aside. */
	struct gmm_chunk *chunk = gmm_set_fullest(&gmm.kernel_set);
	Q_ASSERT(chunk);
	gmm_set_remove(chunk);
	uint32_t index = gmm_chain_pop_stale(chunk);
	chunk->words[index] = gmm_word_kernel(vm, account);
	gmm_set_add(chunk);
	if (vm != GMM_VM_QUIRE)
		gmm_vm_charge(vm, account, 1);
	return gmm_page_address(chunk, index);
}

q_status_t gmm_kernel_page_alloc(gmm_vm_t vm, enum gmm_account account, hpa_t *out_page)
{
	Q_ASSERT(account == GMM_SHADOW || account == GMM_FIXED);
	hpa_t page = hpa(0);

	spin_lock(&gmm.lock);
	q_status_t status = page_admit(vm, account);
	if (status == Q_OK)
		page = page_take(vm, account);
	spin_unlock(&gmm.lock);
	if (status != Q_OK)
		return status;
	memset(physmem_kernel_ptr(page), 0, PAGE_SIZE);
	*out_page = page;
	return Q_OK;
}

void gmm_kernel_page_free(gmm_vm_t vm, enum gmm_account account, hpa_t page)
{
	struct gmm_chunk *chunk = gmm_chunk_at(page);
	Q_ASSERT(chunk && is_aligned(page.raw, PAGE_SIZE));
	uint32_t index = (uint32_t)((page.raw - chunk->base.raw) >> PAGE_SHIFT);

	spin_lock(&gmm.lock);
	Q_ASSERT(chunk->kind == GMM_CHUNK_KERNEL);
	Q_ASSERT(chunk->words[index] == gmm_word_kernel(vm, account));
	gmm_set_remove(chunk);
	gmm_chain_push(chunk, index, false);
	gmm_set_add(chunk);
	if (vm != GMM_VM_QUIRE)
		gmm_vm_discharge(vm, account, 1);
	gmm_kernel_trim(GMM_KERNEL_PAGES_KEPT);
	spin_unlock(&gmm.lock);
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
