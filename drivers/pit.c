/* SPDX-License-Identifier: MIT */
/* Counts with channel 2: software can set its gate and read its output. Leaves channel 0 alone. */
#include "pit.h"

#include <quire/bits.h>

#include "arch/x86_64/cpu.h"

/* 8254 data sheet. Port 0x61 has channel 2's gate and output. */
#define PIT_CHANNEL_2         0x42
#define PIT_CONTROL           0x43
#define SYSTEM_CONTROL        0x61
#define CONTROL_2_WORD_MODE_0 0xb0
#define GATE_2                BIT32(0)
#define SPEAKER               BIT32(1)
#define OUTPUT_2              BIT32(5)

/* More polls than fit into 55 ms, the longest wait: a port read takes nearly a microsecond. */
#define POLLS_MAX 2000000u

bool pit_measure(uint16_t ticks, void (*sample)(void *context, bool is_end), void *context,
		 uint64_t *out_doubt)
{
	uint8_t control = cpu_in8(SYSTEM_CONTROL) & (uint8_t) ~(GATE_2 | SPEAKER);
	cpu_out8(SYSTEM_CONTROL, control);
	cpu_out8(PIT_CONTROL, CONTROL_2_WORD_MODE_0);
	cpu_out8(PIT_CHANNEL_2, (uint8_t)ticks);
	/* A PIT begins to count when its gate is set below. Emulators begin with this last byte. */
	uint64_t before = cpu_rdtsc();
	cpu_out8(PIT_CHANNEL_2, (uint8_t)(ticks >> 8));
	sample(context, false);
	cpu_out8(SYSTEM_CONTROL, control | GATE_2);
	uint64_t begun = cpu_rdtsc();

	uint64_t counting = begun; /* the last time at which the PIT was known to count */
	unsigned polls = 0;
	for (; polls < POLLS_MAX; polls++) {
		uint64_t now = cpu_rdtsc();
		if (cpu_in8(SYSTEM_CONTROL) & OUTPUT_2)
			break;
		counting = now;
		cpu_pause();
	}
	sample(context, true);
	*out_doubt = begun - before + (cpu_rdtsc() - counting);
	cpu_out8(SYSTEM_CONTROL, control);
	return polls < POLLS_MAX;
}
