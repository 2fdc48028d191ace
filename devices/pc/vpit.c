/* SPDX-License-Identifier: MIT */
/*
 * 8254 interval timer.
 *
 * No counter runs: a channel remembers at which PIT tick its count was loaded, and
 * everything else follows from the time since. A count takes effect as soon as
 * both its bytes are there, even in modes 2 and 3, where the chip waits for the end
 * of the period. Channel 0 interrupts at the rising edges of its output; several
 * edges that were missed become one.
 *
 * Invariants, asserted by check():
 *   P1  access is 1..3, mode 0..5, reload 1..65536.
 *   P2  Only a channel with a loaded count runs, and only one that runs is paused.
 *
 * Reference: 82C54 data sheet, "Mode Definitions", "Read Operations".
 */
#include "vpit.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define FIRST_PORT 0x40u
#define PORT_COUNT 4u /* the channels, then the control word */

#define ACCESS_LATCH 0u
#define ACCESS_LOW   1u
#define ACCESS_HIGH  2u
#define ACCESS_BOTH  3u

#define CONTROL_BCD         BIT32(0)
#define CONTROL_READ_BACK   3u
#define READ_BACK_NO_COUNT  BIT32(5)
#define READ_BACK_NO_STATUS BIT32(4)
#define BCD_MODULUS         10000u
#define STATUS_OUTPUT       BIT32(7)
#define STATUS_NULL         BIT32(6)

enum pit_mode {
	PIT_TERMINAL_COUNT = 0,
	PIT_ONE_SHOT = 1,
	PIT_RATE = 2,
	PIT_SQUARE = 3,
	PIT_STROBE = 4,
	PIT_STROBE_GATED = 5,
};

static struct vpit *pit_of(const struct vdev *dev)
{
	return container_of(dev, struct vpit, dev);
}

static bool is_periodic(const struct vpit_channel *channel)
{
	return channel->mode == PIT_RATE || channel->mode == PIT_SQUARE;
}

/* In modes 1 and 5 a rising gate starts the count and a low gate does not stop it. */
static bool is_triggered(const struct vpit_channel *channel)
{
	return channel->mode == PIT_ONE_SHOT || channel->mode == PIT_STROBE_GATED;
}

static uint64_t elapsed(const struct vpit_channel *channel, uint64_t ticks)
{
	return channel->is_paused ? channel->start : ticks - channel->start;
}

static Q_NOINLINE uint16_t to_bcd(uint32_t value)
{
	return (uint16_t)(value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 |
			  value / 1000 % 10 << 12);
}

static uint32_t from_bcd(uint16_t value)
{
	return (value & 15u) + (value >> 4 & 15u) * 10 + (value >> 8 & 15u) * 100 +
	       (value >> 12 & 15u) * 1000;
}

/* The counting element after `gone` ticks, in binary; correct modulo 2^16, or 10^4 in BCD. */
static inline uint32_t count_after(const struct vpit_channel *channel, uint64_t gone)
{
	switch ((enum pit_mode)channel->mode) {
	case PIT_RATE: return channel->reload - (uint32_t)(gone % channel->reload);
	case PIT_SQUARE: /* goes down by two, twice per period */
		return (channel->reload - (uint32_t)(2 * gone % channel->reload)) & ~1u;
	case PIT_TERMINAL_COUNT:
	case PIT_ONE_SHOT:
	case PIT_STROBE:
	case PIT_STROBE_GATED: break; /* goes on below zero */
	}
	if (channel->is_bcd)
		return channel->reload + BCD_MODULUS - (uint32_t)(gone % BCD_MODULUS);
	return channel->reload - (uint32_t)gone;
}

/* The counting element as the guest reads it. */
static inline uint16_t count_at(const struct vpit_channel *channel, uint64_t ticks)
{
	uint32_t count = channel->reload;
	if (channel->is_running)
		count = count_after(channel, elapsed(channel, ticks));
	return Q_UNLIKELY(channel->is_bcd) ? to_bcd(count) : (uint16_t)count;
}

static bool output_at(const struct vpit_channel *channel, uint64_t ticks)
{
	if (!channel->is_running)
		return channel->mode != PIT_TERMINAL_COUNT;
	uint64_t gone = elapsed(channel, ticks);
	switch ((enum pit_mode)channel->mode) {
	case PIT_TERMINAL_COUNT:
	case PIT_ONE_SHOT: return gone >= channel->reload;
	case PIT_RATE: return channel->is_paused || gone % channel->reload != channel->reload - 1;
	case PIT_SQUARE:
		return channel->is_paused || gone % channel->reload < (channel->reload + 1) / 2;
	case PIT_STROBE:
	case PIT_STROBE_GATED: return gone != channel->reload;
	}
	Q_ASSERT(!"PIT mode");
	return false;
}

