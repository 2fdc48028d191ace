/* SPDX-License-Identifier: MIT */
#include "fake_kernel.h"

#include "fake_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
#include <semaphore.h>

#include <quire/list.h>

#include "kernel/power.h"
#include "kernel/thread.h"
#include "kernel/time.h"

void must(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "fake kernel: %s\n", what);
	abort();
}

/* --- threads: one at a time has the baton --------------------------------------------------- */

struct thread {
	struct list_node node;
	pthread_t host;
	sem_t baton;
	enum thread_priority priority;
	void (*body)(void *argument);
	void *argument;
	struct percpu percpu;

	/* Belong to the thread that has the baton. */
	uint64_t last_turn;
	struct thread *joiner; /* sleeps until this thread has ended, or NULL */
	bool is_ready, has_permit, has_deadline, is_ended;
	bool must_end; /* it gets the baton for the last time */
};

static struct thread idle = { .is_ready = true };
static struct list_node threads = { &threads, &threads }; /* without `idle` */
static _Thread_local struct thread *current;
static uint64_t turn;
static unsigned yields, create_fail_at;
static bool should_yield;
static char power[16];

static struct thread *entry_of(struct list_node *node)
{
	return list_entry(node, struct thread, node);
}

static void host_thread_adopt(struct thread *thread)
{
	current = thread;
	thread->percpu.should_yield = should_yield;
}

uint64_t cpu_rdtsc(void)
{
	return __builtin_ia32_rdtsc();
}

struct percpu *percpu(void)
{
	return &current->percpu;
}

__attribute__((constructor)) static void idle_start(void)
{
	sem_init(&idle.baton, 0, 0);
	host_thread_adopt(&idle);
}

/* The most urgent thread that is ready; of these the one that waited longest. */
static struct thread *next_pick(void)
{
	struct thread *next = NULL;
	if (power[0])
		return &idle;
	list_for_each(node, &threads)
	{
		struct thread *thread = entry_of(node);
		if (!thread->is_ready)
			continue;
		if (!next || thread->priority < next->priority ||
		    (thread->priority == next->priority && thread->last_turn < next->last_turn))
			next = thread;
	}
	return next ? next : &idle;
}

static void baton_wait(struct thread *self)
{
	while (sem_wait(&self->baton) != 0)
		;
	self->last_turn = ++turn;
}

static void baton_pass(struct thread *self)
{
	struct thread *next = next_pick();
	if (next == self)
		return;
	sem_post(&next->baton);
	baton_wait(self);
	if (self->must_end)
		pthread_exit(NULL);
}

static void *host_thread_run(void *argument)
{
	struct thread *self = argument;
	host_thread_adopt(self);
	baton_wait(self);
	if (self->must_end)
		return NULL;
	self->body(self->argument);
	self->is_ended = true;
	self->is_ready = false;
	if (self->joiner)
		self->joiner->is_ready = true;
	sem_post(&next_pick()->baton);
	return NULL;
}

q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread)
{
	(void)name;
	if (create_fail_at && --create_fail_at == 0)
		return Q_NO_MEMORY;
	struct thread *thread = calloc(1, sizeof(*thread));
	thread->priority = priority;
	thread->body = body;
	thread->argument = argument;
	thread->is_ready = true;
	sem_init(&thread->baton, 0, 0);
	list_add_tail(&threads, &thread->node);
	*out_thread = thread;
	must(pthread_create(&thread->host, NULL, host_thread_run, thread) == 0, "pthread_create");
	return Q_OK;
}

static void thread_release(struct thread *thread)
{
	pthread_join(thread->host, NULL);
	list_remove(&thread->node);
	sem_destroy(&thread->baton);
	free(thread);
}

void thread_join(struct thread *thread)
{
	while (!thread->is_ended) {
		must(current != &idle, "the idle thread cannot sleep");
		thread->joiner = current;
		current->is_ready = false;
		baton_pass(current);
	}
	thread_release(thread);
}

struct thread *thread_self(void)
{
	return current;
}

static void sleep_now(void)
{
	must(current != &idle, "the idle thread cannot sleep");
	if (!current->has_permit) {
		current->is_ready = false;
		baton_pass(current);
	}
	current->has_permit = false;
}

void thread_park(void)
{
	sleep_now();
}

void thread_park_until(uint64_t deadline_tsc)
{
	(void)deadline_tsc;
	current->has_deadline = true;
	sleep_now();
	current->has_deadline = false;
}

void thread_unpark(struct thread *thread)
{
	thread->has_permit = true;
	thread->is_ready = !thread->is_ended;
}

void thread_yield(void)
{
	yields++;
	baton_pass(current);
}

void fake_threads_run(void)
{
	must(current == &idle, "only the test's thread lets others run");
	baton_pass(&idle);
}

void fake_threads_end(void)
{
	must(current == &idle, "only the test's thread ends others");
	for (struct list_node *node; (node = threads.next) != &threads;) {
		struct thread *thread = entry_of(node);
		thread->must_end = true;
		sem_post(&thread->baton);
		thread_release(thread);
	}
	power[0] = 0;
	create_fail_at = yields = 0;
	fake_should_yield_set(false);
}

void fake_time_passes(void)
{
	list_for_each(node, &threads)
	{
		if (entry_of(node)->has_deadline)
			entry_of(node)->is_ready = true;
	}
	fake_threads_run();
}

void fake_should_yield_set(bool value)
{
	should_yield = idle.percpu.should_yield = value;
	list_for_each(node, &threads) entry_of(node)->percpu.should_yield = value;
}

unsigned fake_yields(void)
{
	return yields;
}

void fake_thread_fail_at(unsigned count)
{
	create_fail_at = count;
}

/* --- <kernel/power.h> ------------------------------------------------------------------------ */

static Q_NORETURN void run_end(void)
{
	must(current != &idle, "the idle thread switches nothing off");
	current->is_ready = false;
	for (;;)
		baton_pass(current);
}

void power_off(enum exit_status status)
{
	snprintf(power, sizeof(power), "off %d", status);
	run_end();
}

void power_halt(enum exit_status status)
{
	snprintf(power, sizeof(power), "halt %d", status);
	run_end();
}

void power_reboot(void)
{
	snprintf(power, sizeof(power), "reboot");
	run_end();
}

const char *fake_power(void)
{
	return power;
}

/* --- <kernel/time.h> --------------------------------------------------------------------------- */

uint64_t time_start(void)
{
	return 0;
}

/* A tick is a nanosecond. */
uint64_t time_ticks_from_us(uint64_t microseconds)
{
	return microseconds * 1000;
}

uint64_t time_us_from_ticks(uint64_t ticks)
{
	return ticks / 1000;
}
