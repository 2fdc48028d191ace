/* SPDX-License-Identifier: MIT */
/*
 * Device memory: RAM that belongs to a device (a frame buffer, a shared window)
 * and that the guest sees at an address which it may change. The design is in
 * pgm_device.c. A device goes with its VM.
 */
#ifndef MM_PGM_PGM_DEVICE_H
#define MM_PGM_PGM_DEVICE_H

#include <quire/addr.h>
#include <quire/status.h>

struct pgm;
struct pgm_device;

/*
 * Memory for one more device, all zero, mapped nowhere; admitted and allocated
 * here, once and for all. Q_INVALID: not whole pages; Q_LIMIT: too large, or too
 * many devices; Q_STATE: the VM is unreserved; Q_DECLINED, Q_NO_MEMORY.
 */
q_status_t pgm_device_add(struct pgm *pgm, uint64_t size_bytes,
			  struct pgm_device **out_device) Q_MUST_USE;

/* The device's own view of one of its pages; never goes away, and is not tracked. */
void *pgm_device_page(struct pgm *pgm, const struct pgm_device *device, uint64_t index);

/*
 * Puts it at `start`. Q_STATE: it is mapped; Q_INVALID, Q_RANGE, Q_CONFLICT: there
 * is something; Q_LIMIT: no room for one more region.
 */
q_status_t pgm_device_map(struct pgm *pgm, struct pgm_device *device, gpa_t start) Q_MUST_USE;
/* Q_STATE: it is not mapped, or has handlers. No vCPU may be in the guest. */
q_status_t pgm_device_unmap(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;

/* Which pages the guest, or pgm_write(), writes from now on. Q_STATE: is so already. */
q_status_t pgm_device_track_start(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;
q_status_t pgm_device_track_stop(struct pgm *pgm, struct pgm_device *device) Q_MUST_USE;

/*
 * One bit for each page of [first, first + count), set if the page was written
 * since the last call or the start of tracking, and forgets them in the same
 * step. Q_STATE: nobody tracks; Q_RANGE.
 */
q_status_t pgm_device_dirty_take(struct pgm *pgm, struct pgm_device *device, uint64_t first,
				 uint64_t count, uint64_t *out_bitmap) Q_MUST_USE;

#endif
