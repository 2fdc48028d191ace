/* SPDX-License-Identifier: MIT */
/*
 * GMM, the global memory manager, keeps track of the owner of each page of the
 * machine.
 *
 * GMM takes memory from the machine in chunks of GMM_CHUNK_SIZE, physically
 * contiguous and aligned to their size, and hands it out in pages. A page's
 * machine address is its chunk's base plus its index, so it is not stored. GMM
 * keeps one word for each page (gmm_word.h) and a small record for each chunk,
 * both laid out at start for the whole machine.
 *
 *        the machine's supply of FREE chunks
 *          |                    ^
 *   gmm_chunk_detach     gmm_chunk_supply
 *          v                    |
 *     on its way           on its way
 *          |                    ^
 *   gmm_chunk_attach      gmm_chunk_leave
 *          v                    |
 *     PRIVATE, BOUND, SHARED or KERNEL
 *
 * The states of a chunk. Each says what is guaranteed, then what ends it:
 *
 *   FREE        It has no id, and no page of it is used. Nothing writes to it.
 *               gmm_chunk_detach() takes it.
 *   on its way  It has no id and is in no list of GMM. It belongs to the thread
 *               that holds gmm.lock, and counts as the kind that it is becoming.
 *               gmm_chunk_attach() or gmm_chunk_supply() ends the way. Other threads
 *               can see this state only on the way into and out of KERNEL memory.
 *   PRIVATE     Its used pages are private pages of VMs that are not bound.
 *               gmm_private_trim() or gmm_chunk_supplied() returns it when it is
 *               wholly free.
 *   BOUND       Its used pages are private pages of one bound VM, for as long as
 *               that VM lives. gmm_bound_return() returns it.
 *   SHARED      Its used pages are read-only and have references, not owners; one
 *               page at least is used. gmm_shared_put() returns it with the last.
 *   KERNEL      It is mapped for Quire: nested tables, records, heap.
 *               gmm_kernel_trim() returns it when it is wholly free and unclaimed.
 *
 * Kinds never mix in a chunk, because private pages can be moved and others
 * cannot: a shared page has no owner to ask, and kernel pages must stay.
 *
 * The states of a page, with the only functions that lead out of them:
 *
 *   FREE        It has no owner, and no nested translation leads to it. Its contents
 *               are stale, or known to be zero (zeroed).
 *                 stale to zeroed   gmm_zero_ahead
 *                 to PRIVATE        gmm_pages_alloc, gmm_chunk_alloc, gmm_page_move_alloc
 *                 to SHARED         gmm_shared_alloc
 *                 to KERNEL         gmm_kernel_page_alloc
 *   PRIVATE     One live VM owns it, and pays for it in its BASE account.
 *                 to FREE, stale    gmm_pages_free, gmm_shared_replace, gmm_vm_destroy
 *   SHARED      It has a reference of a VM or a hold of Quire, and no guest can write
 *               to it. Each reference is paid for in the BASE account of a VM.
 *                 to FREE, stale    gmm_shared_put, with the last reference or hold
 *   KERNEL      Quire owns it, or a live VM that pays for it in SHADOW or FIXED.
 *                 to FREE, stale    gmm_kernel_page_free, gmm_vm_destroy
 *
 * Invariants, asserted by gmm_check():
 *
 *   chunks
 *   G1  The two free chains of a chunk hold free pages only, no page twice,
 *       and zeroed pages exactly on the zeroed chain; their lengths are
 *       zeroed_count and free_count - zeroed_count, and a recount of the words
 *       gives the same free_count.
 *   G2  A chunk with free pages is in exactly one list of its set, the one for
 *       its number of free pages; a chunk without is in none.
 *   G3  A set's counts of free pages and of wholly free chunks are the sums over
 *       its lists.
 *   G4  A PRIVATE chunk is tagged with a VM that owns own_count > 0 pages in it,
 *       or it is wholly free and tagged with QUIRE.
 *   G5  mixed_chunks and private_free_pages are the sums over PRIVATE chunks,
 *       bound_free_pages over BOUND ones.
 *   G6  gmm.stale holds exactly the PRIVATE and BOUND chunks with stale free pages.
 *
 *   accounts
 *   G7  A VM's accounts say what a recount of the words finds, and not more than
 *       was promised; for this limit, pages of BASE that are ballooned or set aside
 *       count as allocated.
 *   G8  Kernel claims are at most the free KERNEL pages.
 *   G9  Base claims are at most the available pages, see gmm_account.c.
 *
 *   ids and the machine
 *   G10 While no thread holds gmm.lock, a chunk has an id if and only if it is not
 *       FREE. The id is marked in id_map, and the tree has the chunk under it.
 *       id_map (except bit 0) and the tree hold nothing else.
 *   G11 While no thread holds gmm.lock, the supply holds exactly the FREE chunks.
 *   G12 Free, private, shared and kernel pages and those of the supply add up
 *       to the machine.
 *   G13 A KERNEL page's owner is Quire or a live VM, its account SHADOW or FIXED.
 *
 *   shared pages
 *   G15 A page of a SHARED chunk is free or has a reference or a hold; no SHARED
 *       chunk is wholly free.
 *   G16 The words hold as many references as the VMs' books together, and as many
 *       holds as gmm.shared_holds; shared_references and pages_saved are what a
 *       recount finds.
 *
 *   bound VMs
 *   G17 A BOUND chunk is tagged with a bound VM, and no other VM has a page in it.
 *       A bound VM has exactly the BOUND chunks that its whole promise of BASE
 *       takes, and no BASE page elsewhere; other VMs have no BOUND chunk.
 *
 *   mapping cache
 *   G14 An entry with a chunk is in its CPU's tree under the id that the chunk
 *       had when it was mapped, and is in the list by age once.
 *
 *   waiters
 *       W1 and W2 in gmm_wait.c.
 *
 * Cost: a word a page, 4 or 8 bytes; some 110 bytes and a byte of id_map a chunk.
 * Allocate, free and look up take the same time on every machine, except for the
 * logarithm in the AVL tree behind the lookaside table.
 *
 * Locks: gmm.set_lock (LOCK_RANK_GMM_SET) guards every count, list and word, and is
 * held for short work only: callers bound their batches, gmm_vm_destroy() releases
 * it after each chunk, gmm_zero_ahead() after each page. gmm.lock (LOCK_RANK_GMM)
 * is held for slow work: making promises, and mapping KERNEL chunks for them.
 * set_lock may be taken under gmm.lock, never the reverse, and is released while
 * memory is mapped. So VMs can allocate, share and free pages while another VM is
 * being created. Each CPU owns its mapping cache (gmm_map.c). docs/locking.md has
 * the races.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "gmm_internal.h"

struct gmm gmm;

/* --- layout of the metadata ------------------------------------------------------------- */

