/* SPDX-License-Identifier: MIT */
/* PGM over the real GMM and fake RAM: formats, nested tables, records, faults, access, walks. */
#include <stdlib.h>
#include <string.h>

#include <quire/bits.h>
#include <quire/guest_state.h>
#include <quire/physmem.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_internal.h"
#include "mm/pgm/slat.h"

#include "nested_walk.h"
#include "seam/seam.h"
#include "test.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* Pages of RAM in a VM of 4 MiB: the 384 KiB below 1 MiB are not RAM. */
#define PAGES_4M (1024u - 96u)

static void *metadata;
static struct pgm *pgm; /* the VM that most tests have */

/* --- helpers ------------------------------------------------------------------------ */

static void set_up_machine(uint64_t size_bytes)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + size_bytes) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_kernel_map_fail_at(0);
	fake_cpu_set(0);
	fake_ram_create(size_bytes);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

static struct pgm_config config_of(uint64_t ram_bytes)
{
	return (struct pgm_config){
		.format = &slat_npt,
		.ram_bytes = ram_bytes,
		.overcommit = GMM_OVERCOMMIT_FULL,
	};
}

static struct pgm *create(uint64_t ram_bytes)
{
	struct pgm_config config = config_of(ram_bytes);
	struct pgm *new = NULL;

	EXPECT(pgm_create(&config, &new) == Q_OK);
	pgm_check(new);
	return new;
}

static void set_up(uint64_t ram_bytes)
{
	set_up_machine(MIB(64));
	pgm = create(ram_bytes);
}

static void check(void)
{
	pgm_check(pgm);
	gmm_check();
}

static enum pgm_outcome touch(uint64_t addr, enum mem_access access)
{
	struct pgm_fault fault = { .addr = gpa(addr), .access = access };
	enum pgm_outcome outcome = pgm_fault_handle(pgm, &fault);

	check();
	return outcome;
}

static void refill(void)
{
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	check();
}

static struct pgm_stats stats(void)
{
	struct pgm_stats figures;
	pgm_stats(pgm, &figures);
	return figures;
}

static uint64_t base_pages(void)
{
	struct gmm_vm_stats figures;
	gmm_vm_stats(pgm_vm(pgm), &figures);
	return figures.allocated[GMM_BASE];
}

