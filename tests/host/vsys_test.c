/* SPDX-License-Identifier: MIT */
/* Smaller devices of a PC: PCI host bridge, power management, chip set, debug ports. */
#include "pc.h"

TEST(vpci, host_bridge_and_nothing_else)
{
	set_up(1);
	out(0xcfb, 0x01); /* a probe writes one byte */
	EXPECT(in_wide(0xcf8, 4) == 0);
	out_wide(0xcf8, 4, 0x80000000);
	EXPECT(in_wide(0xcf8, 4) == 0x80000000);
	EXPECT(in_wide(0xcfc, 4) == 0x12378086);
	EXPECT(in_wide(0xcfc, 2) == 0x8086 && in_wide(0xcfe, 2) == 0x1237 && in(0xcff) == 0x12);
	out_wide(0xcf8, 4, 0x80000008);
	EXPECT(in_wide(0xcfe, 2) == 0x0600);
	out_wide(0xcfc, 4, 0);
	EXPECT(in_wide(0xcfe, 2) == 0x0600);
	out_wide(0xcf8, 4, 0x80000800);
	EXPECT(in_wide(0xcfc, 4) == 0xffffffff);
	out_wide(0xcf8, 4, 0x80010000);
	EXPECT(in_wide(0xcfc, 4) == 0xffffffff);
	out_wide(0xcf8, 4, 0);
	EXPECT(in_wide(0xcfc, 4) == 0xffffffff);
}

TEST(vpci, host_bridge_has_a_header)
{
	set_up(1);
	out_wide(0xcf8, 4, 0x80000004);
	EXPECT(in_wide(0xcfc, 4) == 0x02800006);
	out_wide(0xcf8, 4, 0x8000000c);
	EXPECT(in_wide(0xcfc, 4) == 0);
	out_wide(0xcf8, 4, 0xffffffff);
	EXPECT(in_wide(0xcf8, 4) == 0x80fffffc);
}

/* The reset port lies between the bytes of CONFIG_ADDRESS. */
TEST(vpci, address_answers_to_double_words_only)
{
	set_up(1);
	out_wide(0xcf8, 4, 0x80000600); /* its second byte would reset the machine */
	EXPECT(host.power_count == 0 && in(0xcf9) == 0);
	EXPECT(in(0xcf8) == 0xff && in_wide(0xcf8, 2) == 0xffff && in_wide(0xcfa, 2) == 0xffff);
	out_wide(0xcf8, 2, 0x0600);
	out(0xcf8, 0x06);
	EXPECT(host.power_count == 0 && in_wide(0xcf8, 4) == 0x80000600);
	EXPECT(in_wide(0xcf9, 2) == 0xff00); /* byte by byte: not aligned */
	out_wide(0xcf9, 2, 0xff06);
	EXPECT(host.power_count == 1 && host.power == VPC_POWER_RESET);
	out_wide(0xcf8, 4, 0x80000000);
	EXPECT(in_wide(0xcfa, 4) == 0x8086ffff && in_wide(0xcfd, 2) == 0x3780);
	EXPECT(in_wide(0xcfe, 4) == 0xffff1237); /* two ports beyond the data */
}

TEST(vpm, timer_runs_at_its_rate)
{
	set_up(1);
	EXPECT(in_wide(0x608, 4) == 0);
	now = TSC_HZ;
	uint32_t count = in_wide(0x608, 4);
	EXPECT(count == VPM_TIMER_HZ || count + 1 == VPM_TIMER_HZ);
	now = 1200 * TSC_HZ + 1; /* has wrapped */
	EXPECT(in_wide(0x608, 4) == (uint32_t)(1200ull * VPM_TIMER_HZ));
	EXPECT(in(0x609) == ((uint32_t)(1200ull * VPM_TIMER_HZ) >> 8 & 0xff));
}

