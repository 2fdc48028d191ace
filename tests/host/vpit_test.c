/* SPDX-License-Identifier: MIT */
/* The PIT against the data sheet of the 8254. */
#include "pc.h"

TEST(vpit, rate_generator_counts_down_and_reloads)
{
	set_up(1);
	out(0x43, 0x34); /* channel 0, low then high, mode 2 */
	out(0x40, 0xe8);
	out(0x40, 0x03); /* 1000 */
	now += pit_time(10);
	out(0x43, 0x00); /* latch */
	now += pit_time(500);
	EXPECT((in(0x40) | in(0x40) << 8) == 990); /* the latched count, not the present one */
	EXPECT((in(0x40) | in(0x40) << 8) == 490);
	now += pit_time(600);
	EXPECT((in(0x40) | in(0x40) << 8) == 890);
}

TEST(vpit, edges_raise_irq_0_in_phase)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(2, 0x30, 0);
	out(0x43, 0x34);
	out(0x40, 0xa9);
	out(0x40, 0x04); /* 1193: about a millisecond */
	EXPECT(take(0) == -1);
	for (unsigned i = 1; i <= 50; i++) {
		uint64_t due = 1193ull * i * TSC_HZ / VPIT_HZ;
		EXPECT(vpc_next_deadline(vpc) >= due && vpc_next_deadline(vpc) <= due + 3);
		advance(vpc_next_deadline(vpc) - now - 4);
		EXPECT(take(0) == -1);
		advance(4);
		EXPECT(take(0) == 0x30);
		lapic_write(0, LAPIC_EOI, 0);
	}
	/* Missed edges become one, and the phase stays. */
	advance(pit_time(1193 * 10 + 600));
	EXPECT(take(0) == 0x30);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == -1);
	EXPECT(vpc_next_deadline(vpc) <= 1193ull * 61 * TSC_HZ / VPIT_HZ + 3);
}

TEST(vpit, fastest_rate_is_bounded)
{
	set_up(1);
	out(0x43, 0x14);
	out(0x40, 1);
	EXPECT(vpc_next_deadline(vpc) >= now + TSC_HZ / VPC_TIMER_HZ_MAX);
	advance(MS);
	EXPECT(vpc_next_deadline(vpc) >= now + TSC_HZ / VPC_TIMER_HZ_MAX);
}

TEST(vpit, square_wave_has_half_periods)
{
	set_up(1);
	out(0x61, 1);
	out(0x43, 0xb6); /* channel 2, mode 3 */
	out(0x42, 100);
	out(0x42, 0);
	EXPECT(in(0x61) & 0x20);
	now += pit_time(49);
	EXPECT(in(0x61) & 0x20);
	now += pit_time(2);
	EXPECT(!(in(0x61) & 0x20));
	now += pit_time(49);
	EXPECT(in(0x61) & 0x20);
	out(0x43, 0x80);
	uint32_t count = in(0x42) | in(0x42) << 8;
	EXPECT(count <= 100 && count % 2 == 0);
}

/* How systems measure the TSC: channel 2 in mode 0 through port 0x61. */
TEST(vpit, terminal_count_raises_output_of_channel_2)
{
	set_up(1);
	out(0x61, (in(0x61) & ~2u) | 1);
	out(0x43, 0xb0);
	out(0x42, 0xff);
	EXPECT(!(in(0x61) & 0x20));
	out(0x42, 0xff);
	now += pit_time(0x100);
	(void)in(0x42);
	EXPECT(in(0x42) == 0xfe); /* the high byte is one lower */
	now += pit_time(0xfefe);
	EXPECT(!(in(0x61) & 0x20));
	now += pit_time(2);
	EXPECT(in(0x61) & 0x20);
}

TEST(vpit, gate_stops_and_resumes)
{
	set_up(1);
	out(0x61, 1);
	out(0x43, 0xb0);
	out(0x42, 0);
	out(0x42, 1); /* 256 */
	now += pit_time(100);
	out(0x61, 0);
	now += pit_time(1000);
	EXPECT((in(0x42) | in(0x42) << 8) == 156);
	EXPECT(!(in(0x61) & 0x20));
	out(0x61, 1);
	now += pit_time(50);
	EXPECT((in(0x42) | in(0x42) << 8) == 106);
	now += pit_time(107);
	EXPECT(in(0x61) & 0x20);
}

TEST(vpit, gate_triggers_the_one_shot)
{
	set_up(1);
	out(0x43, 0xb2); /* mode 1 */
	out(0x42, 100);
	out(0x42, 0);
	now += pit_time(500);
	EXPECT(in(0x61) & 0x20); /* not triggered yet */
	out(0x61, 1);
	EXPECT(!(in(0x61) & 0x20));
	now += pit_time(101);
	EXPECT(in(0x61) & 0x20);
}

TEST(vpit, read_back_gives_status_then_count)
{
	set_up(1);
	out(0x43, 0x34);
	out(0x43, 0xe2);          /* status of channel 0 */
	EXPECT(in(0x40) == 0xf4); /* output, null count, low and high, mode 2 */
	out(0x40, 0);
	out(0x40, 0x10);
	now += pit_time(16);
	out(0x43, 0xc2); /* both */
	now += pit_time(100);
	EXPECT(in(0x40) == 0xb4);
	EXPECT(in(0x40) == 0xf0 && in(0x40) == 0x0f);
}

TEST(vpit, bcd_counts_in_decimal)
{
	set_up(1);
	out(0x43, 0x35); /* mode 2, BCD */
	out(0x40, 0);
	out(0x40, 0); /* 10000 */
	EXPECT((in(0x40) | in(0x40) << 8) == 0);
	now += pit_time(1);
	EXPECT((in(0x40) | in(0x40) << 8) == 0x9999);
	now += pit_time(8765);
	EXPECT((in(0x40) | in(0x40) << 8) == 0x1234);
}

TEST(vpit, one_shot_ends)
{
	set_up(1);
	out(0x43, 0x30);
	out(0x40, 0);
	out(0x40, 0);
	advance(pit_time(65536) + 2);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}
