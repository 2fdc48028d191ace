/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline.
 *
 * All three modes are one deadline in guest TSC ticks. The current count follows
 * from the time that is left. A periodic timer that fires late skips the periods it
 * missed and stays in phase. It never rearms itself for less than the shortest
 * interval (vpc_not_before), so no guest can occupy the host with timers. A masked
 * timer runs, but interrupts nothing.
 *
 * Reference: Intel SDM vol. 3, "APIC Timer".
 */
#include "vlapic.h"

#include "vpc_internal.h"

enum timer_mode { TIMER_ONE_SHOT = 0, TIMER_PERIODIC = 1, TIMER_DEADLINE = 2 };

#define TIMER_MODE MASK64(18, 17)

static unsigned mode_of(uint32_t lvt)
{
	return (unsigned)field_get(lvt, TIMER_MODE);
}

static unsigned mode(const struct vlapic *lapic)
{
	return mode_of(lapic->regs[LAPIC_LVT_TIMER]);
}

static bool counts(const struct vlapic *lapic)
{
	return mode(lapic) == TIMER_ONE_SHOT || mode(lapic) == TIMER_PERIODIC;
}

/* Bits 3, 1 and 0 of the divide register divide by 2, 4 .. 128; all ones by 1. */
static unsigned divide_shift(const struct vlapic *lapic)
{
	uint32_t divide = lapic->regs[LAPIC_TIMER_DIVIDE];
	return ((divide >> 1 & 4) + (divide & 3) + 1) % 8;
}

static uint64_t tsc_ticks(const struct vpc *vpc, const struct vlapic *lapic, uint32_t count)
{
	return vclock_apply(&vpc->tsc_per_lapic, (uint64_t)count << divide_shift(lapic));
}

static bool is_armed(const struct vlapic *lapic)
{
	return bus_timer_deadline(&lapic->dev) != VDEV_DEADLINE_NONE;
}

void vlapic_timer_stop(struct vlapic *lapic)
{
	lapic->period = 0;
	bus_timer_set(&lapic->dev, VDEV_DEADLINE_NONE);
}

/* The period in the registers; 0 unless the timer is periodic. */
static uint64_t period(const struct vpc *vpc, const struct vlapic *lapic)
{
	if (mode(lapic) != TIMER_PERIODIC)
		return 0;
	uint64_t ticks = tsc_ticks(vpc, lapic, lapic->regs[LAPIC_TIMER_INITIAL]);
	return ticks != 0 ? ticks : 1;
}

/* Arms the timer for `count` from `now` on. */
static void start(struct vpc *vpc, struct vlapic *lapic, uint32_t count, uint64_t now)
{
	lapic->period = period(vpc, lapic);
	bus_timer_set(&lapic->dev, vclock_add(now, tsc_ticks(vpc, lapic, count)));
}

uint32_t vlapic_timer_current(const struct vpc *vpc, const struct vlapic *lapic, uint64_t now)
{
	uint64_t deadline = bus_timer_deadline(&lapic->dev);
	if (deadline == VDEV_DEADLINE_NONE || !counts(lapic))
		return 0;
	uint64_t left = deadline - now;
	if (now >= deadline) {
		if (lapic->period == 0)
			return 0;
		left = lapic->period - (now - deadline) % lapic->period;
	}
	uint64_t count = vclock_apply(&vpc->lapic_per_tsc, left) >> divide_shift(lapic);
	uint32_t initial = lapic->regs[LAPIC_TIMER_INITIAL];
	return count < initial ? (uint32_t)count : initial;
}

void vlapic_timer_lvt_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value)
{
	bool is_switched = mode(lapic) != mode_of(value);
	lapic->regs[LAPIC_LVT_TIMER] = value;
	if (!is_switched)
		return;
	/* A switch between the two counting modes changes only what happens at zero. */
	if (!counts(lapic) || lapic->regs[LAPIC_TIMER_INITIAL] == 0) {
		lapic->regs[LAPIC_TIMER_INITIAL] = 0;
		vlapic_timer_stop(lapic);
		return;
	}
	lapic->period = is_armed(lapic) ? period(vpc, lapic) : 0;
}

void vlapic_timer_initial_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value, uint64_t now)
{
	if (!counts(lapic))
		return;
	lapic->regs[LAPIC_TIMER_INITIAL] = value;
	if (value == 0)
		vlapic_timer_stop(lapic);
	else
		start(vpc, lapic, value, now);
}

void vlapic_timer_divide_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value, uint64_t now)
{
	uint32_t count = vlapic_timer_current(vpc, lapic, now);
	bool is_running = counts(lapic) && is_armed(lapic);

	lapic->regs[LAPIC_TIMER_DIVIDE] = value & 0xb;
	if (is_running)
		start(vpc, lapic, count, now);
}

uint64_t vlapic_timer_deadline_read(const struct vlapic *lapic)
{
	if (mode(lapic) != TIMER_DEADLINE || !is_armed(lapic))
		return 0;
	return bus_timer_deadline(&lapic->dev);
}

void vlapic_timer_deadline_write(struct vpc *vpc, struct vlapic *lapic, uint64_t value,
				 uint64_t now)
{
	if (mode(lapic) != TIMER_DEADLINE)
		return;
	if (value != 0 && value <= now) {
		vlapic_timer_fire(vpc, lapic, now);
		return;
	}
	bus_timer_set(&lapic->dev, value == 0 ? VDEV_DEADLINE_NONE : value);
}

void vlapic_timer_fire(struct vpc *vpc, struct vlapic *lapic, uint64_t now)
{
	uint64_t next = VDEV_DEADLINE_NONE;
	if (lapic->period != 0) {
		uint64_t missed = (now - bus_timer_deadline(&lapic->dev)) % lapic->period;
		next = vpc_not_before(vpc, vclock_add(now, lapic->period - missed), now);
	}
	bus_timer_set(&lapic->dev, next);
	vlapic_lvt_fire(vpc, lapic, LAPIC_LVT_TIMER);
}
