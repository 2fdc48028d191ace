/* SPDX-License-Identifier: MIT */
/* The scheduler's functions that only kernel/main.c calls. */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include <quire/compiler.h>

/* Makes the caller this CPU's idle thread. Time and timers must work. */
void sched_init(void);
/* Runs every thread that is runnable, and halts the CPU while there is none. */
Q_NORETURN void sched_idle(void);

#endif
