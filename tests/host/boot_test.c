/* SPDX-License-Identifier: MIT */
/* Reading what loaders say, good and bad, and building a memory map that can be trusted. */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "lib/error_text.h"
#include "boot/memmap.h"
#include "boot/multiboot2.h"
#include "boot/pvh.h"

#define LIMIT (1ull << 40)

static struct bootinfo info;
static struct error_text error;

static q_status_t build(const struct memmap_entry *entries, unsigned count)
{
	memset(&info, 0, sizeof(info));
	error.text[0] = 0;
	return memmap_build(entries, count, LIMIT, &info, &error);
}

static void expect_range(unsigned i, uint64_t start, uint64_t end, enum bootinfo_range_kind kind)
{
	EXPECT(i < info.range_count);
	EXPECT(info.ranges[i].start.raw == start);
	EXPECT(info.ranges[i].end.raw == end);
	EXPECT(info.ranges[i].kind == kind);
}

static void expect_sorted_and_disjoint(void)
{
	for (unsigned i = 1; i < info.range_count; i++)
		EXPECT(info.ranges[i - 1].end.raw <= info.ranges[i].start.raw);
}

/* Usable memory shrinks to whole pages, reserved memory grows to them. */
TEST(boot, usable_memory_is_rounded_inwards_and_reserved_outwards)
{
	const struct memmap_entry entries[] = {
		{ 0x100001, 0x200000, 1 },
		{ 0x400800, 0x1000, 2 },
	};
	EXPECT(build(entries, 2) == Q_OK);
	expect_range(0, 0x101000, 0x300000, BOOTINFO_USABLE);
	expect_range(1, 0x400000, 0x402000, BOOTINFO_RESERVED);
}

TEST(boot, unsorted_entries_come_out_sorted)
{
	const struct memmap_entry entries[] = {
		{ 0x200000, 0x100000, 1 },
		{ 0x0, 0x9f000, 1 },
		{ 0x100000, 0x1000, 3 },
	};
	EXPECT(build(entries, 3) == Q_OK);
	expect_range(0, 0, 0x9f000, BOOTINFO_USABLE);
	expect_range(1, 0x100000, 0x101000, BOOTINFO_ACPI);
	expect_range(2, 0x200000, 0x300000, BOOTINFO_USABLE);
}

TEST(boot, usable_memory_that_overlaps_anything_is_refused_by_name)
{
	const struct memmap_entry usable[] = { { 0x100000, 0x100000, 1 }, { 0x1ff000, 0x2000, 1 } };
	EXPECT(build(usable, 2) == Q_INVALID);
	EXPECT(strstr(error.text, "0x1ff000") && strstr(error.text, "0x100000") &&
	       strstr(error.text, "overlaps"));
	const struct memmap_entry reserved[] = { { 0x100000, 0x100000, 2 },
						 { 0x0, 0x100001000, 1 } };
	EXPECT(build(reserved, 2) == Q_INVALID);
	/* Neighbours at either edge do not overlap. */
	const struct memmap_entry neighbours[] = { { 0x100000, 0x100000, 1 },
						   { 0x200000, 0x1000, 2 },
						   { 0xff000, 0x1000, 2 } };
	EXPECT(build(neighbours, 3) == Q_OK);
}

TEST(boot, reserved_ranges_may_lie_over_each_other)
{
	const struct memmap_entry entries[] = {
		{ 0x100000, 0x1000, 2 },
		{ 0x300000, 0x1000, 3 },
		{ 0x100000, 0x300000, 2 },
		{ 0x800000, 0x1000, 1 },
	};
	EXPECT(build(entries, 4) == Q_OK);
	EXPECT(info.range_count == 2);
	expect_range(0, 0x100000, 0x400000, BOOTINFO_RESERVED);
}

TEST(boot, absurd_sizes_end_where_memory_can_end)
{
	const struct memmap_entry entries[] = {
		{ 0x100000, ~0ull, 1 },
		{ ~0ull - 10, 100, 1 },
		{ LIMIT, 0x1000, 1 },
		{ 0x5000, 0, 1 },
	};
	EXPECT(build(entries, 4) == Q_OK);
	EXPECT(info.range_count == 1);
	expect_range(0, 0x100000, LIMIT, BOOTINFO_USABLE);
}

TEST(boot, a_map_without_usable_memory_is_refused)
{
	const struct memmap_entry entries[] = { { 0x100000, 0x1000, 2 }, { 0x200800, 0x7ff, 1 } };
	EXPECT(build(entries, 2) == Q_NO_MEMORY);
	EXPECT(build(entries, 0) == Q_NO_MEMORY);
}

