/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks with ranks. A CPU may take a lock only if its rank is higher than
 * every rank that the CPU already holds, so enum lock_rank is the lock order,
 * outermost first. Debug builds and host tests enforce it. docs/locking.md says
 * more about each lock.
 */
#ifndef INCLUDE_QUIRE_LOCK_H
#define INCLUDE_QUIRE_LOCK_H

#include <quire/compiler.h>

/* What the lock, or each lock, of a rank guards. */
enum lock_rank {
	/* The list of all VMs, and the references to them. */
	LOCK_RANK_VM_TABLE = 10,
	/* One VM's life cycle: its holds, its job, how it ended, what memory it waits for. */
	LOCK_RANK_VM = 20,
	/* One VM's virtual devices and the timer that serves them. */
	LOCK_RANK_DEVICES = 30,
	/* One VM's guest-physical memory: regions, page records, nested tables, stock. */
	LOCK_RANK_PGM = 40,
	/* Changes of what GMM has promised; chunks on their way into or out of KERNEL memory. */
	LOCK_RANK_GMM = 50,
	/* All of GMM's state: chunks, tracking words, accounts, promises, waiters, supply. */
	LOCK_RANK_GMM_SET = 55,
	/* The heap's free slots, and which runs of pages are taken. */
	LOCK_RANK_HEAP = 60,
	/* The run queues, and the state of every thread. */
	LOCK_RANK_SCHED = 70,
	/* One CPU's queue of timers. */
	LOCK_RANK_TIMER = 75,
	/* One VM's ring of serial output. */
	LOCK_RANK_SERIAL = 80,
	/* The log's ring; the queues of one serial port. No lock is taken under these. */
	LOCK_RANK_LOG = 90,
};

struct Q_CAPABILITY("spinlock") spinlock;

/* The caller owns the storage. `name` must outlive the lock. */
void spin_init(struct spinlock *lock, enum lock_rank rank, const char *name);

/* For locks that no interrupt handler takes. Interrupts stay enabled or disabled. */
void spin_lock(struct spinlock *lock) Q_ACQUIRES(lock);
void spin_unlock(struct spinlock *lock) Q_RELEASES(lock);
/* Takes the lock if it is free and no CPU waits for it. The rule of ranks holds here as well. */
bool spin_try_lock(struct spinlock *lock) Q_TRY_ACQUIRES(true, lock) Q_MUST_USE;

/* For locks that interrupt handlers also take. Disables interrupts; returns flags to restore. */
uint64_t spin_lock_irqsave(struct spinlock *lock) Q_ACQUIRES(lock);
void spin_unlock_irqrestore(struct spinlock *lock, uint64_t flags) Q_RELEASES(lock);

/* For assertions. True if this CPU holds the lock. */
bool spin_is_held(const struct spinlock *lock);

#include <seam/lock.h> /* defines struct spinlock */

#endif
