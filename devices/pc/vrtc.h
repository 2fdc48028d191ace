/* SPDX-License-Identifier: MIT */
/* MC146818 real-time clock with its memory; see vrtc.c. */
#ifndef DEVICES_PC_VRTC_H
#define DEVICES_PC_VRTC_H

#include <quire/compiler.h>

struct vpc;

#define VRTC_IRQ         8u
#define VRTC_SIZE        128u
#define VRTC_REG_CENTURY 0x32u

struct vrtc {
	uint64_t offset_seconds; /* wall clock = this + guest TSC in seconds, modulo 2^64 */
	uint64_t flags_time;     /* until when register C's flags are up to date */
	uint8_t index;
	/* Registers and memory. Those that show the time are valid only while it is stopped. */
	uint8_t cells[VRTC_SIZE];
};

/* Power-on: time and memory size; then as after each reset. */
void vrtc_init(struct vpc *vpc, uint64_t epoch_seconds, uint64_t ram_bytes);
void vrtc_reset(struct vpc *vpc, uint64_t now);
/* `offset`: 0 index, 1 data. */
uint8_t vrtc_read(struct vpc *vpc, unsigned offset, uint64_t now);
void vrtc_write(struct vpc *vpc, unsigned offset, uint8_t value, uint64_t now);
void vrtc_timer(struct vpc *vpc, uint64_t now);
void vrtc_check(const struct vrtc *rtc);

#endif
