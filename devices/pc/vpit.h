/* SPDX-License-Identifier: MIT */
/* 8254 interval timer: channel 0 drives IRQ 0, channel 2 is read at port 0x61; see vpit.c. */
#ifndef DEVICES_PC_VPIT_H
#define DEVICES_PC_VPIT_H

#include "devices/vdev.h"

#include "vclock.h"

struct vpc;

#define VPIT_HZ            1193182u
#define VPIT_IRQ           0u
#define VPIT_CHANNEL_COUNT 3u
#define VPIT_SPEAKER       2u

struct vpit_channel {
	uint64_t start;  /* PIT tick at which the count was loaded; ticks gone by if paused */
	uint32_t reload; /* 1..65536; 10000 at most when counting in BCD */
	uint8_t mode;    /* 0..5 */
	uint8_t access;  /* 1 low byte, 2 high byte, 3 low then high */
	bool is_bcd;
	bool is_loaded;  /* a count was written since the mode was */
	bool is_running; /* started: at once, or by the gate in modes 1 and 5 */
	bool is_paused;  /* the gate is low in a mode that it stops */
	bool gate;
	bool writes_high; /* the low byte is in low_byte, the high one comes next */
	bool reads_high;  /* the next read gets the high byte */
	uint8_t low_byte;
	uint8_t latched_count; /* bytes of the latched count that are still to be read */
	bool has_latched_status;
	uint8_t status;
	uint16_t latch;
};

struct vpit {
	struct vdev dev;
	struct vclock_ratio ticks_per_tsc, tsc_per_tick;
	struct vpit_channel channel[VPIT_CHANNEL_COUNT];
};

void vpit_init(struct vpit *pit, struct vpc *vpc);
/* PIT ticks since guest TSC 0. */
static inline uint64_t vpit_ticks(const struct vpit *pit, uint64_t now)
{
	return vclock_apply(&pit->ticks_per_tsc, now);
}

/* Level of a channel's output, and its gate input. */
bool vpit_output(const struct vpit *pit, unsigned channel, uint64_t now);
void vpit_gate_set(struct vpit *pit, unsigned channel, bool level, uint64_t now);

#endif
