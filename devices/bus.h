/* SPDX-License-Identifier: MIT */
/*
 * The devices of one machine: which of them answers at a port or in a page of device
 * memory, and whose timer is due next; see bus.c. Nothing in it is specific to a PC.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <quire/addr.h>

#include "vdev.h"

/* The table has the owners of the ports below this. The list of claims has all claimed ports. */
#define BUS_LOW_PORTS 0x700u
#define BUS_CLAIM_MAX 32u
#define BUS_PAGE_MAX  4u

enum bus_width {
	/* Eight bits wide: a wider access becomes one access per byte, at rising ports. */
	BUS_BYTES,
	/* The device takes an access whole if it begins here and is aligned to its size. */
	BUS_WHOLE,
};

struct bus_slot {
	struct vdev *dev;
	uint64_t deadline; /* guest TSC ticks, or VDEV_DEADLINE_NONE */
};

/* A claimed range of ports. */
struct bus_claim {
	uint16_t first, count;
	int8_t owner; /* see bus.c */
};

/* A claimed page of memory. */
struct bus_page {
	gfn_t gfn;
	struct vdev *dev;
};

struct bus {
	uint64_t next_deadline; /* the earliest of all slots */
	/* Rises when a deadline is set; devices raise it when the machine must look at them. */
	uint32_t changes;
	uint16_t device_count, slot_count;
	uint16_t timer_end; /* slots from here on have no timer */
	uint16_t claim_count, page_count;
	struct bus_slot *slots;
	struct bus_page pages[BUS_PAGE_MAX];
	struct bus_claim claims[BUS_CLAIM_MAX];
	int8_t owners[BUS_LOW_PORTS]; /* by port; 0: unclaimed */
};

/* `bus` is zeroed memory. `slots` has room for `slot_count` devices, and stays in use. */
void bus_init(struct bus *bus, struct bus_slot *slots, unsigned slot_count);

/* These are for a device's init function. Claims that overlap are an assertion. */
void bus_add(struct bus *bus, struct vdev *dev, const struct vdev_ops *ops);
void bus_ports_claim(struct bus *bus, struct vdev *dev, uint16_t first, unsigned count,
		     enum bus_width width);
void bus_memory_claim(struct bus *bus, struct vdev *dev, gfn_t page);

/* Stops all timers and resets the devices in the order in which they were added. */
void bus_reset(struct bus *bus, uint64_t now);

/* Accesses of 1, 2 or 4 bytes. An unclaimed port reads all ones and ignores writes. */
uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size, uint64_t now);
void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value, uint64_t now);

/* Accesses of 1, 2, 4 or 8 bytes. False: the access is not inside a claimed page. */
bool bus_memory_read(struct bus *bus, gpa_t addr, unsigned size, uint64_t *out_value, uint64_t now);
bool bus_memory_write(struct bus *bus, gpa_t addr, unsigned size, uint64_t value, uint64_t now);

/* Sets a device's timer; VDEV_DEADLINE_NONE stops it. */
void bus_timer_set(struct vdev *dev, uint64_t deadline);
/* Fires every timer that is due; returns the next deadline. */
uint64_t bus_advance(struct bus *bus, uint64_t now);

static inline uint64_t bus_timer_deadline(const struct vdev *dev)
{
	return dev->bus->slots[dev->slot].deadline;
}

/* Asserts the bus's invariants and those of each device. */
void bus_check(const struct bus *bus);

#endif
