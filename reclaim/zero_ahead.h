/* SPDX-License-Identifier: MIT */
/* Clears free pages while nobody wants the CPU, so that who needs them need not wait for it. */
#ifndef RECLAIM_ZERO_AHEAD_H
#define RECLAIM_ZERO_AHEAD_H

#include <quire/status.h>

/* Once. Q_NO_MEMORY: no room for the thread. */
q_status_t zero_ahead_start(void) Q_MUST_USE;

#endif
