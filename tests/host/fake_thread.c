/* SPDX-License-Identifier: MIT */
#include "fake_thread.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quire/assert.h>

#include "kernel/time.h"

#include "seam/seam.h"

#define THREADS_MAX 1024u
#define TURNS_MAX   100000u /* until fake_threads_run_all() gives up */
#define STACK_BYTES (1u << 20)

enum state { READY, PARKED, JOINING, ENDED };

struct thread {
	char name[40];
	enum thread_priority priority;
	void (*body)(void *);
	void *argument;
	pthread_t host;
	sem_t turn;
	enum state state;
	bool has_host, must_end, has_permit;
	const struct thread *joined; /* while JOINING */
	uint64_t deadline, cpu_ticks;
	unsigned wakes, yields;
};

static struct thread *threads[THREADS_MAX];
static unsigned thread_count, create_fail_at;
static struct thread test_thread;
static sem_t test_turn;
static _Thread_local struct thread *self = &test_thread;

static struct percpu cpu;
static bool should_yield, is_stopped;
static uint64_t now, work_ticks;

static Q_NORETURN void die(const char *why)
{
	fprintf(stderr, "fake threads: %s\n", why);
	abort();
}

/* --- the CPU ----------------------------------------------------------------------------- */

uint64_t cpu_rdtsc(void)
{
	return now;
}

struct percpu *percpu(void)
{
	return &cpu;
}

/* --- turns ------------------------------------------------------------------------------- */

static void turn_wait(void)
{
	sem_wait(&self->turn);
	if (self->must_end)
		pthread_exit(NULL);
}

/* The test goes on, and this thread when the test runs it again. */
static void turn_give_back(void)
{
	if (fake_locks_held() != 0)
		die("a thread sleeps with a lock");
	cpu.should_yield = should_yield;
	sem_post(&test_turn);
	turn_wait();
}

static Q_NORETURN void thread_end(void)
{
	if (fake_locks_held() != 0)
		die("a thread ends with a lock");
	self->state = ENDED;
	sem_post(&test_turn);
	pthread_exit(NULL);
}

static void *host_run(void *argument)
{
	self = argument;
	turn_wait();
	self->body(self->argument);
	thread_end();
}

bool fake_thread_is_ready(const struct thread *thread)
{
	switch (thread->state) {
	case READY: return true;
	case PARKED: return thread->deadline && now >= thread->deadline;
	case JOINING: return thread->joined->state == ENDED;
	case ENDED: break;
	}
	return false;
}

bool fake_thread_has_ended(const struct thread *thread)
{
	return thread->state == ENDED;
}

uint64_t fake_thread_deadline(const struct thread *thread)
{
	return thread->state == PARKED ? thread->deadline : 0;
}

void fake_thread_run(struct thread *thread)
{
	if (self != &test_thread || is_stopped || !fake_thread_is_ready(thread))
		die("this thread cannot run now");
	sem_post(&thread->turn);
	sem_wait(&test_turn);
}

/* False: no thread is ready. */
static bool run_each_once(void)
{
	bool has_run = false;
	/* A thread that joins another one takes it from the list. */
	for (unsigned i = 0; i < thread_count && !is_stopped; i++) {
		if (fake_thread_is_ready(threads[i])) {
			fake_thread_run(threads[i]);
			has_run = true;
		}
	}
	return has_run;
}

void fake_threads_run_all(void)
{
	for (unsigned i = 0; run_each_once(); i++)
		if (i == TURNS_MAX)
			die("the threads find no rest");
}

void fake_threads_stop(void)
{
	if (self == &test_thread)
		die("the test cannot end here");
	is_stopped = true;
	thread_end();
}

static void thread_free(struct thread *thread)
{
	if (thread->has_host && thread->state != ENDED) {
		thread->must_end = true;
		sem_post(&thread->turn);
	}
	if (thread->has_host)
		pthread_join(thread->host, NULL);
	sem_destroy(&thread->turn);
	free(thread);
}

/* --- <kernel/thread.h> ------------------------------------------------------------------- */

static struct thread *thread_new(const char *name, enum thread_priority priority)
{
	struct thread *thread = calloc(1, sizeof(*thread));
	if (!thread || thread_count == THREADS_MAX)
		die("too many threads");
	snprintf(thread->name, sizeof(thread->name), "%s", name);
	thread->priority = priority;
	sem_init(&thread->turn, 0, 0);
	threads[thread_count++] = thread;
	return thread;
}