TEST(vpm, timer_reads_in_any_width)
{
	set_up(1);
	now = 1000 * TSC_HZ;
	uint32_t count = in_wide(0x608, 4);
	EXPECT(count > 0x1000000);
	EXPECT(in_wide(0x608, 2) == (count & 0xffff) && in_wide(0x60a, 2) == count >> 16);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(in((uint16_t)(0x608 + i)) == (count >> 8 * i & 0xff));
	EXPECT(in_wide(0x606, 4) == count << 16 && in_wide(0x60a, 4) == count >> 16);
	out_wide(0x608, 4, 0); /* cannot be written */
	EXPECT(in_wide(0x608, 4) == count);
}

TEST(vpm, timer_carry_raises_the_sci)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(9, 0x8059, 0);
	out_wide(0x602, 2, 1);
	uint64_t due = (uint64_t)(((unsigned __int128)1 << 31) * TSC_HZ / VPM_TIMER_HZ);
	EXPECT(vpc_next_deadline(vpc) >= due && vpc_next_deadline(vpc) <= due + 3);
	advance(vpc_next_deadline(vpc));
	EXPECT(take(0) == 0x59);
	EXPECT(in_wide(0x600, 2) == 1);
	out_wide(0x600, 2, 1);
	EXPECT(in_wide(0x600, 2) == 0);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == -1);
}

TEST(vpm, soft_off_by_s5)
{
	set_up(1);
	EXPECT(in_wide(0x604, 2) == 1); /* always in ACPI mode */
	out_wide(0x604, 2, 5u << 10 | 1);
	EXPECT(host.power_count == 0);
	out_wide(0x604, 2, 1u << 13 | 1u << 10);
	EXPECT(host.power_count == 0); /* another sleep type */
	out_wide(0x604, 2, 1u << 13 | 5u << 10);
	EXPECT(host.power_count == 1 && host.power == VPC_POWER_OFF);
}

TEST(vsys, resets_in_three_ways)
{
	set_up(1);
	out(0x64, 0xff);
	EXPECT(host.power_count == 0);
	out(0x64, 0xfe);
	EXPECT(host.power_count == 1 && host.power == VPC_POWER_RESET);
	out(0xcf9, 0x02);
	EXPECT(host.power_count == 1);
	out(0xcf9, 0x06);
	EXPECT(host.power_count == 2 && host.power == VPC_POWER_RESET);
	out(0x92, 0x02);
	EXPECT(host.power_count == 2 && in(0x92) == 0x02);
	out(0x92, 0x03);
	EXPECT(host.power_count == 3);
}

TEST(vsys, no_keyboard_controller)
{
	set_up(1);
	EXPECT(in(0x60) == 0xff);
	EXPECT((in(0x64) & 3) == 1); /* always output full, never input full */
}

TEST(vsys, refresh_toggles)
{
	set_up(1);
	uint32_t before = in(0x61) & 0x10;
	now += TSC_HZ / 1000000 * 14;
	EXPECT((in(0x61) & 0x10) != before);
}

TEST(vsys, debug_ports)
{
	set_up(1);
	EXPECT(in(0xe9) == 0xe9);
	out(0xe9, '!');
	EXPECT(host.output_count == 1 && host.output[0] == '!');
	out_wide(0xf4, 4, 0x12345678);
	EXPECT(host.power == VPC_POWER_DEBUG_EXIT && host.power_value == 0x12345678);
	out_wide(0xf4, 2, 0x12345678);
	EXPECT(host.power_value == 0x5678);
	out(0xf4, 0x1ff);
	EXPECT(host.power_value == 0xff && host.power_count == 3);
	EXPECT(in(0xf4) == 0xff && in_wide(0xf4, 4) == 0xffffffff);
	vpc->sys.has_debug_exit = vpc->sys.has_debug_console = false;
	out(0xf4, 1);
	out(0xe9, '!');
	EXPECT(host.power_count == 3 && host.output_count == 1 && in(0xe9) == 0xff);
}
