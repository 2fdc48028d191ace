/* SPDX-License-Identifier: MIT */
/*
 * One run queue for each priority, round robin inside each. The lock is held
 * across the switch, and the thread that runs next drops it, so no CPU can pick a
 * thread that still uses its stack.
 *
 * The slice timer runs only while another thread of the running thread's priority
 * is RUNNABLE, so a vCPU that is alone is not interrupted for nothing.
 *
 * States: RUNNABLE (in its run queue) -> RUNNING -> RUNNABLE or PARKED; PARKED ->
 * RUNNABLE; at last ENDED. An unpark that comes before the park leaves a permit,
 * which thread_park() takes instead of sleeping.
 *
 * Lock: LOCK_RANK_SCHED, which interrupt handlers also take.
 */
#include "thread.h"

#include <quire/addr.h>
#include <quire/assert.h>
#include <quire/list.h>
#include <quire/lock.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"

#include "heap.h"
#include "panic.h"
#include "sched.h"
#include "time.h"
#include "timer.h"

#define STACK_PAGES    4u
#define SLICE_US       10000u
#define PRIORITY_COUNT (THREAD_IDLE + 1u)
#define PRIORITY_NONE  PRIORITY_COUNT /* the idle thread's, below all others */

enum thread_state { THREAD_RUNNABLE, THREAD_RUNNING, THREAD_PARKED, THREAD_ENDED };

struct thread {
	/* Fixed by thread_create(). */
	char name[32];
	unsigned priority;
	void (*body)(void *);
	void *argument;
	void *stack;

	/* Guarded by sched.lock. */
	struct list_node node; /* in its run queue while RUNNABLE */
	enum thread_state state;
	bool has_permit;
	struct thread *joiner;
	uint64_t cpu_ticks;
	uint64_t rsp; /* while not RUNNING */

	struct timer timer; /* of thread_park_until() */
};

static struct {
	struct spinlock lock;
	struct list_node queues[PRIORITY_COUNT];
	struct timer slice;
	/* Guarded by lock, which slice_ended() does not need: it runs on the same CPU. */
	bool slice_is_armed;
} sched;

static struct thread idle_thread = { .name = "idle", .priority = PRIORITY_NONE };

void thread_switch(uint64_t *save_rsp, uint64_t load_rsp); /* switch.S */
void thread_start(void);                                   /* switch.S */
Q_NORETURN void thread_main(void);

static void slice_ended(struct timer *timer)
{
	(void)timer;
	sched.slice_is_armed = false;
	percpu()->should_yield = true;
}

static const char *current_name(void)
{
	return percpu()->current->name;
}

void sched_init(void)
{
	spin_init(&sched.lock, LOCK_RANK_SCHED, "scheduler");
	for (unsigned i = 0; i < PRIORITY_COUNT; i++)
		list_init(&sched.queues[i]);
	timer_init(&sched.slice, slice_ended);
	idle_thread.state = THREAD_RUNNING;
	percpu()->current = &idle_thread;
	percpu()->idle = &idle_thread;
	percpu()->switch_tsc = cpu_rdtsc();
	panic_thread_name_set(current_name);
}

/* The most urgent priority that has a runnable thread, or PRIORITY_NONE. */
static unsigned first_waiting(void)
{
	unsigned i = 0;
	while (i < PRIORITY_COUNT && list_is_empty(&sched.queues[i]))
		i++;
	return i;
}

static struct thread *pick(void)
{
	unsigned priority = first_waiting();
	if (priority == PRIORITY_NONE)
		return percpu()->idle;
	struct thread *thread = list_entry(sched.queues[priority].next, struct thread, node);
	list_remove(&thread->node);
	return thread;
}

/*
 * Makes the running thread yield now, or after a slice, if another thread has a claim to the
 * CPU. Call it after any change of the running thread or of the queues.
 */
static void preemption_update(void)
{
	unsigned waiting = first_waiting();
	unsigned running = percpu()->current->priority;
	if (waiting < running) {
		percpu()->should_yield = true;
	} else if (waiting == running && waiting != PRIORITY_NONE && !sched.slice_is_armed) {
		sched.slice_is_armed = true;
		timer_arm(&sched.slice, cpu_rdtsc() + time_ticks_from_us(SLICE_US));
	}
}

/* Runs the next thread. The caller has already set its own state. Returns when it runs again. */
static void switch_away_locked(void)
{
	struct percpu *cpu = percpu();
	struct thread *from = cpu->current, *to = pick();
	uint64_t now = cpu_rdtsc();
	from->cpu_ticks += now - cpu->switch_tsc;
	cpu->switch_tsc = now;
	to->state = THREAD_RUNNING;
	cpu->should_yield = false;
	cpu->current = to;
	if (sched.slice_is_armed) {
		sched.slice_is_armed = false;
		timer_cancel(&sched.slice);
	}
	preemption_update();
	if (to != from)
		thread_switch(&from->rsp, to->rsp);
}

