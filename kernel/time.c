/* SPDX-License-Identifier: MIT */
/* Measures the clocks at boot, and converts between their units. */
#include "time.h"

#include <quire/bits.h>

#include "arch/x86_64/apic.h"
#include "arch/x86_64/cpu.h"
#include "drivers/pit.h"
#include "drivers/rtc.h"

#define MEASURE_MS    2u
#define MEASURE_TICKS ((uint16_t)(PIT_HZ * MEASURE_MS / 1000))
/* A measurement is good if less than this part of it is in doubt. */
#define DOUBT_DIVISOR    64u
#define MEASUREMENTS_MAX 100u /* then the best one must do */

static struct {
	uint64_t start_tsc;
	uint64_t tsc_hz;
	uint64_t apic_per_tsc; /* fixed point, 32 bits of fraction */
	uint64_t epoch_seconds;
} clock;

struct sample {
	uint64_t tsc[2];
	uint32_t apic[2];
};

static void sample_take(void *context, bool is_end)
{
	struct sample *sample = context;
	sample->tsc[is_end] = cpu_rdtsc();
	sample->apic[is_end] = apic_timer_remaining();
}

static uint64_t tsc_elapsed(const struct sample *sample)
{
	return sample->tsc[1] - sample->tsc[0];
}

/* Repeats the measurement until one is good. False: the PIT does not count. */
static bool measure(struct sample *out_best)
{
	uint64_t least = ~0ull;
	for (unsigned i = 0; i < MEASUREMENTS_MAX; i++) {
		struct sample sample;
		uint64_t doubt;
		apic_timer_arm(~0u);
		if (!pit_measure(MEASURE_TICKS, sample_take, &sample, &doubt))
			return false;
		if (doubt < least) {
			least = doubt;
			*out_best = sample;
		}
		if (doubt < tsc_elapsed(&sample) / DOUBT_DIVISOR)
			break;
	}
	return true;
}

/* The rate in Hz of a clock that ran `elapsed` ticks in MEASURE_TICKS of the PIT. */
static uint64_t rate(uint64_t elapsed)
{
	return elapsed * PIT_HZ / MEASURE_TICKS;
}

q_status_t time_init(void)
{
	struct sample sample = { .tsc = { 0 } };
	bool is_measured = measure(&sample);
	apic_timer_stop();
	uint64_t tsc = tsc_elapsed(&sample);
	uint64_t apic = sample.apic[0] - sample.apic[1];
	clock.tsc_hz = rate(tsc);
	if (!is_measured || clock.tsc_hz < TIME_TSC_HZ_MIN || clock.tsc_hz > TIME_TSC_HZ_MAX ||
	    !apic || apic >> 31)
		return Q_UNSUPPORTED;
	clock.apic_per_tsc = (apic << 32) / tsc;
	uint64_t now = rtc_read_seconds();
	clock.epoch_seconds = now - cpu_rdtsc() / clock.tsc_hz;
	return Q_OK;
}

void time_start_set(uint64_t tsc)
{
	clock.start_tsc = tsc;
}

uint64_t time_start(void)
{
	return clock.start_tsc;
}

uint64_t time_tsc_hz(void)
{
	return clock.tsc_hz;
}

uint64_t time_ticks_from_us(uint64_t microseconds)
{
	return microseconds / 1000000 * clock.tsc_hz +
	       microseconds % 1000000 * clock.tsc_hz / 1000000;
}

uint64_t time_us_from_ticks(uint64_t ticks)
{
	return ticks / clock.tsc_hz * 1000000 + ticks % clock.tsc_hz * 1000000 / clock.tsc_hz;
}

uint32_t time_apic_ticks(uint64_t tsc_ticks)
{
	/* At most a second ahead: if that is too early, the timer interrupt arms again. */
	if (tsc_ticks > clock.tsc_hz)
		tsc_ticks = clock.tsc_hz;
	uint64_t ticks = (uint64_t)((unsigned __int128)tsc_ticks * clock.apic_per_tsc >> 32) + 1;
	return ticks > ~0u ? ~0u : (uint32_t)ticks;
}

uint64_t time_epoch_seconds(void)
{
	return clock.epoch_seconds;
}
