/* SPDX-License-Identifier: MIT */
/* Kernel side of <quire/lock.h>: a ticket lock; kernel/lock.c has the code. */
#ifndef ARCH_X86_64_SEAM_LOCK_H
#define ARCH_X86_64_SEAM_LOCK_H

#include <quire/lock.h>

struct Q_CAPABILITY("spinlock") spinlock {
	uint32_t next;    /* the next ticket to hand out */
	uint32_t serving; /* the ticket that may hold the lock */
	uint32_t holder;  /* CPU index + 1; 0: free */
	enum lock_rank rank;
	const char *name;
};

#endif
