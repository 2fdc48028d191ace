/* SPDX-License-Identifier: MIT */
/*
 * MC146818 real-time clock.
 *
 * The time is `offset_seconds` plus the guest's TSC; setting the clock changes the
 * offset. While register B's SET bit stops the clock, the time registers are plain
 * memory; when the bit is cleared, the clock continues from the time they hold.
 * An access works out register C's flags: those that a real clock would have set
 * between `flags_time` and now. So the clock needs a timer only while one of its
 * interrupts is enabled, and only for its next event.
 *
 * Invariants, asserted by check():
 *   R1  The index is below VRTC_SIZE.
 *   R2  Register C's summary bit tells whether any flag and its enable are both set.
 *   R3  The interrupt line has the level of that bit.
 *
 * Reference: MC146818A data sheet.
 */
#include "vrtc.h"

#include <quire/assert.h>

#include "vcalendar.h"
#include "vpc_internal.h"

#define FIRST_PORT 0x70u /* the index; the data port follows */
#define PORT_COUNT 2u

enum rtc_register {
	RTC_SECOND,
	RTC_SECOND_ALARM,
	RTC_MINUTE,
	RTC_MINUTE_ALARM,
	RTC_HOUR,
	RTC_HOUR_ALARM,
	RTC_WEEKDAY,
	RTC_DAY,
	RTC_MONTH,
	RTC_YEAR,
	RTC_A,
	RTC_B,
	RTC_C,
	RTC_D,
};

#define A_UPDATING    BIT32(7)
#define A_RATE        0x0fu
#define A_DEFAULT     0x26u /* 32,768 Hz crystal, 1,024 Hz periodic rate */
#define B_SET         BIT32(7)
#define B_BINARY      BIT32(2)
#define B_24_HOURS    BIT32(1)
#define FLAG_PERIODIC BIT32(6) /* the same bits in B (enables) and C (flags) */
#define FLAG_ALARM    BIT32(5)
#define FLAG_UPDATE   BIT32(4)
#define FLAGS_ALL     0x70u
#define C_SUMMARY     BIT32(7)
#define D_VALID       BIT32(7)
#define HOUR_PM       BIT32(7)
#define ALARM_ANY     0xc0u /* with both bits set an alarm matches every value */
#define NO_ALARM      (~0ull)
#define CRYSTAL_HZ    32768u
/* The update-in-progress bit is set in the last 1/4096 s of each second, about 244 us. */
#define UPDATE_SHIFT 12u

/* Where PC firmware stores the size of memory. */
#define CMOS_BASE_LOW      0x15u
#define CMOS_EXTENDED_LOW  0x17u
#define CMOS_EXTENDED2_LOW 0x30u
#define CMOS_ABOVE_16M_LOW 0x34u
#define CMOS_ABOVE_4G_LOW  0x5bu

static struct vrtc *rtc_of(const struct vdev *dev)
{
	return container_of(dev, struct vrtc, dev);
}

static uint64_t tsc_hz(const struct vrtc *rtc)
{
	return vpc_of(&rtc->dev)->tsc_hz;
}

static uint64_t seconds_at(const struct vrtc *rtc, uint64_t now)
{
	return rtc->offset_seconds + now / tsc_hz(rtc);
}

