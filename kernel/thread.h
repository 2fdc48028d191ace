/* SPDX-License-Identifier: MIT */
/*
 * Threads. Inside Quire they are cooperative: a thread runs until it parks or
 * yields, and it must hold no lock then. While in a guest a thread is preempted:
 * the timer ends the guest's run, and the vCPU loop then yields.
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <quire/status.h>

#include "arch/x86_64/percpu.h"

struct thread;

enum thread_priority {
	THREAD_INTERACTIVE, /* the operator's console: short and urgent */
	THREAD_NORMAL,      /* vCPUs */
	THREAD_IDLE,        /* scanner, zeroing ahead: run only while no other thread does */
};

/* Starts a thread that calls body(argument), and ends when that returns. `name` is copied. */
q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread) Q_MUST_USE;
/* Waits until the thread has ended, then frees it. */
void thread_join(struct thread *thread);

struct thread *thread_self(void);

/* Sleeps until this thread is unparked. Returns at once if it was unparked since its last park. */
void thread_park(void);
/* Like thread_park(), but also returns when the TSC has reached `deadline_tsc`. */
void thread_park_until(uint64_t deadline_tsc);
/* Wakes `thread`, or leaves it a permit for its next park. Any context, also interrupt handlers. */
void thread_unpark(struct thread *thread);

/* Lets other threads of the same or a higher priority run. */
void thread_yield(void);
/* True if this thread's slice is over or a more urgent thread waits. Cheap; any context. */
static inline bool thread_should_yield(void)
{
	return percpu()->should_yield;
}

/* The TSC ticks for which the thread has run. */
uint64_t thread_cpu_ticks(const struct thread *thread);

#endif
