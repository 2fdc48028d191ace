/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware. There is no legacy mode: SCI_EN is always set, and the
 * tables say so by having no SMI command port. The only event is the carry of
 * the 32-bit timer, whose status is worked out from the time when it is looked
 * at; it needs a timer only while the guest enables it. The control register is
 * written byte by byte; sleep begins with the write of the byte with SLP_EN.
 *
 * Invariants, asserted by vpm_check():
 *   M1  The SCI is raised exactly while an enabled event's status is set.
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
#define HALF_PERIOD_SHIFT  31u /* the status bit is set each time bit 31 changes */

enum pm_offset {
	PM_STATUS_LOW,
	PM_STATUS_HIGH,
	PM_ENABLE_LOW,
	PM_ENABLE_HIGH,
	PM_CONTROL_LOW,
	PM_CONTROL_HIGH,
};

static uint64_t ticks_at(const struct vpc *vpc, uint64_t now)
{
	return vclock_apply(&vpc->pm_per_tsc, now);
}

uint32_t vpm_timer_read(const struct vpc *vpc, uint64_t now)
{
	return (uint32_t)ticks_at(vpc, now);
}

static bool line(const struct vpm *pm)
{
	return (pm->status & pm->enable) != 0;
}

static void update(struct vpc *vpc, uint64_t now)
{
	struct vpm *pm = &vpc->pm;
	uint64_t half_periods = ticks_at(vpc, now) >> HALF_PERIOD_SHIFT;

	if (half_periods != pm->half_periods)
		pm->status |= EVENT_TIMER;
	pm->half_periods = half_periods;
	vpc_irq_set(vpc, VPM_IRQ, line(pm));

	uint64_t deadline = VPC_DEADLINE_NONE;
	if ((pm->enable & EVENT_TIMER) && !(pm->status & EVENT_TIMER)) {
		uint64_t carry = (half_periods + 1) << HALF_PERIOD_SHIFT;
		deadline = vclock_apply(&vpc->tsc_per_pm, carry) + 2;
	}
	vpc_timer_set(vpc, VPC_TIMER_PM, vpc_not_before(vpc, deadline, now));
}

void vpm_reset(struct vpc *vpc, uint64_t now)
{
	vpc->pm = (struct vpm){ .half_periods = ticks_at(vpc, now) >> HALF_PERIOD_SHIFT };
	vpc_timer_set(vpc, VPC_TIMER_PM, VPC_DEADLINE_NONE);
}

void vpm_timer(struct vpc *vpc, uint64_t now)
{
	update(vpc, now);
}

uint8_t vpm_read(struct vpc *vpc, unsigned offset, uint64_t now)
{
	const struct vpm *pm = &vpc->pm;

	if (offset >= VPM_TIMER_OFFSET && offset < VPM_TIMER_OFFSET + VPM_TIMER_SIZE)
		return (uint8_t)(vpm_timer_read(vpc, now) >> 8 * (offset - VPM_TIMER_OFFSET));
	switch (offset) {
	case PM_STATUS_LOW: update(vpc, now); return (uint8_t)pm->status;
	case PM_STATUS_HIGH: return (uint8_t)(pm->status >> 8);
	case PM_ENABLE_LOW: return (uint8_t)pm->enable;
	case PM_ENABLE_HIGH: return (uint8_t)(pm->enable >> 8);
	case PM_CONTROL_LOW: return (uint8_t)(pm->control | CONTROL_SCI);
	case PM_CONTROL_HIGH: return (uint8_t)(pm->control >> 8);
	default: return 0;
	}
}

static void write_control_high(struct vpc *vpc, uint8_t value)
{
	struct vpm *pm = &vpc->pm;
	uint16_t control = (uint16_t)((pm->control & 0xff) | value << 8);

	pm->control = control & CONTROL_KEPT; /* SLP_EN reads as zero */
	if ((control & CONTROL_SLEEP) && field_get(control, CONTROL_SLEEP_TYPE) == VPM_SLEEP_OFF)
		vpc->host->power(vpc->vm, VPC_POWER_OFF, 0);
}

void vpm_write(struct vpc *vpc, unsigned offset, uint8_t value, uint64_t now)
{
	struct vpm *pm = &vpc->pm;

	update(vpc, now);
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
	case PM_CONTROL_HIGH: write_control_high(vpc, value); return;
	default: return;
	}
	update(vpc, now);
}

void vpm_check(const struct vpc *vpc)
{
	bool is_up = vpc->ioapic.lines & BIT32(VPM_IRQ);
	Q_ASSERT(line(&vpc->pm) == is_up); /* M1 */
}
