/* SPDX-License-Identifier: MIT */
/* What only kernel/main.c calls of the timers. */
#ifndef KERNEL_TIMER_INIT_H
#define KERNEL_TIMER_INIT_H

/* On each CPU, after interrupt_init() and time_init(). */
void timer_cpu_init(void);

#endif
