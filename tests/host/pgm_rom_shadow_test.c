/* SPDX-License-Identifier: MIT */
/* Shadowed ROM: what is read and written in each mode, what is mapped, and what it costs. */
#include "mm/pgm/pgm_rom_shadow.h"

#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define ROM       0xe0000ull
#define ROM_PAGES 4u

static uint8_t image[PAGES(ROM_PAGES)];

/* Page 2 of the image is all zero; the other pages have no zero byte. */
static void image_fill(void)
{
	for (unsigned i = 0; i < sizeof(image); i++)
		image[i] = i / PAGE_SIZE == 2 ? 0 : (uint8_t)(1 + (i * 7 + i / PAGE_SIZE) % 255);
}

static void rom_set_up(const struct slat_format *format)
{
	image_fill();
	set_up(format, MIB(4));
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(ROM), image, sizeof(image)) == Q_OK);
	check();
}

static void mode_set(uint64_t page, uint64_t count, enum pgm_rom_mode mode)
{
	EXPECT(pgm_rom_mode_set(pgm, gpa(ROM + PAGES(page)), PAGES(count), mode) == Q_OK);
	check();
}

static bool reads_as_image(void)
{
	static uint8_t copy[PAGES(ROM_PAGES)];

	EXPECT(pgm_read(pgm, gpa(ROM), copy, sizeof(copy), NULL) == Q_OK);
	return memcmp(copy, image, sizeof(copy)) == 0;
}

/* --- the four modes ---------------------------------------------------------------------- */

/* In each mode: accesses by the guest and by Quire, while the guest has mapped what it can. */
static void modes_are_as_the_table_says(const struct slat_format *format)
{
	const uint64_t addr = ROM + 0x123;

	rom_set_up(format);
	/* READ_ROM */
	EXPECT(reads_as_image() && touch(addr, MEM_READ) == PGM_RESOLVED);
	EXPECT(*nested_byte(addr) == image[0x123] && !nested(addr).can_write);
	EXPECT(touch(addr, MEM_WRITE) == PGM_DENIED && try_write(addr, 1) == Q_RANGE);
	EXPECT(reads_as_image() && stats().rom_shadow == 0);
	/* READ_ROM_WRITE_RAM: the same page is read, so no CPU needs to flush. */
	uint64_t generation = pgm_slat_generation(pgm);
	mode_set(0, 1, PGM_ROM_READ_ROM_WRITE_RAM);
	EXPECT(pgm_slat_generation(pgm) == generation && nested(addr).is_present);
	EXPECT(touch(addr, MEM_WRITE) == PGM_EMULATE && stats().rom_shadow == 1);
	EXPECT(touch(addr, MEM_WRITE) == PGM_EMULATE && stats().rom_shadow == 1);
	write_byte(addr, 0x42);
	EXPECT(reads_as_image() && *nested_byte(addr) == image[0x123]);
	EXPECT(touch(addr, MEM_READ) == PGM_RESOLVED && !nested(addr).can_write);
	/* READ_RAM */
	mode_set(0, 1, PGM_ROM_READ_RAM);
	EXPECT(!nested(addr).is_present);
	EXPECT(read_byte(addr) == 0x42 && read_byte(addr + 1) == 0);
	EXPECT(touch(addr, MEM_EXEC) == PGM_RESOLVED);
	EXPECT(*nested_byte(addr) == 0x42 && !nested(addr).can_write);
	EXPECT(touch(addr, MEM_WRITE) == PGM_DENIED && try_write(addr, 1) == Q_RANGE);
	EXPECT(read_byte(addr) == 0x42);
	/* READ_RAM_WRITE_RAM: allows more, so no CPU needs to flush. */
	generation = pgm_slat_generation(pgm);
	mode_set(0, 1, PGM_ROM_READ_RAM_WRITE_RAM);
	EXPECT(pgm_slat_generation(pgm) == generation && nested(addr).is_present);
	EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED && nested(addr).can_write);
	*nested_byte(addr) = 0x43;
	EXPECT(read_byte(addr) == 0x43);
	write_byte(addr, 0x44);
	EXPECT(*nested_byte(addr) == 0x44);
	/* Back again: neither half lost its content. */
	generation = pgm_slat_generation(pgm);
	mode_set(0, 1, PGM_ROM_READ_RAM);
	EXPECT(pgm_slat_generation(pgm) != generation && !nested(addr).can_write);
	EXPECT(read_byte(addr) == 0x44);
	mode_set(0, 1, PGM_ROM_READ_ROM);
	EXPECT(!nested(addr).is_present && reads_as_image());
	mode_set(0, 1, PGM_ROM_READ_RAM);
	EXPECT(read_byte(addr) == 0x44 && stats().rom_shadow == 1);
}

