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
	uint64_t start;  /* PIT tick at which the count was loaded; if paused, ticks since then */
	uint32_t reload; /* 1..65536; 10000 at most when counting in BCD */
	uint8_t mode;    /* 0..5 */
	uint8_t access;  /* 1 low byte, 2 high byte, 3 low then high */
	bool is_bcd;
	bool is_loaded;  /* a count was written after the mode */
	bool is_running; /* started by the count, or in modes 1 and 5 by the gate */
	bool is_paused;  /* by a low gate, in the other modes */
	bool gate;
	bool writes_high; /* low_byte holds the low byte, the next write is the high one */
	bool reads_high;  /* the next read returns the high byte */
	uint8_t low_byte;
	uint8_t latched_count; /* bytes of the latched count not read yet */
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

/* Returns the level of a channel's output. */
bool vpit_output(const struct vpit *pit, unsigned channel, uint64_t now);
/* Sets the level of a channel's gate input. */
void vpit_gate_set(struct vpit *pit, unsigned channel, bool level, uint64_t now);

#endif