/* Chunk records, then spans, then the map of ids. */
struct layout {
	uint32_t chunk_count;
	uint32_t id_last;
	uint64_t spans_offset;
	uint64_t id_map_offset;
	uint64_t size_bytes; /* whole pages */
};

/* Returns how many whole chunks a region has. */
static uint64_t region_chunks(const struct gmm_region *region)
{
	uint64_t first = pages_from_bytes(region->start.raw) + GMM_PAGES_PER_CHUNK - 1;
	uint64_t end = hpa_to_hfn(region->end).raw >> GMM_CHUNK_ID_SHIFT;

	first >>= GMM_CHUNK_ID_SHIFT;
	return end > first ? end - first : 0;
}

static struct layout layout_of(const struct gmm_region *regions, unsigned region_count,
			       unsigned span_max)
{
	uint64_t chunks = 0;

	for (unsigned i = 0; i < region_count; i++)
		chunks += region_chunks(&regions[i]);
	/* More chunks than ids: the rest of the machine stays unused. */
	if (chunks > GMM_CHUNK_ID_LAST)
		chunks = GMM_CHUNK_ID_LAST;
	uint64_t ids = chunks * GMM_IDS_PER_CHUNK;
	struct layout layout = {
		.chunk_count = (uint32_t)chunks,
		.id_last = (uint32_t)(ids < GMM_CHUNK_ID_LAST ? ids : GMM_CHUNK_ID_LAST),
		.spans_offset = chunks * sizeof(struct gmm_chunk),
	};
	layout.id_map_offset = layout.spans_offset + span_max * sizeof(struct gmm_span);
	uint64_t end = layout.id_map_offset + (layout.id_last / 64 + 1) * sizeof(uint64_t);
	layout.size_bytes = align_up(end, PAGE_SIZE);
	return layout;
}

uint64_t gmm_metadata_size(const struct gmm_region *regions, unsigned region_count)
{
	/* The caller takes the metadata out of one of these regions, which may split it in two. */
	return layout_of(regions, region_count, region_count + 1).size_bytes;
}

/* --- start-up ------------------------------------------------------------------------------ */

static void chunk_init(struct gmm_chunk *chunk, hpa_t base)
{
	chunk->base = base;
	chunk->id = 0;
	chunk->kind = GMM_CHUNK_FREE;
	list_init(&chunk->stale_link);
	list_add_tail(&gmm.supply, &chunk->link);
	gmm.supply_count++;
}

