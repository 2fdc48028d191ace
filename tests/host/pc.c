/* SPDX-License-Identifier: MIT */
/* The PC whose devices are under test, and a VM around it that only records what it is asked. */
#include <stdlib.h>
#include <string.h>

#include "pc.h"

struct vpc *vpc;
uint64_t now;
struct host host;

static void on_interrupt(void *vm, unsigned vcpu)
{
	EXPECT(vm == &host && vcpu < VPC_VCPU_MAX);
	host.interrupts[vcpu]++;
}

static void on_output(void *vm, const uint8_t *bytes, unsigned count)
{
	(void)vm;
	for (unsigned i = 0; i < count; i++)
		host.output[host.output_count++ % sizeof(host.output)] = bytes[i];
}

static void on_power(void *vm, enum vpc_power what, uint32_t value)
{
	(void)vm;
	host.power_count++;
	host.power = what;
	host.power_value = value;
}

static void on_start_up(void *vm, unsigned vcpu, bool is_init, uint32_t entry)
{
	(void)vm;
	EXPECT(vcpu < VPC_VCPU_MAX);
	if (is_init)
		host.inits[vcpu]++;
	else
		host.startups[vcpu]++;
	host.entry = entry;
}

static const struct vpc_host host_ops = { on_interrupt, on_output, on_power, on_start_up };

void set_up_at(unsigned vcpu_count, uint64_t tsc_hz)
{
	struct vpc_config config = {
		.host = &host_ops,
		.vm = &host,
		.vcpu_count = vcpu_count,
		.tsc_hz = tsc_hz,
		.epoch_seconds = EPOCH,
		.ram_bytes = 5ull << 30,
		.has_debug_exit = true,
		.has_debug_console = true,
	};
	uint64_t size = align_up(vpc_size_bytes(vcpu_count), 64);

	free(vpc);
	void *storage = aligned_alloc(64, size);
	memset(storage, 0, size);
	memset(&host, 0, sizeof(host));
	now = 0;
	vpc = vpc_init(storage, &config);
	vpc_check(vpc);
}

void set_up(unsigned vcpu_count)
{
	set_up_at(vcpu_count, TSC_HZ);
}

uint32_t in(uint16_t port)
{
	return vpc_pio_read(vpc, 0, port, 1, now);
}

uint32_t in_wide(uint16_t port, unsigned size)
{
	return vpc_pio_read(vpc, 0, port, size, now);
}

void out(uint16_t port, uint32_t value)
{
	vpc_pio_write(vpc, 0, port, 1, value, now);
	vpc_check(vpc);
}

void out_wide(uint16_t port, unsigned size, uint32_t value)
{
	vpc_pio_write(vpc, 0, port, size, value, now);
	vpc_check(vpc);
}

uint32_t lapic_read(unsigned vcpu, unsigned reg)
{
	uint64_t value = 0;
	EXPECT(vpc_mmio_read(vpc, vcpu, gpa(VPC_LAPIC_BASE + reg * 16), 4, &value, now));
	return (uint32_t)value;
}

void lapic_write(unsigned vcpu, unsigned reg, uint32_t value)
{
	EXPECT(vpc_mmio_write(vpc, vcpu, gpa(VPC_LAPIC_BASE + reg * 16), 4, value, now));
	vpc_check(vpc);
}

uint32_t ioapic_read(unsigned index)
{
	uint64_t value = 0;
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE), 4, index, now));
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_IOAPIC_BASE + 0x10), 4, &value, now));
	return (uint32_t)value;
}

void ioapic_write(unsigned index, uint32_t value)
{
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE), 4, index, now));
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE + 0x10), 4, value, now));
	vpc_check(vpc);
}

void ioapic_entry(unsigned pin, uint32_t low, uint32_t high)
{
	ioapic_write(0x11 + 2 * pin, high);
	ioapic_write(0x10 + 2 * pin, low);
}

bool msr_write(unsigned vcpu, uint32_t msr, uint64_t value)
{
	bool is_done = vpc_msr_write(vpc, vcpu, msr, value, now);
	vpc_check(vpc);
	return is_done;
}

uint64_t msr_read(unsigned vcpu, uint32_t msr)
{
	uint64_t value = 0;
	EXPECT(vpc_msr_read(vpc, vcpu, msr, &value, now));
	return value;
}

void advance(uint64_t ticks)
{
	now += ticks;
	(void)vpc_advance(vpc, now);
	vpc_check(vpc);
}

int take(unsigned vcpu)
{
	if (!vpc_interrupt_pending(vpc, vcpu))
		return -1;
	int vector = vpc_interrupt_take(vpc, vcpu);
	vpc_check(vpc);
	return vector;
}

void lapics_enable(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		lapic_write(i, LAPIC_SVR, 0x1ff);
}

uint64_t pit_time(uint64_t ticks)
{
	return ticks * TSC_HZ / VPIT_HZ + 2;
}

void pics_init(uint8_t icw4)
{
	out(0x20, 0x11);
	out(0x21, 0x20);
	out(0x21, 0x04);
	out(0x21, icw4);
	out(0xa0, 0x11);
	out(0xa1, 0x28);
	out(0xa1, 0x02);
	out(0xa1, icw4);
	out(0x21, 0x00);
	out(0xa1, 0x00);
}

void pulse(unsigned irq)
{
	vpc_irq_set(vpc, irq, true);
	vpc_irq_set(vpc, irq, false);
	vpc_check(vpc);
}

uint32_t receivers(unsigned count, uint8_t vector)
{
	uint32_t set = 0;
	for (unsigned i = 0; i < count; i++) {
		if (take(i) != vector)
			continue;
		set |= BIT32(i);
		if (vpc_mmio_write(vpc, i, gpa(VPC_LAPIC_BASE + LAPIC_EOI * 16), 4, 0, now))
			continue;
		EXPECT(msr_write(i, X2(LAPIC_EOI), 0));
	}
	return set;
}
