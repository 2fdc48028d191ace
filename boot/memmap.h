/* SPDX-License-Identifier: MIT */
/*
 * The firmware's memory map, read with distrust: clipped, sorted, checked for
 * overlaps, then carved up for the image, the modules and the boot arena. Pure.
 */
#ifndef BOOT_MEMMAP_H
#define BOOT_MEMMAP_H

#include <quire/bootinfo.h>
#include <quire/status.h>

struct error_text;

#define MEMMAP_TYPE_USABLE 1u
#define MEMMAP_TYPE_ACPI   3u

/* As firmware gives it; types as in the ACPI specification, "Address Map". */
struct memmap_entry {
	uint64_t start, size_bytes;
	uint32_t type;
};

/*
 * Fills info->ranges. Usable memory is rounded inwards to pages, everything
 * else outwards; what lies above `limit` is dropped. Q_INVALID with the two
 * entries in `error`: usable memory overlaps another entry; Q_NO_MEMORY:
 * nothing usable; Q_RANGE: too many entries.
 */
q_status_t memmap_build(const struct memmap_entry *entries, unsigned count, uint64_t limit,
			struct bootinfo *info, struct error_text *error) Q_MUST_USE;

/*
 * Turns [start, end) into `kind`; outward page rounding. Q_CONFLICT with a text:
 * part of it is taken by the image or a module already; Q_RANGE: no room for
 * more ranges.
 */
q_status_t memmap_claim(struct bootinfo *info, hpa_t start, hpa_t end,
			enum bootinfo_range_kind kind, struct error_text *error) Q_MUST_USE;

/* Takes `size_bytes` of usable memory below `limit` from the highest range that has it. */
q_status_t memmap_take(struct bootinfo *info, uint64_t size_bytes, hpa_t limit,
		       hpa_t *out_start) Q_MUST_USE;

/* The end of the highest range of usable memory or modules. */
hpa_t memmap_end(const struct bootinfo *info);

#endif