/* Sets the deadline to channel 0's next rising edge after `now`. */
static void rearm(struct vpit *pit, uint64_t now)
{
	const struct vpit_channel *channel = &pit->channel[0];

	bus_timer_set(&pit->dev, VDEV_DEADLINE_NONE);
	if (!channel->is_running || channel->is_paused)
		return;
	uint64_t gone = elapsed(channel, vpit_ticks(pit, now));
	uint64_t edge = channel->reload;
	if (is_periodic(channel))
		edge = gone - gone % channel->reload + channel->reload;
	else if (gone >= edge)
		return;
	/* Each of the two conversions may round down by one. */
	uint64_t due = vclock_apply(&pit->tsc_per_tick, channel->start + edge) + 2;
	bus_timer_set(&pit->dev, vpc_not_before(vpc_of(&pit->dev), due, now));
}

static void reset(struct vdev *dev, uint64_t now)
{
	struct vpit *pit = pit_of(dev);
	(void)now;
	for (unsigned i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		pit->channel[i] = (struct vpit_channel){
			.access = ACCESS_BOTH,
			.mode = PIT_SQUARE,
			.reload = 65536,
			.gate = i != VPIT_SPEAKER,
		};
	}
}

/* Channel 0's output rises. */
static void timer(struct vdev *dev, uint64_t now)
{
	vpc_irq_set(vpc_of(dev), VPIT_IRQ, false);
	vpc_irq_set(vpc_of(dev), VPIT_IRQ, true);
	rearm(pit_of(dev), now);
}

bool vpit_output(const struct vpit *pit, unsigned index, uint64_t now)
{
	return output_at(&pit->channel[index], vpit_ticks(pit, now));
}

/* Starts counting from the reload value. */
static void start(struct vpit_channel *channel, uint64_t ticks)
{
	channel->is_running = true;
	channel->is_paused = !channel->gate && !is_triggered(channel);
	channel->start = channel->is_paused ? 0 : ticks;
}

static void gate_rise(struct vpit_channel *channel, uint64_t ticks)
{
	if (!channel->is_loaded)
		return;
	bool resumes = channel->mode == PIT_TERMINAL_COUNT || channel->mode == PIT_STROBE;
	if (!resumes) {
		start(channel, ticks);
	} else if (channel->is_paused) {
		channel->start = ticks - channel->start;
		channel->is_paused = false;
	}
}

static void gate_fall(struct vpit_channel *channel, uint64_t ticks)
{
	if (!channel->is_running || is_triggered(channel))
		return;
	channel->start = ticks - channel->start;
	channel->is_paused = true;
}

void vpit_gate_set(struct vpit *pit, unsigned index, bool level, uint64_t now)
{
	struct vpit_channel *channel = &pit->channel[index];
	if (channel->gate == level)
		return;
	channel->gate = level;
	if (level)
		gate_rise(channel, vpit_ticks(pit, now));
	else
		gate_fall(channel, vpit_ticks(pit, now));
}

static void latch_count(struct vpit_channel *channel, uint64_t ticks)
{
	if (channel->latched_count != 0)
		return; /* the first latch stays until it is read */
	channel->latch = count_at(channel, ticks);
	channel->latched_count = channel->access == ACCESS_BOTH ? 2 : 1;
	channel->reads_high = channel->access == ACCESS_HIGH;
}

static void latch_status(struct vpit_channel *channel, uint64_t ticks)
{
	if (channel->has_latched_status)
		return;
	channel->has_latched_status = true;
	channel->status = (uint8_t)((output_at(channel, ticks) ? STATUS_OUTPUT : 0) |
				    (channel->is_loaded ? 0 : STATUS_NULL) | channel->access << 4 |
				    channel->mode << 1 | channel->is_bcd);
}

/* Returns the byte of `count` whose turn it is. */
static uint8_t byte_of(struct vpit_channel *channel, uint16_t count)
{
	bool is_high = channel->reads_high;
	channel->reads_high = is_high ^ (channel->access == ACCESS_BOTH);
	return (uint8_t)(is_high ? count >> 8 : count);
}

static Q_NOINLINE uint8_t read_latched(struct vpit_channel *channel)
{
	if (channel->has_latched_status) {
		channel->has_latched_status = false;
		return channel->status;
	}
	channel->latched_count--;
	return byte_of(channel, channel->latch);
}

static Q_NOINLINE uint32_t channel_read(const struct vpit *pit, struct vpit_channel *channel,
					uint64_t now)
{
	if (channel->has_latched_status || channel->latched_count != 0)
		return read_latched(channel);
	return byte_of(channel, count_at(channel, vpit_ticks(pit, now)));
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	struct vpit *pit = pit_of(dev);
	unsigned index = port - FIRST_PORT;

	(void)size;
	if (Q_UNLIKELY(index >= VPIT_CHANNEL_COUNT))
		return 0xff; /* the control word cannot be read */
	return channel_read(pit, &pit->channel[index], now);
}

