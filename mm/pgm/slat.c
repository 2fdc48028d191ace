/* SPDX-License-Identifier: MIT */
/*
 * Walks and changes nested tables, in either format.
 *
 * From a guest-physical address to the machine's memory, through one slot a level:
 *
 *     47       39 38       30 29       21 20       12 11        0
 *    +-----------+-----------+-----------+-----------+-----------+
 *    |   slot    |   slot    |   slot    |   slot    |  offset   |
 *    +-----+-----+-----+-----+-----+-----+-----+-----+-----+-----+
 *          |           |           |           |           |
 *       +--+--+     +--+--+     +--+--+     +--+--+     +--+-----------+
 *       |     |     |     |     |     |     |     |     | 4 KiB at the |
 *   +-->|entry+---->|entry+---->|entry+---->|entry+---->| leaf's frame |
 *   |   |     |     |     |     |     |     |     |     +--------------+
 *   |   +-----+     +-----+     +--+--+     +-----+
 *   |   level 4     level 3     level 2     level 1
 *   |                              |
 *  root                            |  with the bit format->large the entry is a leaf
 *                                  |      +-----------------------------------------+
 *                                  +----->| 2 MiB: bits 20:0 are the offset in them |
 *                                         +-----------------------------------------+
 *
 * A table is one page of 512 slots, 8 bytes each. A slot's entry is empty (zero), leads
 * to a table of the level below, or is a leaf and leads to memory.
 *
 * CPUs walk these tables while they are changed, and set accessed and dirty
 * bits in entries that are present. Hence:
 *   S1  An entry that is not present is zero, and only this file writes to it.
 *   S2  A table is complete before the one store that links it.
 *   S3  A present leaf is replaced by compare and swap, so that no accessed or
 *       dirty bit is lost while the frame stays the same.
 *   S4  The generation is raised after, never before, a present entry changed: a
 *       vCPU that sees the new number and flushes cannot cache the old entry again.
 *   S5  Tables that became empty stay. There are never more of them than
 *       slat_tables_worst_case() says. It counts a table for each large leaf also,
 *       so where the worst case was promised, there is a page to split a large leaf.
 *   S6  A table is freed only while no CPU is in the guest: by slat_clear() and
 *       slat_fini(), and when slat_map() replaces it by a 2 MiB leaf.
 *
 * Level 4 is the root; its entries and those of level 3 are never leaves here.
 */
#include "mm/pgm/slat.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/bits.h>
#include <quire/physmem.h>

_Static_assert(SLAT_SLOTS * sizeof(uint64_t) == PAGE_SIZE, "a table is one page");
_Static_assert(SLAT_SLOTS == PAGES_PER_LARGE, "a table of level 1 maps one large page");
_Static_assert(PAGE_SHIFT + (SLAT_LARGE_LEVEL - 1) * SLAT_INDEX_BITS == LARGE_PAGE_SHIFT,
	       "a leaf of the large level maps one large page");

/* Where a walk ended. */
struct cursor {
	uint64_t *entry;
	uint64_t raw; /* *entry when it was read */
	unsigned level;
};

/* --- walking ------------------------------------------------------------------------- */

static unsigned level_shift(unsigned level)
{
	return (level - 1) * SLAT_INDEX_BITS;
}

static uint64_t *table_entry(hpa_t table, gfn_t gfn, unsigned level)
{
	uint64_t *entries = physmem_kernel_ptr(table);
	return &entries[(gfn.raw >> level_shift(level)) & (SLAT_SLOTS - 1)];
}

static bool is_present(const struct slat_format *format, uint64_t raw)
{
	return raw & format->present;
}

static bool is_leaf(const struct slat_format *format, uint64_t raw, unsigned level)
{
	return level == 1 || (raw & format->large);
}

static hpa_t raw_address(const struct slat_format *format, uint64_t raw)
{
	return hpa(raw & format->address);
}

/* Walks down to `level`, or to a leaf or an empty entry above it. */
static struct cursor walk(const struct slat *slat, gfn_t gfn, unsigned level)
{
	const struct slat_format *format = slat->format;
	struct cursor at = { .level = SLAT_ROOT_LEVEL };
	hpa_t table = slat->root;

