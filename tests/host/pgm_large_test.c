/* SPDX-License-Identifier: MIT */
/* Large mappings: where they come from, what splits them, and how they are mended. */
#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define BLOCK MIB(2)

/* With chunks of 1 MiB there are no large mappings, see chunks_of_1_mib_make_none. */
#define NEEDS_LARGE_CHUNKS()               \
	do {                               \
		if (GMM_CHUNK_SHIFT != 21) \
			skip();            \
	} while (0)

/* A VM that has a right to all its 8 MiB, of which three blocks can be large. */
static void large_set_up(const struct slat_format *format)
{
	struct pgm_config config = config_of(format, MIB(8));

	machine_set_up(MIB(64));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	vm_create(config);
}

static void block_make(uint64_t start)
{
	EXPECT(touch(start, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(nested(start).is_large && nested(start).can_write && nested(start).can_execute);
}

/* Expects all pages but `except` to be mapped to the block's frames and writable. */
static void expect_block(uint64_t start, uint64_t machine, uint64_t except, bool is_large)
{
	for (uint64_t addr = start; addr < start + BLOCK; addr += PAGE_SIZE) {
		if (addr == except)
			continue;
		struct nested_result result = nested(addr);
		EXPECT(result.is_present && result.can_write);
		EXPECT(result.machine == machine + (addr - start) && result.is_large == is_large);
	}
}

/* --- where they come from -------------------------------------------------------------------- */

static void first_write_makes_one(const struct slat_format *format)
{
	large_set_up(format);
	struct pgm_stats before = stats();
	block_make(MIB(4) + 0x12345);
	struct pgm_stats after = stats();
	EXPECT(after.large == 1 && after.private_pages == 512);
	EXPECT(after.counters.faults_write == 1 && after.handy == before.handy);
	EXPECT(after.table_pages == before.table_pages + 2); /* no table of level 1 */
	uint64_t machine = nested(MIB(4)).machine;
	EXPECT(machine % BLOCK == 0);
	expect_block(MIB(4), machine, 0, true);
	for (uint64_t offset = 0; offset < BLOCK; offset += PAGE_SIZE)
		EXPECT(page_is_all(fake_ram_peek(hpa(machine + offset)), 0));
	EXPECT(!nested(MIB(4) - 1).is_present && !nested(MIB(6)).is_present);
	/* GMM knows the guest frames already. */
	struct gmm_page_info info;
	page_id_t id = pgm_record_id(*pgm_record_find(pgm, gfn(1024 + 77)));
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == 1024 + 77);
}

TEST(pgm_large, first_write_makes_one)
{
	NEEDS_LARGE_CHUNKS();
	BOTH(first_write_makes_one);
}

TEST(pgm_large, so_does_a_write_by_quire)
{
	NEEDS_LARGE_CHUNKS();
	large_set_up(&slat_npt);
	EXPECT(touch(MIB(2) + 0x5000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(MIB(4) - PAGE_SIZE, MEM_READ) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	write_byte(MIB(2) + 0x4321, 0x42);
	EXPECT(stats().private_pages == 512 && stats().large == 0);
	EXPECT(!nested(MIB(2) + 0x5000).is_present && pgm_slat_generation(pgm) != generation);
	EXPECT(!nested(MIB(4) - PAGE_SIZE).is_present);
	EXPECT(touch(MIB(2), MEM_READ) == PGM_RESOLVED && stats().large == 1);
	EXPECT(*nested_byte(MIB(2) + 0x4321) == 0x42);
}

/* The zero page was mapped at some pages: the generation rises, and the table is freed. */
static void mapped_zero_pages_are_replaced(const struct slat_format *format)
{
	large_set_up(format);
	for (uint64_t addr = MIB(2); addr < MIB(2) + PAGES(5); addr += PAGE_SIZE)
		EXPECT(touch(addr, MEM_READ) == PGM_RESOLVED && !nested(addr).can_write);
	uint64_t generation = pgm_slat_generation(pgm), tables = stats().table_pages;
	block_make(MIB(2) + PAGES(3));
	EXPECT(pgm_slat_generation(pgm) != generation && stats().table_pages == tables - 1);
	expect_block(MIB(2), nested(MIB(2)).machine, 0, true);
}

TEST(pgm_large, mapped_zero_pages_are_replaced)
{
	NEEDS_LARGE_CHUNKS();
	BOTH(mapped_zero_pages_are_replaced);
}

static void expect_one_page(uint64_t addr)
{
	struct pgm_stats before = stats();

	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED && !nested(addr).is_large);
	EXPECT(stats().private_pages == before.private_pages + 1);
	EXPECT(stats().large == before.large);
}

TEST(pgm_large, only_whole_untouched_blocks_become_one)
{
	static uint8_t image[PAGES(1)];
	struct pgm_config config = config_of(&slat_npt, MIB(7));

	machine_set_up(MIB(64));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	vm_create(config);
	expect_one_page(MIB(1)); /* the block has a hole */
	expect_one_page(MIB(6)); /* the block ends half way */
	EXPECT(pgm_rom_add(pgm, gpa(MIB(7)), image, sizeof(image)) == Q_OK);
	expect_one_page(MIB(6) + PAGE_SIZE); /* the rest of the block is ROM */
	EXPECT(pgm_handler_add(pgm, gpa(MIB(4) + PAGES(200)), PAGES(1), PGM_HANDLER_WRITE, 0) ==
	       Q_OK);
	expect_one_page(MIB(4)); /* a page of the block has a handler */
	EXPECT(pgm_handler_remove(pgm, gpa(MIB(4) + PAGES(200)), PAGES(1)) == Q_OK);
	expect_one_page(MIB(4) + PAGES(1)); /* the block has a page of its own */
}

TEST(pgm_large, only_who_owns_all_memory_gets_them)
{
	for (enum gmm_overcommit overcommit = GMM_OVERCOMMIT_ZERO_AND_SHARED;
	     overcommit <= GMM_OVERCOMMIT_FULL; overcommit++) {
		struct pgm_config config = config_of(&slat_npt, MIB(8));
		machine_set_up(MIB(64));
		config.overcommit = overcommit;
		config.guaranteed_bytes = MIB(8);
		vm_create(config);
		expect_one_page(MIB(2));
	}
}

TEST(pgm_large, chunks_of_1_mib_make_none)
{
	bool has_large = GMM_CHUNK_SHIFT == 21;

	large_set_up(&slat_npt);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(touch(MIB(2), MEM_WRITE) == PGM_RESOLVED && nested(MIB(2)).is_large == has_large);
	EXPECT(stats().private_pages == (has_large ? 512 : 1) && stats().large == has_large);
}

static struct pgm_record record_of(uint64_t frame)
{
	return pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, hfn(frame), (page_id_t){ 1 });
}

/* Not even if two chunks of 1 MiB lie side by side. The records are made up and never mapped. */
TEST(pgm_large, two_chunks_side_by_side_are_not_one)
{
	const gfn_t start = gfn(MIB(2) / PAGE_SIZE);
	struct pgm_record kept[PAGES_PER_LARGE];

	large_set_up(&slat_npt);
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++) {
		struct pgm_record *record = pgm_record_find(pgm, gfn(start.raw + i));
		kept[i] = *record;
		*record = record_of(0x400 + i);
	}
	EXPECT(pgm_large_is_whole(pgm, start, hfn(0x400)) == (GMM_CHUNK_SHIFT == 21));
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++)
		*pgm_record_find(pgm, gfn(start.raw + i)) = kept[i];
	check();
}

