/* SPDX-License-Identifier: MIT */
/*
 * One-shot timers in TSC ticks, served by the local APIC's timer. The callback
 * runs as an interrupt handler, with interrupts disabled, on the CPU that armed
 * the timer. It may unpark threads, set flags and arm timers again.
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
/* Arms it, or moves its deadline. A deadline in the past fires at once, by an interrupt. */
void timer_arm(struct timer *timer, uint64_t deadline_tsc);
/* When this has returned, the callback neither runs nor is still to run. */
void timer_cancel(struct timer *timer);

#endif
