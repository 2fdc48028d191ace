/* SPDX-License-Identifier: MIT */
/* Nested tables and the formats of their entries. */
#include <quire/bits.h>

#include "mm/pgm/slat.h"

#include "pgm_fixture.h"

/* --- entry formats: golden words ------------------------------------------------------------- */

#define FRAME hfn(0x123400)

TEST(slat, npt_golden_words)
{
	/* P 0, R/W 1, U/S 2, PS 7, NX 63; address in place */
	EXPECT(slat_npt.encode_leaf(FRAME, SLAT_ALL, 1) == 0x123400007);
	EXPECT(slat_npt.encode_leaf(FRAME, SLAT_READ_EXEC, 1) == 0x123400005);
	EXPECT(slat_npt.encode_leaf(FRAME, SLAT_READ, 1) == 0x8000000123400005);
	EXPECT(slat_npt.encode_leaf(FRAME, SLAT_READ | SLAT_WRITE, 1) == 0x8000000123400007);
	EXPECT(slat_npt.encode_leaf(FRAME, SLAT_ALL, 2) == 0x123400087);
	EXPECT(slat_npt.encode_table(FRAME) == 0x123400007);
}

TEST(slat, ept_golden_words)
{
	/* R 0, W 1, X 2, type 5:3 write-back 6, ignore-PAT 6 clear, PS 7 */
	EXPECT(slat_ept.encode_leaf(FRAME, SLAT_ALL, 1) == 0x123400037);
	EXPECT(slat_ept.encode_leaf(FRAME, SLAT_READ_EXEC, 1) == 0x123400035);
	EXPECT(slat_ept.encode_leaf(FRAME, SLAT_READ, 1) == 0x123400031);
	EXPECT(slat_ept.encode_leaf(FRAME, SLAT_READ | SLAT_WRITE, 1) == 0x123400033);
	EXPECT(slat_ept.encode_leaf(FRAME, SLAT_ALL, 2) == 0x1234000b7);
	EXPECT(slat_ept.encode_table(FRAME) == 0x123400007);
}

TEST(slat, decoded_golden_words)
{
	/* NPT: accessed 5, dirty 6, large 7 */
	struct slat_entry entry = slat_npt.decode(0x80000001234000e7, 2);
	EXPECT(entry.is_present && entry.is_leaf && entry.accessed && entry.dirty);
	EXPECT(entry.permission == (SLAT_READ | SLAT_WRITE) && entry.frame.raw == 0x123400);
	entry = slat_npt.decode(0x123400025, 3);
	EXPECT(entry.is_present && !entry.is_leaf && entry.accessed && !entry.dirty);
	/* EPT: accessed 8, dirty 9 */
	entry = slat_ept.decode(0x1234003b1, 2);
	EXPECT(entry.is_present && entry.is_leaf && entry.accessed && entry.dirty);
	EXPECT(entry.permission == SLAT_READ && entry.frame.raw == 0x123400);
	entry = slat_ept.decode(0x123400107, 3);
	EXPECT(entry.is_present && !entry.is_leaf && entry.accessed && !entry.dirty);
	/* Without the bits that mean present, an entry is not present, whatever else is set. */
	EXPECT(!slat_npt.decode(~1ull, 1).is_present);
	EXPECT(!slat_ept.decode(~7ull, 1).is_present);
}

TEST(slat, frames_use_all_address_bits)
{
	hfn_t top = hfn(MASK64(39, 0)); /* bits 51:12 of the address */

	EXPECT(slat_npt.decode(slat_npt.encode_leaf(top, SLAT_READ, 1), 1).frame.raw == top.raw);
	EXPECT(slat_ept.decode(slat_ept.encode_leaf(top, SLAT_READ, 1), 1).frame.raw == top.raw);
}

/* --- nested tables --------------------------------------------------------------------------- */

static struct slat slat;

/* A VM with `table_pages` pages for tables, the root included. */
static void slat_set_up(const struct slat_format *format, uint64_t table_pages)
{
	struct gmm_vm_config config = { .pages = { 0, table_pages, 0 } };
	gmm_vm_t vm;

	machine_set_up(MIB(16));
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	EXPECT(slat_init(&slat, format, vm) == Q_OK);
}

static uint64_t shadow_pages(void)
{
	struct gmm_vm_stats figures;
	gmm_vm_stats(slat.vm, &figures);
	return figures.allocated[GMM_SHADOW];
}