TEST(pgm_rom_shadow, modes_are_as_the_table_says)
{
	BOTH(modes_are_as_the_table_says);
}

/* Each mode after each other: content and permissions depend only on the last one. */
TEST(pgm_rom_shadow, any_mode_follows_any_other)
{
	rom_set_up(&slat_npt);
	mode_set(0, ROM_PAGES, PGM_ROM_READ_ROM_WRITE_RAM);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		write_byte(ROM + PAGES(i), 0x99);
	for (unsigned i = 0; i < 16; i++) {
		enum pgm_rom_mode from = i / 4, to = i % 4;
		uint64_t page = i % ROM_PAGES, addr = ROM + PAGES(page);
		mode_set(page, 1, from);
		(void)touch(addr, MEM_WRITE);
		EXPECT(touch(addr, MEM_READ) == PGM_RESOLVED);
		mode_set(page, 1, to);
		bool is_ram = to == PGM_ROM_READ_RAM || to == PGM_ROM_READ_RAM_WRITE_RAM;
		uint8_t expected = is_ram ? 0x99 : image[PAGES(page)];
		EXPECT(touch(addr, MEM_READ) == PGM_RESOLVED);
		EXPECT(read_byte(addr) == expected && *nested_byte(addr) == expected);
		static const enum pgm_outcome writes[] = { PGM_DENIED, PGM_EMULATE, PGM_DENIED,
							   PGM_RESOLVED };
		EXPECT(touch(addr, MEM_WRITE) == writes[to]);
		EXPECT(nested(addr).can_write == (to == PGM_ROM_READ_RAM_WRITE_RAM));
	}
}

TEST(pgm_rom_shadow, a_mode_is_set_for_exactly_its_range)
{
	rom_set_up(&slat_npt);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		EXPECT(touch(ROM + PAGES(i), MEM_READ) == PGM_RESOLVED);
	mode_set(1, 2, PGM_ROM_READ_RAM);
	EXPECT(nested(ROM).is_present && nested(ROM + PAGES(3)).is_present);
	EXPECT(!nested(ROM + PAGES(1)).is_present);
	EXPECT(nested(ROM + PAGES(2)).is_present); /* both of its halves are the zero page */
	EXPECT(read_byte(ROM + PAGES(1) - 1) == image[PAGES(1) - 1]);
	EXPECT(read_byte(ROM + PAGES(1)) == 0 && read_byte(ROM + PAGES(3) - 1) == 0);
	EXPECT(read_byte(ROM + PAGES(3)) == image[PAGES(3)]);
	/* Refused, without effect, unless it is whole pages, all of shadowed ROM. */
	gpa_t rom = gpa(ROM);
	EXPECT(pgm_rom_mode_set(pgm, rom, PAGES(5), PGM_ROM_READ_RAM) == Q_STATE);
	EXPECT(pgm_rom_mode_set(pgm, gpa(ROM - PAGE_SIZE), PAGES(2), PGM_ROM_READ_RAM) == Q_STATE);
	EXPECT(pgm_rom_mode_set(pgm, gpa(0x1000), PAGES(1), PGM_ROM_READ_RAM) == Q_STATE);
	EXPECT(pgm_rom_mode_set(pgm, rom, 0, PGM_ROM_READ_RAM) == Q_INVALID);
	EXPECT(pgm_rom_mode_set(pgm, gpa(ROM + 1), PAGES(1), PGM_ROM_READ_RAM) == Q_INVALID);
	EXPECT(pgm_rom_mode_set(pgm, rom, PAGES(1), (enum pgm_rom_mode)4) == Q_INVALID);
	EXPECT(pgm_rom_mode_set(pgm, gpa(PGM_GPA_LIMIT), PAGES(1), PGM_ROM_READ_RAM) == Q_RANGE);
	EXPECT(read_byte(ROM) == image[0]);
	check();
}

