/* SPDX-License-Identifier: MIT */
#include "pvclock.h"

#include <quire/bits.h>

#define NS_PER_SECOND   1000000000ull
#define FLAG_TSC_STABLE BIT32(0) /* all vCPUs agree on the TSC */
#define VERSION_DONE    2u       /* any even number but 0, which empty memory has */

/* ns = ((ticks << shift) * mul) >> 32, with mul as large as 32 bits hold. */
static void rate_set(struct pvclock_time *time, uint64_t tsc_hz)
{
	int shift = 0;
	uint64_t hz = tsc_hz;
	for (; hz > 2 * NS_PER_SECOND; hz >>= 1)
		shift--;
	for (; hz <= NS_PER_SECOND; hz <<= 1)
		shift++;
	time->tsc_shift = (int8_t)shift;
	time->tsc_to_system_mul = (uint32_t)((NS_PER_SECOND << 32) / hz);
}

void pvclock_time_fill(struct pvclock_time *time, uint64_t tsc_hz, uint64_t tsc_at_zero)
{
	*time = (struct pvclock_time){ .version = VERSION_DONE,
				       .tsc_timestamp = tsc_at_zero,
				       .flags = FLAG_TSC_STABLE };
	rate_set(time, tsc_hz);
}

void pvclock_wall_fill(struct pvclock_wall *wall, uint64_t tsc_hz, uint64_t start_tsc,
		       uint64_t epoch_seconds)
{
	/* Ticks of less than a second, times 10^6, fit into 64 bits for rates up to 18 THz. */
	uint64_t microseconds = start_tsc % tsc_hz * 1000000 / tsc_hz;
	*wall = (struct pvclock_wall){ .version = VERSION_DONE,
				       .seconds = (uint32_t)(epoch_seconds + start_tsc / tsc_hz),
				       .nanoseconds = (uint32_t)(microseconds * 1000) };
}
