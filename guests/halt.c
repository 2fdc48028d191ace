/* SPDX-License-Identifier: MIT */
/*
 * Sleeps by STI and HLT, as kernels do, until the local APIC's timer wakes it. The timer is due
 * one tick later in each round, so in some rounds its interrupt comes right between the two. STI
 * keeps it off until the HLT has begun. If it came before the HLT, the guest would sleep for ever:
 * there is no other interrupt.
 */

#include "guest.h"

#define ROUNDS 12000u

#define VECTOR_TIMER     32u
#define MSR_TSC_DEADLINE 0x6e0u
#define APIC_EOI         0xfee000b0ull
#define APIC_SPURIOUS    0xfee000f0ull
#define APIC_LVT_TIMER   0xfee00320ull
#define APIC_ENABLED     0x1ffu
#define TSC_DEADLINE     0x40000u

static void apic_write(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static void sleep_until(uint64_t deadline)
{
	__asm__ volatile("wrmsr; sti; hlt; cli"
			 :
			 : "c"(MSR_TSC_DEADLINE), "a"((uint32_t)deadline), "d"(deadline >> 32)
			 : "memory");
	apic_write(APIC_EOI, 0);
}

uint32_t guest_main(void)
{
	halt_for(0); /* the PICs are set up, and let nothing through */
	apic_write(APIC_SPURIOUS, APIC_ENABLED);
	apic_write(APIC_LVT_TIMER, TSC_DEADLINE | VECTOR_TIMER);
	print("halt: sleeping\n");
	for (unsigned i = 0; i < ROUNDS; i++)
		sleep_until(rdtsc() + i);
	print_result("halt: awake after rounds", ROUNDS);
	return 0;
}
