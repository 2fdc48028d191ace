/* SPDX-License-Identifier: MIT */
/*
 * Device memory: pages that a device owns and a guest may see.
 *
 * They are kernel pages of the FIXED account, not private pages of the BASE
 * account, for three reasons. A device's model reads and writes them all the time,
 * by pointer. They are never moved, shared or ballooned. And there must be memory
 * when the guest turns the device on, so they are allocated at admission. The price:
 * unlike the guest's RAM, their content is permanently mapped in Quire
 * (docs/decisions/0010-device-memory.md).
 *
 * The records of a device lie on its shelf, or in the map while it is mapped; never
 * in both. Moving a device is rare and drops all nested tables, which faults make
 * again. So tables for earlier places never add up, however often a guest moves a
 * device, and the promise made at admission is enough for any one place. Record
 * pages of the earlier place that are empty also go.
 *
 * Tracking writes: each page is MONITORED, which makes it read-only; the first
 * write makes it NORMAL and notes that it was written. Taking the bitmap makes the
 * written pages MONITORED again.
 *
 * Invariants, asserted by pgm_check():
 *   D1  A device's record has type DEVICE, no id, and state NORMAL, or MONITORED if
 *       writes are tracked. Only a NORMAL page of a tracked device is marked as
 *       written.
 *   D2  The map has one region for each mapped device, which holds all its records;
 *       the records of the others are on their shelves.
 */
#include "mm/pgm/pgm_device.h"

#include <quire/assert.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "pgm_internal.h"
#include "pgm_transition.h"

static gfn_t device_end(const struct pgm_device *device)
{
	return gfn(device->start.raw + device->shelf->page_count);
}

struct pgm_record *pgm_device_record(const struct pgm *pgm, const struct pgm_device *device,
				     uint64_t index)
{
	if (!device->is_mapped)
		return pgm_shelf_record(device->shelf, index);
	Q_ASSERT(index < device->shelf->page_count);
	return pgm_record_find(pgm, gfn(device->start.raw + index));
}

void *pgm_device_page(struct pgm *pgm, const struct pgm_device *device, uint64_t index)
	Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	struct pgm_record record = *pgm_device_record(pgm, device, index);
	spin_unlock(&pgm->lock);
	return physmem_kernel_ptr(hfn_to_hpa(pgm_record_frame(record)));
}

/* --- add ----------------------------------------------------------------------------------- */

static void page_make(struct pgm *pgm, struct pgm_record *record)
{
	hpa_t page = hpa(0);

	/* It was promised, so GMM has a page for it. */
	q_status_t status = gmm_kernel_page_alloc(pgm->vm, GMM_FIXED, &page);
	Q_ASSERT(status == Q_OK);
	*record = pgm_record_make(PGM_TYPE_DEVICE, PGM_STATE_NORMAL, hpa_to_hfn(page), PAGE_ID_NIL);
}

static q_status_t add_locked(struct pgm *pgm, uint64_t page_count, struct pgm_device **out_device)
	Q_REQUIRES(pgm->lock)
{
	if (pgm->device_count == PGM_DEVICE_MAX)
		return Q_LIMIT;
	struct pgm_promise more = {
		.shadow = slat_tables_anywhere(page_count),
		.fixed = page_count + pgm_shelf_size(page_count) +
			 pgm_record_pages_anywhere(page_count),
	};
	q_status_t status = pgm_promise_raise(pgm, more);
	if (status != Q_OK)
		return status;
	struct pgm_device *device = &pgm->devices[pgm->device_count++];
	*device = (struct pgm_device){ .shelf = pgm_shelf_make(pgm, page_count) };
	for (uint64_t i = 0; i < page_count; i++)
		page_make(pgm, pgm_shelf_record(device->shelf, i));
	pgm->device_pages += page_count;
	*out_device = device;
	return Q_OK;
}

q_status_t pgm_device_add(struct pgm *pgm, uint64_t size_bytes, struct pgm_device **out_device)
	Q_EXCLUDES(pgm->lock)
{
	if (size_bytes == 0 || !is_aligned(size_bytes, PAGE_SIZE))
		return Q_INVALID;
	if (size_bytes >> PAGE_SHIFT > PGM_SHELF_PAGES_MAX)
		return Q_LIMIT;
	spin_lock(&pgm->lock);
	q_status_t status = add_locked(pgm, size_bytes >> PAGE_SHIFT, out_device);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- map and unmap -------------------------------------------------------------------------- */

static q_status_t map_locked(struct pgm *pgm, struct pgm_device *device, gpa_t start)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_region region = { .kind = PGM_REGION_DEVICE };

	if (device->is_mapped)
		return Q_STATE;
	q_status_t status =
		pgm_region_admit(pgm, start, device->shelf->page_count << PAGE_SHIFT, &region);
	if (status == Q_OK)
		status = pgm_record_pages_make(pgm, region.start, region.end);
	if (status != Q_OK)
		return status;
	for (uint64_t i = 0; i < device->shelf->page_count; i++) {
		struct pgm_record *shelved = pgm_shelf_record(device->shelf, i);
		*pgm_record_find(pgm, gfn(region.start.raw + i)) = *shelved;
		*shelved = (struct pgm_record){ 0 };
	}
	pgm_region_insert(pgm, region);
	device->start = region.start;
	device->is_mapped = true;
	return Q_OK;
}

