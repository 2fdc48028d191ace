/* SPDX-License-Identifier: MIT */
/* The local APIC against the manual: SDM vol. 3, "Advanced Programmable Interrupt Controller". */
#include "pc.h"

TEST(vlapic, reset_state)
{
	set_up(2);
	EXPECT(lapic_read(1, LAPIC_ID) == 1u << 24);
	EXPECT(lapic_read(0, LAPIC_VERSION) == 0x50014);
	EXPECT(lapic_read(0, LAPIC_SVR) == 0xff && lapic_read(0, LAPIC_DFR) == 0xffffffff);
	EXPECT(lapic_read(0, LAPIC_LVT_LINT0) == 0x700 && lapic_read(0, LAPIC_LVT_LINT1) == 0x400);
	EXPECT(lapic_read(1, LAPIC_LVT_LINT0) == 0x10000);
	EXPECT(msr_read(0, MSR_BASE) == (VPC_LAPIC_BASE | 0x900));
	EXPECT(msr_read(1, MSR_BASE) == (VPC_LAPIC_BASE | 0x800));
}

static void self_ipi(uint8_t vector)
{
	lapic_write(0, LAPIC_ICR, 0x44000u | vector);
}

TEST(vlapic, highest_vector_first_and_eoi_uncovers)
{
	set_up(1);
	lapics_enable(1);
	self_ipi(0x41);
	self_ipi(0x52);
	self_ipi(0x45);
	EXPECT(host.interrupts[0] == 1);
	EXPECT(take(0) == 0x52);
	EXPECT(lapic_read(0, LAPIC_PPR) == 0x50);
	EXPECT(lapic_read(0, LAPIC_ISR + 2) == BIT32(0x12));
	EXPECT(lapic_read(0, LAPIC_IRR + 2) == (BIT32(1) | BIT32(5)));
	EXPECT(take(0) == -1);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == 0x45);
	EXPECT(take(0) == -1); /* of the same priority class */
	self_ipi(0x60);
	EXPECT(take(0) == 0x60);
	lapic_write(0, LAPIC_EOI, 0);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == 0x41);
	lapic_write(0, LAPIC_EOI, 0);
	lapic_write(0, LAPIC_EOI, 0); /* one too many */
	EXPECT(take(0) == -1);
}

TEST(vlapic, task_priority_holds_back)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_TPR, 0x50);
	EXPECT(vpc_cr8_get(vpc, 0) == 5);
	self_ipi(0x5f);
	EXPECT(take(0) == -1);
	vpc_cr8_set(vpc, 0, 4);
	EXPECT(lapic_read(0, LAPIC_TPR) == 0x40 && lapic_read(0, LAPIC_PPR) == 0x40);
	EXPECT(host.interrupts[0] == 1);
	EXPECT(take(0) == 0x5f);
}

TEST(vlapic, disabled_by_software_takes_nothing)
{
	set_up(1);
	self_ipi(0x50);
	EXPECT(take(0) == -1);
	lapic_write(0, LAPIC_LVT_TIMER, 0x30);
	EXPECT(lapic_read(0, LAPIC_LVT_TIMER) == 0x10030);
}

TEST(vlapic, errors_are_latched_by_a_write)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_LVT_ERROR, 0x21);
	self_ipi(0x0f);
	EXPECT(lapic_read(0, LAPIC_ESR) == 0);
	lapic_write(0, LAPIC_ESR, 0);
	EXPECT(lapic_read(0, LAPIC_ESR) == LAPIC_ERROR_SEND_VECTOR);
	EXPECT(take(0) == 0x21);
	lapic_write(0, LAPIC_ESR, 0);
	EXPECT(lapic_read(0, LAPIC_ESR) == 0);
	lapic_write(0, LAPIC_LVT_ERROR, 0x01); /* a bad error vector: no loop */
	lapic_write(0, 0x3a, 0);
	lapic_write(0, LAPIC_ESR, 0);
	EXPECT(lapic_read(0, LAPIC_ESR) == LAPIC_ERROR_REGISTER);
}

TEST(vlapic, messages_with_bad_vectors_are_errors)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_LVT_ERROR, 0x21);
	ioapic_entry(5, 0x0f, 0);
	pulse(5);
	lapic_write(0, LAPIC_ESR, 0);
	EXPECT(lapic_read(0, LAPIC_ESR) == LAPIC_ERROR_RECEIVE_VECTOR);
	EXPECT(take(0) == 0x21 && take(0) == -1);
}