static void enqueue(struct thread *thread)
{
	thread->state = THREAD_RUNNABLE;
	if (thread->priority != PRIORITY_NONE)
		list_add_tail(&sched.queues[thread->priority], &thread->node);
}

void thread_main(void)
{
	struct thread *self = percpu()->current;
	spin_unlock(&sched.lock); /* the thread that switched to this one took it */
	cpu_irq_enable();
	self->body(self->argument);

	spin_lock_irqsave(&sched.lock);
	self->state = THREAD_ENDED;
	struct thread *joiner = self->joiner;
	if (joiner && joiner->state == THREAD_PARKED)
		enqueue(joiner);
	else if (joiner)
		joiner->has_permit = true;
	switch_away_locked();
	Q_ASSERT(!"an ended thread ran");
	__builtin_unreachable();
}

static void wake_timer_fired(struct timer *timer)
{
	thread_unpark(container_of(timer, struct thread, timer));
}

q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread)
{
	struct thread *thread = heap_alloc(sizeof(*thread));
	if (!thread)
		return Q_NO_MEMORY;
	thread->stack = pages_alloc(STACK_PAGES);
	if (!thread->stack) {
		heap_free(thread, sizeof(*thread));
		return Q_NO_MEMORY;
	}
	string_copy(thread->name, sizeof(thread->name), name);
	thread->priority = priority;
	thread->body = body;
	thread->argument = argument;
	list_init(&thread->node);
	timer_init(&thread->timer, wake_timer_fired);

	/* The stack that thread_switch() expects: six registers, the return address, alignment. */
	uint64_t *top = (uint64_t *)((uint8_t *)thread->stack + STACK_PAGES * PAGE_SIZE);
	top[-2] = (uintptr_t)thread_start;
	thread->rsp = (uintptr_t)(top - 8);

	uint64_t flags = spin_lock_irqsave(&sched.lock);
	enqueue(thread);
	preemption_update();
	spin_unlock_irqrestore(&sched.lock, flags);
	*out_thread = thread;
	return Q_OK;
}

void thread_join(struct thread *thread)
{
	for (;;) {
		uint64_t flags = spin_lock_irqsave(&sched.lock);
		thread->joiner = thread_self();
		bool has_ended = thread->state == THREAD_ENDED;
		spin_unlock_irqrestore(&sched.lock, flags);
		if (has_ended)
			break;
		thread_park();
	}
	timer_cancel(&thread->timer);
	pages_free(thread->stack, STACK_PAGES);
	heap_free(thread, sizeof(*thread));
}

struct thread *thread_self(void)
{
	return percpu()->current;
}

void thread_park(void)
{
	uint64_t flags = spin_lock_irqsave(&sched.lock);
	struct thread *self = percpu()->current;
	Q_ASSERT(self->priority != PRIORITY_NONE);
	if (!self->has_permit) {
		self->state = THREAD_PARKED;
		switch_away_locked();
	}
	self->has_permit = false;
	spin_unlock_irqrestore(&sched.lock, flags);
}

void thread_park_until(uint64_t deadline_tsc)
{
	struct thread *self = thread_self();
	timer_arm(&self->timer, deadline_tsc);
	thread_park();
	timer_cancel(&self->timer);
}

void thread_unpark(struct thread *thread)
{
	uint64_t flags = spin_lock_irqsave(&sched.lock);
	if (thread->state == THREAD_PARKED) {
		enqueue(thread);
		preemption_update();
	} else {
		thread->has_permit = true;
	}
	spin_unlock_irqrestore(&sched.lock, flags);
}

void thread_yield(void)
{
	uint64_t flags = spin_lock_irqsave(&sched.lock);
	enqueue(percpu()->current);
	switch_away_locked();
	spin_unlock_irqrestore(&sched.lock, flags);
}

uint64_t thread_cpu_ticks(const struct thread *thread)
{
	uint64_t flags = spin_lock_irqsave(&sched.lock);
	uint64_t ticks = thread->cpu_ticks;
	if (thread->state == THREAD_RUNNING)
		ticks += cpu_rdtsc() - percpu()->switch_tsc;
	spin_unlock_irqrestore(&sched.lock, flags);
	return ticks;
}

void sched_idle(void)
{
	for (;;) {
		cpu_irq_disable();
		if (first_waiting() != PRIORITY_NONE) {
			cpu_irq_enable();
			thread_yield();
			continue;
		}
		cpu_irq_enable_and_halt();
	}
}