	for (;;) {
		at.entry = table_entry(table, gfn, at.level);
		at.raw = pte_load(at.entry);
		if (at.level == level || !is_present(format, at.raw) ||
		    is_leaf(format, at.raw, at.level))
			return at;
		table = raw_address(format, at.raw);
		at.level--;
	}
}

/* The first frame behind the block that an entry of `level` maps for `from`. */
static gfn_t block_next(gfn_t from, unsigned level)
{
	uint64_t pages = 1ull << level_shift(level);
	return gfn(align_down(from.raw, pages) + pages);
}

/*
 * The walk for `from` ended at the empty entry `at`: skips it and the empty entries
 * behind it in the same table, as far as `end`. Returns the frame to go on with.
 */
static gfn_t gap_skip(const struct cursor *at, gfn_t from, gfn_t end)
{
	uint64_t block = from.raw >> level_shift(at->level);
	uint64_t last_block = (end.raw - 1) >> level_shift(at->level);
	unsigned left = SLAT_SLOTS - block % SLAT_SLOTS;
	unsigned skip = 1;

	while (skip < left && block + skip <= last_block && pte_load(at->entry + skip) == 0)
		skip++;
	return gfn((block + skip) << level_shift(at->level));
}

/* Finds the first leaf that translates anything in [*from, end), and moves *from there. */
static bool leaf_find(const struct slat *slat, gfn_t *from, gfn_t end, struct cursor *out_at)
{
	while (from->raw < end.raw) {
		*out_at = walk(slat, *from, 1);
		if (is_present(slat->format, out_at->raw))
			return true;
		*from = gap_skip(out_at, *from, end);
	}
	return false;
}

bool slat_lookup(const struct slat *slat, gfn_t gfn, struct slat_entry *out_entry,
		 unsigned *out_level)
{
	if (gfn.raw >= SLAT_GFN_LIMIT)
		return false;
	struct cursor at = walk(slat, gfn, 1);
	if (!is_present(slat->format, at.raw))
		return false;
	*out_entry = slat->format->decode(at.raw, at.level);
	*out_level = at.level;
	return true;
}

bool slat_leaf_next(const struct slat *slat, gfn_t from, gfn_t end, struct slat_leaf *out_leaf)
{
	struct cursor at;

	Q_ASSERT(end.raw <= SLAT_GFN_LIMIT);
	if (!leaf_find(slat, &from, end, &at))
		return false;
	out_leaf->gfn = gfn(align_down(from.raw, 1ull << level_shift(at.level)));
	out_leaf->end = block_next(from, at.level);
	out_leaf->entry = slat->format->decode(at.raw, at.level);
	return true;
}

/* --- tables ------------------------------------------------------------------------------ */

static void generation_raise(struct slat *slat)
{
	/* S4. Pairs with the acquire in pgm_slat_generation(). */
	atomic_store_release(&slat->generation, slat->generation + 1);
}

static void table_free(struct slat *slat, hpa_t table)
{
	gmm_kernel_page_free(slat->vm, GMM_SHADOW, table);
	slat->table_pages--;
}

static q_status_t table_alloc(struct slat *slat, hpa_t *out_table)
{
	q_status_t status = gmm_kernel_page_alloc(slat->vm, GMM_SHADOW, out_table);
	if (status == Q_OK)
		slat->table_pages++;
	return status;
}

/* Allocates all of them or none. */
static q_status_t tables_alloc(struct slat *slat, hpa_t *out_tables, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (table_alloc(slat, &out_tables[i]) == Q_OK)
			continue;
		while (i-- > 0)
			table_free(slat, out_tables[i]);
		return Q_NO_MEMORY;
	}
	return Q_OK;
}

q_status_t slat_init(struct slat *slat, const struct slat_format *format, gmm_vm_t vm)
{
	/* Not 0: a vCPU that remembers 0, because it never entered, flushes before it enters. */
	struct slat fresh = { .format = format, .vm = vm, .generation = 1 };

	q_status_t status = table_alloc(&fresh, &fresh.root);
	if (status == Q_OK)
		*slat = fresh;
	return status;
}

