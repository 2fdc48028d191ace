/* SPDX-License-Identifier: MIT */
/*
 * How a CPU translates by nested tables, written from the manuals alone. It shares
 * nothing with slat_npt.c and slat_ept.c: it reads fake RAM by machine address and
 * knows bits by number.
 *
 * NPT: APM vol. 2, "4-Kbyte Page Translation", "2-Mbyte Page Translation",
 * "Nested Paging". EPT: SDM vol. 3, "EPT Translation Mechanism", formats of
 * EPT entries, "EPT Misconfigurations".
 */
#ifndef TESTS_HOST_NESTED_WALK_H
#define TESTS_HOST_NESTED_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/seam.h"

struct nested_result {
	bool is_malformed; /* a reserved bit is set, or a CPU would refuse the entry */
	bool is_present;
	bool can_read, can_write, can_execute;
	bool is_large;
	uint64_t machine; /* address of the guest-physical byte */
};

static inline uint64_t nested_bits(uint64_t word, unsigned high, unsigned low)
{
	return (word >> low) & ((2ull << (high - low)) - 1);
}

static inline uint64_t nested_entry(uint64_t table, uint64_t guest, unsigned level)
{
	const uint64_t *entries = fake_ram_peek((hpa_t){ table });
	return entries[nested_bits(guest, 20 + 9 * (level - 1), 12 + 9 * (level - 1))];
}

static inline struct nested_result nested_walk_npt(uint64_t root, uint64_t guest)
{
	struct nested_result result = { .can_read = true, .can_write = true, .can_execute = true };
	uint64_t table = root;

	for (unsigned level = 4;; level--) {
		uint64_t entry = nested_entry(table, guest, level);
		uint64_t address = nested_bits(entry, 51, 12) << 12;
		if (nested_bits(entry, 0, 0) == 0)
			return (struct nested_result){ .is_present = false };
		/* Nested paging treats guest accesses as user accesses. */
		if (nested_bits(entry, 2, 2) == 0)
			result.can_read = false;
		if (nested_bits(entry, 1, 1) == 0)
			result.can_write = false;
		if (nested_bits(entry, 63, 63) == 1)
			result.can_execute = false;
		/* Quire must not set write-through and cache-disable. */
		if (nested_bits(entry, 4, 3) != 0)
			result.is_malformed = true;
		if (level == 1) {
			result.machine = address | nested_bits(guest, 11, 0);
			break;
		}
		if (level == 4 && nested_bits(entry, 7, 7) != 0)
			result.is_malformed = true;
		if (level <= 3 && nested_bits(entry, 7, 7) != 0) {
			if (level == 3 || nested_bits(entry, 20, 12) != 0)
				result.is_malformed = true;
			result.is_large = true;
			result.machine = (address & ~0x1fffffull) | nested_bits(guest, 20, 0);
			break;
		}
		table = address;
	}
	result.is_present = true;
	if (!result.can_read)
		result.can_write = result.can_execute = false;
	return result;
}

static inline struct nested_result nested_walk_ept(uint64_t root, uint64_t guest)
{
	struct nested_result result = { .can_read = true, .can_write = true, .can_execute = true };
	uint64_t table = root;

	for (unsigned level = 4;; level--) {
		uint64_t entry = nested_entry(table, guest, level);
		uint64_t address = nested_bits(entry, 51, 12) << 12;
		if (nested_bits(entry, 2, 0) == 0)
			return (struct nested_result){ .is_present = false };
		/* Writable but not readable. */
		if (nested_bits(entry, 1, 0) == 2)
			result.is_malformed = true;
		if (nested_bits(entry, 0, 0) == 0)
			result.can_read = false;
		if (nested_bits(entry, 1, 1) == 0)
			result.can_write = false;
		if (nested_bits(entry, 2, 2) == 0)
			result.can_execute = false;
		bool is_leaf = level == 1 || (level <= 3 && nested_bits(entry, 7, 7) == 1);
		if (is_leaf) {
			/* Write-back, and the guest's PAT not ignored. */
			if (nested_bits(entry, 5, 3) != 6 || nested_bits(entry, 6, 6) != 0)
				result.is_malformed = true;
			if (level == 3 || (level == 2 && nested_bits(entry, 20, 12) != 0))
				result.is_malformed = true;
			result.is_large = level == 2;
			unsigned offset_top = level == 2 ? 20 : 11;
			result.machine = (address & ~((2ull << offset_top) - 1)) |
					 nested_bits(guest, offset_top, 0);
			break;
		}
		if (nested_bits(entry, 6, 3) != 0 || (level == 4 && nested_bits(entry, 7, 7) != 0))
			result.is_malformed = true;
		table = address;
	}
	result.is_present = true;
	return result;
}

/*
 * Sets accessed and dirty in the leaf, as a CPU does for a write. NPT: bits 5 and 6;
 * EPT: bits 8 and 9. There must be a translation that allows the write.
 */
static inline void nested_dirty_set(uint64_t root, uint64_t guest, bool is_ept)
{
	uint64_t table = root;
	unsigned level = 4;

	for (; level > 1 && nested_bits(nested_entry(table, guest, level), 7, 7) == 0; level--)
		table = nested_bits(nested_entry(table, guest, level), 51, 12) << 12;
	uint64_t *entries = fake_ram_peek((hpa_t){ table });
	entries[nested_bits(guest, 20 + 9 * (level - 1), 12 + 9 * (level - 1))] |=
		is_ept ? 3u << 8 : 3u << 5;
}

#endif
