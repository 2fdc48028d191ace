/* SPDX-License-Identifier: MIT */
/*
 * A device of a guest's machine, as its bus sees it (bus.h). A device's struct
 * begins with a struct vdev. Its init function puts it on a bus and claims its
 * ports and memory there; nothing outside the device's file lists them.
 */
#ifndef DEVICES_VDEV_H
#define DEVICES_VDEV_H

#include <quire/bits.h>

struct bus;
struct vdev;

#define VDEV_DEADLINE_NONE (~0ull)

/*
 * What a bus asks of a device. An operation that a device has no use for is NULL.
 * `now` is the time in guest TSC ticks. Values have `size` bytes; the bytes above are
 * zero (vdev_bytes).
 */
struct vdev_ops {
	const char *name;
	/* The reset line. All timers are stopped. */
	void (*reset)(struct vdev *dev, uint64_t now);
	/* The deadline has come; it stays until it is set again (bus_timer_set). */
	void (*timer)(struct vdev *dev, uint64_t now);
	/* A claimed port; `size` is 1, or also 2 and 4 for ports claimed as BUS_WHOLE. */
	uint32_t (*port_read)(struct vdev *dev, uint16_t port, unsigned size, uint64_t now);
	void (*port_write)(struct vdev *dev, uint16_t port, unsigned size, uint32_t value,
			   uint64_t now);
	/* 1, 2, 4 or 8 bytes at any offset within a claimed page. */
	uint64_t (*memory_read)(struct vdev *dev, unsigned offset, unsigned size, uint64_t now);
	void (*memory_write)(struct vdev *dev, unsigned offset, unsigned size, uint64_t value,
			     uint64_t now);
	/* Asserts the device's invariants. */
	void (*check)(const struct vdev *dev);
};

struct vdev {
	const struct vdev_ops *ops;
	struct bus *bus;
	unsigned slot; /* on the bus */
};

/* The low `size` bytes of `value`. */
static inline uint64_t vdev_bytes(uint64_t value, unsigned size)
{
	return size < 8 ? value & (BIT64(8 * size) - 1) : value;
}

#endif