static struct nested_result walk_slat(uint64_t frame)
{
	struct nested_result result = slat.format == &slat_npt
					      ? nested_walk_npt(slat.root.raw, frame << 12 | 0x123)
					      : nested_walk_ept(slat.root.raw, frame << 12 | 0x123);
	EXPECT(!result.is_malformed);
	EXPECT(shadow_pages() == slat.table_pages);
	return result;
}

static bool is_mapped(uint64_t frame, uint64_t machine_frame)
{
	struct nested_result result = walk_slat(frame);
	return result.is_present && result.machine == (machine_frame << 12 | 0x123);
}

static void map(uint64_t frame, uint64_t machine_frame, uint8_t permission, unsigned level)
{
	EXPECT(slat_map(&slat, gfn(frame), hfn(machine_frame), permission, level) == Q_OK);
}

static void each_permission_as_the_manual_says(const struct slat_format *format)
{
	static const uint8_t permissions[] = { SLAT_READ, SLAT_READ | SLAT_WRITE, SLAT_READ_EXEC,
					       SLAT_ALL };

	slat_set_up(format, 16);
	for (unsigned level = 1; level <= 2; level++) {
		for (unsigned i = 0; i < ARRAY_COUNT(permissions); i++) {
			uint64_t frame = (8ull * level + i) << 9;
			map(frame, 0x40000 + frame, permissions[i], level);
			struct nested_result result = walk_slat(frame);
			EXPECT(is_mapped(frame, 0x40000 + frame));
			EXPECT(result.is_large == (level == 2));
			EXPECT(result.can_read);
			EXPECT(result.can_write == ((permissions[i] & SLAT_WRITE) != 0));
			EXPECT(result.can_execute == ((permissions[i] & SLAT_EXEC) != 0));
			EXPECT(is_mapped(frame + 511, 0x40000 + frame + 511) == (level == 2));
			EXPECT(!walk_slat(frame + 512).is_present);
			EXPECT(!walk_slat(frame - 1).is_present || i > 0);
		}
	}
	slat_fini(&slat);
	EXPECT(shadow_pages() == 0);
}

TEST(slat, npt_translates_as_the_manual_says)
{
	each_permission_as_the_manual_says(&slat_npt);
}

TEST(slat, ept_translates_as_the_manual_says)
{
	each_permission_as_the_manual_says(&slat_ept);
}

/* First and last entry of tables at each level. */
TEST(slat, edges_of_tables)
{
	static const uint64_t frames[] = {
		0, 511, 512, (1u << 18) - 1, 1u << 18, (1u << 27) - 1, 1u << 27, BIT64(36) - 1
	};

	slat_set_up(&slat_npt, 32);
	for (unsigned i = 0; i < ARRAY_COUNT(frames); i++)
		map(frames[i], 0x50000 + i, SLAT_ALL, 1);
	for (unsigned i = 0; i < ARRAY_COUNT(frames); i++)
		EXPECT(is_mapped(frames[i], 0x50000 + i));
	EXPECT(!walk_slat(1).is_present && !walk_slat(510).is_present);
	EXPECT(!walk_slat(513).is_present && !walk_slat(BIT64(36) - 2).is_present);
	struct slat_entry entry;
	unsigned level;
	EXPECT(slat_lookup(&slat, gfn(511), &entry, &level) && level == 1);
	EXPECT(entry.frame.raw == 0x50001);
	EXPECT(!slat_lookup(&slat, gfn(510), &entry, &level));
	EXPECT(!slat_lookup(&slat, gfn(BIT64(36)), &entry, &level));
	EXPECT(!slat_lookup(&slat, gfn(~0ull), &entry, &level));
	slat_fini(&slat);
	EXPECT(shadow_pages() == 0);
}

TEST(slat, generation_rises_when_a_present_translation_changes)
{
	slat_set_up(&slat_ept, 16);
	uint64_t generation = slat.generation;
	map(7, 0x100, SLAT_READ_EXEC, 1);
	map(8, 0x100, SLAT_READ_EXEC, 1);
	EXPECT(slat.generation == generation); /* nothing was cached */
	map(7, 0x100, SLAT_READ_EXEC, 1);
	EXPECT(slat.generation == generation); /* nothing changed */
	map(7, 0x200, SLAT_READ_EXEC, 1);
	EXPECT(slat.generation == ++generation); /* another page */
	map(7, 0x200, SLAT_ALL, 1);
	EXPECT(slat.generation == ++generation); /* another permission */
	map(512, 0x200, SLAT_ALL, 2);
	EXPECT(slat.generation == generation);
	map(512 + 9, 0x209, SLAT_ALL, 1);
	EXPECT(slat.generation == generation); /* the large page maps the same */
	slat_unmap(&slat, gfn(9), gfn(512));
	EXPECT(slat.generation == generation); /* nothing there */
	slat_unmap(&slat, gfn(7), gfn(9));
	EXPECT(slat.generation == ++generation);
	slat_clear(&slat);
	EXPECT(slat.generation == ++generation);
	slat_clear(&slat);
	EXPECT(slat.generation == generation);
	slat_fini(&slat);
}

