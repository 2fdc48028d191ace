/* SPDX-License-Identifier: MIT */
/*
 * The firmware's memory map, which is not trusted: clipped, sorted and checked for
 * overlaps. Then the image, the modules and the boot arena are carved from it. Pure.
 */
#ifndef BOOT_MEMMAP_H
#define BOOT_MEMMAP_H

#include <quire/bootinfo.h>
#include <quire/status.h>

struct error_text;

#define MEMMAP_TYPE_USABLE 1u
#define MEMMAP_TYPE_ACPI   3u

/* An entry as firmware gives it. Types: ACPI specification, "Address Map". */
struct memmap_entry {
	uint64_t start, size_bytes;
	uint32_t type;
};

/*
 * Fills info->ranges. Usable memory is rounded inwards to pages, everything
 * else outwards; what lies above `limit` is dropped. Q_INVALID: usable memory
 * overlaps another entry, and `error` names both; Q_NO_MEMORY: nothing is usable;
 * Q_RANGE: more than BOOTINFO_RANGE_MAX ranges are left.
 */
q_status_t memmap_build(const struct memmap_entry *entries, unsigned count, uint64_t limit,
			struct bootinfo *info, struct error_text *error) Q_MUST_USE;

/*
 * Turns the pages that [start, end) touches into `kind`. Q_CONFLICT: they are not
 * all usable memory, because they are reserved, claimed already or not in the map;
 * Q_RANGE: no room for more ranges. `error` says why.
 */
q_status_t memmap_claim(struct bootinfo *info, hpa_t start, hpa_t end,
			enum bootinfo_range_kind kind, struct error_text *error) Q_MUST_USE;

/*
 * Takes `size_bytes` of usable memory below `limit` from the highest range that has it, and
 * marks them BOOTINFO_QUIRE. Q_NO_MEMORY: no range has it; Q_RANGE: no room for more ranges.
 */
q_status_t memmap_take(struct bootinfo *info, uint64_t size_bytes, hpa_t limit,
		       hpa_t *out_start) Q_MUST_USE;

/* The most that memmap_take() could take below `limit`. */
uint64_t memmap_largest(const struct bootinfo *info, hpa_t limit);

/* The end of the highest range whose kind is USABLE, QUIRE or MODULE. */
hpa_t memmap_end(const struct bootinfo *info);

#endif
