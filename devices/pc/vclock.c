/* SPDX-License-Identifier: MIT */
/*
 * Long division makes the fraction bit by bit: this runs once for each clock of a
 * VM, and the kernel has no 128-bit division to call.
 */
#include "vclock.h"

struct vclock_ratio vclock_ratio_make(uint64_t to_hz, uint64_t from_hz)
{
	struct vclock_ratio ratio = { .whole = to_hz / from_hz };
	uint64_t rest = to_hz % from_hz;
	for (unsigned bit = 0; bit < 64; bit++) {
		rest <<= 1;
		ratio.fraction <<= 1;
		if (rest >= from_hz) {
			rest -= from_hz;
			ratio.fraction |= 1;
		}
	}
	return ratio;
}