/* The leaf's word in memory, as hardware reaches it. */
static uint64_t *leaf_word(uint64_t frame, unsigned level)
{
	uint64_t table = slat.root.raw;

	for (unsigned at = 4; at > level; at--)
		table = nested_entry(table, frame << 12, at) & MASK64(51, 12);
	return (uint64_t *)fake_ram_peek(hpa(table)) + (frame >> (9 * (level - 1))) % 512;
}

TEST(slat, accessed_and_dirty_survive_a_change_of_permission)
{
	slat_set_up(&slat_npt, 16);
	map(3, 0x100, SLAT_ALL, 1);
	*leaf_word(3, 1) |= BIT64(5) | BIT64(6);
	map(3, 0x100, SLAT_READ_EXEC, 1);
	EXPECT(*leaf_word(3, 1) == (0x100000 | 5 | BIT64(5) | BIT64(6)));
	/* They do not make the same translation count as changed. */
	uint64_t generation = slat.generation;
	map(3, 0x100, SLAT_READ_EXEC, 1);
	EXPECT((*leaf_word(3, 1) & BIT64(6)) && slat.generation == generation);
	/* Another page does not inherit them. */
	map(3, 0x200, SLAT_READ_EXEC, 1);
	EXPECT(*leaf_word(3, 1) == (0x200000 | 5));
	slat_fini(&slat);
}

static void split_keeps_the_other_511_pages(const struct slat_format *format, uint64_t noted)
{
	slat_set_up(format, 16);
	map(1024, 0x4000, SLAT_ALL, 2);
	*leaf_word(1024, 2) |= noted;
	uint64_t generation = slat.generation, tables = slat.table_pages;
	map(1024 + 77, 0x9999, SLAT_READ_EXEC, 1);
	EXPECT(slat.generation == generation + 1 && slat.table_pages == tables + 1);
	for (unsigned i = 0; i < 512; i++) {
		struct nested_result result = walk_slat(1024 + i);
		EXPECT(result.is_present && !result.is_large && result.can_execute);
		EXPECT(is_mapped(1024 + i, i == 77 ? 0x9999 : 0x4000 + i));
		EXPECT(result.can_write == (i != 77));
		EXPECT((*leaf_word(1024 + i, 1) & noted) == (i == 77 ? 0 : noted));
	}
	EXPECT(!walk_slat(1023).is_present && !walk_slat(1536).is_present);
	/* Mapped as a large page again: the table is freed. */
	map(1024, 0x4000, SLAT_ALL, 2);
	EXPECT(slat.table_pages == tables && slat.generation == generation + 2);
	EXPECT(walk_slat(1024 + 77).is_large && is_mapped(1024 + 77, 0x4000 + 77));
	slat_fini(&slat);
	EXPECT(shadow_pages() == 0);
}

TEST(slat, split_keeps_the_other_511_pages_npt)
{
	split_keeps_the_other_511_pages(&slat_npt, BIT64(5) | BIT64(6));
}

TEST(slat, split_keeps_the_other_511_pages_ept)
{
	split_keeps_the_other_511_pages(&slat_ept, BIT64(8) | BIT64(9));
}

TEST(slat, unmap_takes_exactly_the_range)
{
	slat_set_up(&slat_npt, 16);
	for (unsigned i = 500; i < 530; i++)
		map(i, 0x100 + i, SLAT_ALL, 1);
	slat_unmap(&slat, gfn(505), gfn(520));
	for (unsigned i = 499; i < 531; i++)
		EXPECT(walk_slat(i).is_present == ((i >= 500 && i < 505) || (i >= 520 && i < 530)));
	uint64_t generation = slat.generation;
	slat_unmap(&slat, gfn(504), gfn(504));
	EXPECT(is_mapped(504, 0x100 + 504) && slat.generation == generation);
	slat_unmap(&slat, gfn(0), gfn(BIT64(36)));
	EXPECT(!walk_slat(500).is_present && !walk_slat(529).is_present);
	slat_fini(&slat);
}

