/* SPDX-License-Identifier: MIT */
/* Builds the memory map in info->ranges, which stay sorted and disjoint, and carves it up. */
#include "memmap.h"

#include <quire/assert.h>
#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/string.h"

static enum bootinfo_range_kind kind_of(uint32_t type)
{
	switch (type) {
	case MEMMAP_TYPE_USABLE: return BOOTINFO_USABLE;
	case MEMMAP_TYPE_ACPI: return BOOTINFO_ACPI;
	default: return BOOTINFO_RESERVED;
	}
}

/* Turns an entry into whole pages below `limit`. False: no page is left. */
static bool clip(const struct memmap_entry *entry, uint64_t limit, struct bootinfo_range *out_range)
{
	uint64_t start = entry->start, end = start + entry->size_bytes;
	if (end < start)
		end = limit; /* the end wraps around: take all that can be memory */
	if (entry->type == MEMMAP_TYPE_USABLE) {
		if (start > ~0ull - PAGE_MASK)
			return false;
		start = align_up(start, PAGE_SIZE);
	} else if (end < ~0ull - PAGE_MASK) {
		end = align_up(end, PAGE_SIZE);
	}
	start = align_down(start, PAGE_SIZE);
	end = align_down(end, PAGE_SIZE);
	if (end > limit)
		end = limit;
	if (start >= end)
		return false;
	*out_range = (struct bootinfo_range){ hpa(start), hpa(end), kind_of(entry->type) };
	return true;
}

static bool overlaps(const struct bootinfo_range *a, const struct bootinfo_range *b)
{
	return a->start.raw < b->end.raw && b->start.raw < a->end.raw;
}

/* Inserts at `position`, where the order must allow it. False: the table is full. */
static bool insert(struct bootinfo *info, unsigned position, struct bootinfo_range range)
{
	if (info->range_count == BOOTINFO_RANGE_MAX)
		return false;
	memmove(&info->ranges[position + 1], &info->ranges[position],
		(info->range_count - position) * sizeof(range));
	info->ranges[position] = range;
	info->range_count++;
	return true;
}

static void remove_at(struct bootinfo *info, unsigned position)
{
	info->range_count--;
	memmove(&info->ranges[position], &info->ranges[position + 1],
		(info->range_count - position) * sizeof(info->ranges[0]));
}

static unsigned position_for(const struct bootinfo *info, hpa_t start)
{
	unsigned i = 0;
	while (i < info->range_count && info->ranges[i].start.raw < start.raw)
		i++;
	return i;
}

/*
 * Adds a range. Reserved ranges may overlap each other: some firmware lists such
 * ranges, and they do no harm. Usable memory must not overlap anything.
 */
static q_status_t add(struct bootinfo *info, struct bootinfo_range range, struct error_text *error)
{
	for (unsigned i = 0; i < info->range_count;) {
		struct bootinfo_range *old = &info->ranges[i];
		if (!overlaps(old, &range)) {
			i++;
			continue;
		}
		if (old->kind == BOOTINFO_USABLE || range.kind == BOOTINFO_USABLE) {
			return refuse(
				error, Q_INVALID,
				"memory map: [%#llx, %#llx) overlaps [%#llx, %#llx), and one of "
				"them is usable memory",
				(unsigned long long)range.start.raw,
				(unsigned long long)range.end.raw,
				(unsigned long long)old->start.raw,
				(unsigned long long)old->end.raw);
		}
		/* Neither is usable, so one reserved range replaces both. */
		if (old->start.raw < range.start.raw)
			range.start = old->start;
		if (old->end.raw > range.end.raw)
			range.end = old->end;
		range.kind = BOOTINFO_RESERVED;
		remove_at(info, i);
		i = 0;
	}
	if (insert(info, position_for(info, range.start), range))
		return Q_OK;
	return refuse(error, Q_RANGE, "memory map: more than %u ranges", BOOTINFO_RANGE_MAX);
}

q_status_t memmap_build(const struct memmap_entry *entries, unsigned count, uint64_t limit,
			struct bootinfo *info, struct error_text *error)
{
	bool has_usable = false;
	info->range_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct bootinfo_range range;
		if (!clip(&entries[i], limit, &range))
			continue;
		q_status_t status = add(info, range, error);
		if (status != Q_OK)
			return status;
		has_usable |= range.kind == BOOTINFO_USABLE;
	}
	if (has_usable)
		return Q_OK;
	return refuse(error, Q_NO_MEMORY, "memory map: no usable memory in %u entries", count);
}

