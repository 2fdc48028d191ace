/* SPDX-License-Identifier: MIT */
/*
 * A device of a guest's machine, as its bus sees it (bus.h). A device's struct begins
 * with a struct vdev. Its init function adds it to a bus and claims its ports and
 * memory there; no other file lists them.
 */
#ifndef DEVICES_VDEV_H
#define DEVICES_VDEV_H

#include <quire/bits.h>

struct bus;
struct vdev;

#define VDEV_DEADLINE_NONE (~0ull)

/*
 * The operations of a device, for its bus; NULL where the device does not need one.
 * `now` is the time in guest TSC ticks. Only the low `size` bytes of a value
 * may be other than zero (vdev_bytes).
 */
struct vdev_ops {
	const char *name;
	/* The machine is reset. The bus has stopped all timers. */
	void (*reset)(struct vdev *dev, uint64_t now);
	/* The deadline has come. It must be set again, or stopped (bus_timer_set). */
	void (*timer)(struct vdev *dev, uint64_t now);
	/* A claimed port. `size` is 1; for ports claimed as BUS_WHOLE also 2 or 4. */
	uint32_t (*port_read)(struct vdev *dev, uint16_t port, unsigned size, uint64_t now);
	void (*port_write)(struct vdev *dev, uint16_t port, unsigned size, uint32_t value,
			   uint64_t now);
	/* 1, 2, 4 or 8 bytes at any offset in a claimed page. */
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