q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread)
{
	pthread_attr_t attributes;
	if (create_fail_at && --create_fail_at == 0)
		return Q_NO_MEMORY;
	struct thread *thread = thread_new(name, priority);
	thread->body = body;
	thread->argument = argument;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	thread->has_host = true;
	if (pthread_create(&thread->host, &attributes, host_run, thread) != 0)
		die("no host thread");
	pthread_attr_destroy(&attributes);
	*out_thread = thread;
	return Q_OK;
}

bool fake_thread_is_test(void)
{
	return self == &test_thread;
}

struct thread *fake_thread_name_only(void)
{
	struct thread *thread = thread_new("", THREAD_NORMAL);
	thread->state = ENDED;
	return thread;
}

/* While the test's thread sleeps, the others run. */
static void test_sleep(void)
{
	if (!run_each_once())
		die("the test sleeps for ever");
}

static void sleep_as(enum state state)
{
	self->state = state;
	turn_give_back();
	self->state = READY;
}

void thread_join(struct thread *thread)
{
	while (thread->state != ENDED) {
		self->joined = thread;
		if (self == &test_thread)
			test_sleep();
		else
			sleep_as(JOINING);
	}
	unsigned i = 0;
	while (threads[i] != thread)
		i++;
	thread_count--;
	memmove(&threads[i], &threads[i + 1], (thread_count - i) * sizeof(*threads));
	thread_free(thread);
}

struct thread *thread_self(void)
{
	return self;
}

static void park(uint64_t deadline)
{
	if (self == &test_thread) {
		while (!self->has_permit)
			test_sleep();
	} else if (!self->has_permit) {
		self->deadline = deadline;
		sleep_as(PARKED);
		self->deadline = 0;
	}
	self->has_permit = false;
}

void thread_park(void)
{
	park(0);
}

void thread_park_until(uint64_t deadline_tsc)
{
	park(deadline_tsc);
}

void thread_unpark(struct thread *thread)
{
	thread->wakes++;
	if (thread->state == PARKED)
		thread->state = READY;
	else
		thread->has_permit = true;
}

void thread_yield(void)
{
	self->yields++;
	if (self == &test_thread)
		run_each_once();
	else
		turn_give_back();
}

uint64_t thread_cpu_ticks(const struct thread *thread)
{
	/* The thread's own, so it may be changed. */
	return ((struct thread *)thread)->cpu_ticks += work_ticks;
}

/* --- <kernel/time.h> --------------------------------------------------------------------- */

uint64_t time_ticks_from_us(uint64_t microseconds)
{
	return microseconds * TICKS_PER_US;
}

uint64_t time_us_from_ticks(uint64_t ticks)
{
	return ticks / TICKS_PER_US;
}

uint64_t time_start(void)
{
	return 1;
}

/* --- for the test ------------------------------------------------------------------------ */

void fake_threads_reset(void)
{
	for (unsigned i = 0; i < thread_count; i++)
		thread_free(threads[i]);
	memset(&test_thread, 0, sizeof(test_thread));
	memset(&cpu, 0, sizeof(cpu));
	thread_count = create_fail_at = 0;
	should_yield = is_stopped = false;
	now = TICKS_PER_US;
	work_ticks = 0;
	sem_init(&test_turn, 0, 0);
}

struct thread *fake_thread_find(const char *name)
{
	for (unsigned i = thread_count; i-- > 0;)
		if (strcmp(threads[i]->name, name) == 0)
			return threads[i];
	return NULL;
}

enum thread_priority fake_thread_priority(const struct thread *thread)
{
	return thread->priority;
}

unsigned fake_thread_wakes(const struct thread *thread)
{
	return thread->wakes;
}

unsigned fake_thread_yields(const struct thread *thread)
{
	return thread->yields;
}

void fake_thread_create_fail_at(unsigned count)
{
	create_fail_at = count;
}

void fake_should_yield_set(bool value)
{
	should_yield = cpu.should_yield = value;
}

void fake_clock_advance(uint64_t ticks)
{
	now += ticks;
}

void fake_work_set(uint64_t ticks)
{
	work_ticks = ticks;
}
