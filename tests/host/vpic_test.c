/* SPDX-License-Identifier: MIT */
/* The two PICs against the data sheet of the 8259A. */
#include "pc.h"

TEST(vpic, masks_are_kept_and_start_closed)
{
	set_up(1);
	EXPECT(in(0x21) == 0xff && in(0xa1) == 0xff);
	pulse(3);
	EXPECT(!vpc_interrupt_pending(vpc, 0));
	out(0x21, 0xfb);
	EXPECT(in(0x21) == 0xfb);
}

TEST(vpic, priorities_nest_and_eoi_ends)
{
	set_up(1);
	pics_init(1);
	pulse(5);
	pulse(3);
	EXPECT(host.interrupts[0] == 1); /* the host was told once */
	EXPECT(take(0) == 0x23);
	EXPECT(take(0) == -1); /* 5 is below 3 */
	pulse(1);
	EXPECT(take(0) == 0x21);
	out(0x20, 0x0b);
	EXPECT(in(0x20) == 0x0a); /* in service: 1 and 3 */
	out(0x20, 0x0a);
	EXPECT(in(0x20) == 0x20); /* requested: 5 */
	out(0x20, 0x20);
	EXPECT(take(0) == -1);
	out(0x20, 0x63); /* specific, 3 */
	EXPECT(take(0) == 0x25);
}

TEST(vpic, slave_goes_through_input_2)
{
	set_up(1);
	pics_init(1);
	pulse(8);
	pulse(12);
	EXPECT(take(0) == 0x28);
	EXPECT(take(0) == -1);
	out(0xa0, 0x20);
	EXPECT(take(0) == -1); /* the master still serves its input 2 */
	out(0x20, 0x20);
	EXPECT(take(0) == 0x2c);
	pulse(0);
	EXPECT(take(0) == 0x20);
}

TEST(vpic, auto_eoi_leaves_nothing_in_service)
{
	set_up(1);
	pics_init(3);
	pulse(9);
	pulse(10);
	pulse(3);
	EXPECT(take(0) == 0x29);
	EXPECT(take(0) == 0x2a);
	EXPECT(take(0) == 0x23);
	EXPECT(take(0) == -1);
}

TEST(vpic, rotation_on_auto_eoi_makes_the_served_input_the_lowest)
{
	set_up(1);
	pics_init(3);
	out(0x20, 0x80); /* rotate on automatic EOI */
	pulse(3);
	EXPECT(take(0) == 0x23);
	pulse(3);
	pulse(4);
	EXPECT(take(0) == 0x24 && take(0) == 0x23);
	out(0x20, 0x00); /* no more rotation: 3 stays lowest */
	pulse(4);
	EXPECT(take(0) == 0x24);
	pulse(3);
	pulse(4);
	EXPECT(take(0) == 0x24 && take(0) == 0x23);
}

TEST(vpic, rotation_moves_priorities)
{
	set_up(1);
	pics_init(1);
	pulse(3);
	EXPECT(take(0) == 0x23);
	out(0x20, 0xa0); /* rotate on EOI: 3 is lowest now */
	pulse(3);
	pulse(4);
	EXPECT(take(0) == 0x24);
	out(0x20, 0x20);
	EXPECT(take(0) == 0x23);
	out(0x20, 0x20);
	out(0x20, 0xc7); /* 7 is lowest, as after reset */
	pulse(0);
	pulse(4);
	EXPECT(take(0) == 0x20);
}

TEST(vpic, special_mask_lets_lower_inputs_through)
{
	set_up(1);
	pics_init(1);
	pulse(1);
	EXPECT(take(0) == 0x21);
	pulse(6);
	EXPECT(take(0) == -1);
	out(0x20, 0x68);
	out(0x21, 0x02);
	EXPECT(take(0) == 0x26);
}

TEST(vpic, level_input_repeats_until_lowered)
{
	set_up(1);
	pics_init(1);
	out(0x4d1, 0xff);
	EXPECT(in(0x4d1) == 0xde); /* RTC and FPU are always edges */
	out(0x4d0, 0xff);
	EXPECT(in(0x4d0) == 0xf8);
	vpc_irq_set(vpc, 11, true);
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(take(0) == 0x2b);
		out(0xa0, 0x20);
		out(0x20, 0x20);
	}
	vpc_irq_set(vpc, 11, false);
	EXPECT(take(0) == -1);
}

TEST(vpic, poll_acknowledges)
{
	set_up(1);
	pics_init(1);
	pulse(4);
	out(0x20, 0x0c);
	EXPECT(in(0x20) == 0x84);
	EXPECT(take(0) == -1);
	out(0x20, 0x0c);
	EXPECT(in(0x20) == 0);
}

TEST(vpic, withdrawn_request_is_spurious)
{
	set_up(1);
	pics_init(1);
	EXPECT(vpic_acknowledge(&vpc->pic) == 0x27);
	out(0x20, 0x0b);
	EXPECT(in(0x20) == 0);
}

TEST(vpic, reaches_the_cpu_only_through_extint)
{
	set_up(2);
	pics_init(1);
	pulse(4);
	EXPECT(vpc_interrupt_pending(vpc, 0) && !vpc_interrupt_pending(vpc, 1));
	lapic_write(0, LAPIC_SVR, 0x1ff);
	lapic_write(0, LAPIC_LVT_LINT0, 0x10700);
	EXPECT(!vpc_interrupt_pending(vpc, 0));
	lapic_write(0, LAPIC_LVT_LINT0, 0x700);
	EXPECT(vpc_interrupt_pending(vpc, 0));
	lapic_write(0, LAPIC_SVR, 0xff); /* masks all local vectors */
	EXPECT(!vpc_interrupt_pending(vpc, 0));
	EXPECT(msr_write(0, MSR_BASE, VPC_LAPIC_BASE | BIT64(8)));
	EXPECT(vpc_interrupt_pending(vpc, 0) && !vpc_apic_enabled(vpc, 0));
	EXPECT(take(0) == 0x24);
}