static void load(struct vpit *pit, unsigned index, uint16_t count, uint64_t now)
{
	struct vpit_channel *channel = &pit->channel[index];

	uint32_t value = channel->is_bcd ? from_bcd(count) % BCD_MODULUS : count;
	channel->reload = value != 0 ? value : channel->is_bcd ? BCD_MODULUS : 65536;
	channel->is_loaded = true;
	if (!is_triggered(channel))
		start(channel, vpit_ticks(pit, now));
	if (index == 0)
		rearm(pit, now);
}

static void write_channel(struct vpit *pit, unsigned index, uint8_t value, uint64_t now)
{
	struct vpit_channel *channel = &pit->channel[index];

	switch (channel->access) {
	case ACCESS_LOW: load(pit, index, value, now); return;
	case ACCESS_HIGH: load(pit, index, (uint16_t)(value << 8), now); return;
	default: break;
	}
	if (channel->writes_high) {
		channel->writes_high = false;
		load(pit, index, (uint16_t)(channel->low_byte | value << 8), now);
		return;
	}
	channel->low_byte = value;
	channel->writes_high = true;
	/* Half a count stops mode 0; the other modes continue with the old count. */
	if (channel->mode != PIT_TERMINAL_COUNT)
		return;
	channel->is_running = channel->is_paused = channel->is_loaded = false;
	if (index == 0)
		rearm(pit, now);
}

static void read_back(struct vpit *pit, uint8_t value, uint64_t ticks)
{
	for (unsigned i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		if (!(value & BIT32(i + 1)))
			continue;
		if (!(value & READ_BACK_NO_COUNT))
			latch_count(&pit->channel[i], ticks);
		if (!(value & READ_BACK_NO_STATUS))
			latch_status(&pit->channel[i], ticks);
	}
}

static void write_control(struct vpit *pit, uint8_t value, uint64_t now)
{
	unsigned index = value >> 6;
	unsigned access = value >> 4 & 3;
	unsigned mode = value >> 1 & 7;

	if (index == CONTROL_READ_BACK) {
		read_back(pit, value, vpit_ticks(pit, now));
		return;
	}
	struct vpit_channel *channel = &pit->channel[index];
	if (access == ACCESS_LATCH) {
		latch_count(channel, vpit_ticks(pit, now));
		return;
	}
	*channel = (struct vpit_channel){
		.reload = channel->reload > BCD_MODULUS && (value & CONTROL_BCD) ? BCD_MODULUS
										 : channel->reload,
		.access = (uint8_t)access,
		.reads_high = access == ACCESS_HIGH,
		.mode = (uint8_t)(mode > PIT_STROBE_GATED ? mode - 4 : mode), /* 6 is 2, 7 is 3 */
		.is_bcd = value & CONTROL_BCD,
		.gate = channel->gate,
	};
	if (index != 0)
		return;
	/* In all modes but 0 the output goes high here, without an interrupt. */
	if (channel->mode == PIT_TERMINAL_COUNT)
		vpc_irq_set(vpc_of(&pit->dev), VPIT_IRQ, false);
	rearm(pit, now);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	unsigned index = port - FIRST_PORT;

	(void)size;
	if (index < VPIT_CHANNEL_COUNT)
		write_channel(pit_of(dev), index, (uint8_t)value, now);
	else
		write_control(pit_of(dev), (uint8_t)value, now);
}

static void check(const struct vdev *dev)
{
	const struct vpit *pit = pit_of(dev);

	for (unsigned i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		const struct vpit_channel *channel = &pit->channel[i];
		Q_ASSERT(channel->access >= ACCESS_LOW && channel->access <= ACCESS_BOTH); /* P1 */
		Q_ASSERT(channel->mode <= PIT_STROBE_GATED);
		Q_ASSERT(channel->reload >= 1 && channel->reload <= 65536);
		Q_ASSERT(channel->is_loaded || !channel->is_running); /* P2 */
		Q_ASSERT(channel->is_running || !channel->is_paused);
	}
}

static const struct vdev_ops pit_ops = {
	.name = "pit",
	.reset = reset,
	.timer = timer,
	.port_read = port_read,
	.port_write = port_write,
	.check = check,
};

void vpit_init(struct vpit *pit, struct vpc *vpc)
{
	pit->ticks_per_tsc = vclock_ratio_make(VPIT_HZ, vpc->tsc_hz);
	pit->tsc_per_tick = vclock_ratio_make(vpc->tsc_hz, VPIT_HZ);
	bus_add(&vpc->bus, &pit->dev, &pit_ops);
	bus_ports_claim(&vpc->bus, &pit->dev, FIRST_PORT, PORT_COUNT, BUS_BYTES);
}