/* One record that does not fit is enough. The records are made up and never mapped. */
TEST(pgm_large, whole_means_each_of_512_records)
{
	const gfn_t start = gfn(MIB(2) / PAGE_SIZE);
	struct pgm_record kept[PAGES_PER_LARGE];

	NEEDS_LARGE_CHUNKS();
	large_set_up(&slat_npt);
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++) {
		struct pgm_record *record = pgm_record_find(pgm, gfn(start.raw + i));
		kept[i] = *record;
		*record = record_of(0x400 + i);
		record->d2 |= i % 2 ? PGM_RECORD_WRITTEN_TO : PGM_RECORD_LATELY; /* no obstacle */
	}
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++) {
		struct pgm_record *record = pgm_record_find(pgm, gfn(start.raw + i));
		struct pgm_record good = *record;
		const struct pgm_record bad[] = {
			record_of(0x401 + i), /* another frame */
			pgm_record_with_state(good, PGM_STATE_MONITORED),
			pgm_record_with_state(good, PGM_STATE_SHARED),
			pgm_record_with_handler(good, PGM_HANDLER_WRITE),
			{ 0 }, /* no RAM */
		};
		gfn_t asked = gfn(start.raw + (i + 1) % PAGES_PER_LARGE);
		hfn_t frame = hfn(0x400 + asked.raw - start.raw);
		EXPECT(pgm_large_is_whole(pgm, asked, frame));
		for (unsigned j = 0; j < ARRAY_COUNT(bad); j++) {
			*record = bad[j];
			EXPECT(!pgm_large_is_whole(pgm, asked, frame));
		}
		*record = good;
	}
	/* The frames are in order, but do not begin where a chunk can begin. */
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++)
		*pgm_record_find(pgm, gfn(start.raw + i)) = record_of(0x401 + i);
	EXPECT(!pgm_large_is_whole(pgm, start, hfn(0x401)));
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++)
		*pgm_record_find(pgm, gfn(start.raw + i)) = kept[i];
	check();
}

