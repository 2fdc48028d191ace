/* SPDX-License-Identifier: MIT */
/*
 * Free pages: the chains inside a chunk, and the sets of chunks that have any.
 *
 * A chunk's free pages form two chains through its words, last freed first: the
 * pages that are known to be zero, and the others. A set keeps its chunks in
 * lists by how many pages are free, so the fullest chunk is found in a few steps
 * however large the machine is. Filling up the fullest chunks first lets the
 * others run empty, and only empty chunks can go back to the machine.
 *
 * PRIVATE chunks have one set for each VM. A chunk is tagged with a VM from its
 * first page on. Another VM takes pages of it only when no other memory is left,
 * or when a chunk is being emptied and its pages fit nowhere else. So two VMs that
 * grow side by side do not mix, and the end of one frees whole chunks. A bound VM's
 * set has its BOUND chunks, and no others.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* --- chains --------------------------------------------------------------------------- */

void gmm_chain_init(struct gmm_chunk *chunk)
{
	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK - 1; i++)
		chunk->words[i] = gmm_word_free(i + 1, false);
	chunk->words[GMM_PAGES_PER_CHUNK - 1] = gmm_word_free(GMM_INDEX_NIL, false);
	chunk->stale_head = 0;
	chunk->zeroed_head = GMM_INDEX_NIL;
	chunk->free_count = GMM_PAGES_PER_CHUNK;
	chunk->zeroed_count = 0;
}

static uint32_t chain_pop(struct gmm_chunk *chunk, uint16_t *head)
{
	uint32_t index = *head;

	Q_ASSERT(index < GMM_PAGES_PER_CHUNK && gmm_word_is_free(chunk->words[index]));
	*head = (uint16_t)gmm_word_next(chunk->words[index]);
	chunk->free_count--;
	return index;
}

uint32_t gmm_chain_pop_stale(struct gmm_chunk *chunk)
{
	return chain_pop(chunk, &chunk->stale_head);
}

uint32_t gmm_chain_pop(struct gmm_chunk *chunk, bool *out_is_zeroed)
{
	*out_is_zeroed = chunk->zeroed_count > 0;
	if (!*out_is_zeroed)
		return gmm_chain_pop_stale(chunk);
	chunk->zeroed_count--;
	return chain_pop(chunk, &chunk->zeroed_head);
}

void gmm_chain_push(struct gmm_chunk *chunk, uint32_t index, bool is_zeroed)
{
	uint16_t *head = is_zeroed ? &chunk->zeroed_head : &chunk->stale_head;

	chunk->words[index] = gmm_word_free(*head, is_zeroed);
	*head = (uint16_t)index;
	chunk->free_count++;
	if (is_zeroed)
		chunk->zeroed_count++;
}

/* --- sets ---------------------------------------------------------------------------------- */

void gmm_set_init(struct gmm_set *set)
{
	for (unsigned i = 0; i < GMM_CLASS_COUNT; i++)
		list_init(&set->lists[i]);
	set->free_pages = 0;
	set->whole_count = 0;
}

struct gmm_set *gmm_set_of(const struct gmm_chunk *chunk)
{
	switch (chunk->kind) {
	case GMM_CHUNK_PRIVATE:
	case GMM_CHUNK_BOUND: return &gmm.private_sets[chunk->tag];
	case GMM_CHUNK_SHARED: return &gmm.shared_set;
	case GMM_CHUNK_KERNEL: return &gmm.kernel_set;
	case GMM_CHUNK_FREE:
	case GMM_CHUNK_KIND_COUNT: break;
	}
	Q_ASSERT(false);
	return NULL;
}

/*
 * Returns the VM that owns more than half of the used pages; if there is none, some
 * VM that owns one. Pages of two owners cancel each other out, which leaves a page
 * of the majority.
 */
