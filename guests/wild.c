/* SPDX-License-Identifier: MIT */
/*
 * Accesses addresses where nothing is, and read-only memory. Where nothing is, reads
 * must give all ones; writes must have no effect; and nothing else may happen.
 */

#include "guest.h"

#define ACPI_START 0xe0000ull
#define PATTERN    0x5a5a5a5au

static bool is_nothing(uint64_t address)
{
	volatile uint32_t *word = (volatile uint32_t *)address;

	*word = PATTERN;
	return *word == ~0u;
}

uint32_t guest_main(void)
{
	/* In the hole for PCI devices and between the fixed ones. There is no firmware. */
	static const uint64_t nowhere[] = { 0xc0000000, 0xd0000ff8, 0xe0000000, 0xf0001000,
					    0xfe000000, 0xfed40000, 0xfef00000, 0xff000000 };
	bool is_all_nothing = true;

	for (unsigned i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
		if (!is_nothing(nowhere[i])) {
			is_all_nothing = false;
			print("wild: something at ");
			print_hex(nowhere[i]);
			print("\n");
		}
	expect(is_all_nothing, "wild.nothing_there");
	expect(is_nothing(ram_end() + GUEST_PAGE_SIZE), "wild.behind_ram");

	uint64_t before = *word_at(ACPI_START);
	*word_at(ACPI_START) = ~before;
	expect(*word_at(ACPI_START) == before, "wild.read_only");

	/* Across the end of RAM: the last bytes are memory, the next are not. */
	volatile uint64_t *across = word_at(ram_end() - 4);
	*across = 0x1122334455667788ull;
	(void)*across;
	expect(*(volatile uint32_t *)(ram_end() - 8) != 0x55667788u, "wild.across_the_end");
	return failures();
}
