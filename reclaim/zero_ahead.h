/* SPDX-License-Identifier: MIT */
/* Clears free pages while no thread wants the CPU, so that VMs need not wait for the clearing. */
#ifndef RECLAIM_ZERO_AHEAD_H
#define RECLAIM_ZERO_AHEAD_H

#include <quire/status.h>

/* Starts the thread. To be called once. Q_NO_MEMORY. */
q_status_t zero_ahead_start(void) Q_MUST_USE;

#endif
