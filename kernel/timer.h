/* SPDX-License-Identifier: MIT */
/*
 * One-shot timers in TSC ticks, served by the local APIC's timer. The callback
 * runs in interrupt context on the CPU that armed it, interrupts disabled; it
 * may unpark threads and set flags, and may arm timers again.
 */
#ifndef KERNEL_TIMER_H
#define KERNEL_TIMER_H

#include <quire/compiler.h>
#include <quire/list.h>

struct timer {
	struct list_node node; /* guarded by the CPU's timer lock */
	uint64_t deadline_tsc;
	void (*fired)(struct timer *timer);
	unsigned cpu;
	bool is_armed;
};

void timer_init(struct timer *timer, void (*fired)(struct timer *timer));
/* Replaces an earlier deadline. In the past: fires at once, from the interrupt. */
void timer_arm(struct timer *timer, uint64_t deadline_tsc);
/* After it returns, the callback is not running and will not. */
void timer_cancel(struct timer *timer);

#endif
