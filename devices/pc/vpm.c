/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware. There is no legacy mode: SCI_EN is always set, and the
 * tables name no SMI command port. The only event is the carry of the 32-bit timer.
 * Each access computes the event's status bit from the time, so a deadline is needed
 * only while the guest enables the event's interrupt. The control register is written
 * byte by byte. A sleep begins with the write of the byte that holds SLP_EN. The only
 * sleep state is S5.
 *
 * Invariants, asserted by check():
 *   M1  The SCI is raised exactly while the status of an enabled event is set.
 *
 * Reference: ACPI specification 6.5, "ACPI Hardware Specification": "PM1 Event
 * Grouping", "PM1 Control Grouping", "Power Management Timer".
 */
#include "vpm.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define EVENT_TIMER        BIT32(0)
#define ENABLE_ALL         0x0721u /* timer, global lock, power button, sleep button, RTC */
#define CONTROL_SCI        BIT32(0)
#define CONTROL_KEPT       0x1c02u /* SLP_TYP, bus master reload */
#define CONTROL_SLEEP_TYPE MASK64(12, 10)
#define CONTROL_SLEEP      BIT32(13)
#define HALF_PERIOD_SHIFT  31u /* each change of bit 31 sets the status bit */

enum pm_offset {
	PM_STATUS_LOW,
	PM_STATUS_HIGH,
	PM_ENABLE_LOW,
	PM_ENABLE_HIGH,
	PM_CONTROL_LOW,
	PM_CONTROL_HIGH,
};

static struct vpm *pm_of(const struct vdev *dev)
{
	return container_of(dev, struct vpm, dev);
}

static uint64_t ticks_at(const struct vpm *pm, uint64_t now)
{
	return vclock_apply(&pm->ticks_per_tsc, now);
}

static bool line(const struct vpm *pm)
{
	return (pm->status & pm->enable) != 0;
}

static void update(struct vpm *pm, uint64_t now)
{
	struct vpc *vpc = vpc_of(&pm->dev);
	uint64_t half_periods = ticks_at(pm, now) >> HALF_PERIOD_SHIFT;

	if (half_periods != pm->half_periods)
		pm->status |= EVENT_TIMER;
	pm->half_periods = half_periods;
	vpc_irq_set(vpc, VPM_IRQ, line(pm));

	uint64_t deadline = VDEV_DEADLINE_NONE;
	if ((pm->enable & EVENT_TIMER) && !(pm->status & EVENT_TIMER)) {
		uint64_t carry = (half_periods + 1) << HALF_PERIOD_SHIFT;
		deadline = vclock_apply(&pm->tsc_per_tick, carry) + 2;
	}
	bus_timer_set(&pm->dev, vpc_not_before(vpc, deadline, now));
}

static void reset(struct vdev *dev, uint64_t now)
{
	struct vpm *pm = pm_of(dev);
	pm->half_periods = ticks_at(pm, now) >> HALF_PERIOD_SHIFT;
	pm->status = pm->enable = pm->control = 0;
}

static void timer(struct vdev *dev, uint64_t now)
{
	update(pm_of(dev), now);
}

/* One byte of the event and control registers. */
static Q_NOINLINE uint8_t register_read(struct vpm *pm, unsigned offset, uint64_t now)
{
	switch (offset) {
	case PM_STATUS_LOW: update(pm, now); return (uint8_t)pm->status;
	case PM_STATUS_HIGH: return (uint8_t)(pm->status >> 8);
	case PM_ENABLE_LOW: return (uint8_t)pm->enable;
	case PM_ENABLE_HIGH: return (uint8_t)(pm->enable >> 8);
	case PM_CONTROL_LOW: return (uint8_t)(pm->control | CONTROL_SCI);
	case PM_CONTROL_HIGH: return (uint8_t)(pm->control >> 8);
	default: return 0;
	}
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	struct vpm *pm = pm_of(dev);
	unsigned offset = port - VPM_FIRST_PORT;
	unsigned byte = offset - VPM_TIMER_OFFSET; /* of the timer */

	if (byte >= VPM_TIMER_SIZE)
		return register_read(pm, offset, now);
	return (uint32_t)vdev_bytes((uint32_t)ticks_at(pm, now) >> 8 * byte, size);
}

static void write_control_high(struct vpm *pm, uint8_t value)
{
	const struct vpc *vpc = vpc_of(&pm->dev);
	uint16_t control = (uint16_t)((pm->control & 0xff) | value << 8);

	pm->control = control & CONTROL_KEPT; /* SLP_EN reads as zero */
	if ((control & CONTROL_SLEEP) && field_get(control, CONTROL_SLEEP_TYPE) == VPM_SLEEP_OFF)
		vpc->host->power(vpc->vm, VPC_POWER_OFF, 0);
}

static void register_write(struct vpm *pm, unsigned offset, uint8_t value)
{
	switch (offset) {
	case PM_STATUS_LOW: pm->status &= (uint16_t)~value; break;
	case PM_STATUS_HIGH: pm->status &= (uint16_t) ~(value << 8); break;
	case PM_ENABLE_LOW: pm->enable = ((pm->enable & 0xff00) | value) & ENABLE_ALL; break;
	case PM_ENABLE_HIGH:
		pm->enable = (uint16_t)((pm->enable & 0xff) | value << 8) & ENABLE_ALL;
		break;
	case PM_CONTROL_LOW:
		pm->control = (uint16_t)((pm->control & 0xff00) | value) & CONTROL_KEPT;
		break;
	case PM_CONTROL_HIGH: write_control_high(pm, value); break;
	default: break;
	}
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct vpm *pm = pm_of(dev);

	(void)size;
	update(pm, now);
	register_write(pm, port - VPM_FIRST_PORT, (uint8_t)value);
	update(pm, now);
}

static void check(const struct vdev *dev)
{
	Q_ASSERT(line(pm_of(dev)) == vpc_irq_level(vpc_of(dev), VPM_IRQ)); /* M1 */
}

static const struct vdev_ops pm_ops = {
	.name = "pm",
	.reset = reset,
	.timer = timer,
	.port_read = port_read,
	.port_write = port_write,
	.check = check,
};

void vpm_init(struct vpm *pm, struct vpc *vpc)
{
	const unsigned timer_port = VPM_FIRST_PORT + VPM_TIMER_OFFSET;
	const unsigned timer_end = timer_port + VPM_TIMER_SIZE;
	struct bus *bus = &vpc->bus;

	pm->ticks_per_tsc = vclock_ratio_make(VPM_TIMER_HZ, vpc->tsc_hz);
	pm->tsc_per_tick = vclock_ratio_make(vpc->tsc_hz, VPM_TIMER_HZ);
	bus_add(bus, &pm->dev, &pm_ops);
	bus_ports_claim(bus, &pm->dev, VPM_FIRST_PORT, VPM_TIMER_OFFSET, BUS_BYTES);
	bus_ports_claim(bus, &pm->dev, timer_port, VPM_TIMER_SIZE, BUS_WHOLE);
	bus_ports_claim(bus, &pm->dev, timer_end, VPM_FIRST_PORT + VPM_SIZE - timer_end, BUS_BYTES);
}
