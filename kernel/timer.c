/* SPDX-License-Identifier: MIT */
/*
 * Each CPU has a list of its timers, sorted by deadline, and its local APIC is
 * armed for the first. A list is enough because it is short: a few vCPUs and a
 * slice.
 *
 * A timer leaves the list before its callback runs, and the callback runs without
 * the lock, so it may arm and cancel timers. Lock: LOCK_RANK_TIMER, one per CPU.
 */
#include "timer.h"

#include <quire/assert.h>
#include <quire/lock.h>
#include <quire/physmem.h>

#include "arch/x86_64/apic.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/features.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trap.h"

#include "interrupt.h"
#include "time.h"
#include "timer_init.h"

static struct timer_queue {
	struct spinlock lock;
	struct list_node timers; /* guarded by lock; earliest first */
} queues[PHYSMEM_CPU_MAX];

static struct timer *first(struct timer_queue *queue)
{
	if (list_is_empty(&queue->timers))
		return NULL;
	return list_entry(queue->timers.next, struct timer, node);
}

static void hardware_arm(struct timer_queue *queue)
{
	struct timer *timer = first(queue);
	if (!timer) {
		apic_timer_stop();
		return;
	}
	if (cpu_features()->has_tsc_deadline) {
		apic_timer_arm_deadline(timer->deadline_tsc);
		return;
	}
	uint64_t now = cpu_rdtsc();
	apic_timer_arm(timer->deadline_tsc > now ? time_apic_ticks(timer->deadline_tsc - now) : 1);
}

static void insert(struct timer_queue *queue, struct timer *timer)
{
	struct list_node *where = &queue->timers;
	list_for_each(node, &queue->timers)
	{
		if (list_entry(node, struct timer, node)->deadline_tsc > timer->deadline_tsc)
			break;
		where = node;
	}
	list_insert_after(where, &timer->node);
}

static void timer_interrupt(void)
{
	struct timer_queue *queue = &queues[percpu()->index];
	spin_lock(&queue->lock);
	for (struct timer *timer; (timer = first(queue));) {
		if (timer->deadline_tsc > cpu_rdtsc())
			break;
		list_remove(&timer->node);
		timer->is_armed = false;
		spin_unlock(&queue->lock);
		timer->fired(timer);
		spin_lock(&queue->lock);
	}
	hardware_arm(queue);
	spin_unlock(&queue->lock);
}

void timer_cpu_init(void)
{
	struct timer_queue *queue = &queues[percpu()->index];
	spin_init(&queue->lock, LOCK_RANK_TIMER, "timers");
	list_init(&queue->timers);
	interrupt_attach(TRAP_VECTOR_TIMER, timer_interrupt);
}

void timer_init(struct timer *timer, void (*fired)(struct timer *timer))
{
	*timer = (struct timer){ .fired = fired };
	list_init(&timer->node);
}

/* Threads do not move between CPUs, so a timer is armed and cancelled on one CPU. */
static struct timer_queue *queue_of(const struct timer *timer)
{
	Q_ASSERT(timer->cpu == percpu()->index);
	return &queues[timer->cpu];
}

void timer_arm(struct timer *timer, uint64_t deadline_tsc)
{
	if (!timer->is_armed)
		timer->cpu = percpu()->index;
	struct timer_queue *queue = queue_of(timer);
	uint64_t flags = spin_lock_irqsave(&queue->lock);
	bool was_first = timer->is_armed && first(queue) == timer;
	if (timer->is_armed)
		list_remove(&timer->node);
	timer->is_armed = true;
	timer->deadline_tsc = deadline_tsc;
	insert(queue, timer);
	if (was_first || first(queue) == timer)
		hardware_arm(queue);
	spin_unlock_irqrestore(&queue->lock, flags);
}

void timer_cancel(struct timer *timer)
{
	if (!timer->is_armed)
		return;
	struct timer_queue *queue = queue_of(timer);
	uint64_t flags = spin_lock_irqsave(&queue->lock);
	if (timer->is_armed) {
		bool was_first = first(queue) == timer;
		list_remove(&timer->node);
		timer->is_armed = false;
		if (was_first)
			hardware_arm(queue);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
}
