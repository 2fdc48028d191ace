/* SPDX-License-Identifier: MIT */
/* MC146818 real-time clock with its memory; see vrtc.c. */
#ifndef DEVICES_PC_VRTC_H
#define DEVICES_PC_VRTC_H

#include "devices/vdev.h"

struct vpc;
struct vpc_config;

#define VRTC_IRQ         8u
#define VRTC_SIZE        128u
#define VRTC_REG_CENTURY 0x32u

struct vrtc {
	struct vdev dev;
	uint64_t offset_seconds; /* Unix time at guest TSC 0, modulo 2^64 */
	uint64_t flags_time;     /* guest TSC up to which register C's flags are complete */
	uint8_t index;
	/* Registers and memory. The time is in its registers only while the clock is stopped. */
	uint8_t cells[VRTC_SIZE];
};

/* Power-on: sets the time, and stores the size of memory. */
void vrtc_init(struct vrtc *rtc, struct vpc *vpc, const struct vpc_config *config);

#endif