q_status_t pgm_device_map(struct pgm *pgm, struct pgm_device *device, gpa_t start)
	Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = map_locked(pgm, device, start);
	spin_unlock(&pgm->lock);
	return status;
}

static bool has_handler(const struct pgm *pgm, const struct pgm_device *device)
	Q_REQUIRES(pgm->lock)
{
	for (uint64_t i = 0; i < device->shelf->page_count; i++)
		if (pgm_record_handler(*pgm_device_record(pgm, device, i)) != PGM_HANDLER_NONE)
			return true;
	return false;
}

static q_status_t unmap_locked(struct pgm *pgm, struct pgm_device *device) Q_REQUIRES(pgm->lock)
{
	gfn_t start = device->start, end = device_end(device);

	if (!device->is_mapped || has_handler(pgm, device))
		return Q_STATE;
	/* First: without tables, no dirty bit tells which pages handed out ahead are used. */
	(void)pgm_ahead_take_all(pgm);
	slat_clear(&pgm->slat);
	for (uint64_t i = 0; i < device->shelf->page_count; i++) {
		struct pgm_record *mapped = pgm_record_find(pgm, gfn(start.raw + i));
		*pgm_shelf_record(device->shelf, i) = *mapped;
		*mapped = (struct pgm_record){ 0 };
	}
	device->is_mapped = false;
	pgm_region_remove(pgm, start);
	pgm_record_pages_trim(pgm, start, end);
	return Q_OK;
}

q_status_t pgm_device_unmap(struct pgm *pgm, struct pgm_device *device) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = unmap_locked(pgm, device);
	spin_unlock(&pgm->lock);
	return status;
}

/* --- tracking -------------------------------------------------------------------------------- */

void pgm_device_note_write(struct pgm_record *record)
{
	*record = pgm_record_with_state(*record, pgm_transition_state(*record, PGM_OP_WRITE));
	record->d2 |= PGM_RECORD_WRITTEN_TO;
}

/* Starts or stops monitoring all pages, and forgets which were written. */
static void pages_set(struct pgm *pgm, struct pgm_device *device, enum pgm_operation operation)
	Q_REQUIRES(pgm->lock)
{
	for (uint64_t i = 0; i < device->shelf->page_count; i++) {
		struct pgm_record *record = pgm_device_record(pgm, device, i);
		*record = pgm_record_with_state(*record, pgm_transition_state(*record, operation));
		record->d2 &= ~PGM_RECORD_WRITTEN_TO;
	}
	if (device->is_mapped && operation == PGM_OP_MONITOR)
		slat_protect(&pgm->slat, device->start, device_end(device));
}

static q_status_t track_set(struct pgm *pgm, struct pgm_device *device, bool is_tracked)
	Q_EXCLUDES(pgm->lock)
{
	q_status_t status = Q_STATE;

	spin_lock(&pgm->lock);
	if (device->is_tracked != is_tracked) {
		device->is_tracked = is_tracked;
		pages_set(pgm, device, is_tracked ? PGM_OP_MONITOR : PGM_OP_UNMONITOR);
		status = Q_OK;
	}
	spin_unlock(&pgm->lock);
	return status;
}

q_status_t pgm_device_track_start(struct pgm *pgm, struct pgm_device *device) Q_EXCLUDES(pgm->lock)
{
	return track_set(pgm, device, true);
}

q_status_t pgm_device_track_stop(struct pgm *pgm, struct pgm_device *device) Q_EXCLUDES(pgm->lock)
{
	return track_set(pgm, device, false);
}

static bool dirty_take(struct pgm_record *record)
{
	bool is_dirty = record->d2 & PGM_RECORD_WRITTEN_TO;

	*record = pgm_record_with_state(*record, pgm_transition_state(*record, PGM_OP_MONITOR));
	record->d2 &= ~PGM_RECORD_WRITTEN_TO;
	return is_dirty;
}

static q_status_t dirty_take_locked(struct pgm *pgm, struct pgm_device *device, uint64_t first,
				    uint64_t count, uint64_t *out_bitmap) Q_REQUIRES(pgm->lock)
{
	if (!device->is_tracked)
		return Q_STATE;
	if (range_exceeds(first, count, device->shelf->page_count))
		return Q_RANGE;
	memset(out_bitmap, 0, (count + 63) / 64 * sizeof(*out_bitmap));
	for (uint64_t i = 0; i < count; i++)
		if (dirty_take(pgm_device_record(pgm, device, first + i)))
			out_bitmap[i / 64] |= BIT64(i % 64);
	if (device->is_mapped)
		slat_protect(&pgm->slat, gfn(device->start.raw + first),
			     gfn(device->start.raw + first + count));
	return Q_OK;
}

q_status_t pgm_device_dirty_take(struct pgm *pgm, struct pgm_device *device, uint64_t first,
				 uint64_t count, uint64_t *out_bitmap) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = dirty_take_locked(pgm, device, first, count, out_bitmap);
	spin_unlock(&pgm->lock);
	return status;
}