static uint8_t read_byte(uint64_t addr)
{
	uint8_t byte = 0xee;
	EXPECT(pgm_read(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	return byte;
}

static void write_byte(uint64_t addr, uint8_t byte)
{
	EXPECT(pgm_write(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	check();
}

static struct nested_result nested(uint64_t addr)
{
	struct nested_result result = pgm->slat.format == &slat_npt
					      ? nested_walk_npt(pgm_slat_root(pgm).raw, addr)
					      : nested_walk_ept(pgm_slat_root(pgm).raw, addr);
	EXPECT(!result.is_malformed);
	return result;
}

static bool page_is_all(uint64_t machine, uint8_t byte)
{
	const uint8_t *page = fake_ram_peek(hpa(machine & ~PAGE_MASK));
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (page[i] != byte)
			return false;
	return true;
}

/* Another VM takes all pages of the machine but `left`. */
static gmm_vm_t hog_create(uint64_t left)
{
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	gmm_vm_t hog;
	struct gmm_page page;

	EXPECT(gmm_vm_create(&config, &hog) == Q_OK);
	while (gmm_pages_available(hog, left + 1) > left)
		EXPECT(gmm_pages_alloc(hog, &page, 1) == Q_OK);
	return hog;
}

/* --- entry formats: golden words ------------------------------------------------------- */

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

/* --- nested tables ------------------------------------------------------------------------ */

static struct slat slat;

/* A VM with `table_pages` pages for tables, the root included. */
static void set_up_slat(const struct slat_format *format, uint64_t table_pages)
{
	struct gmm_vm_config config = { .pages = { 0, table_pages, 0 } };
	gmm_vm_t vm;

	set_up_machine(MIB(16));
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

	set_up_slat(format, 16);
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

	set_up_slat(&slat_npt, 32);
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
	set_up_slat(&slat_ept, 16);
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
	set_up_slat(&slat_npt, 16);
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
	set_up_slat(format, 16);
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
	set_up_slat(&slat_npt, 16);
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
	set_up_slat(&slat_npt, 16);
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
	set_up_slat(&slat_npt, 3);
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

	set_up_slat(&slat_npt, 16);
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

	set_up_slat(&slat_npt, 16);
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
		set_up_slat(&slat_npt, tables);
		EXPECT(slat_map(&slat, gfn(0), hfn(1), SLAT_ALL, 1) == Q_NO_MEMORY);
		EXPECT(slat.table_pages == 1 && shadow_pages() == 1);
		EXPECT(!walk_slat(0).is_present && slat.generation == 1);
		gmm_check();
		slat_fini(&slat);
	}
	set_up_slat(&slat_npt, 4);
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
	set_up_slat(&slat_ept, slat_tables_worst_case(gfn(1500)));
	for (unsigned i = 0; i < 1500; i++)
		map(i, i, SLAT_ALL, 1);
	EXPECT(slat.table_pages == slat_tables_worst_case(gfn(1500)));
	slat_fini(&slat);
}

/* --- records --------------------------------------------------------------------------------- */

TEST(pgm_record, golden_words)
{
	struct pgm_record record = pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, hfn(0xabcdef123),
						   (page_id_t){ 0x9876543 });
	/* id 0x9876543: 0x9876 above, 0x543 below; RAM is 5 at bit 1; NORMAL 1 at bit 8 */
	EXPECT(record.q0 == 0x9876abcdef123543 && record.d2 == 0x10a && record.d3 == 0);
	record = pgm_record_make(PGM_TYPE_RAM, PGM_STATE_ZERO, hfn(1), PAGE_ID_NIL);
	EXPECT(record.q0 == 0x1000 && record.d2 == 0x00b);
	record = pgm_record_make(PGM_TYPE_ROM, PGM_STATE_NORMAL, hfn(1), (page_id_t){ 1 });
	EXPECT(record.q0 == 0x1001 && record.d2 == 0x107);
}

TEST(pgm_record, fields_come_back_at_their_extremes)
{
	static const uint32_t ids[] = { 0, 1, 0xfff, 0x1000, GMM_PAGE_ID_LAST };
	static const uint64_t frames[] = { 0, 1, MASK64(35, 0) };

	for (unsigned i = 0; i < ARRAY_COUNT(ids) * ARRAY_COUNT(frames); i++) {
		uint32_t id = ids[i % ARRAY_COUNT(ids)];
		uint64_t frame = frames[i / ARRAY_COUNT(ids)];
		for (unsigned kind = PGM_STATE_ZERO; kind <= PGM_STATE_BALLOONED; kind++) {
			struct pgm_record record =
				pgm_record_make(PGM_TYPE_RAM, kind, hfn(frame), (page_id_t){ id });
			EXPECT(pgm_record_id(record).raw == id);
			EXPECT(pgm_record_frame(record).raw == frame);
			EXPECT(pgm_record_type(record) == PGM_TYPE_RAM);
			EXPECT(pgm_record_state(record) == (enum pgm_state)kind);
			EXPECT(pgm_record_is_read_only(record) == (kind != PGM_STATE_NORMAL));
		}
	}
}

/* --- the map --------------------------------------------------------------------------------- */

/* Both edges of a half-open range, from both sides. */
static void expect_ram(uint64_t start, uint64_t end)
{
	EXPECT(touch(start, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(end - 1, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(end, MEM_READ) == PGM_MMIO);
	EXPECT(touch(end, MEM_WRITE) == PGM_MMIO);
	if (start > 0)
		EXPECT(touch(start - 1, MEM_READ) == PGM_MMIO);
}

TEST(pgm_map, ram_of_a_small_vm)
{
	set_up(MIB(4));
	EXPECT(stats().pages == PAGES_4M);
	expect_ram(0, 0xa0000);
	expect_ram(MIB(1), MIB(4));
	EXPECT(touch(GIB(4), MEM_READ) == PGM_MMIO);
	EXPECT(touch(PGM_GPA_LIMIT, MEM_READ) == PGM_MMIO);
	EXPECT(touch(~0ull, MEM_WRITE) == PGM_MMIO);
}

TEST(pgm_map, ram_below_1_mib)
{
	set_up(PAGE_SIZE);
	expect_ram(0, PAGE_SIZE);
	set_up(0xa0000);
	expect_ram(0, 0xa0000);
	set_up(MIB(1));
	expect_ram(0, 0xa0000);
	EXPECT(touch(MIB(1), MEM_READ) == PGM_MMIO);
	set_up(MIB(1) + PAGE_SIZE);
	expect_ram(MIB(1), MIB(1) + PAGE_SIZE);
}

TEST(pgm_map, ram_around_the_hole)
{
	set_up(GIB(3));
	EXPECT(touch(0xbfffffff, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0xc0000000, MEM_READ) == PGM_MMIO);
	EXPECT(touch(GIB(4), MEM_READ) == PGM_MMIO);
	set_up(GIB(3) + MIB(9));
	EXPECT(touch(0xbffff000, MEM_READ) == PGM_RESOLVED);
	expect_ram(GIB(4), GIB(4) + MIB(9));
	EXPECT(stats().pages == (GIB(3) + MIB(9)) / PAGE_SIZE - 96);
}

TEST(pgm_map, impossible_sizes_are_refused)
{
	static const uint64_t sizes[] = { 0,
					  1,
					  PAGE_SIZE - 1,
					  MIB(1) + 1,
					  PGM_RAM_BYTES_MAX + PAGE_SIZE,
					  ~0ull,
					  ~0ull & ~PAGE_MASK };
	struct pgm *none = NULL;

	set_up_machine(MIB(16));
	for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct pgm_config config = config_of(sizes[i]);
		EXPECT(pgm_create(&config, &none) == Q_RANGE);
	}
	struct pgm_config config = config_of(MIB(1));
	config.guaranteed_bytes = MIB(1) + 1;
	EXPECT(pgm_create(&config, &none) == Q_RANGE);
	/* Possible, but not on this machine. */
	config = config_of(PGM_RAM_BYTES_MAX);
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config = config_of(MIB(16));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config.overcommit = GMM_OVERCOMMIT_FULL;
	config.guaranteed_bytes = MIB(16);
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config.guaranteed_bytes = 0;
	EXPECT(pgm_create(&config, &none) == Q_OK);
	pgm_destroy(none);
	gmm_check();
}

TEST(pgm_map, mmio_is_a_place_that_is_taken)
{
	static uint8_t image[PAGE_SIZE];

	set_up(MIB(4));
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_OK);
	EXPECT(touch(0xfee00000, MEM_WRITE) == PGM_MMIO);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfedff000), 2 * PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfedff000), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee01000), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_rom_add(pgm, gpa(0xfee00000), image, PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(MIB(4) - PAGE_SIZE), PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(MIB(4)), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xa0000), 0x20000) == Q_OK);
	EXPECT(touch(0xa0000, MEM_READ) == PGM_MMIO);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), 0) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0001), PAGE_SIZE) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), 100) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), PGM_GPA_LIMIT) == Q_RANGE);
	EXPECT(pgm_mmio_add(pgm, gpa(~PAGE_MASK), PAGE_SIZE) == Q_RANGE);
	uint64_t addr = GIB(5);
	while (pgm_mmio_add(pgm, gpa(addr), PAGE_SIZE) == Q_OK)
		addr += PAGE_SIZE;
	EXPECT(pgm_mmio_add(pgm, gpa(addr), PAGE_SIZE) == Q_LIMIT);
	check();
}

/* --- reading and first writes ---------------------------------------------------------------------- */

TEST(pgm_fault, reads_never_allocate)
{
	static uint8_t buffer[MIB(3)];

	set_up(MIB(4));
	uint64_t before = base_pages();
	for (uint64_t addr = MIB(1); addr < MIB(4); addr += PAGE_SIZE) {
		struct pgm_fault fault = { .addr = gpa(addr),
					   .access = addr % 3 ? MEM_READ : MEM_EXEC };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		struct nested_result result = nested(addr);
		EXPECT(result.is_present && !result.can_write && result.can_execute);
		EXPECT(result.machine == pgm->zero_frame.raw << PAGE_SHIFT);
	}
	memset(buffer, 0xee, sizeof(buffer));
	EXPECT(pgm_read(pgm, gpa(MIB(1)), buffer, sizeof(buffer), NULL) == Q_OK);
	for (unsigned i = 0; i < sizeof(buffer); i++)
		EXPECT(buffer[i] == 0);
	EXPECT(base_pages() == before && stats().zero == PAGES_4M);
	EXPECT(stats().handy == 0 && stats().private_pages == 0);
	EXPECT(stats().counters.faults_read == 768);
	check();
}

