/* SPDX-License-Identifier: MIT */
#include "reclaim/zero_ahead.h"

#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "mm/gmm/gmm.h"

/* Pages between two looks at whether other threads want the CPU: some 20 microseconds. */
#define BATCH_PAGES 32u
/* The time until the next look for pages that were freed meanwhile. */
#define REST_US 250000u

static void run(void *argument)
{
	(void)argument;
	for (;;) {
		if (gmm_zero_ahead(BATCH_PAGES) < BATCH_PAGES)
			thread_park_until(cpu_rdtsc() + time_ticks_from_us(REST_US));
		else if (thread_should_yield())
			thread_yield();
	}
}

q_status_t zero_ahead_start(void)
{
	struct thread *thread;
	return thread_create("zero", THREAD_IDLE, run, NULL, &thread);
}
