/* SPDX-License-Identifier: MIT */
/* ROM: what it holds, what it costs, and where it fits. */
#include "pgm_fixture.h"

TEST(pgm_rom, reads_as_its_image_and_is_never_written)
{
	static uint8_t image[16 * PAGE_SIZE], copy[16 * PAGE_SIZE];
	const uint64_t start = GIB(4) - sizeof(image);

	bare_set_up(&slat_npt, MIB(4));
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

	bare_set_up(&slat_npt, MIB(4));
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
	bare_set_up(&slat_npt, MIB(4));
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
	bare_set_up(&slat_npt, MIB(4));
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

	bare_set_up(&slat_npt, MIB(4));
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

	bare_set_up(&slat_npt, MIB(4));
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

	bare_set_up(&slat_npt, MIB(4));
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
