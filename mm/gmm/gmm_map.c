/* SPDX-License-Identifier: MIT */
/*
 * The mapping cache: how Quire reaches guest memory, which it does not have
 * mapped. Each CPU has PHYSMEM_WINDOW_COUNT windows of one chunk each and
 * keeps the chunks it used last in them: a lookaside table in front, an AVL
 * tree by chunk id behind it, and a list by age that says which window is the
 * next to go.
 *
 * A cache belongs to its CPU: no lock, and no CPU ever waits for another one's
 * TLB. The price is that a chunk that went back to the machine may still have
 * a window somewhere. That is harmless as long as nobody looks through it: an
 * entry counts only while its chunk record still has the id that the entry was
 * made for. Records never move, so a record with the same id is the same
 * memory. The id is read without the lock: the caller owns the page that it
 * asks for, so this id cannot change under it; another id that changes
 * meanwhile differs from the wanted one before and after.
 *
 * With the oldest of 64 windows going first, an address stays valid until
 * 63 other chunks were mapped; gmm.h promises half of that.
 *
 * Locks: only a miss takes gmm.set_lock, to find the chunk. Callers hold no lock
 * of a rank above LOCK_RANK_PGM. Interrupt handlers stay out.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "gmm_internal.h"

struct map_entry {
	struct avl_node node;          /* in the tree while `chunk` is not NULL; key: chunk id */
	struct list_node by_age;       /* always in the list */
	const struct gmm_chunk *chunk; /* what the window shows; NULL: nothing yet */
	uint8_t *address;
};

/* Owned by the CPU; the statistics are read by others. Slots are window numbers. */
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
	/* One writer: no locked addition, only a store that others see whole. */
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

/* The entry for a chunk id, or NULL. */
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

/* The entry to reuse: one that shows what the id no longer names, else the oldest. */
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
 * A step is one cache line, so that pages that differ early cost little. Written
 * out: as a loop, it would take twice the instructions.
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