TEST(vlapic, odd_accesses_are_harmless)
{
	uint64_t value;
	set_up(1);
	lapics_enable(1);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0x30), 1, &value, now) && value == 0x14);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0x32), 2, &value, now) && value == 5);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0x30), 8, &value, now));
	EXPECT(value == 0x50014);
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0x34), 4, &value, now) && value == 0);
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_LAPIC_BASE + 0x80), 1, 0xff, now));
	EXPECT(lapic_read(0, LAPIC_TPR) == 0);
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0x1000), 4, &value, now));
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(VPC_LAPIC_BASE + 0xffd), 4, &value, now));
}

TEST(vlapic, one_shot_timer_counts_the_bus_clock)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_LVT_TIMER, 0x30);
	lapic_write(0, LAPIC_TIMER_DIVIDE, 0x3);    /* by 16 */
	lapic_write(0, LAPIC_TIMER_INITIAL, 62500); /* 1 ms at 1 GHz */
	EXPECT(vpc_next_deadline(vpc) == MS);
	now += MS / 2;
	EXPECT(lapic_read(0, LAPIC_TIMER_CURRENT) == 31250);
	advance(MS / 2 - 1);
	EXPECT(take(0) == -1);
	advance(1);
	EXPECT(take(0) == 0x30);
	EXPECT(lapic_read(0, LAPIC_TIMER_CURRENT) == 0);
	EXPECT(lapic_read(0, LAPIC_TIMER_INITIAL) == 62500);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}

TEST(vlapic, divide_register_has_eight_values)
{
	static const uint8_t codes[] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa }; /* 1, 2, 4 .. 128 */
	set_up(1);
	lapics_enable(1);
	for (unsigned i = 0; i < ARRAY_COUNT(codes); i++) {
		lapic_write(0, LAPIC_TIMER_DIVIDE, codes[i]);
		lapic_write(0, LAPIC_TIMER_INITIAL, 1000);
		EXPECT(vpc_next_deadline(vpc) - now == 2000ull << i);
	}
	lapic_write(0, LAPIC_TIMER_DIVIDE, 0xb); /* keeps the count when it changes */
	EXPECT(vpc_next_deadline(vpc) - now == 2000);
}

TEST(vlapic, periodic_timer_keeps_its_phase)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_LVT_TIMER, 0x20030);
	lapic_write(0, LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(0, LAPIC_TIMER_INITIAL, 1000000);
	advance(2 * MS / 2 + 77);
	EXPECT(take(0) == 0x30);
	EXPECT(vpc_next_deadline(vpc) == 2 * MS);
	EXPECT(lapic_read(0, LAPIC_TIMER_CURRENT) == 1000000 - 39);
	now += 2 * MS; /* the timer has not fired yet, but the count continues */
	EXPECT(lapic_read(0, LAPIC_TIMER_CURRENT) == 1000000 - 39);
	advance(3 * MS); /* five missed: one interrupt, same phase */
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == 0x30 && take(0) == -1);
	EXPECT(vpc_next_deadline(vpc) == 7 * MS);
	lapic_write(0, LAPIC_TIMER_INITIAL, 0);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
	lapic_write(0, LAPIC_TIMER_INITIAL, 1);
	advance(MS);
	EXPECT(vpc_next_deadline(vpc) == now + TSC_HZ / VPC_TIMER_HZ_MAX);
}

TEST(vlapic, deadline_timer_counts_the_tsc)
{
	set_up(1);
	lapics_enable(1);
	now = 1000;
	EXPECT(msr_write(0, MSR_DEADLINE, 5000)); /* not in that mode: ignored */
	EXPECT(msr_read(0, MSR_DEADLINE) == 0);
	lapic_write(0, LAPIC_LVT_TIMER, 0x40030);
	EXPECT(msr_write(0, MSR_DEADLINE, 5000));
	EXPECT(msr_read(0, MSR_DEADLINE) == 5000 && vpc_next_deadline(vpc) == 5000);
	EXPECT(lapic_read(0, LAPIC_TIMER_CURRENT) == 0);
	advance(3999);
	EXPECT(take(0) == -1);
	advance(1);
	EXPECT(take(0) == 0x30);
	EXPECT(msr_read(0, MSR_DEADLINE) == 0);
	lapic_write(0, LAPIC_EOI, 0);
	for (uint64_t past = 4999; past <= 5000; past++) {
		EXPECT(msr_write(0, MSR_DEADLINE, past)); /* at once */
		EXPECT(take(0) == 0x30);
		lapic_write(0, LAPIC_EOI, 0);
	}
	EXPECT(msr_write(0, MSR_DEADLINE, 9000));
	EXPECT(msr_write(0, MSR_DEADLINE, 0));
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
	EXPECT(msr_write(0, MSR_DEADLINE, 9000));
	lapic_write(0, LAPIC_LVT_TIMER, 0x30); /* another mode: disarmed */
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}