TEST(boot, claims_split_usable_memory_and_conflict_with_each_other)
{
	const struct memmap_entry entries[] = { { 0x100000, 0x300000, 1 } };
	EXPECT(build(entries, 1) == Q_OK);
	EXPECT(memmap_claim(&info, hpa(0x200000), hpa(0x200800), BOOTINFO_MODULE, &error) == Q_OK);
	expect_range(0, 0x100000, 0x200000, BOOTINFO_USABLE);
	expect_range(1, 0x200000, 0x201000, BOOTINFO_MODULE);
	expect_range(2, 0x201000, 0x400000, BOOTINFO_USABLE);
	EXPECT(memmap_claim(&info, hpa(0x100000), hpa(0x200000), BOOTINFO_QUIRE, &error) == Q_OK);
	expect_sorted_and_disjoint();
	EXPECT(info.range_count == 3);
}

static void expect_refused_claim(uint64_t start, uint64_t end, const char *why)
{
	EXPECT(memmap_claim(&info, hpa(start), hpa(end), BOOTINFO_MODULE, &error) == Q_CONFLICT);
	assert_string_equal(error.text, why);
}

TEST(boot, a_claim_of_memory_that_is_not_free_is_refused_with_what_is_there)
{
	const struct memmap_entry entries[] = { { 0x100000, 0x300000, 1 },
						{ 0x500000, 0x1000, 2 },
						{ 0x600000, 0x1000, 3 } };
	EXPECT(build(entries, 3) == Q_OK);
	EXPECT(memmap_claim(&info, hpa(0x200000), hpa(0x200800), BOOTINFO_MODULE, &error) == Q_OK);
	EXPECT(memmap_claim(&info, hpa(0x100000), hpa(0x101000), BOOTINFO_QUIRE, &error) == Q_OK);
	expect_refused_claim(0x200fff, 0x202000,
			     "memory [0x200000, 0x202000) is not free: another module is at "
			     "[0x200000, 0x201000)");
	expect_refused_claim(0x100800, 0x100801,
			     "memory [0x100000, 0x101000) is not free: Quire is at "
			     "[0x100000, 0x101000)");
	expect_refused_claim(0x3ff000, 0x401000,
			     "memory [0x3ff000, 0x401000) is not free: it goes beyond usable "
			     "memory at [0x201000, 0x400000)");
	expect_refused_claim(0x4ff000, 0x501000,
			     "memory [0x4ff000, 0x501000) is not free: the firmware reserves "
			     "[0x500000, 0x501000)");
	expect_refused_claim(0x600000, 0x602000,
			     "memory [0x600000, 0x602000) is not free: the firmware's ACPI data is "
			     "at [0x600000, 0x601000)");
	expect_refused_claim(0x900000, 0x901000,
			     "memory [0x900000, 0x901000) is not free: the memory map does not "
			     "list it");
}

TEST(boot, take_gives_the_highest_memory_below_the_limit)
{
	const struct memmap_entry entries[] = { { 0x100000, 0x300000, 1 },
						{ 0x100000000, 0x1000000, 1 } };
	hpa_t start;
	EXPECT(build(entries, 2) == Q_OK);
	EXPECT(memmap_largest(&info, hpa(1ull << 32)) == 0x300000);
	EXPECT(memmap_take(&info, 0x1001, hpa(1ull << 32), &start) == Q_OK);
	EXPECT(start.raw == 0x3fe000);
	EXPECT(memmap_take(&info, 0x300000, hpa(1ull << 32), &start) == Q_NO_MEMORY);
	EXPECT(memmap_largest(&info, hpa(1ull << 32)) == 0x2fe000);
	EXPECT(memmap_largest(&info, hpa(0x200000)) == 0x100000);
	EXPECT(memmap_largest(&info, hpa(0x100000)) == 0);
	EXPECT(memmap_largest(&info, hpa(~0ull)) == 0x1000000);
	EXPECT(memmap_take(&info, 0x2fe000, hpa(1ull << 32), &start) == Q_OK);
	EXPECT(start.raw == 0x100000);
	EXPECT(memmap_largest(&info, hpa(1ull << 32)) == 0);
	EXPECT(memmap_end(&info).raw == 0x101000000);
	expect_sorted_and_disjoint();
}

/* --- multiboot2 --------------------------------------------------------------------- */

static struct boot_raw raw;
static uint8_t block[4096] __attribute__((aligned(8)));
static uint32_t block_bytes;

static void put32(uint32_t value)
{
	memcpy(block + block_bytes, &value, 4);
	block_bytes += 4;
}

static void put64(uint64_t value)
{
	put32((uint32_t)value);
	put32((uint32_t)(value >> 32));
}

static void put_text(const char *text)
{
	memcpy(block + block_bytes, text, strlen(text) + 1);
	block_bytes += (uint32_t)strlen(text) + 1;
	block_bytes = (block_bytes + 7) & ~7u;
}

static void put_map(void)
{
	put32(6);
	put32(16 + 24);
	put32(24);
	put32(0);
	put64(0x100000);
	put64(0x1000000);
	put64(1);
}

static void block_begin(void)
{
	memset(block, 0, sizeof(block));
	block_bytes = 8;
}

