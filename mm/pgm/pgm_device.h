/* SPDX-License-Identifier: MIT */
/*
 * Device memory: RAM that belongs to a device, such as a frame buffer or a shared
 * window. The guest sees it at an address that the guest may change. The design is
 * in pgm_device.c. A device's memory is freed with its VM.
 */
#ifndef MM_PGM_PGM_DEVICE_H
#define MM_PGM_PGM_DEVICE_H

#include <quire/addr.h>
#include <quire/status.h>

struct pgm;
struct pgm_device;

/*
 * Adds memory for one more device, all zero and mapped nowhere. Admits and allocates all
 * that the device will need. Q_INVALID: not whole pages; Q_LIMIT: too large, or too
 * many devices; Q_STATE: the VM is unreserved; Q_DECLINED, Q_NO_MEMORY.
 */
q_status_t pgm_device_add(struct pgm *pgm, uint64_t size_bytes,
			  struct pgm_device **out_device) Q_MUST_USE;

/* The device's own pointer to one of its pages. Always valid; writes through it are not tracked. */
void *pgm_device_page(struct pgm *pgm, const struct pgm_device *device, uint64_t index);

/*
 * Maps it at `start`. Q_STATE: it is mapped already; Q_INVALID, Q_RANGE; Q_CONFLICT:
 * overlaps a region; Q_LIMIT: no room for one more region.
 */
q_status_t pgm_device_map(struct pgm *pgm, struct pgm_device *device, gpa_t start) Q_MUST_USE;
/* No vCPU may be in the guest. Q_STATE: it is not mapped, or has handlers. */
q_status_t pgm_device_unmap(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;

/* From now on notes which pages the guest or pgm_write() writes. Q_STATE: it does so already. */
q_status_t pgm_device_track_start(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;
/* Q_STATE: it is not tracked. */
q_status_t pgm_device_track_stop(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;

/*
 * Returns one bit for each page of [first, first + count), set if the page was written
 * since the last call or the start of tracking, and clears what it returns in the
 * same step. Q_STATE: it is not tracked; Q_RANGE.
 */
q_status_t pgm_device_dirty_take(struct pgm *pgm, struct pgm_device *device, uint64_t first,
				 uint64_t count, uint64_t *out_bitmap) Q_MUST_USE;

#endif