void slat_clear(struct slat *slat)
{
	/* Depth first. For each level: the table, and the next entry to look at. */
	hpa_t tables[SLAT_ROOT_LEVEL + 1] = { [SLAT_ROOT_LEVEL] = slat->root };
	unsigned next[SLAT_ROOT_LEVEL + 1] = { 0 };
	unsigned level = SLAT_ROOT_LEVEL;

	if (slat->table_pages == 1)
		return;
	while (level < SLAT_ROOT_LEVEL || next[level] < SLAT_SLOTS) {
		if (next[level] == SLAT_SLOTS) {
			table_free(slat, tables[level++]);
			continue;
		}
		uint64_t *entries = physmem_kernel_ptr(tables[level]);
		uint64_t *entry = &entries[next[level]++];
		uint64_t raw = pte_load(entry);
		pte_store(entry, 0);
		if (!is_present(slat->format, raw) || is_leaf(slat->format, raw, level))
			continue;
		hpa_t child = raw_address(slat->format, raw);
		if (level == SLAT_LARGE_LEVEL) {
			/* The child's entries lead to pages, not to tables. */
			table_free(slat, child);
			continue;
		}
		tables[--level] = child;
		next[level] = 0;
	}
	slat->large_pages = 0;
	generation_raise(slat);
}

void slat_fini(struct slat *slat)
{
	slat_clear(slat);
	table_free(slat, slat->root);
}

uint64_t slat_tables_below_root(gfn_t start, gfn_t end)
{
	uint64_t tables = 0;

	for (unsigned level = 1; level < SLAT_ROOT_LEVEL; level++) {
		unsigned shift = level_shift(level + 1);
		tables += ((end.raw - 1) >> shift) - (start.raw >> shift) + 1;
	}
	return tables;
}

uint64_t slat_tables_anywhere(uint64_t page_count)
{
	/* The last page of a root entry's block ends a block at every level: the worst start. */
	gfn_t start = gfn((1ull << level_shift(SLAT_ROOT_LEVEL)) - 1);

	return slat_tables_below_root(start, gfn(start.raw + page_count));
}

uint64_t slat_tables_worst_case(gfn_t top)
{
	return 1 + slat_tables_below_root(gfn(0), top);
}

/* --- mapping -------------------------------------------------------------------------------- */

/* The leaf to be made. */
struct wanted {
	gfn_t gfn;
	uint64_t raw;
	unsigned level;
};

/* True if the leaf at `at` equals `raw`, apart from what hardware noted in it. */
static bool is_same_leaf(const struct slat_format *format, const struct cursor *at, uint64_t raw)
{
	return (at->raw & ~format->noted) == raw;
}

/* Makes the wanted leaf of an empty entry of its level. */
static void leaf_add(struct slat *slat, const struct cursor *at, const struct wanted *wanted)
{
	pte_store(at->entry, wanted->raw);
	slat->large_pages += wanted->level == SLAT_LARGE_LEVEL;
}

/* Replaces another leaf of the wanted level. */
static void leaf_replace(struct slat *slat, const struct cursor *at, const struct wanted *wanted)
{
	const struct slat_format *format = slat->format;
	bool is_same_page = ((at->raw ^ wanted->raw) & format->address) == 0;
	uint64_t kept = is_same_page ? format->noted : 0;
	uint64_t old;

	do {
		old = pte_load(at->entry);
	} while (!pte_cas(at->entry, old, wanted->raw | (old & kept)));
	generation_raise(slat);
}

/* What hardware noted in the table's leaves, as far as they map the pages of `large`. */
static uint64_t pieces_noted(const struct slat_format *format, hpa_t table, uint64_t large)
{
	const uint64_t *entries = physmem_kernel_ptr(table);
	uint64_t noted = 0;

	for (unsigned i = 0; i < SLAT_SLOTS; i++) {
		uint64_t raw = pte_load(&entries[i]);
		uint64_t frame = (large & format->address) + i * PAGE_SIZE;
		if (is_present(format, raw) && (raw & format->address) == frame)
			noted |= raw & format->noted;
	}
	return noted;
}

/* Replaces a table by the wanted large leaf. The entry is of level 2. */
Q_NOINLINE static void table_replace(struct slat *slat, const struct cursor *at,
				     const struct wanted *wanted)
{
	hpa_t table = raw_address(slat->format, at->raw);

	/* S6: no CPU is in the guest, so none notes anything between the two. */
	pte_store(at->entry, wanted->raw | pieces_noted(slat->format, table, wanted->raw));
	slat->large_pages++;
	/* Even if the table was empty: CPUs also cache pointers to tables. */
	generation_raise(slat);
	table_free(slat, table); /* S6 */
}

