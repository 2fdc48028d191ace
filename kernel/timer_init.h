/* SPDX-License-Identifier: MIT */
/* The timers' function that only kernel/main.c calls. */
#ifndef KERNEL_TIMER_INIT_H
#define KERNEL_TIMER_INIT_H

/* Called on each CPU, after interrupt_init() and time_init(). */
void timer_cpu_init(void);

#endif
