/* SPDX-License-Identifier: MIT */
/*
 * A PC whose devices are under test. A test drives it like a guest, by ports, memory
 * and MSRs, and sets the time itself. The TSC runs at 2 GHz, twice as fast as the
 * clock of the local APIC's timer. A check of all invariants follows each write.
 */
#ifndef TESTS_HOST_PC_H
#define TESTS_HOST_PC_H

#include "test.h"

#include "devices/pc/vpc_internal.h"

#define TSC_HZ 2000000000ull
#define EPOCH  1700000000ull /* 2023-11-14 22:13:20 UTC, a Tuesday */
#define MS     (TSC_HZ / 1000)

#define MSR_BASE     0x1b
#define MSR_DEADLINE 0x6e0
#define X2(reg)      (0x800 + (reg))
#define BASE_X2APIC  (VPC_LAPIC_BASE | BIT64(11) | BIT64(10))

extern struct vpc *vpc;
extern uint64_t now;

/* What the devices asked of the VM. */
extern struct host {
	unsigned interrupts[VPC_VCPU_MAX];
	uint8_t output[256];
	unsigned output_count;
	unsigned power_count;
	enum vpc_power power;
	uint32_t power_value;
	unsigned inits[VPC_VCPU_MAX], startups[VPC_VCPU_MAX];
	uint32_t entry;
} host;

/* Makes a new PC at time 0; the one before is freed. */
void set_up(unsigned vcpu_count);
void set_up_at(unsigned vcpu_count, uint64_t tsc_hz);

uint32_t in(uint16_t port);
uint32_t in_wide(uint16_t port, unsigned size);
void out(uint16_t port, uint32_t value);
void out_wide(uint16_t port, unsigned size, uint32_t value);

uint32_t lapic_read(unsigned vcpu, unsigned reg);
void lapic_write(unsigned vcpu, unsigned reg, uint32_t value);
void lapics_enable(unsigned count);

uint32_t ioapic_read(unsigned index);
void ioapic_write(unsigned index, uint32_t value);
void ioapic_entry(unsigned pin, uint32_t low, uint32_t high);

bool msr_write(unsigned vcpu, uint32_t msr, uint64_t value);
uint64_t msr_read(unsigned vcpu, uint32_t msr);

/* Initialises both PICs as systems do: vectors from 0x20 and 0x28, no input masked. */
void pics_init(uint8_t icw4);
/* Makes an edge on an interrupt line. */
void pulse(unsigned irq);

void advance(uint64_t ticks);
/* Takes the next interrupt and returns its vector, or -1 if none is deliverable. */
int take(unsigned vcpu);
/* Takes an interrupt on each vCPU; bit n: vCPU n got `vector`, which is ended. */
uint32_t receivers(unsigned count, uint8_t vector);
/* TSC ticks for `ticks` of the PIT, and 2 more. */
uint64_t pit_time(uint64_t ticks);

#endif
