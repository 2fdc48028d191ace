/* SPDX-License-Identifier: MIT */
/*
 * Clocks of the PC, all derived from the guest's TSC. A ratio of two frequencies is
 * a fixed-point number with 64 bits on each side of the point. To apply it takes no
 * division, and is exact to one tick for every TSC value.
 */
#ifndef DEVICES_PC_VCLOCK_H
#define DEVICES_PC_VCLOCK_H

#include <quire/compiler.h>

struct vclock_ratio {
	uint64_t whole;
	uint64_t fraction; /* in units of 2^-64, rounded down */
};

/* `to_hz` / `from_hz`; from_hz is above 0 and below 2^63. */
struct vclock_ratio vclock_ratio_make(uint64_t to_hz, uint64_t from_hz);

/* Modulo 2^64; the integer part of the exact value, or one less. */
static inline uint64_t vclock_apply(const struct vclock_ratio *ratio, uint64_t ticks)
{
	uint64_t part = (uint64_t)(((unsigned __int128)ticks * ratio->fraction) >> 64);
	return ticks * ratio->whole + part;
}

/* The sum of two times; the largest time instead of wrapping. */
static inline uint64_t vclock_add(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;
	return sum < a ? ~0ull : sum;
}

#endif