static void region_add(const struct gmm_region *region)
{
	uint32_t room = gmm.chunk_count - (uint32_t)gmm.chunks_by_kind[GMM_CHUNK_FREE];
	uint64_t chunks = region_chunks(region);
	struct gmm_span span = {
		.base = hpa(align_up(region->start.raw, GMM_CHUNK_SIZE)),
		.first = gmm.chunk_count - room,
		.count = chunks < room ? (uint32_t)chunks : room,
	};

	if (span.count == 0)
		return;
	for (uint32_t i = 0; i < span.count; i++)
		chunk_init(&gmm.chunks[span.first + i],
			   hpa_add(span.base, (uint64_t)i << GMM_CHUNK_SHIFT));
	gmm.spans[gmm.span_count++] = span;
	gmm.chunks_by_kind[GMM_CHUNK_FREE] += span.count;
}

static void lists_init(void)
{
	list_init(&gmm.supply);
	list_init(&gmm.stale);
	avl_init(&gmm.tree);
	gmm_set_init(&gmm.kernel_set);
	gmm_set_init(&gmm.shared_set);
	for (unsigned i = 0; i < GMM_VM_COUNT; i++)
		gmm_set_init(&gmm.private_sets[i]);
}

q_status_t gmm_init(const struct gmm_region *regions, unsigned region_count, void *metadata)
{
	struct layout layout = layout_of(regions, region_count, region_count);
	uint8_t *bytes = metadata;

	if (layout.chunk_count == 0)
		return Q_NO_MEMORY;
	Q_ASSERT(is_aligned((uintptr_t)metadata, PAGE_SIZE));
	memset(&gmm, 0, sizeof(gmm));
	spin_init(&gmm.lock, LOCK_RANK_GMM, "gmm");
	spin_init(&gmm.set_lock, LOCK_RANK_GMM_SET, "gmm set");
	lists_init();
	gmm.chunks = metadata;
	gmm.chunk_count = layout.chunk_count;
	gmm.spans = (struct gmm_span *)(bytes + layout.spans_offset);
	gmm.id_map = (uint64_t *)(bytes + layout.id_map_offset);
	gmm.id_last = layout.id_last;
	gmm.id_map[0] = 1; /* id 0 */
	gmm.metadata_bytes = layout.size_bytes;
	for (unsigned i = 0; i < region_count; i++)
		region_add(&regions[i]);
	gmm_map_init();
	return Q_OK;
}

/* --- figures ---------------------------------------------------------------------------------- */

static void stats_of_promises(struct gmm_stats *stats)
{
	for (unsigned i = 0; i < GMM_VM_COUNT; i++) {
		const struct gmm_vm *vm = &gmm.vms[i];
		if (!vm->is_live)
			continue;
		stats->vm_count++;
		stats->reserved_pages +=
			vm->guaranteed_base + vm->promised[GMM_SHADOW] + vm->promised[GMM_FIXED];
		if (vm->is_bound)
			stats->claimed_pages += vm->promised[GMM_BASE] - vm->allocated[GMM_BASE];
	}
	stats->claimed_pages += gmm.claims.base + gmm.claims.kernel;
}

static uint64_t pages_of_kind(enum gmm_chunk_kind kind)
{
	return gmm.chunks_by_kind[kind] << GMM_CHUNK_ID_SHIFT;
}

void gmm_stats(struct gmm_stats *out_stats)
{
	struct gmm_stats stats = { .metadata_bytes = gmm.metadata_bytes };

	spin_lock(&gmm.set_lock);
	stats_of_promises(&stats);
	stats.machine_pages = (uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT;
	stats.chunks_free = gmm.chunks_by_kind[GMM_CHUNK_FREE];
	stats.chunk_count = gmm.chunk_count - stats.chunks_free;
	stats.free_pages = gmm.private_free_pages + gmm.bound_free_pages +
			   gmm.shared_set.free_pages + gmm.kernel_set.free_pages;
	stats.bound_pages = pages_of_kind(GMM_CHUNK_BOUND);
	stats.private_pages = pages_of_kind(GMM_CHUNK_PRIVATE) - gmm.private_free_pages +
			      stats.bound_pages - gmm.bound_free_pages;
	stats.kernel_pages = pages_of_kind(GMM_CHUNK_KERNEL) - gmm.kernel_set.free_pages;
	stats.shared_pages = pages_of_kind(GMM_CHUNK_SHARED) - gmm.shared_set.free_pages;
	stats.shared_references = gmm.shared_references;
	stats.pages_saved = gmm.pages_saved;
	stats.mixed_chunks = gmm.mixed_chunks;
	spin_unlock(&gmm.set_lock);
	*out_stats = stats;
}