TEST(slat, unmap_splits_large_pages)
{
	slat_set_up(&slat_npt, 16);
	map(512, 0x4000, SLAT_ALL, 2);
	map(1024, 0x4200, SLAT_ALL, 2);
	EXPECT(slat.large_pages == 2);
	slat_unmap(&slat, gfn(1000), gfn(1024));
	EXPECT(is_mapped(512, 0x4000) && is_mapped(999, 0x4000 + 999 - 512));
	EXPECT(!walk_slat(1000).is_present && !walk_slat(1023).is_present);
	EXPECT(is_mapped(1024, 0x4200) && walk_slat(1024).is_large);
	EXPECT(slat.large_pages == 1);
	slat_unmap(&slat, gfn(1024), gfn(1536));
	EXPECT(!walk_slat(1024).is_present && !walk_slat(1535).is_present);
	EXPECT(slat.large_pages == 0);
	slat_fini(&slat);
}

/* Without a page to split it, a large page goes as a whole: faults map the rest again. */
TEST(slat, unmap_takes_large_pages_whole_without_a_table)
{
	slat_set_up(&slat_npt, 3);
	map(512, 0x4000, SLAT_ALL, 2);
	slat_unmap(&slat, gfn(1000), gfn(1001));
	EXPECT(!walk_slat(512).is_present && !walk_slat(1023).is_present);
	EXPECT(slat.large_pages == 0);
	slat_fini(&slat);
}

TEST(slat, leaves_are_found_in_order)
{
	static const uint64_t frames[] = { 0, 5, 511, 512, 1u << 18, (1u << 18) + 2 };
	struct slat_leaf leaf = { .end = gfn(0) };

	slat_set_up(&slat_npt, 16);
	for (unsigned i = 0; i < ARRAY_COUNT(frames); i++)
		map(frames[i], 0x100 + i, SLAT_ALL, 1);
	map(2048, 0x4000, SLAT_READ, 2);
	for (unsigned i = 0; i < 4; i++) {
		EXPECT(slat_leaf_next(&slat, leaf.end, gfn(BIT64(36)), &leaf));
		EXPECT(leaf.gfn.raw == frames[i] && leaf.end.raw == frames[i] + 1);
		EXPECT(leaf.entry.frame.raw == 0x100 + i);
	}
	EXPECT(!slat_leaf_next(&slat, leaf.end, gfn(2048), &leaf));
	EXPECT(slat_leaf_next(&slat, gfn(2049), gfn(2050), &leaf));
	EXPECT(leaf.gfn.raw == 2048 && leaf.end.raw == 2560);
	EXPECT(slat_leaf_next(&slat, gfn(frames[5]), gfn(BIT64(36)), &leaf));
	EXPECT(leaf.gfn.raw == frames[5]);
	EXPECT(!slat_leaf_next(&slat, leaf.end, gfn(BIT64(36)), &leaf));
	slat_fini(&slat);
}

/* The search must not go on into the page that follows a table in memory. */
TEST(slat, leaves_are_found_beyond_the_end_of_a_table)
{
	struct slat_leaf leaf;
	hpa_t zeros;

	slat_set_up(&slat_npt, 16);
	map(600, 0x100, SLAT_ALL, 1);
	map(100, 0x200, SLAT_ALL, 1);
	EXPECT(gmm_kernel_page_alloc(slat.vm, GMM_SHADOW, &zeros) == Q_OK);
	EXPECT(slat_leaf_next(&slat, gfn(101), gfn(BIT64(36)), &leaf) && leaf.gfn.raw == 600);
	gmm_kernel_page_free(slat.vm, GMM_SHADOW, zeros);
	slat_fini(&slat);
}

TEST(slat, out_of_tables_changes_nothing)
{
	for (uint64_t tables = 1; tables < 4; tables++) {
		slat_set_up(&slat_npt, tables);
		EXPECT(slat_map(&slat, gfn(0), hfn(1), SLAT_ALL, 1) == Q_NO_MEMORY);
		EXPECT(slat.table_pages == 1 && shadow_pages() == 1);
		EXPECT(!walk_slat(0).is_present && slat.generation == 1);
		gmm_check();
		slat_fini(&slat);
	}
	slat_set_up(&slat_npt, 4);
	map(0, 1, SLAT_ALL, 1);
	EXPECT(slat_map(&slat, gfn(512), hfn(1), SLAT_ALL, 1) == Q_NO_MEMORY);
	map(1024, 0x400, SLAT_ALL, 2);
	EXPECT(slat_map(&slat, gfn(1025), hfn(1), SLAT_ALL, 1) == Q_NO_MEMORY);
	EXPECT(is_mapped(0, 1) && is_mapped(1025, 0x401));
	slat_fini(&slat);
}

