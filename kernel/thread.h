/* SPDX-License-Identifier: MIT */
/*
 * Threads: cooperative inside Quire (a thread runs until it parks or yields),
 * preempted while in a guest (the timer ends the guest's run and the vCPU loop
 * then yields). So no lock is ever held across a switch.
 */
#ifndef KERNEL_THREAD_H
#define KERNEL_THREAD_H

#include <quire/status.h>

#include "arch/x86_64/percpu.h"

struct thread;

enum thread_priority {
	THREAD_INTERACTIVE, /* the operator's console: short and urgent */
	THREAD_NORMAL,      /* vCPUs */
	THREAD_IDLE,        /* scanner, zeroing ahead: only when nobody else runs */
};

/* Starts `body(argument)`; the thread ends when it returns. `name` is copied. */
q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread) Q_MUST_USE;
/* Waits until the thread has ended, and frees it. */
void thread_join(struct thread *thread);

struct thread *thread_self(void);
const char *thread_name(const struct thread *thread);

/* Sleeps until somebody unparks this thread; returns at once if that happened already. */
void thread_park(void);
/* Like thread_park(), but also returns when the TSC has reached `deadline_tsc`. */
void thread_park_until(uint64_t deadline_tsc);
/* Any context, interrupt handlers included. */
void thread_unpark(struct thread *thread);

/* Lets others of the same or a higher priority run. */
void thread_yield(void);
/* True when this thread's slice is over or somebody more urgent waits. Cheap; any context. */
static inline bool thread_should_yield(void)
{
	return percpu()->should_yield;
}

/* TSC ticks that the thread has run. */
uint64_t thread_cpu_ticks(const struct thread *thread);

#endif