/* --- when no chunk is whole ---------------------------------------------------------------------- */

/* Takes one page of each chunk, except the chunk that a VM needs for tables. */
static gmm_vm_t dust_create(page_id_t *out_ids, unsigned *out_count)
{
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	gmm_vm_t dust;
	struct gmm_page page;
	unsigned kept = 0, done;

	EXPECT(gmm_vm_create(&config, &dust) == Q_OK);
	while (gmm_pages_available(dust, 1) == 1) {
		EXPECT(gmm_pages_alloc(dust, &page, 1) == Q_OK);
		out_ids[kept++] = page.id;
	}
	*out_count = 0;
	for (unsigned i = 0; i < kept; i++) {
		bool is_first = out_ids[i].raw % GMM_PAGES_PER_CHUNK == 1;
		bool is_kept = is_first && out_ids[i].raw / GMM_PAGES_PER_CHUNK != 3;
		if (is_kept)
			out_ids[(*out_count)++] = out_ids[i];
		else
			EXPECT(gmm_pages_free(dust, &out_ids[i], 1, &done) == Q_OK);
	}
	return dust;
}

TEST(pgm_large, without_a_whole_chunk_single_pages_do)
{
	static page_id_t ids[MIB(64) / PAGE_SIZE];
	struct pgm_config config = config_of(&slat_npt, MIB(8));
	unsigned count, done;

	NEEDS_LARGE_CHUNKS();
	machine_set_up(MIB(64));
	gmm_vm_t dust = dust_create(ids, &count);
	EXPECT(count == 31);
	config.overcommit = GMM_OVERCOMMIT_NONE;
	vm_create(config);
	expect_one_page(MIB(2));
	expect_one_page(MIB(4));
	/* Once there are whole chunks again, an untouched block gets one. */
	EXPECT(gmm_pages_free(dust, ids, count, &done) == Q_OK);
	block_make(MIB(6));
	expect_one_page(MIB(2) + PAGES(1));
}

/* --- split and mended -------------------------------------------------------------------------------- */

