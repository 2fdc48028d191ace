/* SPDX-License-Identifier: MIT */
/*
 * The mapping cache: how Quire reaches guest memory, which is not mapped
 * permanently. Each CPU has PHYSMEM_WINDOW_COUNT windows of one chunk each, and
 * keeps the chunks it used last in them. A lookaside table and an AVL tree by
 * chunk id find a chunk's window; a list by age says which window is reused next.
 *
 * A cache belongs to its CPU, so it needs no lock, and no CPU ever waits for
 * another one's TLB. The price is that a chunk that went back to the machine may
 * still be in some window. That is harmless, because nothing uses that window: an
 * entry is valid only while its chunk record has the id that the entry was made
 * for. Records never move, so a record with the same id is the same memory.
 *
 * The id is read without the lock. A caller of gmm_page_map() owns the page that
 * it asks for, so the id of that chunk cannot change meanwhile; the id of any other
 * chunk may change, but is not the wanted one before or after. A caller of
 * gmm_page_peek() owns nothing, and accepts the contents of any page.
 *
 * The oldest of 64 windows is reused first, so an address stays valid while up to
 * 63 other chunks are mapped; gmm.h allows half as many.
 *
 * Locks: only a miss takes gmm.set_lock, to find the chunk, so callers outside GMM
 * hold no lock of a rank above LOCK_RANK_PGM. Interrupt handlers must not use it.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "gmm_internal.h"

struct map_entry {
	struct avl_node node;          /* in the tree if `chunk` is not NULL; key: chunk id */
	struct list_node by_age;       /* always in the list */
	const struct gmm_chunk *chunk; /* what the window shows; NULL: nothing */
	uint8_t *address;
};

/* Owned by the CPU; other CPUs read the statistics. A slot is the number of a window. */
struct map_cache {
	struct map_entry entries[PHYSMEM_WINDOW_COUNT];
	struct avl_tree tree;
	struct list_node by_age;                /* last used first */
	uint8_t lookaside[GMM_LOOKASIDE_COUNT]; /* chunk id modulo size: the slot to try */
	struct gmm_map_stats stats;
} Q_ALIGNED(64);

_Static_assert(PHYSMEM_WINDOW_COUNT <= 256, "a slot fits the lookaside table");

static struct map_cache map_caches[PHYSMEM_CPU_MAX];

static void count(uint64_t *counter)
{
	/* Only this CPU writes, so a store that other CPUs see whole is enough. */
	atomic_store_relaxed(counter, *counter + 1);
}

static void cache_init(struct map_cache *cache)
{
	memset(cache, 0, sizeof(*cache));
	avl_init(&cache->tree);
	list_init(&cache->by_age);
	for (unsigned i = 0; i < PHYSMEM_WINDOW_COUNT; i++)
		list_add_tail(&cache->by_age, &cache->entries[i].by_age);
}

void gmm_map_init(void)
{
	for (unsigned i = 0; i < PHYSMEM_CPU_MAX; i++)
		cache_init(&map_caches[i]);
}

static struct map_cache *this_cache(void)
{
	unsigned cpu = physmem_cpu();
	Q_ASSERT(cpu < PHYSMEM_CPU_MAX);
	return &map_caches[cpu];
}

static bool entry_shows(const struct map_entry *entry, uint32_t chunk_id)
{
	return entry->chunk && entry->node.key == chunk_id &&
	       atomic_load_relaxed(&entry->chunk->id) == chunk_id;
}

static void entry_touch(struct map_cache *cache, struct map_entry *entry)
{
	if (cache->by_age.next == &entry->by_age)
		return;
	list_remove(&entry->by_age);
	list_add_head(&cache->by_age, &entry->by_age);
}

static void lookaside_set(struct map_cache *cache, const struct map_entry *entry)
{
	cache->lookaside[entry->node.key % GMM_LOOKASIDE_COUNT] = (uint8_t)(entry - cache->entries);
}

/* Returns the valid entry for a chunk id, or NULL. */
static struct map_entry *entry_find(struct map_cache *cache, uint32_t chunk_id)
{
	struct map_entry *entry = &cache->entries[cache->lookaside[chunk_id % GMM_LOOKASIDE_COUNT]];
	if (entry_shows(entry, chunk_id)) {
		count(&cache->stats.lookaside_hits);
		return entry;
	}
	struct avl_node *node = avl_find(&cache->tree, chunk_id);
	if (!node)
		return NULL;
	entry = container_of(node, struct map_entry, node);
	if (!entry_shows(entry, chunk_id))
		return NULL;
	count(&cache->stats.tree_hits);
	lookaside_set(cache, entry);
	return entry;
}

/* Returns the entry to reuse: one for this id that shows another chunk, else the oldest. */
static struct map_entry *entry_evict(struct map_cache *cache, uint32_t chunk_id)
{
	struct avl_node *stale = avl_remove(&cache->tree, chunk_id);
	if (stale)
		return container_of(stale, struct map_entry, node);
	struct map_entry *entry = list_entry(cache->by_age.prev, struct map_entry, by_age);
	if (entry->chunk) {
		avl_remove(&cache->tree, entry->node.key);
		count(&cache->stats.evictions);
	}
	return entry;
}

