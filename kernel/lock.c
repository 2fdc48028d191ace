/* SPDX-License-Identifier: MIT */
/*
 * Kernel side of <quire/lock.h>: ticket locks, first come, first served. Debug
 * builds keep a list of the ranks that each CPU holds, and panic at a wrong order.
 */
#include <quire/lock.h>

#include <quire/assert.h>
#include <quire/atomic.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"

void spin_init(struct spinlock *lock, enum lock_rank rank, const char *name)
{
	*lock = (struct spinlock){ .rank = rank, .name = name };
}

static void rank_push(const struct spinlock *lock)
{
	struct percpu *cpu = percpu();
	if (cpu->held_locks)
		Q_ASSERT(cpu->held_ranks[cpu->held_locks - 1] < lock->rank);
	Q_ASSERT(cpu->held_locks < ARRAY_COUNT(cpu->held_ranks));
	cpu->held_ranks[cpu->held_locks++] = (uint8_t)lock->rank;
}

static void rank_pop(const struct spinlock *lock)
{
	struct percpu *cpu = percpu();
	Q_ASSERT(cpu->held_locks && cpu->held_ranks[cpu->held_locks - 1] == lock->rank);
	cpu->held_locks--;
}

void spin_lock(struct spinlock *lock) Q_NO_ANALYSIS
{
	if (CONFIG_DEBUG)
		rank_push(lock);
	uint32_t ticket = atomic_add_relaxed(&lock->next, 1);
	while (atomic_load_acquire(&lock->serving) != ticket)
		cpu_pause();
	lock->holder = percpu()->index + 1;
}

bool spin_try_lock(struct spinlock *lock) Q_NO_ANALYSIS
{
	/* Acquire pairs with the release in spin_unlock(). */
	uint32_t ticket = atomic_load_acquire(&lock->serving);
	uint32_t expected = ticket;
	/* If the next ticket is the one being served, no CPU holds the lock or waits for it. */
	if (!atomic_cas_acquire(&lock->next, &expected, ticket + 1))
		return false;
	if (CONFIG_DEBUG)
		rank_push(lock);
	lock->holder = percpu()->index + 1;
	return true;
}

void spin_unlock(struct spinlock *lock) Q_NO_ANALYSIS
{
	if (CONFIG_DEBUG)
		rank_pop(lock);
	lock->holder = 0;
	atomic_store_release(&lock->serving, lock->serving + 1);
}

uint64_t spin_lock_irqsave(struct spinlock *lock) Q_NO_ANALYSIS
{
	uint64_t flags = cpu_irq_save();
	spin_lock(lock);
	return flags;
}

void spin_unlock_irqrestore(struct spinlock *lock, uint64_t flags) Q_NO_ANALYSIS
{
	spin_unlock(lock);
	cpu_irq_restore(flags);
}

bool spin_is_held(const struct spinlock *lock)
{
	return lock->holder == percpu()->index + 1;
}