/* Fills a table with the 512 pages of a large leaf; each inherits what hardware noted there. */
static void pieces_fill(const struct slat *slat, hpa_t table, uint64_t large)
{
	const struct slat_format *format = slat->format;
	struct slat_entry entry = format->decode(large, SLAT_LARGE_LEVEL);
	uint64_t noted = large & format->noted;
	uint64_t *entries = physmem_kernel_ptr(table);

	for (unsigned i = 0; i < SLAT_SLOTS; i++) {
		hfn_t frame = hfn(entry.frame.raw + i);
		pte_store(&entries[i], format->encode_leaf(frame, entry.permission, 1) | noted);
	}
}

/* Replaces one of the 512 leaves. What was noted is kept only if the frame stays the same. */
static void piece_set(const struct slat_format *format, uint64_t *piece, uint64_t wanted)
{
	uint64_t old = pte_load(piece);
	bool is_same_page = ((old ^ wanted) & format->address) == 0;

	pte_store(piece, wanted | (is_same_page ? old & format->noted : 0));
}

/* Splits a large leaf. One of its pages becomes the wanted leaf, if `wanted` is not NULL. */
static void leaf_split(struct slat *slat, const struct cursor *at, hpa_t table,
		       const struct wanted *wanted)
{
	uint64_t link = slat->format->encode_table(hpa_to_hfn(table));
	uint64_t large;

	do {
		large = pte_load(at->entry);
		pieces_fill(slat, table, large);
		if (wanted)
			piece_set(slat->format, table_entry(table, wanted->gfn, 1), wanted->raw);
	} while (!pte_cas(at->entry, large, link));
	slat->large_pages--;
	generation_raise(slat);
}

/* Links new tables into the empty entry `at`; the last and lowest one holds the wanted leaf. */
static void tables_link(struct slat *slat, const struct cursor *at, const hpa_t *tables,
			const struct wanted *wanted)
{
	unsigned count = at->level - wanted->level;
	uint64_t link = wanted->raw;

	for (unsigned i = count; i-- > 0;) {
		pte_store(table_entry(tables[i], wanted->gfn, at->level - 1 - i), link);
		link = slat->format->encode_table(hpa_to_hfn(tables[i]));
	}
	pte_store(at->entry, link);
	slat->large_pages += wanted->level == SLAT_LARGE_LEVEL;
}

/* Maps where the walk ended above the wanted level, at an empty entry or a large leaf. */
Q_NOINLINE static q_status_t map_below(struct slat *slat, const struct cursor *at,
				       const struct wanted *wanted)
{
	hpa_t tables[SLAT_ROOT_LEVEL - 1];

	q_status_t status = tables_alloc(slat, tables, at->level - wanted->level);
	if (status != Q_OK)
		return status;
	if (is_present(slat->format, at->raw))
		leaf_split(slat, at, tables[0], wanted);
	else
		tables_link(slat, at, tables, wanted);
	return Q_OK;
}

/* True if `at` is a large leaf that maps the small page `gfn` like this already. */
static bool is_part_of(const struct slat_format *format, const struct cursor *at, gfn_t gfn,
		       hfn_t frame, uint8_t permission)
{
	uint64_t offset = gfn.raw % PAGES_PER_LARGE;

	return is_present(format, at->raw) && frame.raw >= offset &&
	       is_same_leaf(
		       format, at,
		       format->encode_leaf(hfn(frame.raw - offset), permission, SLAT_LARGE_LEVEL));
}

q_status_t slat_map(struct slat *slat, gfn_t gfn, hfn_t frame, uint8_t permission, unsigned level)
{
	const struct slat_format *format = slat->format;

	Q_ASSERT(level == 1 || level == SLAT_LARGE_LEVEL);
	Q_ASSERT(gfn.raw < SLAT_GFN_LIMIT);
	Q_ASSERT(is_aligned(gfn.raw | frame.raw, 1ull << level_shift(level)));
	struct wanted wanted = { gfn, format->encode_leaf(frame, permission, level), level };
	struct cursor at = walk(slat, gfn, level);
	if (at.level > level && is_part_of(format, &at, gfn, frame, permission))
		return Q_OK;
	if (at.level > level)
		return map_below(slat, &at, &wanted);
	if (!is_present(format, at.raw))
		leaf_add(slat, &at, &wanted);
	else if (!is_leaf(format, at.raw, level))
		table_replace(slat, &at, &wanted);
	else if (!is_same_leaf(format, &at, wanted.raw))
		leaf_replace(slat, &at, &wanted);
	return Q_OK;
}