static void handler_splits_and_mends(const struct slat_format *format)
{
	const uint64_t page = MIB(2) + PAGES(77);

	large_set_up(format);
	block_make(MIB(2));
	uint64_t machine = nested(MIB(2)).machine, tables = stats().table_pages;
	EXPECT(pgm_handler_add(pgm, gpa(page), PAGES(1), PGM_HANDLER_WRITE, 9) == Q_OK);
	check();
	EXPECT(stats().large == 0 && stats().table_pages == tables + 1);
	expect_block(MIB(2), machine, page, false);
	EXPECT(nested(page).is_present && !nested(page).can_write);
	EXPECT(touch(page, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == 9);
	EXPECT(touch(page + PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED && stats().large == 0);
	/* The next write that finds the block whole mends it, nothing before that. */
	EXPECT(pgm_handler_remove(pgm, gpa(page), PAGES(1)) == Q_OK);
	check();
	EXPECT(stats().large == 0);
	uint64_t generation = pgm_slat_generation(pgm);
	EXPECT(touch(page, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(stats().large == 1 && stats().table_pages == tables);
	EXPECT(pgm_slat_generation(pgm) != generation);
	expect_block(MIB(2), machine, 0, true);
}

TEST(pgm_large, a_handler_splits_it_and_its_end_mends_it)
{
	NEEDS_LARGE_CHUNKS();
	BOTH(handler_splits_and_mends);
}

TEST(pgm_large, is_mended_when_the_last_obstacle_is_gone)
{
	NEEDS_LARGE_CHUNKS();
	large_set_up(&slat_npt);
	block_make(MIB(2));
	EXPECT(pgm_handler_add(pgm, gpa(MIB(2)), PAGES(1), PGM_HANDLER_WRITE, 0) == Q_OK);
	EXPECT(pgm_handler_add(pgm, gpa(MIB(4) - PAGE_SIZE), PAGES(1), PGM_HANDLER_ALL, 0) == Q_OK);
	check();
	EXPECT(!nested(MIB(4) - PAGE_SIZE).is_present && nested(MIB(2)).is_present);
	EXPECT(pgm_handler_remove(pgm, gpa(MIB(4) - PAGE_SIZE), PAGES(1)) == Q_OK);
	EXPECT(touch(MIB(4) - PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED && stats().large == 0);
	EXPECT(pgm_handler_remove(pgm, gpa(MIB(2)), PAGES(1)) == Q_OK);
	EXPECT(touch(MIB(2), MEM_WRITE) == PGM_RESOLVED && stats().large == 1);
}

static void unmapping_one_page_splits_it(const struct slat_format *format)
{
	const uint64_t page = MIB(2) + PAGES(77);

	large_set_up(format);
	block_make(MIB(2));
	uint64_t machine = nested(MIB(2)).machine;
	EXPECT(pgm_handler_add(pgm, gpa(page), PAGES(1), PGM_HANDLER_ALL, 9) == Q_OK);
	check();
	EXPECT(!nested(page).is_present);
	expect_block(MIB(2), machine, page, false);
}

TEST(pgm_large, unmapping_one_page_splits_it)
{
	NEEDS_LARGE_CHUNKS();
	BOTH(unmapping_one_page_splits_it);
}

/* The leaf that translates `addr`, where hardware sets its bits. */
static uint64_t *leaf_word(uint64_t addr)
{
	unsigned level = nested(addr).is_large ? 2 : 1;
	uint64_t table = pgm->slat.root.raw;

	for (unsigned at = 4; at > level; at--)
		table = nested_entry(table, addr, at) & MASK64(51, 12);
	return (uint64_t *)fake_ram_peek(hpa(table)) + (addr >> (12 + 9 * (level - 1))) % 512;
}

static void noted_bits_survive(const struct slat_format *format)
{
	const uint64_t page = MIB(2) + PAGES(300);

	large_set_up(format);
	block_make(MIB(2));
	*leaf_word(MIB(2)) |= format->noted;
	EXPECT(pgm_handler_add(pgm, gpa(page), PAGES(1), PGM_HANDLER_WRITE, 0) == Q_OK);
	/* It may have been any page, so all have the bits, the protected one also. */
	for (uint64_t addr = MIB(2); addr < MIB(4); addr += PAGE_SIZE)
		EXPECT((*leaf_word(addr) & format->noted) == format->noted);
	/* Mended: the bits of one page become those of the block. */
	for (uint64_t addr = MIB(2); addr < MIB(4); addr += PAGE_SIZE)
		*leaf_word(addr) &= ~format->noted;
	*leaf_word(MIB(2) + PAGES(5)) |= format->noted;
	EXPECT(pgm_handler_remove(pgm, gpa(page), PAGES(1)) == Q_OK);
	EXPECT(touch(page, MEM_WRITE) == PGM_RESOLVED && nested(page).is_large);
	EXPECT((*leaf_word(page) & format->noted) == format->noted);
	/* Bits that are clear stay clear. */
	*leaf_word(page) &= ~format->noted;
	EXPECT(pgm_handler_add(pgm, gpa(page), PAGES(1), PGM_HANDLER_WRITE, 0) == Q_OK);
	EXPECT((*leaf_word(page) & format->noted) == 0);
	EXPECT(pgm_handler_remove(pgm, gpa(page), PAGES(1)) == Q_OK);
	EXPECT(touch(page, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(nested(page).is_large && (*leaf_word(page) & format->noted) == 0);
}

TEST(pgm_large, accessed_and_dirty_bits_survive_split_and_mending)
{
	NEEDS_LARGE_CHUNKS();
	BOTH(noted_bits_survive);
}

/* P11 at its limit: every block is large, then every block is split, and no table is left. */
TEST(pgm_large, every_split_finds_its_table)
{
	static uint8_t image[PAGES(2)];

	NEEDS_LARGE_CHUNKS();
	large_set_up(&slat_npt);
	memset(image, 1, sizeof(image));
	/* The allowance of plain ROM is used up, and all other RAM is mapped. */
	EXPECT(pgm_rom_add(pgm, gpa(GIB(8) - PAGE_SIZE), image, sizeof(image)) == Q_OK);
	EXPECT(touch(GIB(8), MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(GIB(8) - 1, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0, MEM_READ) == PGM_RESOLVED && touch(MIB(1), MEM_READ) == PGM_RESOLVED);
	for (uint64_t start = MIB(2); start < MIB(8); start += BLOCK)
		block_make(start);
	EXPECT(stats().large == 3);
	for (uint64_t start = MIB(2); start < MIB(8); start += BLOCK) {
		uint64_t machine = nested(start).machine;
		EXPECT(pgm_handler_add(pgm, gpa(start), PAGES(1), PGM_HANDLER_WRITE, 0) == Q_OK);
		check();
		expect_block(start, machine, start, false);
	}
	EXPECT(stats().table_pages == accounts().promised[GMM_SHADOW]);
}

TEST(pgm_large, a_reset_gives_the_chunks_back)
{
	struct gmm_stats before, after;

	NEEDS_LARGE_CHUNKS();
	large_set_up(&slat_ept);
	gmm_stats(&before);
	for (unsigned i = 0; i < 3; i++) {
		for (uint64_t start = MIB(2); start < MIB(8); start += BLOCK) {
			block_make(start);
			*nested_byte(start + 0x777) = 0x77;
		}
		pgm_reset(pgm);
		check();
		EXPECT(stats().large == 0 && stats().private_pages == 0);
		EXPECT(read_byte(MIB(2) + 0x777) == 0);
	}
	gmm_stats(&after);
	EXPECT(after.private_pages == before.private_pages);
	/* The content of the last round is cleared. */
	block_make(MIB(2));
	EXPECT(page_is_all(nested_byte(MIB(2) + 0x777), 0));
}
