/* SPDX-License-Identifier: MIT */
/*
 * Claims, accesses and timers.
 *
 * The list of claims, in the order of their ports, tells which device owns which
 * ports. A table made from it has one byte for each low port, where a PC's chips are.
 * Claims of higher ports are few and far apart, so for those the list itself is
 * searched, from its end. The owner in a claim and in the table is the device's slot
 * plus 1, negated for BUS_WHOLE. In the table 0 is an unclaimed port.
 *
 * The earliest deadline is kept, not searched for, because it is read far more often
 * than a timer is set. When the earliest timer is set to a later time, all deadlines
 * are read. So they are in the slots, side by side, not in the devices.
 *
 * Invariants, asserted by bus_check():
 *   B1  next_deadline is the smallest deadline; only devices with a timer have one.
 *   B2  The table has the same owner for each low port as the list of claims.
 *   B3  Claims are in order and do not overlap, and their owners have the operations
 *       that they need.
 */
#include "bus.h"

#include <quire/assert.h>

#define PORT_END 0x10000u
#define NO_BYTE  0xffu /* what an unclaimed port reads */

void bus_init(struct bus *bus, struct bus_slot *slots, unsigned slot_count)
{
	bus->slots = slots;
	bus->slot_count = (uint16_t)slot_count;
	bus->next_deadline = VDEV_DEADLINE_NONE;
}

void bus_add(struct bus *bus, struct vdev *dev, const struct vdev_ops *ops)
{
	Q_ASSERT(bus->device_count < bus->slot_count);
	*dev = (struct vdev){ .ops = ops, .bus = bus, .slot = bus->device_count };
	bus->slots[bus->device_count++] = (struct bus_slot){ dev, VDEV_DEADLINE_NONE };
	if (ops->timer)
		bus->timer_end = bus->device_count;
}

/* --- ports ------------------------------------------------------------------------- */

/* The slot of an owner that is not 0. */
static struct bus_slot *slot_of(const struct bus *bus, int owner)
{
	return &bus->slots[(owner < 0 ? -owner : owner) - 1];
}

static unsigned end_of(const struct bus_claim *claim)
{
	return (unsigned)claim->first + claim->count;
}

/* Returns the owner of a port by the list of claims, or 0. */
static int claim_owner(const struct bus *bus, unsigned port)
{
	for (unsigned i = bus->claim_count; i-- > 0;) {
		const struct bus_claim *claim = &bus->claims[i];
		if (port >= claim->first)
			return port < end_of(claim) ? claim->owner : 0;
	}
	return 0;
}

static inline int owner_of(const struct bus *bus, uint16_t port)
{
	return port < BUS_LOW_PORTS ? bus->owners[port] : claim_owner(bus, port);
}

/* Puts a claim in its place in the list. */
static void claim_insert(struct bus *bus, struct bus_claim claim)
{
	unsigned at = bus->claim_count++;
	for (; at > 0 && bus->claims[at - 1].first > claim.first; at--)
		bus->claims[at] = bus->claims[at - 1];
	bus->claims[at] = claim;
	Q_ASSERT(at == 0 || end_of(&bus->claims[at - 1]) <= claim.first);
	Q_ASSERT(at + 1 == bus->claim_count || end_of(&claim) <= bus->claims[at + 1].first);
}

void bus_ports_claim(struct bus *bus, struct vdev *dev, uint16_t first, unsigned count,
		     enum bus_width width)
{
	int owner = (int)dev->slot + 1;
	if (width == BUS_WHOLE)
		owner = -owner;
	struct bus_claim claim = { first, (uint16_t)count, (int8_t)owner };

	Q_ASSERT(bus->claim_count < BUS_CLAIM_MAX && claim.owner == owner);
	Q_ASSERT(count >= 1 && count <= UINT16_MAX && count <= PORT_END - first);
	Q_ASSERT(dev->ops->port_read && dev->ops->port_write);
	claim_insert(bus, claim);
	for (unsigned port = first; port < end_of(&claim) && port < BUS_LOW_PORTS; port++)
		bus->owners[port] = claim.owner;
}