TEST(slat, worst_case_is_what_full_tables_take)
{
	EXPECT(slat_tables_worst_case(gfn(1)) == 4);
	EXPECT(slat_tables_worst_case(gfn(512)) == 4);
	EXPECT(slat_tables_worst_case(gfn(513)) == 5);
	EXPECT(slat_tables_worst_case(gfn(1u << 18)) == 3 + 512);
	EXPECT(slat_tables_worst_case(gfn((1u << 18) + 1)) == 4 + 513);
	slat_set_up(&slat_ept, slat_tables_worst_case(gfn(1500)));
	for (unsigned i = 0; i < 1500; i++)
		map(i, i, SLAT_ALL, 1);
	EXPECT(slat.table_pages == slat_tables_worst_case(gfn(1500)));
	slat_fini(&slat);
}

/* --- protecting ------------------------------------------------------------------------------ */

static struct slat_entry slat_entry_of(uint64_t frame, unsigned expected_level)
{
	struct slat_entry entry;
	unsigned level;

	EXPECT(slat_lookup(&slat, gfn(frame), &entry, &level) && level == expected_level);
	return entry;
}

/* Sets accessed and dirty, as hardware does when the guest writes. */
static void slat_note(uint64_t frame, unsigned level)
{
	*leaf_word(frame, level) |= slat.format->noted;
}

static void protecting_keeps_what_was_noted(const struct slat_format *format)
{
	slat_set_up(format, 16);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(slat_map(&slat, gfn(i), hfn(0x100 + i), SLAT_ALL, 1) == Q_OK);
	slat_note(1, 1);
	uint64_t generation = slat.generation;
	slat_protect(&slat, gfn(1), gfn(3));
	EXPECT(slat.generation > generation);
	EXPECT(walk_slat(0).can_write && walk_slat(3).can_write);
	EXPECT(!walk_slat(1).can_write && walk_slat(1).machine == 0x101123);
	EXPECT(!walk_slat(2).can_write && walk_slat(2).can_execute);
	EXPECT(slat_entry_of(1, 1).dirty && slat_entry_of(1, 1).accessed);
	EXPECT(!slat_entry_of(2, 1).dirty);
	generation = slat.generation;
	slat_protect(&slat, gfn(1), gfn(3));
	slat_protect(&slat, gfn(4), gfn(1000));
	EXPECT(slat.generation == generation);
	slat_fini(&slat);
}

TEST(slat, protecting_keeps_what_was_noted)
{
	BOTH(protecting_keeps_what_was_noted);
}

/* Any page of a dirty large page may have been written, so all of them stay dirty. */
static void protecting_splits_a_large_page(const struct slat_format *format)
{
	slat_set_up(format, 16);
	EXPECT(slat_map(&slat, gfn(512), hfn(0x4000), SLAT_ALL, 2) == Q_OK);
	slat_note(512, 2);
	slat_protect(&slat, gfn(512 + 9), gfn(512 + 11));
	for (unsigned i = 0; i < 512; i++) {
		struct slat_entry entry = slat_entry_of(512 + i, 1);
		EXPECT(entry.accessed && entry.dirty && entry.frame.raw == 0x4000 + i);
		EXPECT(walk_slat(512 + i).can_write == (i != 9 && i != 10));
	}
	slat_fini(&slat);
}

TEST(slat, protecting_splits_a_large_page)
{
	BOTH(protecting_splits_a_large_page);
}

TEST(slat, protecting_needs_no_memory)
{
	slat_set_up(&slat_npt, 3); /* a root and two tables: none for a split */
	EXPECT(slat_map(&slat, gfn(512), hfn(0x4000), SLAT_ALL, 2) == Q_OK);
	uint64_t generation = slat.generation;
	slat_protect(&slat, gfn(600), gfn(601));
	EXPECT(!walk_slat(512).is_present && !walk_slat(600).is_present);
	EXPECT(slat.generation == generation + 1);
	slat_fini(&slat);
}
