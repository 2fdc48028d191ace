/* SPDX-License-Identifier: MIT */
/* The machine's interval timer, which Quire uses only to measure faster clocks. */
#ifndef DRIVERS_PIT_H
#define DRIVERS_PIT_H

#include <quire/compiler.h>

#define PIT_HZ 1193182u

/*
 * Waits for `ticks` (at most 65535) of the PIT by polling, and calls `sample` right before and
 * right after. Uses no interrupt. False: the PIT does not count.
 *
 * *out_doubt: by how many TSC ticks the time between the samples may differ from what the PIT
 * counted. That is the length of a few port accesses, or more if SMM or a hypervisor took the CPU
 * away meanwhile.
 */
bool pit_measure(uint16_t ticks, void (*sample)(void *context, bool is_end), void *context,
		 uint64_t *out_doubt);

#endif