TEST(pgm_fault, first_write_backs_one_zeroed_page)
{
	set_up(MIB(4));
	refill();
	uint64_t base = base_pages(), generation = pgm_slat_generation(pgm);
	EXPECT(touch(0x1234, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(touch(0x1238, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation + 1); /* the zero page was mapped */
	struct nested_result result = nested(0x1238);
	EXPECT(result.is_present && result.can_write && result.can_execute);
	EXPECT(result.machine >> PAGE_SHIFT != pgm->zero_frame.raw);
	EXPECT(page_is_all(result.machine, 0));
	EXPECT(stats().private_pages == 1 && stats().zero == PAGES_4M - 1);
	EXPECT(stats().handy == PGM_HANDY_MAX - 1);
	EXPECT(base_pages() == base); /* it was the VM's already */
	/* Neighbours are as they were. */
	EXPECT(!nested(0x0fff).is_present && !nested(0x2000).is_present);
	EXPECT(touch(0x2000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation + 1); /* nothing was mapped */
	EXPECT(nested(0x2000).machine != (result.machine & ~PAGE_MASK));
}

TEST(pgm_fault, spurious_faults_resolve)
{
	set_up(MIB(4));
	refill();
	EXPECT(touch(0x5000, MEM_WRITE) == PGM_RESOLVED);
	struct nested_result result = nested(0x5000);
	uint64_t generation = pgm_slat_generation(pgm);
	EXPECT(touch(0x5000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(0x5000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0x5000, MEM_EXEC) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(nested(0x5000).machine == result.machine && nested(0x5000).can_write);
	EXPECT(stats().private_pages == 1 && stats().counters.faults_write == 2);
}

TEST(pgm_fault, both_formats_are_served)
{
	struct pgm_config config = config_of(MIB(4));

	set_up_machine(MIB(16));
	config.format = &slat_ept;
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	refill();
	EXPECT(touch(0x1000, MEM_READ) == PGM_RESOLVED);
	EXPECT(nested(0x1000).is_present && !nested(0x1000).can_write);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(nested(0x1000).can_write && nested(0x1000).can_execute);
}

/* --- ROM ---------------------------------------------------------------------------------------- */

TEST(pgm_rom, reads_as_its_image_and_is_never_written)
{
	static uint8_t image[16 * PAGE_SIZE], copy[16 * PAGE_SIZE];
	const uint64_t start = GIB(4) - sizeof(image);

	set_up(MIB(4));
	for (unsigned i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 7 + i / PAGE_SIZE + 1);
	EXPECT(pgm_rom_add(pgm, gpa(start), image, sizeof(image)) == Q_OK);
	check();
	EXPECT(touch(start - 1, MEM_READ) == PGM_MMIO);
	EXPECT(touch(GIB(4), MEM_READ) == PGM_MMIO);
	EXPECT(touch(start, MEM_EXEC) == PGM_RESOLVED);
	EXPECT(touch(GIB(4) - 1, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(start, MEM_WRITE) == PGM_DENIED);
	EXPECT(!nested(start).can_write && nested(start).can_execute);
	EXPECT(memcmp(fake_ram_peek(hpa(nested(start).machine)), image, PAGE_SIZE) == 0);
	EXPECT(pgm_read(pgm, gpa(start), copy, sizeof(copy), NULL) == Q_OK);
	EXPECT(memcmp(copy, image, sizeof(image)) == 0);
	uint64_t done = 99;
	EXPECT(pgm_write(pgm, gpa(start), image + 1, 8, &done) == Q_RANGE && done == 0);
	EXPECT(stats().rom == 16 && stats().pages == PAGES_4M);
	pgm_reset(pgm);
	check();
	EXPECT(pgm_read(pgm, gpa(start), copy, sizeof(copy), NULL) == Q_OK);
	EXPECT(memcmp(copy, image, sizeof(image)) == 0 && stats().rom == 16);
	EXPECT(touch(start, MEM_READ) == PGM_RESOLVED);
}

TEST(pgm_rom, stays_within_the_allowance)
{
	static uint8_t image[(PGM_ROM_PAGES + 1) * PAGE_SIZE];
	const uint64_t page = PAGE_SIZE;

	set_up(MIB(4));
	/* First one page too many, then exactly the allowance, across every kind of block. */
	EXPECT(pgm_rom_add(pgm, gpa(GIB(4) - 2 * page), image, sizeof(image)) == Q_LIMIT);
	check();
	EXPECT(pgm_rom_add(pgm, gpa(GIB(8) - 2 * page), image, PGM_ROM_PAGES * page) == Q_OK);
	check();
	for (unsigned i = 0; i < PGM_ROM_PAGES; i++)
		EXPECT(touch(GIB(8) + i * page - 2 * page, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_rom_add(pgm, gpa(0xc0000), image, page) == Q_LIMIT);
	/* There still are tables for all RAM. */
	for (uint64_t addr = MIB(1); addr < MIB(4); addr += page)
		EXPECT(touch(addr, MEM_READ) == PGM_RESOLVED);
	/* If only records and tables are used up, ROM fits where RAM has records anyway. */
	set_up(MIB(4));
	EXPECT(pgm_mmio_add(pgm, gpa(GIB(8) - MIB(1)), MIB(1) - page) == Q_OK);
	EXPECT(pgm_rom_add(pgm, gpa(GIB(8) - page), image, 2 * page) == Q_OK);
	EXPECT(pgm_rom_add(pgm, gpa(GIB(4) - page), image, page) == Q_LIMIT);
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), image, 32 * page) == Q_OK);
	EXPECT(touch(GIB(8) - page, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(GIB(8), MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0xe0000, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_rom_add(pgm, gpa(0xff000), image, page) == Q_CONFLICT);
	EXPECT(pgm_rom_add(pgm, gpa(0x9f000), image, page) == Q_CONFLICT);
	EXPECT(pgm_rom_add(pgm, gpa(0xd0001), image, page) == Q_INVALID);
	EXPECT(pgm_rom_add(pgm, gpa(0xd0000), image, page - 1) == Q_INVALID);
	EXPECT(pgm_rom_add(pgm, gpa(PGM_GFN_END << PAGE_SHIFT), image, page) == Q_RANGE);
	check();
}

/* The last page that a tracking word can name; with wide words it is beyond 64 GiB. */
TEST(pgm_rom, fits_the_end_of_the_address_space)
{
	static const uint64_t image[PAGE_SIZE / sizeof(uint64_t)] = { 1 };
	const uint64_t page = PAGE_SIZE, last = (PGM_GFN_END - 1) << PAGE_SHIFT;

	EXPECT(GMM_WORD_BITS == 64 ? last == GIB(256) - page : last == GIB(64) - 3 * page);
	set_up(MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(last), image, page) == Q_OK);
	EXPECT(touch(last, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(last + page, MEM_READ) == PGM_MMIO);
	check();
}

/* A BIOS area is mostly empty: only its pages that are not zero cost a page. */
TEST(pgm_rom, pages_of_zeros_are_the_zero_page)
{
	static uint64_t image[4 * PAGE_SIZE / 8];
	uint64_t copy[4 * PAGE_SIZE / 8];
	image[PAGE_SIZE / 8 * 2 - 1] = 1; /* the last word of page 1 */

	set_up(MIB(4));
	uint64_t base = base_pages();
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), image, sizeof(image)) == Q_OK);
	EXPECT(base_pages() == base + 1 && stats().rom == 1);
	EXPECT(pgm_read(pgm, gpa(0xe0000), copy, sizeof(copy), NULL) == Q_OK);
	EXPECT(memcmp(copy, image, sizeof(image)) == 0);
	EXPECT(touch(0xe0000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0xe0000, MEM_WRITE) == PGM_DENIED);
	EXPECT(touch(0xe3000, MEM_WRITE) == PGM_DENIED);
	EXPECT(base_pages() == base + 1);
	check();
	pgm_reset(pgm);
	EXPECT(stats().rom == 1);
	check();
}

TEST(pgm_rom, a_refused_one_uses_no_allowance)
{
	static uint8_t image[2 * PAGE_SIZE];
	memset(image, 0x5a, sizeof(image));

	set_up(MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(GIB(4) - PAGE_SIZE), image, PAGE_SIZE) == Q_OK);
	struct pgm_stats before = stats();
	EXPECT(pgm_rom_add(pgm, gpa(GIB(8) - PAGE_SIZE), image, 2 * PAGE_SIZE) == Q_LIMIT);
	EXPECT(stats().record_bytes == before.record_bytes && stats().rom == 1);
	EXPECT(pgm_rom_add(pgm, gpa(GIB(8)), image, PAGE_SIZE) == Q_OK);
	check();
}

TEST(pgm_rom, out_of_memory_changes_nothing)
{
	static uint8_t image[8 * PAGE_SIZE];
	memset(image, 0x5a, sizeof(image));

	set_up(MIB(4));
	gmm_vm_t hog = hog_create(7);
	struct pgm_stats before = stats();
	uint64_t base = base_pages();
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), image, sizeof(image)) == Q_OK); /* guaranteed */
	EXPECT(base_pages() == base + 8 && stats().rom == before.rom + 8);
	check();
	refill();
	EXPECT(pgm_rom_add(pgm, gpa(0xd0000), image, sizeof(image)) == Q_NO_MEMORY);
	EXPECT(touch(0xd0000, MEM_READ) == PGM_MMIO && stats().rom == 8);
	gmm_vm_destroy(hog);
	EXPECT(pgm_rom_add(pgm, gpa(0xd0000), image, sizeof(image)) == Q_OK);
	check();
}

