/* SPDX-License-Identifier: MIT */
/* Quire's clock is the TSC. Its rate is measured once at boot. */
#ifndef KERNEL_TIME_H
#define KERNEL_TIME_H

#include <quire/status.h>

/* Rates of the TSC that Quire can work with. */
#define TIME_TSC_HZ_MIN 10000000ull
#define TIME_TSC_HZ_MAX (1ull << 40)

/*
 * Measures the rates of the TSC and of the local APIC's timer against the PIT. A measurement takes
 * two milliseconds, and is repeated if it was disturbed. Also reads the real-time clock.
 * Q_UNSUPPORTED: the PIT, the TSC or the APIC timer does not count, or has an impossible rate.
 */
q_status_t time_init(void) Q_MUST_USE;

/* The TSC that Quire's first instructions read. */
void time_start_set(uint64_t tsc);
uint64_t time_start(void);

uint64_t time_tsc_hz(void);
uint64_t time_ticks_from_us(uint64_t microseconds);
uint64_t time_us_from_ticks(uint64_t ticks);

/* Converts TSC ticks to APIC timer ticks, rounded up; at most a second, and at most 32 bits. */
uint32_t time_apic_ticks(uint64_t tsc_ticks);

/* Unix time at TSC 0. */
uint64_t time_epoch_seconds(void);

#endif
