/* SPDX-License-Identifier: MIT */
/*
 * How the clocks are measured at boot, with a model of the PIT. The CPU is taken away at every
 * step of a measurement in turn, as SMM and hypervisors do.
 */
#include <string.h>

#include "test.h"

/* The model takes the place of the instructions. */
#define ARCH_X86_64_CPU_H
#include <stdint.h>
static uint8_t cpu_in8(uint16_t port);
static void cpu_out8(uint16_t port, uint8_t value);
static uint64_t cpu_rdtsc(void);
static void cpu_pause(void);

#include "drivers/pit.c"
#define clock quire_clock /* not that of the C library */
#include "kernel/time.c"

#define TSC_HZ   2000000000ull
#define APIC_HZ  1000000000ull
#define PORTS_HZ 700000u /* accesses to ports and to the APIC, a second */

static struct {
	uint64_t tsc_hz, apic_hz;
	bool counts_from_gate; /* like the chip; else from the count, as emulators have it */
	bool is_dead;

	uint64_t tsc;
	uint64_t counts_since; /* the TSC at that moment; 0: it does not count */
	uint64_t apic_since;
	uint16_t count;
	bool is_high_next;

	/* Before each of these steps the CPU is taken away for 10 ms; 0: never. */
	unsigned away_at, away_until;
	unsigned steps;
} model;

static void step(uint64_t ticks)
{
	model.steps++;
	if (model.away_at && model.steps >= model.away_at && model.steps <= model.away_until)
		model.tsc += model.tsc_hz / 100;
	model.tsc += ticks;
}

static uint64_t cpu_rdtsc(void)
{
	step(20);
	return model.tsc;
}

static void cpu_pause(void)
{
	step(40);
}

static void cpu_out8(uint16_t port, uint8_t value)
{
	step(model.tsc_hz / PORTS_HZ);
	if (port == PIT_CONTROL)
		model.counts_since = 0;
	if (port == PIT_CHANNEL_2) {
		model.count = model.is_high_next ? (uint16_t)(model.count | value << 8) : value;
		if (model.is_high_next && !model.counts_from_gate)
			model.counts_since = model.tsc;
		model.is_high_next = !model.is_high_next;
	}
	if (port == SYSTEM_CONTROL && (value & GATE_2) && model.counts_from_gate)
		model.counts_since = model.tsc;
}

static uint8_t cpu_in8(uint16_t port)
{
	step(model.tsc_hz / PORTS_HZ);
	uint64_t end = model.counts_since + model.count * model.tsc_hz / PIT_HZ;
	bool is_out = model.counts_since && model.tsc >= end && !model.is_dead;
	return port == SYSTEM_CONTROL && is_out ? OUTPUT_2 : 0;
}

void apic_timer_arm(uint32_t ticks)
{
	EXPECT(ticks == ~0u);
	step(model.tsc_hz / PORTS_HZ);
	model.apic_since = model.tsc;
}

void apic_timer_stop(void)
{
}

uint32_t apic_timer_remaining(void)
{
	step(model.tsc_hz / PORTS_HZ);
	return ~0u - (uint32_t)((model.tsc - model.apic_since) * model.apic_hz / model.tsc_hz);
}

uint64_t rtc_read_seconds(void)
{
	return 1800000000;
}

static void scene(uint64_t tsc_hz, bool counts_from_gate)
{
	memset(&model, 0, sizeof(model));
	model.tsc_hz = tsc_hz;
	model.apic_hz = APIC_HZ;
	model.counts_from_gate = counts_from_gate;
	model.tsc = 5 * tsc_hz;
}

/* Both rates are right to one part in 100. */
static bool is_right(void)
{
	uint64_t hz = time_tsc_hz(), apic = time_apic_ticks(model.tsc_hz / 2);
	return hz > model.tsc_hz / 100 * 99 && hz < model.tsc_hz / 100 * 101 &&
	       apic > APIC_HZ / 200 * 99 && apic < APIC_HZ / 200 * 101;
}

TEST(time, the_rates_are_measured)
{
	static const uint64_t rates[] = { 40000000, TSC_HZ, 5000000000 };
	for (unsigned i = 0; i < 2 * ARRAY_COUNT(rates); i++) {
		scene(rates[i / 2], i % 2);
		EXPECT(time_init() == Q_OK && is_right());
		EXPECT(time_epoch_seconds() == 1800000000 - model.tsc / time_tsc_hz());
	}
}

TEST(time, a_measurement_that_is_disturbed_is_repeated)
{
	for (unsigned from_gate = 0; from_gate < 2; from_gate++) {
		scene(TSC_HZ, from_gate);
		EXPECT(time_init() == Q_OK && is_right());
		unsigned steps = model.steps;
		for (unsigned at = 1; at <= steps; at++) {
			scene(TSC_HZ, from_gate);
			model.away_at = model.away_until = at;
			EXPECT(time_init() == Q_OK);
			if (!is_right())
				fail_msg("step %u of %u: %llu Hz", at, steps,
					 (unsigned long long)time_tsc_hz());
		}
	}
}

TEST(time, the_first_good_measurement_counts)
{
	/* Measurements that are disturbed at each step have few steps. */
	scene(TSC_HZ, true);
	model.away_at = 1;
	model.away_until = 500;
	EXPECT(time_init() == Q_OK && is_right() && model.steps > 500);
}

TEST(time, where_none_is_good_the_best_counts)
{
	scene(TSC_HZ, true);
	model.away_at = 1;
	model.away_until = ~0u;
	EXPECT(time_init() == Q_OK);
}

TEST(time, clocks_that_do_not_count_are_refused)
{
	scene(TSC_HZ, true);
	model.is_dead = true;
	EXPECT(time_init() == Q_UNSUPPORTED);
	scene(TSC_HZ, true);
	model.apic_hz = 0;
	EXPECT(time_init() == Q_UNSUPPORTED);
	/* As fast as a TSC that stands still is to the PIT. */
	scene(TIME_TSC_HZ_MIN / 2, true);
	EXPECT(time_init() == Q_UNSUPPORTED);
}

TEST(time, an_alarm_is_at_most_a_second_ahead)
{
	scene(TSC_HZ, true);
	EXPECT(time_init() == Q_OK);
	uint64_t second = time_apic_ticks(time_tsc_hz());
	EXPECT(time_apic_ticks(100 * time_tsc_hz()) == second && time_apic_ticks(0) == 1);
	EXPECT(time_ticks_from_us(1000000) == time_tsc_hz());
	EXPECT(time_us_from_ticks(time_tsc_hz()) == 1000000);
}