static inline uint32_t byte_read(struct bus *bus, int owner, uint16_t port, uint64_t now)
{
	if (owner == 0)
		return NO_BYTE;
	struct vdev *dev = slot_of(bus, owner)->dev;
	return dev->ops->port_read(dev, port, 1, now);
}

static inline void byte_write(struct bus *bus, int owner, uint16_t port, uint8_t value,
			      uint64_t now)
{
	if (owner == 0)
		return;
	struct vdev *dev = slot_of(bus, owner)->dev;
	dev->ops->port_write(dev, port, 1, value, now);
}

static Q_NOINLINE uint32_t bytes_read(struct bus *bus, uint16_t port, unsigned size, uint64_t now)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < size; i++) {
		uint16_t at = (uint16_t)(port + i);
		value |= byte_read(bus, owner_of(bus, at), at, now) << 8 * i;
	}
	return value;
}

static Q_NOINLINE void bytes_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value,
				   uint64_t now)
{
	for (unsigned i = 0; i < size; i++) {
		uint16_t at = (uint16_t)(port + i);
		byte_write(bus, owner_of(bus, at), at, (uint8_t)(value >> 8 * i), now);
	}
}

/* Serves any read, also those that are too rare for bus_port_read(). */
static Q_NOINLINE uint32_t any_read(struct bus *bus, uint16_t port, unsigned size, uint64_t now)
{
	int owner = owner_of(bus, port);
	if (owner >= 0 || !is_aligned(port, size))
		return bytes_read(bus, port, size, now);
	struct vdev *dev = slot_of(bus, owner)->dev;
	return dev->ops->port_read(dev, port, size, now);
}

static Q_NOINLINE void any_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value,
				 uint64_t now)
{
	int owner = owner_of(bus, port);
	if (owner >= 0 || !is_aligned(port, size)) {
		bytes_write(bus, port, size, value, now);
		return;
	}
	struct vdev *dev = slot_of(bus, owner)->dev;
	dev->ops->port_write(dev, port, size, (uint32_t)vdev_bytes(value, size), now);
}

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size, uint64_t now)
{
	if (Q_UNLIKELY(size != 1 || port >= BUS_LOW_PORTS || bus->owners[port] < 0))
		return any_read(bus, port, size, now);
	return byte_read(bus, bus->owners[port], port, now);
}

void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	if (Q_UNLIKELY(size != 1 || port >= BUS_LOW_PORTS || bus->owners[port] < 0))
		any_write(bus, port, size, value, now);
	else
		byte_write(bus, bus->owners[port], port, (uint8_t)value, now);
}

/* --- memory ------------------------------------------------------------------------ */

static struct vdev *page_owner(const struct bus *bus, gfn_t page)
{
	for (unsigned i = 0; i < bus->page_count; i++)
		if (bus->pages[i].gfn.raw == page.raw)
			return bus->pages[i].dev;
	return NULL;
}

void bus_memory_claim(struct bus *bus, struct vdev *dev, gfn_t page)
{
	Q_ASSERT(bus->page_count < BUS_PAGE_MAX && !page_owner(bus, page));
	Q_ASSERT(dev->ops->memory_read && dev->ops->memory_write);
	bus->pages[bus->page_count++] = (struct bus_page){ page, dev };
}

/* The device whose page contains all of the access, or NULL. */
static struct vdev *memory_owner(const struct bus *bus, gpa_t addr, unsigned size)
{
	if (gpa_offset(addr) > PAGE_SIZE - size)
		return NULL;
	return page_owner(bus, gpa_to_gfn(addr));
}

bool bus_memory_read(struct bus *bus, gpa_t addr, unsigned size, uint64_t *out_value, uint64_t now)
{
	struct vdev *dev = memory_owner(bus, addr, size);
	if (!dev)
		return false;
	*out_value = dev->ops->memory_read(dev, (unsigned)gpa_offset(addr), size, now);
	return true;
}

bool bus_memory_write(struct bus *bus, gpa_t addr, unsigned size, uint64_t value, uint64_t now)
{
	struct vdev *dev = memory_owner(bus, addr, size);
	if (!dev)
		return false;
	dev->ops->memory_write(dev, (unsigned)gpa_offset(addr), size, value, now);
	return true;
}

