/* SPDX-License-Identifier: MIT */
/* The machine's real-time clock. */
#ifndef DRIVERS_RTC_H
#define DRIVERS_RTC_H

#include <quire/compiler.h>

/* Seconds since 1970-01-01 00:00 UTC, if the clock runs on UTC. 0: its date makes no sense. */
uint64_t rtc_read_seconds(void);

#endif