/* The handler belongs to the address, not to a half. */
TEST(pgm_rom_shadow, a_handler_stays_when_halves_swap)
{
	rom_set_up(&slat_npt);
	EXPECT(pgm_handler_add(pgm, gpa(ROM), PAGES(1), PGM_HANDLER_WRITE, 5) == Q_OK);
	check();
	for (unsigned mode = 0; mode < 4; mode++) {
		uint8_t byte = (uint8_t)(0x50 + mode);
		mode_set(0, 1, (enum pgm_rom_mode)mode);
		EXPECT(touch(ROM, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == 5);
		EXPECT(touch(ROM, MEM_READ) == PGM_RESOLVED && !nested(ROM).can_write);
		q_status_t status = pgm_handler_write(pgm, gpa(ROM), &byte, 1, NULL);
		EXPECT(status == (mode % 2 ? Q_OK : Q_RANGE));
	}
	EXPECT(read_byte(ROM) == 0x53);
	EXPECT(pgm_handler_remove(pgm, gpa(ROM), PAGES(1)) == Q_OK);
	EXPECT(touch(ROM, MEM_WRITE) == PGM_RESOLVED);
}

/* --- what it costs ------------------------------------------------------------------------- */

TEST(pgm_rom_shadow, the_shadow_costs_what_was_written)
{
	image_fill();
	set_up(&slat_npt, MIB(4));
	uint64_t base = accounts().allocated[GMM_BASE], handy = stats().handy;
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(ROM), image, sizeof(image)) == Q_OK);
	/* One page of the image is all zero. */
	EXPECT(accounts().allocated[GMM_BASE] == base + ROM_PAGES - 1);
	EXPECT(stats().rom == ROM_PAGES - 1 && stats().rom_shadow == 0);
	mode_set(0, ROM_PAGES, PGM_ROM_READ_RAM_WRITE_RAM);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		EXPECT(touch(ROM + PAGES(i), MEM_READ) == PGM_RESOLVED && read_byte(ROM) == 0);
	EXPECT(stats().rom_shadow == 0 && stats().private_pages == 0);
	EXPECT(touch(ROM + PAGES(1), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(page_is_all(nested_byte(ROM + PAGES(1)), 0));
	write_byte(ROM + PAGES(2), 1);
	EXPECT(stats().rom_shadow == 2 && stats().handy == handy - 2);
	EXPECT(stats().private_pages == 0 && stats().zero == stats().pages);
}

TEST(pgm_rom_shadow, a_reset_frees_the_shadow_and_reads_rom)
{
	rom_set_up(&slat_npt);
	struct gmm_vm_stats before = accounts();
	mode_set(0, ROM_PAGES, PGM_ROM_READ_ROM_WRITE_RAM);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		write_byte(ROM + PAGES(i), 0x99);
	mode_set(1, 1, PGM_ROM_READ_RAM_WRITE_RAM);
	mode_set(2, 1, PGM_ROM_READ_RAM);
	mode_set(3, 1, PGM_ROM_READ_ROM);
	pgm_reset(pgm);
	check();
	EXPECT(reads_as_image() && stats().rom_shadow == 0 && stats().rom == ROM_PAGES - 1);
	EXPECT(accounts().allocated[GMM_BASE] == before.allocated[GMM_BASE] - PGM_HANDY_MAX);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		EXPECT(touch(ROM + PAGES(i), MEM_WRITE) == PGM_DENIED);
	mode_set(0, ROM_PAGES, PGM_ROM_READ_RAM);
	for (unsigned i = 0; i < ROM_PAGES; i++)
		EXPECT(read_byte(ROM + PAGES(i)) == 0);
}

/* Larger than the allowance of plain ROM, and across every kind of block. */
TEST(pgm_rom_shadow, a_large_one_anywhere_has_its_own_promise)
{
	const uint64_t pages = 300, start = GIB(8) - PAGES(150);
	uint8_t *large = malloc(PAGES(pages));

	memset(large, 0x21, PAGES(pages));
	set_up(&slat_ept, MIB(4));
	/* The allowance of plain ROM is used up. */
	EXPECT(pgm_rom_add(pgm, gpa(GIB(12) - PAGE_SIZE), large, PAGES(PGM_ROM_PAGES)) == Q_OK);
	EXPECT(touch(GIB(12), MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(GIB(12) - 1, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(start), large, PAGES(pages)) == Q_OK);
	check();
	mode_set((start - ROM) / PAGE_SIZE, pages, PGM_ROM_READ_RAM_WRITE_RAM);
	for (unsigned i = 0; i < pages; i++) {
		if (pgm_handy_is_low(pgm))
			EXPECT(pgm_handy_refill(pgm) == Q_OK);
		struct pgm_fault fault = { .addr = gpa(start + PAGES(i)), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	}
	check();
	EXPECT(stats().rom_shadow == pages && stats().rom == pages + PGM_ROM_PAGES);
	/* There still are pages and tables for all RAM, and the stock can be full. */
	for (uint64_t addr = 0; addr < MIB(4); addr += PAGE_SIZE) {
		if (pgm_handy_is_low(pgm))
			EXPECT(pgm_handy_refill(pgm) == Q_OK);
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(pgm, &fault) ==
		       (addr < 0xa0000 || addr >= MIB(1) ? PGM_RESOLVED : PGM_MMIO));
	}
	EXPECT(pgm_handy_refill(pgm) == Q_OK && stats().handy == PGM_HANDY_MAX);
	check();
	free(large);
}

TEST(pgm_rom_shadow, bad_places_are_refused)
{
	rom_set_up(&slat_npt);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(ROM), image, PAGES(1)) == Q_CONFLICT);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0x9f000), image, PAGES(2)) == Q_CONFLICT);
	EXPECT(pgm_rom_add(pgm, gpa(ROM), image, PAGES(1)) == Q_CONFLICT);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xc0001), image, PAGES(1)) == Q_INVALID);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xc0000), image, 0) == Q_INVALID);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(PGM_GPA_LIMIT), image, PAGES(1)) == Q_RANGE);
	check();
}

