/* SPDX-License-Identifier: MIT */
/* Host side of <quire/lock.h>: a pthread mutex. Ranks are always checked. */
#ifndef TESTS_HOST_SEAM_LOCK_H
#define TESTS_HOST_SEAM_LOCK_H

#include <pthread.h>

#include <quire/lock.h>

struct Q_CAPABILITY("spinlock") spinlock {
	pthread_mutex_t mutex;
	pthread_t holder;
	bool is_held;
	enum lock_rank rank;
	const char *name;
};

#endif