static gmm_vm_t main_owner(const struct gmm_chunk *chunk)
{
	gmm_vm_t owner = GMM_VM_QUIRE;
	uint32_t lead = 0;

	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++) {
		if (gmm_word_is_free(chunk->words[i]))
			continue;
		gmm_vm_t other = gmm_word_owner(chunk->words[i]);
		if (lead == 0)
			owner = other;
		lead = other == owner ? lead + 1 : lead - 1;
	}
	return owner;
}

/*
 * If the tagged VM has no page in the chunk any more, tags the chunk with a VM that
 * has, or with QUIRE if it is wholly free. Only a mixed chunk is ever searched.
 */
static void tag_update(struct gmm_chunk *chunk)
{
	if (chunk->own_count > 0)
		return;
	chunk->tag = GMM_VM_QUIRE;
	if (chunk->free_count == GMM_PAGES_PER_CHUNK)
		return;
	chunk->tag = main_owner(chunk);
	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++)
		chunk->own_count += !gmm_word_is_free(chunk->words[i]) &&
				    gmm_word_owner(chunk->words[i]) == chunk->tag;
}

/* Take a PRIVATE or BOUND chunk out of the totals and of gmm.stale, and put it back. */
static void guest_remove(struct gmm_chunk *chunk)
{
	if (chunk->kind == GMM_CHUNK_PRIVATE) {
		gmm.private_free_pages -= chunk->free_count;
		gmm.mixed_chunks -= gmm_chunk_is_mixed(chunk);
	} else {
		gmm.bound_free_pages -= chunk->free_count;
	}
	if (chunk->free_count > chunk->zeroed_count)
		list_remove(&chunk->stale_link);
}

static void guest_add(struct gmm_chunk *chunk)
{
	if (chunk->kind == GMM_CHUNK_PRIVATE) {
		tag_update(chunk);
		gmm.private_free_pages += chunk->free_count;
		gmm.mixed_chunks += gmm_chunk_is_mixed(chunk);
	} else {
		gmm.bound_free_pages += chunk->free_count;
	}
	if (chunk->free_count > chunk->zeroed_count)
		list_add_head(&gmm.stale, &chunk->stale_link);
}

void gmm_set_remove(struct gmm_chunk *chunk)
{
	struct gmm_set *set = gmm_set_of(chunk);

	if (gmm_chunk_is_guest(chunk))
		guest_remove(chunk);
	if (chunk->free_count == 0)
		return;
	list_remove(&chunk->link);
	set->free_pages -= chunk->free_count;
	set->whole_count -= gmm_class_of(chunk) == GMM_CLASS_WHOLE;
}

void gmm_set_add(struct gmm_chunk *chunk)
{
	/* First, because it may change the tag, and with it the set. */
	if (gmm_chunk_is_guest(chunk))
		guest_add(chunk);
	if (chunk->free_count == 0)
		return;
	struct gmm_set *set = gmm_set_of(chunk);
	list_add_head(&set->lists[gmm_class_of(chunk)], &chunk->link);
	set->free_pages += chunk->free_count;
	set->whole_count += gmm_class_of(chunk) == GMM_CLASS_WHOLE;
}

struct gmm_chunk *gmm_set_fullest(const struct gmm_set *set)
{
	for (unsigned i = 0; i < GMM_CLASS_COUNT; i++)
		if (!list_is_empty(&set->lists[i]))
			return list_entry(set->lists[i].next, struct gmm_chunk, link);
	return NULL;
}

struct gmm_chunk *gmm_set_emptiest(const struct gmm_set *set)
{
	for (unsigned i = GMM_CLASS_COUNT; i-- > 0;)
		if (!list_is_empty(&set->lists[i]))
			return list_entry(set->lists[i].next, struct gmm_chunk, link);
	return NULL;
}

struct gmm_chunk *gmm_set_whole(const struct gmm_set *set)
{
	const struct list_node *whole = &set->lists[GMM_CLASS_WHOLE];

	return list_is_empty(whole) ? NULL : list_entry(whole->next, struct gmm_chunk, link);
}