/* Replaces a large leaf by 512 small ones that map the same. False: not large, or no page. */
static bool leaf_break(struct slat *slat, const struct cursor *at)
{
	hpa_t table;

	if (at->level != SLAT_LARGE_LEVEL || table_alloc(slat, &table) != Q_OK)
		return false;
	leaf_split(slat, at, table, NULL);
	return true;
}

/* The caller raises the generation. */
static void leaf_remove(struct slat *slat, const struct cursor *at)
{
	/* What hardware noted is lost: nothing needs it once the page is unmapped. */
	pte_store(at->entry, 0);
	slat->large_pages -= at->level == SLAT_LARGE_LEVEL;
}

bool slat_dirty_take(struct slat *slat, gfn_t gfn)
{
	const uint64_t dirty = slat->format->dirty;
	struct cursor at = walk(slat, gfn, 1);
	uint64_t old = at.raw;

	if (!is_present(slat->format, old) || !(old & dirty))
		return false;
	if (at.level > 1)
		return true;
	while (!pte_cas(at.entry, old, old & ~dirty))
		old = pte_load(at.entry);
	slat->has_cleared_dirty = true;
	return true;
}

void slat_dirty_done(struct slat *slat)
{
	if (slat->has_cleared_dirty)
		generation_raise(slat);
	slat->has_cleared_dirty = false;
}

/* Makes the leaf at `at` read-only, or only the page `gfn` if the leaf is large. */
static void leaf_protect(struct slat *slat, const struct cursor *at, gfn_t gfn)
{
	struct slat_entry entry = slat->format->decode(at->raw, at->level);
	uint64_t offset = gfn.raw % (1ull << level_shift(at->level));
	uint8_t permission = entry.permission & (uint8_t)~SLAT_WRITE;

	if (!(entry.permission & SLAT_WRITE))
		return;
	if (slat_map(slat, gfn, hfn(entry.frame.raw + offset), permission, 1) == Q_OK)
		return;
	leaf_remove(slat, at);
	generation_raise(slat);
}

void slat_protect(struct slat *slat, gfn_t start, gfn_t end)
{
	struct cursor at;

	Q_ASSERT(end.raw <= SLAT_GFN_LIMIT);
	/* Page by page: after the split, the other pages of a large page are leaves of their own. */
	for (; leaf_find(slat, &start, end, &at); start.raw++)
		leaf_protect(slat, &at, start);
}

void slat_unmap(struct slat *slat, gfn_t start, gfn_t end)
{
	bool has_changed = false;
	struct cursor at;

	Q_ASSERT(end.raw <= SLAT_GFN_LIMIT);
	while (leaf_find(slat, &start, end, &at)) {
		gfn_t next = block_next(start, at.level);
		bool is_whole = next.raw - start.raw == 1ull << level_shift(at.level) &&
				next.raw <= end.raw;
		/* Without a page for a table, the whole leaf goes. Its other pages fault again. */
		if (!is_whole && leaf_break(slat, &at))
			continue;
		leaf_remove(slat, &at);
		has_changed = true;
		start = next;
	}
	if (has_changed)
		generation_raise(slat);
}

bool slat_unmap_clean(struct slat *slat, gfn_t gfn)
{
	const struct slat_format *format = slat->format;

	Q_ASSERT(gfn.raw < SLAT_GFN_LIMIT);
	struct cursor at = walk(slat, gfn, 1);
	/*
	 * A CPU that has cached the entry as clean must walk again to set the dirty bit.
	 * Either it sets the bit before the exchange, which then fails, or it finds no entry.
	 */
	do {
		at.raw = pte_load(at.entry);
		if (at.level != 1 || !is_present(format, at.raw) || (at.raw & format->dirty))
			return false;
	} while (!pte_cas(at.entry, at.raw, 0));
	generation_raise(slat);
	return true;
}