static q_status_t block_read(void)
{
	put32(0);
	put32(8);
	memcpy(block, &block_bytes, 4);
	return multiboot2_read(block, sizeof(block), &raw, &error);
}

TEST(boot, multiboot2_gives_map_modules_and_command_line)
{
	block_begin();
	put32(1);
	put32(8 + 14);
	put_text("exit=poweroff");
	put32(3);
	put32(16 + 11);
	put32(0x200000);
	put32(0x201234);
	put_text("quire.conf");
	put_map();
	EXPECT(block_read() == Q_OK);
	assert_string_equal(raw.command_line, "exit=poweroff");
	EXPECT(raw.module_count == 1 && raw.modules[0].end == 0x201234);
	assert_string_equal(raw.modules[0].text, "quire.conf");
	EXPECT(raw.entry_count == 1 && raw.entries[0].size_bytes == 0x1000000);
}

TEST(boot, multiboot2_lies_about_sizes_are_refused_with_their_place)
{
	const uint32_t sizes[] = { 0, 7, 4096, ~0u };
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		block_begin();
		put32(1);
		put32(sizes[i]);
		EXPECT(block_read() == Q_INVALID);
		EXPECT(strstr(error.text, "at byte 8: a tag of") &&
		       strstr(error.text, " bytes, must be 8 to 16"));
	}
	uint32_t total = sizeof(block) + 1;
	memcpy(block, &total, 4);
	EXPECT(multiboot2_read(block, sizeof(block), &raw, &error) == Q_INVALID);
	assert_string_equal(error.text, "multiboot2 information: a total of 4097 bytes, must be 8 "
					"to 4096");

	block_begin();
	EXPECT(block_read() == Q_INVALID); /* no memory map */
	block_begin();
	put32(3);
	put32(16);
	put32(0x2000);
	put32(0x1000);
	EXPECT(block_read() == Q_INVALID); /* a module that ends before it starts */
}

/* Every truncation of a good block is read or refused, but never read beyond its end. */
TEST(boot, multiboot2_survives_every_truncation)
{
	block_begin();
	put_map();
	put32(1);
	put32(8 + 5);
	put_text("a=bc");
	EXPECT(block_read() == Q_OK);
	for (uint32_t size = 0; size < block_bytes; size++) {
		uint8_t *exact =
			malloc(size + !size); /* exactly: sanitizers notice a read beyond */
		memcpy(exact, block, size);
		if (size >= 4)
			memcpy(exact, &size, 4);
		q_status_t status = multiboot2_read(exact, size, &raw, &error);
		EXPECT(status == Q_OK || status == Q_INVALID);
		free(exact);
	}
}

/* --- PVH ---------------------------------------------------------------------------- */

static const void *map_block(uint64_t address, uint64_t size_bytes)
{
	if (address < 0x1000 || address > 0x1000 + sizeof(block) ||
	    size_bytes > 0x1000 + sizeof(block) - address)
		return NULL;
	return block + (address - 0x1000);
}

/* start_info at 0x1000, one module at +0x100, one map entry at +0x200, texts at +0x300. */
static void pvh_block(void)
{
	block_begin();
	block_bytes = 0;
	put32(0x336ec578);
	put32(1);
	put32(0);
	put32(1);
	put64(0x1100);
	put64(0x1300);
	put64(0xf5a20);
	put64(0x1200);
	put32(1);
	put32(0);
	block_bytes = 0x100;
	put64(0x800000);
	put64(0x4321);
	put64(0x1300);
	block_bytes = 0x200;
	put64(0);
	put64(0x8000000);
	put32(1);
	block_bytes = 0x300;
	put_text("log=info");
}

TEST(boot, pvh_gives_map_modules_command_line_and_rsdp)
{
	pvh_block();
	EXPECT(pvh_read(0x1000, map_block, &raw, &error) == Q_OK);
	assert_string_equal(raw.command_line, "log=info");
	EXPECT(raw.rsdp == 0xf5a20);
	EXPECT(raw.module_count == 1 && raw.modules[0].end == 0x804321);
	EXPECT(raw.entry_count == 1 && raw.entries[0].size_bytes == 0x8000000);
}

TEST(boot, pvh_pointers_to_nowhere_are_refused)
{
	pvh_block();
	EXPECT(pvh_read(0x500, map_block, &raw, &error) == Q_INVALID);
	const unsigned offsets[] = { 0, 16, 40 }; /* magic, modules, memory map */
	for (unsigned i = 0; i < 3; i++) {
		pvh_block();
		memset(block + offsets[i], 0xff, 4);
		EXPECT(pvh_read(0x1000, map_block, &raw, &error) == Q_INVALID);
	}
	pvh_block();
	memset(block + 0x108, 0xff, 8); /* the module's size */
	EXPECT(pvh_read(0x1000, map_block, &raw, &error) == Q_INVALID);
}