static struct map_entry *entry_fill(struct map_cache *cache, const struct gmm_chunk *chunk)
{
	struct map_entry *entry = entry_evict(cache, chunk->id);

	count(&cache->stats.misses);
	entry->chunk = chunk;
	entry->address = physmem_window_map((unsigned)(entry - cache->entries), chunk->base);
	bool is_new = avl_insert(&cache->tree, &entry->node, chunk->id);
	Q_ASSERT(is_new);
	lookaside_set(cache, entry);
	return entry;
}

static void *page_address(struct map_cache *cache, struct map_entry *entry, uint32_t index)
{
	entry_touch(cache, entry);
	return entry->address + ((uint64_t)index << PAGE_SHIFT);
}

void *gmm_map_chunk_page(const struct gmm_chunk *chunk, uint32_t index)
{
	struct map_cache *cache = this_cache();
	struct map_entry *entry = entry_find(cache, chunk->id);

	if (!entry)
		entry = entry_fill(cache, chunk);
	return page_address(cache, entry, index);
}

static void *page_find(page_id_t id)
{
	struct map_cache *cache = this_cache();
	struct map_entry *entry = entry_find(cache, id.raw >> GMM_CHUNK_ID_SHIFT);

	if (!entry) {
		spin_lock(&gmm.set_lock);
		const struct gmm_chunk *chunk = gmm_chunk_find(id);
		spin_unlock(&gmm.set_lock);
		if (!chunk)
			return NULL;
		entry = entry_fill(cache, chunk);
	}
	return page_address(cache, entry, gmm_page_index(id));
}

void *gmm_page_map(page_id_t id)
{
	void *page = page_find(id);

	Q_ASSERT(page);
	return page;
}

const void *gmm_page_peek(page_id_t id)
{
	return page_find(id);
}

/* --- content ------------------------------------------------------------------------------ */

void gmm_page_clear(page_id_t id)
{
	memset(gmm_page_map(id), 0, PAGE_SIZE);
}

void gmm_page_copy(page_id_t to, page_id_t from)
{
	if (to.raw == from.raw)
		return;
	const void *source = gmm_page_map(from);
	memcpy(gmm_page_map(to), source, PAGE_SIZE);
}

/*
 * A step is one cache line, so that pages that differ early cost little. The words
 * of a line are written out: a loop would take twice the instructions.
 */
#define WORDS_PER_STEP 8u
#define WORDS_PER_PAGE (PAGE_SIZE / sizeof(uint64_t))

static inline bool line_is_zero(const uint64_t *a)
{
	return (a[0] | a[1] | a[2] | a[3] | a[4] | a[5] | a[6] | a[7]) == 0;
}

static inline bool line_is_equal(const uint64_t *a, const uint64_t *b)
{
	return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) |
		(a[5] ^ b[5]) | (a[6] ^ b[6]) | (a[7] ^ b[7])) == 0;
}

bool gmm_page_is_zero(page_id_t id)
{
	const uint64_t *words = gmm_page_map(id);

	for (unsigned i = 0; i < WORDS_PER_PAGE; i += WORDS_PER_STEP)
		if (!line_is_zero(&words[i]))
			return false;
	return true;
}

bool gmm_page_is_equal(page_id_t a, page_id_t b)
{
	const uint64_t *words_a = gmm_page_map(a);
	const uint64_t *words_b = gmm_page_map(b);

	for (unsigned i = 0; i < WORDS_PER_PAGE; i += WORDS_PER_STEP)
		if (!line_is_equal(&words_a[i], &words_b[i]))
			return false;
	return true;
}

/* --- figures and checks ---------------------------------------------------------------------- */

void gmm_map_stats(struct gmm_map_stats *out_stats)
{
	struct gmm_map_stats sum = { .misses = 0 };

	for (unsigned i = 0; i < PHYSMEM_CPU_MAX; i++) {
		const struct gmm_map_stats *stats = &map_caches[i].stats;
		sum.lookaside_hits += atomic_load_relaxed(&stats->lookaside_hits);
		sum.tree_hits += atomic_load_relaxed(&stats->tree_hits);
		sum.misses += atomic_load_relaxed(&stats->misses);
		sum.evictions += atomic_load_relaxed(&stats->evictions);
	}
	*out_stats = sum;
}

void gmm_map_check(void)
{
	const struct map_cache *cache = this_cache();
	unsigned in_list = 0, in_tree = 0;

	avl_check(&cache->tree);
	list_for_each(node, &cache->by_age)
	{
		const struct map_entry *entry = list_entry(node, struct map_entry, by_age);
		Q_ASSERT(node->next->prev == node && ++in_list <= PHYSMEM_WINDOW_COUNT);
		if (!entry->chunk)
			continue;
		/* G14 */
		Q_ASSERT(avl_find(&cache->tree, entry->node.key) == &entry->node);
		in_tree++;
	}
	Q_ASSERT(in_list == PHYSMEM_WINDOW_COUNT && in_tree == cache->tree.count);
	for (unsigned i = 0; i < GMM_LOOKASIDE_COUNT; i++)
		Q_ASSERT(cache->lookaside[i] < PHYSMEM_WINDOW_COUNT);
}
