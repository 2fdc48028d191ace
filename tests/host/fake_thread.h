/* SPDX-License-Identifier: MIT */
/*
 * The host side of kernel/thread.h and kernel/time.h, for tests that say when each thread runs.
 *
 * A thread is a host thread that runs only while the test waits for it: from
 * fake_thread_run() until it parks, yields or ends. So a test can act between any two
 * steps, and each run is the same. The test is also a thread: when it parks, joins or
 * yields, the others run. Time stands still while threads run; a tick is a nanosecond.
 *
 * A thread that holds a lock when it parks or yields ends the program.
 */
#ifndef TESTS_HOST_FAKE_THREAD_H
#define TESTS_HOST_FAKE_THREAD_H

#include "fake_cpu.h"
#include "kernel/thread.h"

#define TICKS_PER_US 1000u

/* Ends all threads, wherever they sleep, and lets time begin anew. */
void fake_threads_reset(void);

/* --- threads --------------------------------------------------------------------------- */

/* The thread of that name that was created last, or NULL. */
struct thread *fake_thread_find(const char *name);
enum thread_priority fake_thread_priority(const struct thread *thread);

/*
 * True if it was unparked, its deadline has come, the thread that it joins has ended, it
 * yielded, or it has not run so far.
 */
bool fake_thread_is_ready(const struct thread *thread);
bool fake_thread_has_ended(const struct thread *thread);
/* The TSC at which a park ends by itself; 0: the thread does not sleep, or has no deadline. */
uint64_t fake_thread_deadline(const struct thread *thread);
/* Runs a thread that is ready until it parks, yields or ends. */
void fake_thread_run(struct thread *thread);
/* Runs all threads that are ready, in the order of creation, until none is. */
void fake_threads_run_all(void);

/* True if the test calls this, and no thread that it runs. */
bool fake_thread_is_test(void);
/* Makes a thread that never runs. Others may unpark it. */
struct thread *fake_thread_name_only(void);
/* How often a thread was unparked, and how often it yielded. */
unsigned fake_thread_wakes(const struct thread *thread);
unsigned fake_thread_yields(const struct thread *thread);

/* Ends the calling thread in the middle of what it does. No other runs before the reset. */
Q_NORETURN void fake_threads_stop(void);

/*
 * Sets what thread_should_yield() says when a turn begins; false at first. A test may set
 * it for a single turn through percpu().
 */
void fake_should_yield_set(bool should_yield);

/* Makes the `count`-th call of thread_create() from now fail with Q_NO_MEMORY; 0: none. */
void fake_thread_create_fail_at(unsigned count);

/* --- time ------------------------------------------------------------------------------- */

/* Lets time pass. */
void fake_clock_advance(uint64_t ticks);
/* Each call of thread_cpu_ticks() returns that much more than the one before. */
void fake_work_set(uint64_t ticks);

#endif
