/* SPDX-License-Identifier: MIT */
#include "fake_kernel.h"

#include "fake_cpu.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <semaphore.h>

#include <quire/list.h>

#include "lib/format.h"
#include "kernel/console.h"
#include "kernel/log_console.h"
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

/* --- <kernel/console.h> ------------------------------------------------------------------------ */

#define PRINT_BYTES 1024u /* as in kernel/console.c */

static char screen[1u << 20];
static size_t screen_used;
static uint8_t keys[8192];
static size_t keys_head, keys_tail;
static bool was_cut;
static void (*input_hook)(void);
static void (*hook_before)(void);
static void (*hook_after)(void);

void console_write(const void *bytes, size_t count)
{
	must(count < sizeof(screen) - screen_used, "the screen is full");
	memcpy(screen + screen_used, bytes, count);
	screen_used += count;
	screen[screen_used] = 0;
}

static void write_text(const char *text)
{
	for (const char *newline; (newline = strchr(text, '\n')); text = newline + 1) {
		console_write(text, (size_t)(newline - text));
		console_write("\r\n", 2);
	}
	console_write(text, strlen(text));
}

void console_print(const char *format, ...)
{
	char text[PRINT_BYTES];
	va_list args;
	va_start(args, format);
	was_cut |= format_text_va(text, sizeof(text), format, args) >= sizeof(text);
	va_end(args);
	write_text(text);
}

void console_print_line(const char *line)
{
	if (hook_before)
		hook_before();
	write_text(line);
	if (hook_after)
		hook_after();
}

int console_getc(void)
{
	return keys_tail == keys_head ? -1 : keys[keys_tail++];
}

void console_input_hook_set(void (*hook)(void))
{
	input_hook = hook;
}

void console_line_hook_set(void (*before)(void), void (*after)(void))
{
	hook_before = before;
	hook_after = after;
}

void console_com2_write(const void *bytes, size_t count)
{
	(void)bytes;
	(void)count;
}

void fake_console_type_unnoticed(const void *bytes, size_t count)
{
	if (keys_tail == keys_head)
		keys_tail = keys_head = 0;
	must(count <= sizeof(keys) - keys_head, "too much was typed ahead");
	memcpy(keys + keys_head, bytes, count);
	keys_head += count;
}

void fake_console_type(const void *bytes, size_t count)
{
	fake_console_type_unnoticed(bytes, count);
	if (input_hook)
		input_hook();
	fake_threads_run();
}

const char *fake_console_text(void)
{
	return screen;
}

void fake_console_clear(void)
{
	screen_used = 0;
	screen[0] = 0;
	was_cut = false;
}

bool fake_console_was_cut(void)
{
	return was_cut;
}

/* --- <kernel/log_console.h>, <kernel/time.h>, <kernel/cmdline.h> --------------------------------- */

static char log_command[16];

void log_show(void)
{
	snprintf(log_command, sizeof(log_command), "show");
}

void log_level_set(enum log_level level)
{
	snprintf(log_command, sizeof(log_command), "level %d", level);
}

const char *fake_log_command(void)
{
	return log_command;
}

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

struct options fake_options;

const struct options *options(void)
{
	return &fake_options;
}
