/* SPDX-License-Identifier: MIT */
/*
 * Chunks: their ids, how they are found, and the supply of those that are with
 * the machine.
 *
 * A chunk has its id from gmm_chunk_attach() to gmm_chunk_leave(). A new id is the
 * first unused one after the id that was given out last. With eight ids to a
 * chunk, a page id that was kept by mistake soon names nothing, rather than
 * another VM's page.
 *
 * A chunk is found by id in a direct-mapped lookaside table, else in the AVL
 * tree. Records never move and never go away, so a lookaside entry is a hint
 * that needs no invalidation: it is right if and only if the record has the id.
 *
 *     supply --detach--> on its way --attach--> PRIVATE, BOUND, SHARED, KERNEL
 *     supply <--supply-- on its way <--leave---
 *
 * Mapping a chunk on its way into KERNEL memory, and unmapping it on its way out,
 * takes time. gmm.set_lock is released meanwhile, and the chunk belongs to the
 * thread that holds gmm.lock. It counts as what it is becoming. A chunk that goes
 * back keeps its free chains for the next time; its zeroed pages stay zero,
 * because nothing writes to a FREE chunk.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>
#include <quire/atomic.h>

#include "gmm_internal.h"

/* --- ids -------------------------------------------------------------------------- */

/* Returns the first id in [first, end) that is not in use, or 0. */
static uint32_t id_scan(uint32_t first, uint32_t end)
{
	uint32_t id = first;

	while (id < end) {
		uint64_t unused = ~gmm.id_map[id / 64] & (~0ull << id % 64);
		if (unused == 0) {
			id = (id / 64 + 1) * 64;
			continue;
		}
		id = id / 64 * 64 + (uint32_t)__builtin_ctzll(unused);
		return id < end ? id : 0;
	}
	return 0;
}

static uint32_t id_alloc(void)
{
	uint32_t id = id_scan(gmm.id_previous + 1, gmm.id_last + 1);

	if (id == 0)
		id = id_scan(1, gmm.id_previous + 1);
	/* G10: there are at least as many ids as chunks, and this chunk has none. */
	Q_ASSERT(id != 0);
	gmm.id_map[id / 64] |= BIT64(id % 64);
	gmm.id_previous = id;
	return id;
}

static void id_free(uint32_t id)
{
	Q_ASSERT(gmm.id_map[id / 64] & BIT64(id % 64));
	gmm.id_map[id / 64] &= ~BIT64(id % 64);
}

/* --- finding ------------------------------------------------------------------------ */

struct gmm_chunk *gmm_chunk_find(page_id_t id)
{
	uint32_t chunk_id = id.raw >> GMM_CHUNK_ID_SHIFT;
	struct gmm_chunk **hint = &gmm.lookaside[chunk_id % GMM_LOOKASIDE_COUNT];

	/* FREE chunks have id 0, which would match. */
	if (chunk_id == 0)
		return NULL;
	if (*hint && (*hint)->id == chunk_id)
		return *hint;
	struct avl_node *node = avl_find(&gmm.tree, chunk_id);
	if (!node)
		return NULL;
	*hint = container_of(node, struct gmm_chunk, node);
	return *hint;
}

struct gmm_chunk *gmm_chunk_at(hpa_t addr)
{
	uint32_t low = 0;
	uint32_t high = gmm.span_count;

	/* In the end, span `low - 1` is the last one that starts at or below `addr`. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (gmm.spans[middle].base.raw <= addr.raw)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	const struct gmm_span *span = &gmm.spans[low - 1];
	uint64_t offset = (addr.raw - span->base.raw) >> GMM_CHUNK_SHIFT;
	return offset < span->count ? &gmm.chunks[span->first + offset] : NULL;
}

static enum gmm_memory memory_of(enum gmm_chunk_kind kind)
{
	switch (kind) {
	case GMM_CHUNK_FREE: return GMM_MEMORY_FREE;
	case GMM_CHUNK_PRIVATE:
	case GMM_CHUNK_BOUND:
	case GMM_CHUNK_SHARED: return GMM_MEMORY_GUEST;
	case GMM_CHUNK_KERNEL: return GMM_MEMORY_KERNEL;
	case GMM_CHUNK_KIND_COUNT: break;
	}
	Q_ASSERT(!"a chunk's kind is one of these");
	return GMM_MEMORY_NONE;
}

enum gmm_memory gmm_memory_at(hpa_t addr)
{
	const struct gmm_chunk *chunk = gmm_chunk_at(addr);

	if (!chunk)
		return GMM_MEMORY_NONE;
	/* gmm.lock, so that the chunk is not on its way into or out of KERNEL memory. */
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	enum gmm_memory memory = memory_of(chunk->kind);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
	return memory;
}

/* --- the supply --------------------------------------------------------------------------- */

static void kind_set(struct gmm_chunk *chunk, enum gmm_chunk_kind kind)
{
	gmm.chunks_by_kind[chunk->kind]--;
	gmm.chunks_by_kind[kind]++;
	chunk->kind = kind;
}

struct gmm_chunk *gmm_chunk_supplied(void)
{
	if (gmm.supply_count == 0 && gmm.private_sets[GMM_VM_QUIRE].whole_count > 0)
		gmm_chunk_return(gmm_set_emptiest(&gmm.private_sets[GMM_VM_QUIRE]));
	if (gmm.supply_count == 0)
		return NULL;
	return list_entry(gmm.supply.next, struct gmm_chunk, link);
}

void gmm_chunk_detach(struct gmm_chunk *chunk, enum gmm_chunk_kind kind)
{
	Q_ASSERT(chunk->kind == GMM_CHUNK_FREE && kind != GMM_CHUNK_FREE);

	list_remove(&chunk->link);
	gmm.supply_count--;
	kind_set(chunk, kind);
}

void gmm_chunk_attach(struct gmm_chunk *chunk, gmm_vm_t tag)
{
	Q_ASSERT(chunk->kind != GMM_CHUNK_FREE && chunk->id == 0);

	chunk->tag = tag;
	chunk->own_count = 0;
	if (!chunk->has_chains)
		gmm_chain_init(chunk);
	chunk->has_chains = true;
	atomic_store_relaxed(&chunk->id, id_alloc());
	bool is_new = avl_insert(&gmm.tree, &chunk->node, chunk->id);
	Q_ASSERT(is_new);
	gmm_set_add(chunk);
}

struct gmm_chunk *gmm_chunk_take(enum gmm_chunk_kind kind)
{
	struct gmm_chunk *chunk = gmm_chunk_supplied();

	if (!chunk)
		return NULL;
	gmm_chunk_detach(chunk, kind);
	gmm_chunk_attach(chunk, GMM_VM_QUIRE);
	return chunk;
}

void gmm_chunk_leave(struct gmm_chunk *chunk)
{
	Q_ASSERT(chunk->kind != GMM_CHUNK_FREE && chunk->free_count == GMM_PAGES_PER_CHUNK);

	gmm_set_remove(chunk);
	avl_remove(&gmm.tree, chunk->id);
	id_free(chunk->id);
	atomic_store_relaxed(&chunk->id, 0);
	kind_set(chunk, GMM_CHUNK_FREE);
}

void gmm_chunk_supply(struct gmm_chunk *chunk)
{
	Q_ASSERT(chunk->id == 0);

	kind_set(chunk, GMM_CHUNK_FREE);
	list_add_head(&gmm.supply, &chunk->link);
	gmm.supply_count++;
}

void gmm_chunk_return(struct gmm_chunk *chunk)
{
	gmm_chunk_leave(chunk);
	gmm_chunk_supply(chunk);
}
