/* SPDX-License-Identifier: MIT */
/* The clock against the data sheet of the MC146818, and the calendar under it. */
#include "pc.h"

#include "devices/pc/vcalendar.h"

static uint32_t cmos(unsigned index)
{
	out(0x70, index);
	return in(0x71);
}

static void cmos_write(unsigned index, uint32_t value)
{
	out(0x70, index);
	out(0x71, value);
}

TEST(vcalendar, agrees_with_known_days_both_ways)
{
	static const struct {
		uint64_t seconds;
		unsigned year, month, day, weekday;
	} days[] = {
		{ 0, 1970, 1, 1, 5 },
		{ 951782400, 2000, 2, 29, 3 },
		{ 951868800, 2000, 3, 1, 4 },
		{ 1709164800, 2024, 2, 29, 5 },
		{ 4107542400, 2100, 3, 1, 2 },
		{ 253402214400, 9999, 12, 31, 6 },
		{ 1735603200, 2024, 12, 31, 3 },
		{ 1735689600, 2025, 1, 1, 4 },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(days); i++) {
		struct vcalendar date = vcalendar_from_seconds(days[i].seconds);
		EXPECT(date.year == days[i].year && date.month == days[i].month);
		EXPECT(date.day == days[i].day && date.weekday == days[i].weekday);
		EXPECT(vcalendar_to_seconds(&date) == days[i].seconds);
	}
	for (uint64_t s = 12345; s < 253402300799ull; s += 7654321) {
		struct vcalendar date = vcalendar_from_seconds(s);
		EXPECT(vcalendar_to_seconds(&date) == s);
	}
}

TEST(vrtc, shows_the_wall_clock_in_bcd)
{
	set_up(1);
	EXPECT(cmos(0x0d) == 0x80);
	EXPECT(cmos(0x0b) == 0x02);
	EXPECT(cmos(0x00) == 0x20 && cmos(0x02) == 0x13 && cmos(0x04) == 0x22);
	EXPECT(cmos(0x07) == 0x14 && cmos(0x08) == 0x11 && cmos(0x09) == 0x23);
	EXPECT(cmos(0x32) == 0x20 && cmos(0x06) == 3);
	now += 45 * TSC_HZ;
	EXPECT(cmos(0x00) == 0x05 && cmos(0x02) == 0x14);
}

TEST(vrtc, binary_and_12_hours)
{
	set_up(1);
	cmos_write(0x0b, 0x04);
	EXPECT(cmos(0x04) == (0x80 | 10) && cmos(0x02) == 13 && cmos(0x09) == 23);
	cmos_write(0x0b, 0x00);
	EXPECT(cmos(0x04) == 0x90);
}

TEST(vrtc, update_in_progress_for_the_last_moment)
{
	set_up(1);
	EXPECT(cmos(0x0a) == 0x26);
	now = TSC_HZ - TSC_HZ / 4096 - 1;
	EXPECT(cmos(0x0a) == 0x26);
	now += 1;
	EXPECT(cmos(0x0a) == 0xa6);
	now = TSC_HZ;
	EXPECT(cmos(0x0a) == 0x26);
}

TEST(vrtc, can_be_set_while_stopped)
{
	set_up(1);
	now = 7 * TSC_HZ;
	cmos_write(0x0b, 0x82);
	static const uint8_t values[][2] = { { 0, 0x58 }, { 2, 0x59 }, { 4, 0x23 },   { 7, 0x31 },
					     { 8, 0x12 }, { 9, 0x99 }, { 0x32, 0x19 } };
	for (unsigned i = 0; i < ARRAY_COUNT(values); i++)
		cmos_write(values[i][0], values[i][1]);
	now += 100 * TSC_HZ;
	EXPECT(cmos(0) == 0x58); /* stopped */
	cmos_write(0x0b, 0x02);
	now += 2 * TSC_HZ;
	EXPECT(cmos(0) == 0 && cmos(9) == 0 && cmos(0x32) == 0x20 && cmos(7) == 1 && cmos(8) == 1);
	vpc_reset(vpc, now);
	EXPECT(cmos(9) == 0 && cmos(0x32) == 0x20);
}

TEST(vrtc, alarm_interrupts_at_its_second_only)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(8, 0x38, 0);
	cmos_write(1, 0x10);
	cmos_write(3, 0x15);
	cmos_write(5, 0xc0); /* any hour */
	(void)cmos(0x0c);
	cmos_write(0x0b, 0x22);
	EXPECT(vpc_next_deadline(vpc) == 110 * TSC_HZ); /* 22:13:20 to 22:15:10 */
	advance(110 * TSC_HZ - 1);
	EXPECT(take(0) == -1);
	advance(1);
	EXPECT(take(0) == 0x38);
	EXPECT((cmos(0x0c) & 0xa0) == 0xa0);
	EXPECT(cmos(0x0c) == 0);
	EXPECT(vpc_next_deadline(vpc) == (110 + 3600) * TSC_HZ);
}

TEST(vrtc, impossible_alarm_never_comes)
{
	set_up(1);
	cmos_write(5, 0x77);
	cmos_write(0x0b, 0x22);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}

TEST(vrtc, alarm_beyond_the_end_of_time_never_comes)
{
	const uint64_t last_second = VPC_DEADLINE_NONE / TSC_HZ;
	set_up(1);
	cmos_write(1, 0xc0); /* each second */
	cmos_write(3, 0xc0);
	cmos_write(5, 0xc0);
	cmos_write(0x0b, 0x22);
	now = (last_second - 2) * TSC_HZ + 5;
	(void)cmos(0x0c);
	EXPECT(vpc_next_deadline(vpc) == (last_second - 1) * TSC_HZ);
	now += TSC_HZ;
	(void)cmos(0x0c);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}

TEST(vrtc, periodic_and_update_interrupts_wait_for_register_c)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(8, 0x38, 0);
	cmos_write(0x0b, 0x42);
	EXPECT(vpc_next_deadline(vpc) == TSC_HZ / 1024);
	advance(TSC_HZ / 1024);
	EXPECT(take(0) == 0x38);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE); /* until it is acknowledged */
	advance(10 * MS);
	EXPECT(take(0) == -1);
	EXPECT(cmos(0x0c) == 0xc0);
	EXPECT(vpc_next_deadline(vpc) <= now + TSC_HZ / 1024);
	cmos_write(0x0b, 0x12);
	(void)cmos(0x0c);
	EXPECT(vpc_next_deadline(vpc) == TSC_HZ);
	advance(TSC_HZ - now);
	EXPECT(take(0) == 0x38);
}

TEST(vrtc, tells_the_memory_size)
{
	set_up(1); /* 5 GiB: 3 below the hole, 2 above 4 GiB */
	EXPECT((cmos(0x15) | cmos(0x16) << 8) == 640);
	EXPECT((cmos(0x34) | cmos(0x35) << 8) == (0xc0000000 - (16 << 20)) >> 16);
	EXPECT((cmos(0x5b) | cmos(0x5c) << 8) == (2ull << 30) >> 16);
	EXPECT((cmos(0x30) | cmos(0x31) << 8) == 0xffff);
}