/* Turns [start, end) of range `position` into `kind`. False: no room for the ranges around it. */
static bool carve(struct bootinfo *info, unsigned position, hpa_t start, hpa_t end,
		  enum bootinfo_range_kind kind)
{
	struct bootinfo_range old = info->ranges[position];
	if (info->range_count + 2 > BOOTINFO_RANGE_MAX)
		return false;
	info->ranges[position] = (struct bootinfo_range){ start, end, kind };
	if (old.start.raw < start.raw)
		insert(info, position, (struct bootinfo_range){ old.start, start, old.kind });
	if (end.raw < old.end.raw)
		insert(info, position_for(info, end),
		       (struct bootinfo_range){ end, old.end, old.kind });
	return true;
}

/* Refuses to claim `wanted`: `range` overlaps it and is not usable, or does not contain it. */
static q_status_t refuse_claim(const struct bootinfo_range *wanted,
			       const struct bootinfo_range *range, struct error_text *error)
{
	static const char *const why[] = {
		[BOOTINFO_USABLE] = "it goes beyond usable memory at",
		[BOOTINFO_RESERVED] = "the firmware reserves",
		[BOOTINFO_ACPI] = "the firmware's ACPI data is at",
		[BOOTINFO_QUIRE] = "Quire is at",
		[BOOTINFO_MODULE] = "another module is at",
	};
	return refuse(error, Q_CONFLICT, "memory [%#llx, %#llx) is not free: %s [%#llx, %#llx)",
		      (unsigned long long)wanted->start.raw, (unsigned long long)wanted->end.raw,
		      why[range->kind], (unsigned long long)range->start.raw,
		      (unsigned long long)range->end.raw);
}

q_status_t memmap_claim(struct bootinfo *info, hpa_t start, hpa_t end,
			enum bootinfo_range_kind kind, struct error_text *error)
{
	Q_ASSERT(start.raw < end.raw);
	start = hpa(align_down(start.raw, PAGE_SIZE));
	end = hpa(align_up(end.raw, PAGE_SIZE));
	for (unsigned i = 0; i < info->range_count; i++) {
		struct bootinfo_range range = info->ranges[i];
		struct bootinfo_range wanted = { start, end, kind };
		if (!overlaps(&range, &wanted))
			continue;
		bool is_inside = range.start.raw <= start.raw && end.raw <= range.end.raw;
		if (range.kind != BOOTINFO_USABLE || !is_inside)
			return refuse_claim(&wanted, &range, error);
		if (carve(info, i, start, end, kind))
			return Q_OK;
		return refuse(error, Q_RANGE, "memory map: more than %u ranges",
			      BOOTINFO_RANGE_MAX);
	}
	return refuse(error, Q_CONFLICT,
		      "memory [%#llx, %#llx) is not free: the memory map does not list it",
		      (unsigned long long)start.raw, (unsigned long long)end.raw);
}

/* The bytes of a range that are usable and below `limit`. */
static uint64_t usable_below(const struct bootinfo_range *range, hpa_t limit)
{
	if (range->kind != BOOTINFO_USABLE || range->start.raw >= limit.raw)
		return 0;
	return uint64_min(range->end.raw, limit.raw) - range->start.raw;
}

q_status_t memmap_take(struct bootinfo *info, uint64_t size_bytes, hpa_t limit, hpa_t *out_start)
{
	size_bytes = align_up(size_bytes, PAGE_SIZE);
	for (unsigned i = info->range_count; i-- > 0;) {
		const struct bootinfo_range *range = &info->ranges[i];
		uint64_t usable_bytes = usable_below(range, limit);
		if (usable_bytes == 0 || usable_bytes < size_bytes)
			continue;
		hpa_t end = hpa_add(range->start, usable_bytes);
		hpa_t start = hpa(end.raw - size_bytes);
		if (!carve(info, i, start, end, BOOTINFO_QUIRE))
			return Q_RANGE;
		*out_start = start;
		return Q_OK;
	}
	return Q_NO_MEMORY;
}

uint64_t memmap_largest(const struct bootinfo *info, hpa_t limit)
{
	uint64_t largest = 0;
	for (unsigned i = 0; i < info->range_count; i++) {
		uint64_t usable_bytes = usable_below(&info->ranges[i], limit);
		if (usable_bytes > largest)
			largest = usable_bytes;
	}
	return largest;
}

hpa_t memmap_end(const struct bootinfo *info)
{
	hpa_t end = hpa(0);
	for (unsigned i = 0; i < info->range_count; i++) {
		enum bootinfo_range_kind kind = info->ranges[i].kind;
		if (kind == BOOTINFO_USABLE || kind == BOOTINFO_QUIRE || kind == BOOTINFO_MODULE)
			end = info->ranges[i].end;
	}
	return end;
}