/* Adding ROM fails while the machine has `left` pages, changes nothing, and works later. */
static void failure_changes_nothing(uint64_t pages, uint64_t left)
{
	static uint8_t full[PAGES(80)];

	memset(full, 0x21, sizeof(full));
	set_up(&slat_npt, MIB(4));
	/* Use up the guarantee, so that the VM has no claim to the pages that are left. */
	for (unsigned i = 0; i < 300; i++)
		EXPECT(pgm_write(pgm, gpa(MIB(1) + PAGES(i)), "x", 1, NULL) == Q_OK);
	gmm_vm_t hog = hog_create(left);
	struct pgm_stats before = stats(), after;
	struct gmm_vm_stats gmm_before = accounts(), gmm_after;
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xa0000), full, PAGES(pages)) == Q_NO_MEMORY);
	check();
	after = stats();
	gmm_after = accounts();
	EXPECT(memcmp(&before, &after, sizeof(after)) == 0);
	EXPECT(memcmp(&gmm_before, &gmm_after, sizeof(gmm_after)) == 0);
	EXPECT(touch(0xa0000, MEM_READ) == PGM_MMIO);
	gmm_vm_destroy(hog);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xa0000), full, PAGES(pages)) == Q_OK);
	check();
	EXPECT(read_byte(0xa0000 + PAGES(pages) - 1) == 0x21);
}

TEST(pgm_rom_shadow, a_failure_changes_nothing)
{
	for (uint64_t left = 0; left < 4; left++)
		failure_changes_nothing(4, left);
	/* More than one batch: the first is allocated and given back. */
	for (uint64_t left = 63; left < 66; left++)
		failure_changes_nothing(80, left);
}

/* pgm_reserve() claims also what the ROM added to the guarantee. */
TEST(pgm_rom_shadow, its_promise_outlives_a_power_cycle)
{
	rom_set_up(&slat_npt);
	uint64_t reserved = accounts().guaranteed_base;
	memset(image, 1, PAGES(2));
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xc0000), image, PAGES(2)) == Q_OK);
	EXPECT(accounts().guaranteed_base == reserved + 2);
	pgm_unreserve(pgm);
	EXPECT(accounts().guaranteed_base == 0);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xd0000), image, PAGES(2)) == Q_STATE);
	EXPECT(pgm_reserve(pgm) == Q_OK && accounts().guaranteed_base == reserved + 2);
	check();
}

TEST(pgm_rom_shadow, goes_with_its_vm)
{
	struct gmm_stats before, after;

	machine_set_up(MIB(64));
	gmm_stats(&before);
	vm_create(config_of(&slat_npt, MIB(4)));
	image_fill();
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(ROM), image, sizeof(image)) == Q_OK);
	mode_set(0, 1, PGM_ROM_READ_ROM_WRITE_RAM);
	write_byte(ROM, 1);
	pgm_destroy(pgm);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}
