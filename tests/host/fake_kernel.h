/* SPDX-License-Identifier: MIT */
/*
 * The part of kernel/ that operator/ and vm/ stand on, for host tests: threads, clock and
 * power switch. tests/host/seam has locks, log and memory.
 *
 * Threads are host threads, of which one runs at a time, until it parks or yields. The test's
 * thread is the idle thread: it runs when no other can, and never parks.
 */
#ifndef TESTS_HOST_FAKE_KERNEL_H
#define TESTS_HOST_FAKE_KERNEL_H

#include <quire/compiler.h>

/* --- threads ------------------------------------------------------------------------------- */

/* Runs the other threads until each of them sleeps or has ended. */
void fake_threads_run(void);
/* Ends every thread but the test's, wherever it is. The machine is on again, and untouched. */
void fake_threads_end(void);
/* Wakes the threads that sleep until some time, and runs. */
void fake_time_passes(void);
/* What thread_should_yield() says in every thread, and how often one has yielded. */
void fake_should_yield_set(bool should_yield);
unsigned fake_yields(void);
/* Makes the `count`-th call of thread_create() from now fail; 0: none. */
void fake_thread_fail_at(unsigned count);

/* --- the rest ---------------------------------------------------------------------------------- */

/* How Quire's run ended: "off 1", "halt 0", "reboot"; "" while it runs. No other thread runs then. */
const char *fake_power(void);

/* A broken test or fixture: prints and aborts. For any thread, unlike EXPECT(). */
void must(bool condition, const char *what);

#endif