static uint8_t encode(const struct vrtc *rtc, unsigned value)
{
	if (rtc->cells[RTC_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static unsigned decode(const struct vrtc *rtc, uint8_t value)
{
	return rtc->cells[RTC_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t encode_hour(const struct vrtc *rtc, unsigned hour)
{
	if (rtc->cells[RTC_B] & B_24_HOURS)
		return encode(rtc, hour);
	unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
	return encode(rtc, twelve) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct vrtc *rtc, uint8_t value)
{
	if (rtc->cells[RTC_B] & B_24_HOURS)
		return decode(rtc, value);
	return decode(rtc, value & 0x7f) % 12 + (value & HOUR_PM ? 12 : 0);
}

static bool is_stopped(const struct vrtc *rtc)
{
	return rtc->cells[RTC_B] & B_SET;
}

/* Brings the time registers up to date unless the clock is stopped. */
static void show_time(struct vrtc *rtc, uint64_t now)
{
	if (is_stopped(rtc))
		return;
	struct vcalendar date = vcalendar_from_seconds(seconds_at(rtc, now));
	rtc->cells[RTC_SECOND] = encode(rtc, date.second);
	rtc->cells[RTC_MINUTE] = encode(rtc, date.minute);
	rtc->cells[RTC_HOUR] = encode_hour(rtc, date.hour);
	rtc->cells[RTC_WEEKDAY] = encode(rtc, date.weekday);
	rtc->cells[RTC_DAY] = encode(rtc, date.day);
	rtc->cells[RTC_MONTH] = encode(rtc, date.month);
	rtc->cells[RTC_YEAR] = encode(rtc, date.year % 100);
	rtc->cells[VRTC_REG_CENTURY] = encode(rtc, date.year / 100);
}

/* Sets the clock to the time in the time registers. */
static void set_time(struct vrtc *rtc, uint64_t now)
{
	struct vcalendar date = {
		.year = decode(rtc, rtc->cells[VRTC_REG_CENTURY]) * 100 +
			decode(rtc, rtc->cells[RTC_YEAR]),
		.month = decode(rtc, rtc->cells[RTC_MONTH]),
		.day = decode(rtc, rtc->cells[RTC_DAY]),
		.hour = decode_hour(rtc, rtc->cells[RTC_HOUR]),
		.minute = decode(rtc, rtc->cells[RTC_MINUTE]),
		.second = decode(rtc, rtc->cells[RTC_SECOND]),
	};
	rtc->offset_seconds = vcalendar_to_seconds(&date) - now / tsc_hz(rtc);
}

static bool is_time_register(unsigned index)
{
	return index == RTC_SECOND || index == RTC_MINUTE || index == RTC_HOUR ||
	       (index >= RTC_WEEKDAY && index <= RTC_YEAR) || index == VRTC_REG_CENTURY;
}

/* TSC ticks between periodic events, or 0 if there are none. */
static uint64_t period_ticks(const struct vrtc *rtc)
{
	unsigned rate = rtc->cells[RTC_A] & A_RATE;
	if (rate == 0)
		return 0;
	/* Rates 1 and 2 are not the fastest: they give 256 and 128 Hz. */
	unsigned shift = rate <= 2 ? rate + 6 : rate - 1;
	return (tsc_hz(rtc) << shift) / CRYSTAL_HZ;
}

static bool alarm_matches(const struct vrtc *rtc, unsigned alarm_register, uint8_t shown)
{
	uint8_t alarm = rtc->cells[alarm_register];
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == shown;
}

/*
 * Returns the first second after `seconds` that the alarm matches, or NO_ALARM. The
 * search skips hours and minutes that do not match, so 24 + 60 + 60 steps reach any
 * match within a day.
 */
static uint64_t next_alarm(const struct vrtc *rtc, uint64_t seconds)
{
	uint64_t candidate = seconds + 1;
	for (unsigned step = 0; step < 24 + 60 + 60 + 2; step++) {
		unsigned of_day = (unsigned)(candidate % 86400);
		if (!alarm_matches(rtc, RTC_HOUR_ALARM, encode_hour(rtc, of_day / 3600)))
			candidate += 3600 - of_day % 3600;
		else if (!alarm_matches(rtc, RTC_MINUTE_ALARM, encode(rtc, of_day / 60 % 60)))
			candidate += 60 - of_day % 60;
		else if (!alarm_matches(rtc, RTC_SECOND_ALARM, encode(rtc, of_day % 60)))
			candidate++;
		else
			return candidate;
	}
	return NO_ALARM;
}

static bool is_raised(const struct vrtc *rtc)
{
	return rtc->cells[RTC_C] & rtc->cells[RTC_B] & FLAGS_ALL;
}

static void update_line(struct vrtc *rtc)
{
	bool level = is_raised(rtc);
	rtc->cells[RTC_C] = (rtc->cells[RTC_C] & FLAGS_ALL) | (level ? C_SUMMARY : 0);
	vpc_irq_set(vpc_of(&rtc->dev), VRTC_IRQ, level);
}

/* Sets the flags of all events since the last call. */
static void update_flags(struct vrtc *rtc, uint64_t now)
{
	uint64_t then = rtc->flags_time;

	rtc->flags_time = now;
	if (now <= then)
		return;
	uint64_t period = period_ticks(rtc);
	if (period != 0 && now / period != then / period)
		rtc->cells[RTC_C] |= FLAG_PERIODIC;
	if (!is_stopped(rtc) && now / tsc_hz(rtc) != then / tsc_hz(rtc)) {
		rtc->cells[RTC_C] |= FLAG_UPDATE;
		if (next_alarm(rtc, seconds_at(rtc, then)) <= seconds_at(rtc, now))
			rtc->cells[RTC_C] |= FLAG_ALARM;
	}
	update_line(rtc);
}

/* The end of the `length` ticks long interval that contains `now`. */
static uint64_t boundary(uint64_t now, uint64_t length)
{
	return vclock_add(now, length - now % length);
}

static uint64_t alarm_deadline(const struct vrtc *rtc, uint64_t now)
{
	uint64_t alarm = next_alarm(rtc, seconds_at(rtc, now));
	if (alarm == NO_ALARM)
		return VDEV_DEADLINE_NONE;
	uint64_t tsc_seconds = alarm - rtc->offset_seconds;
	if (tsc_seconds >= VDEV_DEADLINE_NONE / tsc_hz(rtc))
		return VDEV_DEADLINE_NONE;
	return tsc_seconds * tsc_hz(rtc);
}

/* Arms the timer for the next event whose interrupt is enabled and whose flag is clear. */
static void rearm(struct vrtc *rtc, uint64_t now)
{
	uint8_t wanted = rtc->cells[RTC_B] & (uint8_t)~rtc->cells[RTC_C] & FLAGS_ALL;
	uint64_t deadline = VDEV_DEADLINE_NONE;
	uint64_t period = period_ticks(rtc);

	if ((wanted & FLAG_PERIODIC) && period != 0)
		deadline = boundary(now, period);
	if ((wanted & FLAG_UPDATE) && !is_stopped(rtc) && boundary(now, tsc_hz(rtc)) < deadline)
		deadline = boundary(now, tsc_hz(rtc));
	if ((wanted & FLAG_ALARM) && !is_stopped(rtc)) {
		uint64_t due = alarm_deadline(rtc, now);
		if (due < deadline)
			deadline = due;
	}
	bus_timer_set(&rtc->dev, vpc_not_before(vpc_of(&rtc->dev), deadline, now));
}

/* The battery keeps the time and the memory; a reset only ends interrupts. */
static void reset(struct vdev *dev, uint64_t now)
{
	struct vrtc *rtc = rtc_of(dev);
	if (is_stopped(rtc))
		set_time(rtc, now);
	rtc->cells[RTC_B] &= (uint8_t) ~(B_SET | FLAGS_ALL);
	rtc->cells[RTC_C] = 0;
	rtc->cells[RTC_D] = D_VALID;
	rtc->index = RTC_D;
	rtc->flags_time = now;
}

static uint8_t read_a(const struct vrtc *rtc, uint64_t now)
{
	uint64_t left = tsc_hz(rtc) - now % tsc_hz(rtc);
	bool is_updating = !is_stopped(rtc) && left <= tsc_hz(rtc) >> UPDATE_SHIFT;
	return rtc->cells[RTC_A] | (is_updating ? A_UPDATING : 0);
}

static uint8_t read_c(struct vrtc *rtc, uint64_t now)
{
	update_flags(rtc, now);
	uint8_t value = rtc->cells[RTC_C];
	rtc->cells[RTC_C] = 0;
	update_line(rtc);
	rearm(rtc, now);
	return value;
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	struct vrtc *rtc = rtc_of(dev);
	(void)size;
	if (port == FIRST_PORT)
		return 0xff; /* the index cannot be read */
	if (rtc->index == RTC_A)
		return read_a(rtc, now);
	if (rtc->index == RTC_C)
		return read_c(rtc, now);
	if (is_time_register(rtc->index))
		show_time(rtc, now);
	return rtc->cells[rtc->index];
}

/* Writes register B. The clock takes the time from the registers when it starts, not before. */
static void write_b(struct vrtc *rtc, uint8_t value, uint64_t now)
{
	if (is_stopped(rtc) && !(value & B_SET))
		set_time(rtc, now);
	else
		show_time(rtc, now);
	if (value & B_SET)
		value &= (uint8_t)~FLAG_UPDATE;
	rtc->cells[RTC_B] = value;
	update_line(rtc);
}

static void write_cell(struct vrtc *rtc, uint8_t value, uint64_t now)
{
	if (rtc->index == RTC_C || rtc->index == RTC_D)
		return;
	if (rtc->index > RTC_D && rtc->index != VRTC_REG_CENTURY) {
		rtc->cells[rtc->index] = value;
		return;
	}
	update_flags(rtc, now);
	if (rtc->index == RTC_B) {
		write_b(rtc, value, now);
	} else if (rtc->index == RTC_A) {
		rtc->cells[RTC_A] = value & (uint8_t)~A_UPDATING;
	} else if (is_time_register(rtc->index)) {
		show_time(rtc, now);
		rtc->cells[rtc->index] = value;
		if (!is_stopped(rtc))
			set_time(rtc, now);
	} else {
		rtc->cells[rtc->index] = value; /* alarms */
	}
	rearm(rtc, now);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct vrtc *rtc = rtc_of(dev);
	(void)size;
	if (port == FIRST_PORT)
		rtc->index = value % VRTC_SIZE; /* bit 7 masks the chip set's NMIs; it has none */
	else
		write_cell(rtc, (uint8_t)value, now);
}

static void timer(struct vdev *dev, uint64_t now)
{
	update_flags(rtc_of(dev), now);
	rearm(rtc_of(dev), now);
}

static void check(const struct vdev *dev)
{
	const struct vrtc *rtc = rtc_of(dev);

	Q_ASSERT(rtc->index < VRTC_SIZE);                                   /* R1 */
	Q_ASSERT(((rtc->cells[RTC_C] & C_SUMMARY) != 0) == is_raised(rtc)); /* R2 */
	Q_ASSERT(vpc_irq_level(vpc_of(dev), VRTC_IRQ) == is_raised(rtc));   /* R3 */
}

static const struct vdev_ops rtc_ops = {
	.name = "rtc",
	.reset = reset,
	.timer = timer,
	.port_read = port_read,
	.port_write = port_write,
	.check = check,
};

static void cells_set16(struct vrtc *rtc, unsigned low, uint64_t value)
{
	uint64_t capped = value > 0xffff ? 0xffff : value;
	rtc->cells[low] = (uint8_t)capped;
	rtc->cells[low + 1] = (uint8_t)(capped >> 8);
}

/* Stores the size of memory where PC firmware does. */
static void memory_size_store(struct vrtc *rtc, uint64_t ram_bytes)
{
	uint64_t low = ram_bytes < VPC_PCI_HOLE_START ? ram_bytes : VPC_PCI_HOLE_START;
	uint64_t above_16m = low > (16u << 20) ? low - (16u << 20) : 0;
	uint64_t extended_kib = low > (1u << 20) ? (low - (1u << 20)) >> 10 : 0;
	uint64_t above_4g = (ram_bytes - low) >> 16;

	cells_set16(rtc, CMOS_BASE_LOW, 640);
	cells_set16(rtc, CMOS_EXTENDED_LOW, extended_kib);
	cells_set16(rtc, CMOS_EXTENDED2_LOW, extended_kib);
	cells_set16(rtc, CMOS_ABOVE_16M_LOW, above_16m >> 16);
	for (unsigned i = 0; i < 3; i++)
		rtc->cells[CMOS_ABOVE_4G_LOW + i] = (uint8_t)(above_4g >> 8 * i);
}

void vrtc_init(struct vrtc *rtc, struct vpc *vpc, const struct vpc_config *config)
{
	rtc->offset_seconds = config->epoch_seconds;
	memory_size_store(rtc, config->ram_bytes);
	rtc->cells[RTC_A] = A_DEFAULT;
	rtc->cells[RTC_B] = B_24_HOURS;
	bus_add(&vpc->bus, &rtc->dev, &rtc_ops);
	bus_ports_claim(&vpc->bus, &rtc->dev, FIRST_PORT, PORT_COUNT, BUS_BYTES);
}