/* --- timers and reset -------------------------------------------------------------- */

static uint64_t earliest(const struct bus *bus)
{
	uint64_t found = VDEV_DEADLINE_NONE;
	for (unsigned i = 0; i < bus->timer_end; i++)
		if (bus->slots[i].deadline < found)
			found = bus->slots[i].deadline;
	return found;
}

void bus_timer_set(struct vdev *dev, uint64_t deadline)
{
	struct bus *bus = dev->bus;
	struct bus_slot *slot = &bus->slots[dev->slot];
	uint64_t before = slot->deadline;

	bus->changes++;
	slot->deadline = deadline;
	if (deadline <= bus->next_deadline)
		bus->next_deadline = deadline;
	else if (before == bus->next_deadline)
		bus->next_deadline = earliest(bus);
}

uint64_t bus_advance(struct bus *bus, uint64_t now)
{
	if (now < bus->next_deadline)
		return bus->next_deadline;
	for (unsigned i = 0; i < bus->timer_end; i++) {
		const struct bus_slot *slot = &bus->slots[i];
		if (slot->deadline <= now && slot->deadline != VDEV_DEADLINE_NONE)
			slot->dev->ops->timer(slot->dev, now);
	}
	return bus->next_deadline;
}

void bus_reset(struct bus *bus, uint64_t now)
{
	bus->changes++;
	bus->next_deadline = VDEV_DEADLINE_NONE;
	for (unsigned i = 0; i < bus->device_count; i++)
		bus->slots[i].deadline = VDEV_DEADLINE_NONE;
	for (unsigned i = 0; i < bus->device_count; i++) {
		struct vdev *dev = bus->slots[i].dev;
		if (dev->ops->reset)
			dev->ops->reset(dev, now);
	}
}

/* --- check ------------------------------------------------------------------------- */

static void timers_check(const struct bus *bus)
{
	Q_ASSERT(bus->next_deadline == earliest(bus)); /* B1 */
	for (unsigned i = 0; i < bus->device_count; i++) {
		const struct bus_slot *slot = &bus->slots[i];
		Q_ASSERT(slot->dev->bus == bus && slot->dev->slot == i);
		Q_ASSERT(slot->deadline == VDEV_DEADLINE_NONE || slot->dev->ops->timer); /* B1 */
	}
}

static void claim_check(const struct bus *bus, const struct bus_claim *claim)
{
	Q_ASSERT(claim->count != 0 && end_of(claim) <= PORT_END && claim->owner != 0);
	Q_ASSERT(claim == bus->claims || end_of(claim - 1) <= claim->first); /* B3 */
	Q_ASSERT(slot_of(bus, claim->owner) < &bus->slots[bus->device_count]);
	const struct vdev_ops *ops = slot_of(bus, claim->owner)->dev->ops;
	Q_ASSERT(ops->port_read && ops->port_write); /* B3 */
}

static void ports_check(const struct bus *bus)
{
	for (unsigned i = 0; i < bus->claim_count; i++)
		claim_check(bus, &bus->claims[i]);
	for (unsigned port = 0; port < BUS_LOW_PORTS; port++)
		Q_ASSERT(bus->owners[port] == claim_owner(bus, port)); /* B2 */
}

static void pages_check(const struct bus *bus)
{
	for (unsigned i = 0; i < bus->page_count; i++) {
		const struct vdev *dev = bus->pages[i].dev;
		Q_ASSERT(page_owner(bus, bus->pages[i].gfn) == dev);       /* B3: no other claim */
		Q_ASSERT(dev->ops->memory_read && dev->ops->memory_write); /* B3 */
	}
}

void bus_check(const struct bus *bus)
{
	timers_check(bus);
	ports_check(bus);
	pages_check(bus);
	for (unsigned i = 0; i < bus->device_count; i++) {
		const struct vdev *dev = bus->slots[i].dev;
		if (dev->ops->check)
			dev->ops->check(dev);
	}
}
