/* SPDX-License-Identifier: MIT */
/* The I/O APIC against the data sheet of the 82093AA. */
#include "pc.h"

TEST(vioapic, registers)
{
	set_up(1);
	EXPECT(ioapic_read(1) == 0x170020);
	EXPECT(ioapic_read(0x10) == 0x10000 && ioapic_read(0x3e) == 0x10000);
	ioapic_write(0x10, 0xffffffff);
	EXPECT(ioapic_read(0x10) == 0x1afff);
	ioapic_write(0, 0xffffffff);
	EXPECT(ioapic_read(0) == 0x0f000000);
	EXPECT(ioapic_read(0x40) == 0 && ioapic_read(0xff) == 0);
}

/* Registers are 32 bits wide, 16 bytes apart; the selector has one byte. */
TEST(vioapic, odd_accesses)
{
	const uint64_t base = VPC_IOAPIC_BASE;
	uint64_t value;
	set_up(1);
	ioapic_write(0x10, 0x1a5ff);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base), 1, &value, now) && value == 0x10);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base + 0x10), 8, &value, now) && value == 0x1a5ff);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base + 0x11), 1, &value, now) && value == 0xa5);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base + 0x12), 2, &value, now) && value == 1);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base + 0x14), 4, &value, now) && value == 0);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(base + 0xff8), 8, &value, now) && value == 0);
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(base + 0xffd), 4, &value, now));
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(base - 4), 4, &value, now));
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(base + 0x1000), 4, &value, now));
	EXPECT(vpc_mmio_write(vpc, 0, gpa(base + 0x10), 2, 0, now)); /* too narrow: ignored */
	EXPECT(vpc_mmio_write(vpc, 0, gpa(base + 0x12), 4, 0, now)); /* no register */
	EXPECT(ioapic_read(0x10) == 0x1a5ff);
	EXPECT(vpc_mmio_write(vpc, 0, gpa(base), 1, 0x11, now));
	EXPECT(vpc_mmio_write(vpc, 0, gpa(base + 0x10), 8, 0x5000000, now));
	EXPECT(ioapic_read(0x11) == 0x5000000);
	EXPECT(!vpc_mmio_write(vpc, 0, gpa(base + 0xffd), 4, 0, now));
}

TEST(vioapic, edges_come_once_and_are_lost_while_masked)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(5, 0x10055, 0);
	vpc_irq_set(vpc, 5, true);
	ioapic_entry(5, 0x55, 0);
	EXPECT(take(0) == -1);
	vpc_irq_set(vpc, 5, false);
	vpc_irq_set(vpc, 5, true);
	EXPECT(take(0) == 0x55);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == -1);
	EXPECT(lapic_read(0, LAPIC_TMR + 2) == 0);
}

TEST(vioapic, level_repeats_after_eoi)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(10, 0x8059, 0);
	vpc_irq_set(vpc, 10, true);
	EXPECT(ioapic_read(0x24) == 0xc059); /* remote IRR */
	EXPECT(lapic_read(0, LAPIC_TMR + 2) == BIT32(0x19));
	EXPECT(take(0) == 0x59 && take(0) == -1);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == 0x59);
	vpc_irq_set(vpc, 10, false);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == -1 && ioapic_read(0x24) == 0x8059);
	ioapic_entry(10, 0x18059, 0);
	vpc_irq_set(vpc, 10, true);
	EXPECT(take(0) == -1);
	ioapic_entry(10, 0x8059, 0); /* unmasked: sent */
	EXPECT(take(0) == 0x59);
	ioapic_entry(10, 0x0059, 0); /* edge: clears remote IRR */
	EXPECT(ioapic_read(0x24) == 0x59);
}

TEST(vioapic, eoi_register_ends_a_level)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(10, 0x8059, 0);
	vpc_irq_set(vpc, 10, true);
	vpc_irq_set(vpc, 10, false);
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE + 0x40), 4, 0x59, now));
	EXPECT(ioapic_read(0x24) == 0x8059);
}

TEST(vioapic, level_that_nobody_took_is_not_stuck)
{
	set_up(1);
	ioapic_entry(10, 0x8059, 0); /* the local APIC is disabled */
	vpc_irq_set(vpc, 10, true);
	EXPECT(ioapic_read(0x24) == 0x8059);
}

TEST(vioapic, destinations)
{
	set_up(4);
	lapics_enable(4);
	for (unsigned i = 0; i < 4; i++)
		lapic_write(i, LAPIC_LDR, 1u << (24 + i));
	ioapic_entry(5, 0x55, 2u << 24);
	pulse(5);
	EXPECT(receivers(4, 0x55) == BIT32(2));
	ioapic_entry(5, 0x855, 0xbu << 24);
	pulse(5);
	EXPECT(receivers(4, 0x55) == 0xb);
	ioapic_entry(5, 0x455, 1u << 24);
	pulse(5);
	EXPECT(vpc_nmi_take(vpc, 1) && receivers(4, 0x55) == 0);
}