/* --- handy pages ---------------------------------------------------------------------------------- */

TEST(pgm_handy, stock_is_low_at_its_threshold)
{
	set_up(MIB(4));
	EXPECT(pgm_handy_is_low(pgm));
	EXPECT(touch(0, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(stats().private_pages == 0);
	refill();
	EXPECT(stats().handy == PGM_HANDY_MAX && stats().counters.refills == 1);
	for (unsigned left = PGM_HANDY_MAX; left > 0; left--) {
		EXPECT(stats().handy == left);
		EXPECT(pgm_handy_is_low(pgm) == (left <= PGM_HANDY_LOW));
		EXPECT(touch(MIB(1) + left * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
		EXPECT(page_is_all(nested(MIB(1) + left * PAGE_SIZE).machine, 0));
	}
	EXPECT(touch(0, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(touch(0, MEM_READ) == PGM_RESOLVED);
	refill();
	refill(); /* a full stock is no failure */
	EXPECT(stats().handy == PGM_HANDY_MAX && stats().counters.refills == 2);
	EXPECT(touch(0, MEM_WRITE) == PGM_RESOLVED);
}

TEST(pgm_handy, gmm_learns_the_guest_frame_at_the_next_refill)
{
	struct gmm_page_info info;

	set_up(MIB(4));
	refill();
	EXPECT(touch(0x7000, MEM_WRITE) == PGM_RESOLVED);
	page_id_t id = pgm_record_id(*pgm_record_find(pgm, gfn(7)));
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GFN_UNKNOWN.raw);
	refill();
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == 7);
	EXPECT(info.kind == GMM_PAGE_PRIVATE && info.owner == pgm_vm(pgm));
}

/* A guest finds pages that another VM used before all zero. */
TEST(pgm_handy, pages_are_cleared)
{
	set_up_machine(MIB(16));
	pgm = create(MIB(8));
	static uint8_t junk[MIB(7)];
	memset(junk, 0x5a, sizeof(junk));
	EXPECT(pgm_write(pgm, gpa(MIB(1)), junk, sizeof(junk), NULL) == Q_OK);
	pgm_destroy(pgm);
	pgm = create(MIB(8));
	for (uint64_t addr = MIB(1); addr < MIB(8); addr += PAGE_SIZE) {
		if (pgm_handy_is_low(pgm))
			EXPECT(pgm_handy_refill(pgm) == Q_OK);
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		EXPECT(page_is_all(nested(addr).machine, 0));
	}
	check();
}

TEST(pgm_handy, takes_what_can_be_had)
{
	struct pgm_config config = config_of(MIB(4));

	set_up_machine(MIB(16));
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	/* The guarantee covers one full stock: use it up, then let another VM take the rest. */
	refill();
	for (unsigned i = 0; i < PGM_HANDY_MAX; i++)
		EXPECT(touch(MIB(1) + i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	gmm_vm_t hog = hog_create(5);
	refill();
	EXPECT(stats().handy == 5);
	for (unsigned i = 0; i < 5; i++)
		EXPECT(touch(i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(5 * PAGE_SIZE, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(pgm_handy_refill(pgm) == Q_NO_MEMORY);
	check();
	uint64_t done = 99;
	EXPECT(pgm_write(pgm, gpa(5 * PAGE_SIZE), "x", 1, &done) == Q_NO_MEMORY && done == 0);
	check();
	/* Reading still works, and so does writing to pages that the VM has. */
	EXPECT(touch(5 * PAGE_SIZE, MEM_READ) == PGM_RESOLVED);
	write_byte(4 * PAGE_SIZE, 7);
	gmm_vm_destroy(hog);
	refill();
	EXPECT(touch(5 * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(read_byte(4 * PAGE_SIZE) == 7 && read_byte(5 * PAGE_SIZE) == 0);
}

TEST(pgm_handy, all_of_ram_and_the_stock_fit_the_promise)
{
	struct pgm_config config = config_of(MIB(2));

	set_up_machine(MIB(16));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	gmm_vm_t hog = hog_create(0);
	for (uint64_t addr = 0; addr < MIB(2); addr += PAGE_SIZE) {
		if (pgm_handy_is_low(pgm))
			refill();
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_WRITE };
		if (addr < 0xa0000 || addr >= MIB(1))
			EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	}
	refill();
	EXPECT(stats().zero == 0 && stats().handy == PGM_HANDY_MAX);
	gmm_vm_destroy(hog);
	check();
}

/* --- the hypervisor's own access ------------------------------------------------------------------- */

TEST(pgm_access, write_and_read_across_pages)
{
	static uint8_t out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	uint64_t done;

	set_up(MIB(4));
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 13 + 1);
	EXPECT(pgm_write(pgm, gpa(0x3ffe), out, PAGE_SIZE + 5, &done) == Q_OK);
	EXPECT(done == PAGE_SIZE + 5 && stats().private_pages == 3);
	check();
	EXPECT(pgm_read(pgm, gpa(0x3ffe), in, PAGE_SIZE + 5, &done) == Q_OK);
	EXPECT(done == PAGE_SIZE + 5 && memcmp(in, out, PAGE_SIZE + 5) == 0);
	EXPECT(read_byte(0x3ffd) == 0 && read_byte(0x3ffe + PAGE_SIZE + 5) == 0);
	EXPECT(pgm_read(pgm, gpa(~0ull), in, 0, &done) == Q_OK && done == 0);
}

TEST(pgm_access, ends_where_memory_ends)
{
	static uint8_t buffer[4 * PAGE_SIZE];
	uint64_t done = 99;

	set_up(MIB(4));
	EXPECT(pgm_write(pgm, gpa(MIB(4) - 10), buffer, 11, &done) == Q_RANGE && done == 10);
	EXPECT(pgm_read(pgm, gpa(MIB(4) - 10), buffer, 11, &done) == Q_RANGE && done == 10);
	EXPECT(pgm_read(pgm, gpa(MIB(4) - 10), buffer, 10, &done) == Q_OK && done == 10);
	EXPECT(pgm_read(pgm, gpa(0x9fff0), buffer, 32, &done) == Q_RANGE && done == 16);
	EXPECT(pgm_read(pgm, gpa(0xfffff), buffer, 1, &done) == Q_RANGE && done == 0);
	EXPECT(pgm_read(pgm, gpa(~0ull), buffer, 2, &done) == Q_RANGE && done == 0);
	EXPECT(pgm_write(pgm, gpa(~0ull - PAGE_SIZE), buffer, 3 * PAGE_SIZE, NULL) == Q_RANGE);
	EXPECT(pgm_read(pgm, gpa(PGM_GPA_LIMIT), buffer, 1, NULL) == Q_RANGE);
	EXPECT(pgm_read(pgm, gpa(PGM_GPA_LIMIT - 1), buffer, 1, NULL) == Q_RANGE);
	check();
}

TEST(pgm_access, write_replaces_the_mapped_zero_page)
{
	set_up(MIB(4));
	EXPECT(touch(0x8000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0x7000, MEM_READ) == PGM_RESOLVED && touch(0x9000, MEM_READ) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	write_byte(0x8001, 0x42);
	EXPECT(pgm_slat_generation(pgm) == generation + 1);
	EXPECT(!nested(0x8000).is_present);
	EXPECT(nested(0x7000).is_present && nested(0x9000).is_present);
	EXPECT(touch(0x8001, MEM_READ) == PGM_RESOLVED);
	EXPECT(*(uint8_t *)fake_ram_peek(hpa(nested(0x8001).machine)) == 0x42);
	/* The guest's writes and Quire's go to the same page. */
	*(uint8_t *)fake_ram_peek(hpa(nested(0x8002).machine)) = 0x43;
	EXPECT(read_byte(0x8001) == 0x42 && read_byte(0x8002) == 0x43);
	generation = pgm_slat_generation(pgm);
	write_byte(0x8003, 0x44);
	EXPECT(pgm_slat_generation(pgm) == generation && nested(0x8000).is_present);
}

/* --- reset, destroy, failure -------------------------------------------------------------------------- */

TEST(pgm_reset, is_as_at_power_on)
{
	set_up(MIB(4));
	struct pgm_stats fresh = stats();
	struct gmm_vm_stats gmm_fresh, gmm_after;
	gmm_vm_stats(pgm_vm(pgm), &gmm_fresh);
	for (uint64_t addr = MIB(1); addr < MIB(3); addr += PAGE_SIZE) {
		uint8_t byte = (uint8_t)(addr >> PAGE_SHIFT) | 1;
		EXPECT(pgm_write(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	}
	write_byte(0x9f000, 1);
	write_byte(MIB(4) - 1, 1);
	EXPECT(touch(0, MEM_READ) == PGM_RESOLVED && touch(MIB(1), MEM_WRITE) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	pgm_reset(pgm);
	check();
	EXPECT(pgm_slat_generation(pgm) != generation);
	struct pgm_stats after = stats();
	after.counters = (struct pgm_counters){ 0 }; /* since creation */
	EXPECT(memcmp(&after, &fresh, sizeof(after)) == 0);
	gmm_vm_stats(pgm_vm(pgm), &gmm_after);
	EXPECT(memcmp(&gmm_after, &gmm_fresh, sizeof(gmm_after)) == 0);
	EXPECT(!nested(0).is_present && !nested(MIB(1)).is_present);
	EXPECT(read_byte(MIB(1)) == 0);
	refill();
	EXPECT(touch(MIB(1), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(page_is_all(nested(MIB(1)).machine, 0));
	pgm_reset(pgm);
	pgm_reset(pgm);
	check();
}

/* A VM that is off leaves its guarantee to other VMs; on again, it has the same one. */
TEST(pgm_reset, unreserved_memory_is_there_for_others)
{
	struct pgm_config config = config_of(MIB(4));
	struct gmm_stats before, after;
	struct pgm_stats off;

	set_up_machine(MIB(16));
	config.guaranteed_bytes = MIB(2);
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	gmm_stats(&before);
	pgm_unreserve(pgm);
	pgm_check(pgm);
	pgm_stats(pgm, &off);
	gmm_stats(&after);
	EXPECT(off.reserved == 0);
	EXPECT(before.reserved_pages - after.reserved_pages == 512 + 1 + PGM_HANDY_MAX);
	EXPECT(pgm_reserve(pgm) == Q_OK && pgm_reserve(pgm) == Q_OK);
	gmm_stats(&after);
	EXPECT(after.reserved_pages == before.reserved_pages);
	gmm_check();
}

TEST(pgm_destroy, returns_everything)
{
	static uint8_t image[4 * PAGE_SIZE];
	struct gmm_stats before, after;

	set_up_machine(MIB(16));
	gmm_stats(&before);
	pgm = create(MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(GIB(4) - sizeof(image)), image, sizeof(image)) == Q_OK);
	write_byte(MIB(2), 1);
	EXPECT(touch(MIB(3), MEM_READ) == PGM_RESOLVED);
	pgm_destroy(pgm);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

TEST(pgm_create, failure_leaves_nothing)
{
	struct pgm_config config = config_of(MIB(4));
	struct gmm_stats before, after;
	struct pgm *new = NULL;

	set_up_machine(MIB(16));
	gmm_stats(&before);
	fake_kernel_map_fail_at(1);
	EXPECT(pgm_create(&config, &new) == Q_NO_MEMORY && !new);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
	/* The machine fills up with VMs, then has room for one again. */
	struct pgm *vms[64];
	unsigned count = 0;
	config.overcommit = GMM_OVERCOMMIT_NONE;
	while (count < ARRAY_COUNT(vms) && pgm_create(&config, &vms[count]) == Q_OK)
		pgm_check(vms[count++]);
	EXPECT(count > 0 && count < 4);
	EXPECT(pgm_create(&config, &new) == Q_DECLINED && !new);
	gmm_check();
	pgm_destroy(vms[0]);
	EXPECT(pgm_create(&config, &vms[0]) == Q_OK);
	for (unsigned i = 0; i < count; i++)
		pgm_destroy(vms[i]);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

/* Memory ends at each step of a write in turn; each failure leaves the books right. */
TEST(pgm_create, out_of_memory_at_each_step)
{
	static const uint8_t byte = 0x77;

	for (uint64_t left = 0; left < 4; left++) {
		set_up_machine(MIB(16));
		pgm = create(MIB(4));
		refill();
		for (unsigned i = 0; i < PGM_HANDY_MAX; i++)
			EXPECT(touch(MIB(1) + i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
		gmm_vm_t hog = hog_create(left);
		for (unsigned i = 0; i < 6; i++) {
			q_status_t status = pgm_write(pgm, gpa(i * PAGE_SIZE), &byte, 1, NULL);
			EXPECT(status == (i < left ? Q_OK : Q_NO_MEMORY));
			check();
		}
		EXPECT(touch(0x10000, MEM_WRITE) == PGM_NO_MEMORY);
		pgm_reset(pgm);
		check();
		write_byte(0, byte);
		gmm_vm_destroy(hog);
		for (unsigned i = 0; i < 6; i++)
			write_byte(i * PAGE_SIZE, byte);
		refill();
		EXPECT(touch(0x10000, MEM_WRITE) == PGM_RESOLVED);
	}
}

/* --- no stale translation -------------------------------------------------------------------------------- */

/* A vCPU that caches every translation until the generation says that it must not. */
#define TLB_FRAMES 1024u

static struct {
	uint64_t generation;
	struct nested_result entries[TLB_FRAMES];
} tlb;

/* The machine address that the access reaches. */
static uint64_t guest_access(uint64_t addr, enum mem_access access)
{
	struct nested_result *entry = &tlb.entries[addr >> PAGE_SHIFT];

	for (;;) {
		if (tlb.generation != pgm_slat_generation(pgm)) {
			memset(&tlb, 0, sizeof(tlb));
			tlb.generation = pgm_slat_generation(pgm);
		}
		bool is_allowed = entry->is_present && (access != MEM_WRITE || entry->can_write);
		if (is_allowed) {
			struct nested_result now = nested(addr & ~PAGE_MASK);
			EXPECT(now.is_present && now.machine == entry->machine);
			EXPECT(now.can_write == entry->can_write);
			return entry->machine | (addr & PAGE_MASK);
		}
		*entry = nested(addr & ~PAGE_MASK);
		is_allowed = entry->is_present && (access != MEM_WRITE || entry->can_write);
		if (!is_allowed)
			EXPECT(touch(addr, access) == PGM_RESOLVED);
	}
}

TEST(pgm_tlb, no_stale_translation_is_used)
{
	set_up(MIB(4));
	refill();
	EXPECT(page_is_all(guest_access(0x1000, MEM_READ), 0));
	*(uint8_t *)fake_ram_peek(hpa(guest_access(0x1000, MEM_WRITE))) = 1;
	EXPECT(*(uint8_t *)fake_ram_peek(hpa(guest_access(0x1000, MEM_READ))) == 1);
	EXPECT(page_is_all(guest_access(0x2000, MEM_READ), 0));
	write_byte(0x2000, 2);
	EXPECT(*(uint8_t *)fake_ram_peek(hpa(guest_access(0x2000, MEM_READ))) == 2);
	pgm_reset(pgm);
	refill();
	EXPECT(page_is_all(guest_access(0x1000, MEM_READ), 0));
	EXPECT(page_is_all(guest_access(0x2000, MEM_WRITE), 0));
	EXPECT(page_is_all(guest_access(0x1000, MEM_WRITE), 0));
}

/* --- zeroing elision ---------------------------------------------------------------- */

TEST(pgm_zero_fill, is_done_exactly_where_ram_is_the_zero_page)
{
	uint64_t rom[PAGE_SIZE / 8] = { 0 };

	set_up(MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), rom, PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_OK);
	refill();
	uint64_t pages = base_pages();
	EXPECT(pgm_zero_fill(pgm, gfn(0x200)) && pgm_zero_fill(pgm, gfn(0)));
	EXPECT(touch(0x201000, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_zero_fill(pgm, gfn(0x201)));
	EXPECT(base_pages() == pages && stats().private_pages == 0 && stats().counters.elided == 3);
	/* Not: a page of its own, even of zeros; ROM; MMIO; no memory; beyond all frames. */
	EXPECT(touch(0x202000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(!pgm_zero_fill(pgm, gfn(0x202)));
	EXPECT(!pgm_zero_fill(pgm, gfn(0xe0)) && !pgm_zero_fill(pgm, gfn(0xfee00)));
	EXPECT(!pgm_zero_fill(pgm, gfn(0xa0)) && !pgm_zero_fill(pgm, gfn(0x400)));
	EXPECT(!pgm_zero_fill(pgm, gfn(PGM_GFN_END)) && !pgm_zero_fill(pgm, gfn(~0ull >> 12)));
	EXPECT(stats().counters.elided == 3);
	check();
}

/* --- guest page tables ---------------------------------------------------------------------------------------- */

static void poke(uint64_t addr, uint64_t value, unsigned bytes)
{
	EXPECT(pgm_write(pgm, gpa(addr), &value, bytes, NULL) == Q_OK);
}

static struct pgm_walk_regs regs;
static uint32_t walk_error;

/* Returns the physical address, or the negative status; walk_error is the code of #PF. */
static int64_t walk(uint64_t virt, enum mem_access access)
{
	gpa_t addr = gpa(0);

	walk_error = 0xdead;
	q_status_t status = pgm_walk(pgm, &regs, virt, access, &addr, &walk_error);
	return status == Q_OK ? (int64_t)addr.raw : -(int64_t)status;
}

static void expect_fault(uint64_t virt, enum mem_access access, q_status_t status, uint32_t code)
{
	EXPECT(walk(virt, access) == -(int64_t)status);
	EXPECT(walk_error == code);
}

/* Error code bits: P 1, W 2, U 4, RSVD 8, I 16. */

TEST(pgm_walk, no_paging)
{
	set_up(MIB(4));
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE };
	EXPECT(walk(0x12345, MEM_WRITE) == 0x12345);
	EXPECT(walk(0x1ffffffff, MEM_READ) == 0xffffffff);
}

TEST(pgm_walk, paging_32bit)
{
	set_up(MIB(4));
	/* 0x00c01234: directory 3, table 1, offset 0x234 */
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG, .cr3 = 0x100018 };
	poke(0x100000 + 3 * 4, 0x101007, 4);
	poke(0x101000 + 1 * 4, 0x2fe007, 4);
	EXPECT(walk(0xc01234, MEM_READ) == 0x2fe234);
	EXPECT(walk(0xffffffff00c01234, MEM_EXEC) == 0x2fe234); /* only 32 bits count */
	expect_fault(0xc02234, MEM_READ, Q_NOT_FOUND, 0);
	expect_fault(0x801234, MEM_WRITE, Q_NOT_FOUND, 2);
	regs.is_user = true;
	expect_fault(0x801234, MEM_EXEC, Q_NOT_FOUND, 4); /* without NX or SMEP no I bit */
	/* Without PSE, bit 7 of a directory entry means nothing. */
	poke(0x100000 + 4 * 4, 0x101087, 4);
	EXPECT(walk(0x1001000, MEM_READ) == 0x2fe000);
	/* With it, 4 MiB: bits 31:22 in place, 39:32 in 20:13. */
	regs.cr4 = CR4_PSE;
	poke(0x100000 + 4 * 4, 0x80000087 | 0x55 << 13, 4);
	EXPECT(walk(0x1001234, MEM_READ) == 0x5580001234);
	EXPECT(walk(0x13fffff, MEM_READ) == 0x55803fffff);
	poke(0x100000 + 4 * 4, 0x80200087, 4);
	expect_fault(0x1001234, MEM_READ, Q_DENIED, 1 | 4 | 8); /* bit 21 is reserved */
}

TEST(pgm_walk, paging_pae)
{
	set_up(MIB(4));
	/* 0x40201678: pointer 1, directory 1, table 1 */
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG | CR0_WP,
				       .cr3 = 0x1000e0,
				       .cr4 = CR4_PAE };
	poke(0x1000e0 + 1 * 8, 0x101001, 8);
	poke(0x101000 + 1 * 8, 0x102007, 8);
	poke(0x102000 + 1 * 8, 0x800000007, 8);
	EXPECT(walk(0x40201678, MEM_WRITE) == 0x800000678);
	EXPECT(walk(0xffffffff40201678, MEM_WRITE) == 0x800000678);
	regs.is_user = true;
	EXPECT(walk(0x40201678, MEM_WRITE) == 0x800000678); /* top entries have no rights */
	expect_fault(0x201678, MEM_READ, Q_NOT_FOUND, 4);
	/* 2 MiB */
	poke(0x101000 + 2 * 8, 0x800200087, 8);
	EXPECT(walk(0x40512345, MEM_READ) == 0x800312345);
	poke(0x101000 + 2 * 8, 0x800202087, 8);
	expect_fault(0x40512345, MEM_READ, Q_DENIED, 1 | 4 | 8);
	poke(0x1000e0 + 1 * 8, 0x101003, 8); /* R/W is reserved there */
	expect_fault(0x40201678, MEM_READ, Q_DENIED, 1 | 4 | 8);
}

/* Tables at 0x100000 and up for one page at `virt`; returns the table of level 1. */
static void tables_make(uint64_t virt, unsigned levels, uint64_t leaf)
{
	uint64_t table = 0x100000;

	for (unsigned level = levels; level > 1; level--, table += PAGE_SIZE)
		poke(table + (virt >> (12 + 9 * (level - 1)) & 511) * 8, (table + PAGE_SIZE) | 7,
		     8);
	poke(table + (virt >> 12 & 511) * 8, leaf, 8);
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG | CR0_WP,
				       .cr3 = 0x100000,
				       .cr4 = CR4_PAE,
				       .efer = EFER_LME | EFER_LMA | EFER_NXE };
}

TEST(pgm_walk, paging_4level)
{
	const uint64_t virt = 0xffff923456789abc;

	set_up(MIB(4));
	tables_make(virt, 4, 0x123456007);
	EXPECT(walk(virt, MEM_WRITE) == 0x123456abc);
	EXPECT(walk(virt + 1, MEM_EXEC) == 0x123456abd);
	regs.cr3 |= 0xfff; /* a PCID is no address */
	EXPECT(walk(virt, MEM_READ) == 0x123456abc);
	EXPECT(walk(virt & MASK64(47, 0), MEM_READ) == -Q_INVALID);
	EXPECT(walk(0x0000800000000000, MEM_READ) == -Q_INVALID);
	EXPECT(walk(0xffff7fffffffffff, MEM_READ) == -Q_INVALID);
	expect_fault(0x00007fffffffffff, MEM_READ, Q_NOT_FOUND, 0);
	expect_fault(virt + PAGE_SIZE, MEM_EXEC, Q_NOT_FOUND, 16);
	/* Large pages, with the PAT bit set: 2 MiB at level 2, 1 GiB at level 3. */
	tables_make(0x40000000, 4, 0);
	poke(0x102000, 0x80201087, 8);
	EXPECT(walk(0x40123456, MEM_READ) == 0x80323456);
	poke(0x102000, 0x80203087, 8);
	expect_fault(0x40123456, MEM_READ, Q_DENIED, 1 | 8);
	poke(0x101000 + 8, 0xc0001087, 8);
	EXPECT(walk(0x40123456, MEM_READ) == 0xc0123456);
	EXPECT(walk(0x7fffffff, MEM_READ) == 0xffffffff);
	poke(0x101000 + 8, 0xc0201087, 8);
	expect_fault(0x40123456, MEM_READ, Q_DENIED, 1 | 8);
	poke(0x101000 + 8, 0xc0001087, 8);
	poke(0x100000, 0x101087, 8); /* no page size at level 4 */
	expect_fault(0x40123456, MEM_WRITE, Q_DENIED, 1 | 2 | 8);
}

TEST(pgm_walk, paging_5level)
{
	const uint64_t virt = 0xff12345678123456;

	set_up(MIB(4));
	tables_make(virt, 5, 0x7777007);
	regs.cr4 |= CR4_LA57;
	EXPECT(walk(virt, MEM_READ) == 0x7777456);
	EXPECT(walk(0x0100000000000000, MEM_READ) == -Q_INVALID);
	expect_fault(0x00ffffffffffffff, MEM_READ, Q_NOT_FOUND, 0);
	regs.cr4 &= ~CR4_LA57;
	EXPECT(walk(virt, MEM_READ) == -Q_INVALID);
}

/* The entries of all levels must allow an access. */
TEST(pgm_walk, rights)
{
	const uint64_t virt = 0x40000000;

	set_up(MIB(4));
	for (unsigned level = 1; level <= 4; level++) {
		uint64_t at = 0x100000 + (4 - level) * PAGE_SIZE + (level == 3 ? 8 : 0);
		uint64_t to = level == 1 ? 0x200000 : at - (level == 3 ? 8 : 0) + PAGE_SIZE;
		/* A supervisor page. */
		tables_make(virt, 4, 0x200007);
		poke(at, to | 3, 8);
		EXPECT(walk(virt, MEM_WRITE) == 0x200000 && walk(virt, MEM_EXEC) == 0x200000);
		regs.is_user = true;
		expect_fault(virt, MEM_READ, Q_DENIED, 1 | 4);
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		/* A read-only page. */
		poke(at, to | 5, 8);
		EXPECT(walk(virt, MEM_READ) == 0x200000);
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		regs.is_user = false;
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2);
		regs.cr0 &= ~CR0_WP;
		EXPECT(walk(virt, MEM_WRITE) == 0x200000);
		regs.is_user = true;
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		/* A no-execute page. */
		poke(at, to | 7 | BIT64(63), 8);
		EXPECT(walk(virt, MEM_WRITE) == 0x200000);
		expect_fault(virt, MEM_EXEC, Q_DENIED, 1 | 4 | 16);
		regs.efer &= ~EFER_NXE;
		expect_fault(virt, MEM_READ, Q_DENIED, 1 | 4 | 8);
	}
	/* SMEP: the supervisor executes no user page. */
	tables_make(virt, 4, 0x200007);
	EXPECT(walk(virt, MEM_EXEC) == 0x200000);
	regs.cr4 |= CR4_SMEP;
	expect_fault(virt, MEM_EXEC, Q_DENIED, 1 | 16);
	EXPECT(walk(virt, MEM_READ) == 0x200000);
	regs.is_user = true;
	EXPECT(walk(virt, MEM_EXEC) == 0x200000);
}

TEST(pgm_walk, hostile_tables_do_no_harm)
{
	set_up(MIB(4));
	tables_make(0, 4, 0x200007);
	uint64_t pages = stats().private_pages;
	/* A table where no memory is, one beyond all memory, and one that points to itself. */
	regs.cr3 = 0xa0000;
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = MASK64(51, 12);
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = MASK64(63, 0);
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = 0x300000; /* never written: zeros */
	expect_fault(0, MEM_READ, Q_NOT_FOUND, 0);
	EXPECT(stats().private_pages == pages);
	poke(0x300000, 0x300007, 8);
	EXPECT(walk(0, MEM_READ) == 0x300000);
	check();
}
