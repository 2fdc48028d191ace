/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks with ranks. A CPU may take a lock only if its rank is higher than
 * every rank that it already holds, so this enum is the lock order, outermost
 * first; debug builds and host tests enforce it. docs/locking.md has an entry
 * for each.
 */
#ifndef INCLUDE_QUIRE_LOCK_H
#define INCLUDE_QUIRE_LOCK_H

#include <quire/compiler.h>

enum lock_rank {
	LOCK_RANK_VM_TABLE = 10, /* the list of VMs */
	LOCK_RANK_VM = 20,       /* one VM's lifecycle */
	LOCK_RANK_DEVICES = 30,  /* one VM's devices */
	LOCK_RANK_PGM = 40,      /* one VM's guest-physical memory */
	LOCK_RANK_GMM = 50,      /* promises; KERNEL chunks on their way */
	LOCK_RANK_GMM_SET = 55,  /* all of GMM's state */
	LOCK_RANK_HEAP = 60,     /* small objects */
	LOCK_RANK_SCHED = 70,    /* run queues */
	LOCK_RANK_TIMER = 75,    /* a CPU's timer queue */
	LOCK_RANK_SERIAL = 80,   /* a VM's serial output ring */
	LOCK_RANK_LOG = 90,      /* always a leaf */
};

struct Q_CAPABILITY("spinlock") spinlock;

/* Storage is the caller's; `name` must outlive it. */
void spin_init(struct spinlock *lock, enum lock_rank rank, const char *name);

/* Interrupts stay as they are: for locks that no interrupt handler takes. */
void spin_lock(struct spinlock *lock) Q_ACQUIRES(lock);
void spin_unlock(struct spinlock *lock) Q_RELEASES(lock);
/* Takes the lock if nobody has it and nobody waits for it; the same ranks. */
bool spin_try_lock(struct spinlock *lock) Q_TRY_ACQUIRES(true, lock) Q_MUST_USE;

/* For locks that interrupt handlers take too: disables interrupts, returns what to restore. */
uint64_t spin_lock_irqsave(struct spinlock *lock) Q_ACQUIRES(lock);
void spin_unlock_irqrestore(struct spinlock *lock, uint64_t flags) Q_RELEASES(lock);

/* For assertions: does this CPU hold it? */
bool spin_is_held(const struct spinlock *lock);

#include <seam/lock.h> /* defines struct spinlock */

#endif