TEST(vlapic, masked_timer_interrupts_nobody)
{
	set_up(1);
	lapics_enable(1);
	lapic_write(0, LAPIC_LVT_TIMER, 0x10030);
	lapic_write(0, LAPIC_TIMER_INITIAL, 1000);
	advance(MS);
	EXPECT(take(0) == -1 && vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
}

static void ipi(unsigned from, uint32_t command, uint8_t destination)
{
	lapic_write(from, LAPIC_ICR_HIGH, (uint32_t)destination << 24);
	lapic_write(from, LAPIC_ICR, command);
}

TEST(vlapic, ipi_destinations)
{
	set_up(8);
	lapics_enable(8);
	ipi(0, 0x50, 3);
	EXPECT(receivers(8, 0x50) == BIT32(3));
	ipi(0, 0x50, 0xff);
	EXPECT(receivers(8, 0x50) == 0xff);
	ipi(0, 0x50, 9);
	EXPECT(receivers(8, 0x50) == 0);
	ipi(2, 0x40050, 0);
	EXPECT(receivers(8, 0x50) == BIT32(2));
	ipi(2, 0x80050, 0);
	EXPECT(receivers(8, 0x50) == 0xff);
	ipi(2, 0xc0050, 0);
	EXPECT(receivers(8, 0x50) == 0xfb);
}

TEST(vlapic, logical_flat_and_cluster)
{
	set_up(8);
	lapics_enable(8);
	for (unsigned i = 0; i < 8; i++)
		lapic_write(i, LAPIC_LDR, 1u << (24 + i));
	ipi(0, 0x850, 0xa5);
	EXPECT(receivers(8, 0x50) == 0xa5);
	for (unsigned i = 0; i < 8; i++) {
		lapic_write(i, LAPIC_DFR, 0x0fffffff);
		lapic_write(i, LAPIC_LDR, ((i / 4) << 4 | 1u << i % 4) << 24);
	}
	ipi(0, 0x850, 0x1a);
	EXPECT(receivers(8, 0x50) == 0xa0);
	ipi(0, 0x850, 0x03);
	EXPECT(receivers(8, 0x50) == 0x03);
	ipi(0, 0x850, 0xff);
	EXPECT(receivers(8, 0x50) == 0xff);
}

TEST(vlapic, lowest_priority_goes_to_one)
{
	set_up(4);
	lapics_enable(4);
	for (unsigned i = 0; i < 4; i++)
		lapic_write(i, LAPIC_LDR, 1u << (24 + i));
	lapic_write(0, LAPIC_TPR, 0x20);
	lapic_write(1, LAPIC_TPR, 0x10);
	ipi(0, 0x950, 0x07);
	EXPECT(receivers(4, 0x50) == BIT32(2));
	ipi(0, 0x950, 0x03);
	EXPECT(receivers(4, 0x50) == BIT32(1));
}

TEST(vlapic, init_and_startup_reach_the_host)
{
	set_up(3);
	lapic_write(1, LAPIC_SVR, 0x1ff);
	lapic_write(1, LAPIC_LVT_TIMER, 0x40030);
	EXPECT(msr_write(1, MSR_DEADLINE, 99999));
	ipi(0, 0xc500, 1);
	EXPECT(host.inits[1] == 1 && lapic_read(1, LAPIC_SVR) == 0xff);
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
	ipi(0, 0x8500, 1); /* de-assert: ignored */
	EXPECT(host.inits[1] == 1);
	ipi(0, 0x469f, 1);
	EXPECT(host.startups[1] == 1 && host.entry == 0x9f000);
	EXPECT(host.inits[2] == 0 && host.startups[2] == 0);
	ipi(0, 0xc4500, 0);
	EXPECT(host.inits[0] == 0 && host.inits[1] == 2 && host.inits[2] == 1);
}

TEST(vlapic, nmi_by_ipi)
{
	set_up(2);
	ipi(0, 0x4400, 1);
	EXPECT(host.interrupts[1] == 1);
	EXPECT(vpc_nmi_take(vpc, 1) && !vpc_nmi_take(vpc, 1) && !vpc_nmi_take(vpc, 0));
}

TEST(vlapic, x2apic_registers_and_faults)
{
	uint64_t value;
	set_up(20);
	EXPECT(!vpc_msr_read(vpc, 0, X2(LAPIC_ID), &value, now));
	EXPECT(msr_write(19, MSR_BASE, BASE_X2APIC));
	EXPECT(msr_read(19, MSR_BASE) == BASE_X2APIC);
	EXPECT(!vpc_mmio_read(vpc, 19, gpa(VPC_LAPIC_BASE), 4, &value, now));
	EXPECT(msr_read(19, X2(LAPIC_ID)) == 19);
	EXPECT(msr_read(19, X2(LAPIC_LDR)) == (1u << 16 | 1u << 3));
	static const uint8_t no_read[] = { LAPIC_EOI, LAPIC_DFR, LAPIC_SELF_IPI, 0x31, 0x00, 0x2f };
	for (unsigned i = 0; i < ARRAY_COUNT(no_read); i++)
		EXPECT(!vpc_msr_read(vpc, 19, X2(no_read[i]), &value, now));
	static const uint8_t no_write[] = { LAPIC_ID,  LAPIC_VERSION, LAPIC_PPR,
					    LAPIC_LDR, LAPIC_ISR,     LAPIC_TIMER_CURRENT };
	for (unsigned i = 0; i < ARRAY_COUNT(no_write); i++)
		EXPECT(!msr_write(19, X2(no_write[i]), 0));
	EXPECT(!msr_write(19, X2(LAPIC_TPR), 0x100) && msr_write(19, X2(LAPIC_TPR), 0x10));
	EXPECT(!msr_write(19, X2(LAPIC_EOI), 1) && msr_write(19, X2(LAPIC_EOI), 0));
	EXPECT(!msr_write(19, X2(LAPIC_ESR), 1) && msr_write(19, X2(LAPIC_ESR), 0));
	EXPECT(!msr_write(19, X2(LAPIC_SVR), 0x400) && msr_write(19, X2(LAPIC_SVR), 0x1ff));
	EXPECT(!msr_write(19, X2(LAPIC_ICR), 0x100000));
	EXPECT(!vpc_msr_read(vpc, 19, 0x8ff, &value, now) && !msr_write(19, 0x8ff, 0));
}

TEST(vlapic, x2apic_ipis)
{
	set_up(20);
	for (unsigned i = 0; i < 20; i++) {
		EXPECT(msr_write(i, MSR_BASE, BASE_X2APIC | (i == 0 ? LAPIC_BASE_BSP : 0)));
		EXPECT(msr_write(i, X2(LAPIC_SVR), 0x1ff));
	}
	EXPECT(msr_write(0, X2(LAPIC_ICR), 17ull << 32 | 0x50));
	EXPECT(msr_read(0, X2(LAPIC_ICR)) == (17ull << 32 | 0x50));
	EXPECT(receivers(20, 0x50) == BIT32(17));
	EXPECT(msr_write(0, X2(LAPIC_ICR), 0x1000aull << 32 | 0x850));
	EXPECT(receivers(20, 0x50) == (BIT32(17) | BIT32(19)));
	EXPECT(msr_write(0, X2(LAPIC_ICR), 0xffffffffull << 32 | 0x50));
	EXPECT(receivers(20, 0x50) == 0xfffff);
	EXPECT(msr_write(0, X2(LAPIC_ICR), 0xffull << 32 | 0x50));
	EXPECT(receivers(20, 0x50) == 0);
	EXPECT(msr_write(5, X2(LAPIC_SELF_IPI), 0x61));
	EXPECT(receivers(20, 0x61) == BIT32(5));
}

TEST(vlapic, base_transitions)
{
	set_up(1);
	uint64_t bsp = VPC_LAPIC_BASE | LAPIC_BASE_BSP;
	EXPECT(!msr_write(0, MSR_BASE, bsp | BIT64(10))); /* x2APIC without enable */
	EXPECT(!msr_write(0, MSR_BASE, (bsp + 0x1000) | BIT64(11)));
	EXPECT(!msr_write(0, MSR_BASE, bsp | BIT64(11) | BIT64(9)));
	EXPECT(msr_write(0, MSR_BASE, bsp | BIT64(11) | BIT64(10)));
	EXPECT(!msr_write(0, MSR_BASE, bsp | BIT64(11))); /* not back to xAPIC */
	EXPECT(msr_write(0, MSR_BASE, bsp));
	EXPECT(!vpc_apic_enabled(vpc, 0));
	EXPECT(!msr_write(0, MSR_BASE, bsp | BIT64(11) | BIT64(10))); /* not straight to x2APIC */
	EXPECT(msr_write(0, MSR_BASE, bsp | BIT64(11)));
	EXPECT(lapic_read(0, LAPIC_ID) == 0 && lapic_read(0, LAPIC_SVR) == 0xff);
}
