/* SPDX-License-Identifier: MIT */
/* What only kernel/main.c calls of the scheduler. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include <quire/compiler.h>

/* The caller becomes this CPU's idle thread. Time and timers must work. */
void sched_init(void);
/* Runs whoever is runnable, and sleeps when nobody is. */
Q_NORETURN void sched_idle(void);

#endif
