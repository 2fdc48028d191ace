/* SPDX-License-Identifier: MIT */
/* The PC as a whole: clocks, ports, reset, devices, and a guest that does random things. */
#include <stdlib.h>
#include <string.h>

#include "pc.h"

TEST(vclock, ratio_is_exact_to_one_tick)
{
	static const uint64_t rates[][2] = {
		{ 1193182, 2000000000 },
		{ 3579545, 2999999999 },
		{ 2000000000, 1193182 },
		{ 1, 3 },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(rates); i++) {
		struct vclock_ratio ratio = vclock_ratio_make(rates[i][0], rates[i][1]);
		for (uint64_t x = 1; x < 1ull << 62; x = x * 3 + 1) {
			uint64_t exact =
				(uint64_t)((unsigned __int128)x * rates[i][0] / rates[i][1]);
			uint64_t got = vclock_apply(&ratio, x);
			EXPECT(got == exact || got + 1 == exact);
		}
	}
}

TEST(vpc, one_vcpu_fits_one_page)
{
	EXPECT(vpc_size_bytes(1) <= PAGE_SIZE);
}

/* The name of the device that claimed this port, or "". */
static const char *device_at(unsigned port)
{
	for (unsigned i = 0; i < vpc->bus.claim_count; i++) {
		const struct bus_claim *claim = &vpc->bus.claims[i];
		int owner = claim->owner < 0 ? -claim->owner : claim->owner;
		if (port >= claim->first && port < (unsigned)claim->first + claim->count)
			return vpc->bus.slots[owner - 1].dev->ops->name;
	}
	return "";
}

TEST(vpc, ports_are_where_a_pc_has_them)
{
	static const struct {
		unsigned first, last;
		const char *name;
	} map[] = {
		{ 0x20, 0x21, "pic" },    { 0x40, 0x43, "pit" },   { 0x61, 0x61, "sys" },
		{ 0x64, 0x64, "sys" },    { 0x70, 0x71, "rtc" },   { 0x92, 0x92, "sys" },
		{ 0xa0, 0xa1, "pic" },    { 0xe9, 0xe9, "sys" },   { 0xf4, 0xf4, "sys" },
		{ 0x3f8, 0x3ff, "uart" }, { 0x4d0, 0x4d1, "pic" }, { 0x600, 0x60f, "pm" },
		{ 0xcf8, 0xcf8, "pci" },  { 0xcf9, 0xcf9, "sys" }, { 0xcfa, 0xcff, "pci" },
	};
	unsigned next = 0;
	set_up(1);
	for (unsigned port = 0; port <= 0xffff; port++) {
		bool is_in = next < ARRAY_COUNT(map) && port >= map[next].first;
		EXPECT(strcmp(device_at(port), is_in ? map[next].name : "") == 0);
		if (is_in && port == map[next].last)
			next++;
	}
	EXPECT(next == ARRAY_COUNT(map));
}

/* A device of this test only: a latch at two places of ports and in a page, with a timer. */
static struct latch {
	struct vdev dev;
	uint32_t value;
	unsigned check_count;
} latch;

#define LATCH_IRQ 5u

static uint32_t latch_port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t time)
{
	(void)dev, (void)port, (void)time;
	return (uint32_t)vdev_bytes(latch.value, size);
}

static void latch_port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value,
			     uint64_t time)
{
	(void)port, (void)size;
	latch.value = value;
	bus_timer_set(dev, time + value);
}

static uint64_t latch_memory_read(struct vdev *dev, unsigned offset, unsigned size, uint64_t time)
{
	(void)dev, (void)time;
	return vdev_bytes(latch.value + offset, size);
}

static void latch_memory_write(struct vdev *dev, unsigned offset, unsigned size, uint64_t value,
			       uint64_t time)
{
	(void)dev, (void)size, (void)time;
	latch.value = (uint32_t)value - offset;
}

static void latch_timer(struct vdev *dev, uint64_t time)
{
	(void)time;
	vpc_irq_set(vpc_of(dev), LATCH_IRQ, true);
	bus_timer_set(dev, VDEV_DEADLINE_NONE);
}

static void latch_reset(struct vdev *dev, uint64_t time)
{
	(void)dev, (void)time;
	latch.value = 0;
}

static void latch_check(const struct vdev *dev)
{
	EXPECT(dev == &latch.dev);
	latch.check_count++;
}

TEST(vpc, a_new_device_needs_only_its_vdev)
{
	static const struct vdev_ops ops = {
		.name = "latch",
		.reset = latch_reset,
		.timer = latch_timer,
		.port_read = latch_port_read,
		.port_write = latch_port_write,
		.memory_read = latch_memory_read,
		.memory_write = latch_memory_write,
		.check = latch_check,
	};
	uint64_t value = 0;
	set_up(1);
	lapics_enable(1);
	ioapic_entry(LATCH_IRQ, 0x55, 0);
	bus_add(&vpc->bus, &latch.dev, &ops);
	bus_ports_claim(&vpc->bus, &latch.dev, 0x300, 1, BUS_BYTES);
	bus_ports_claim(&vpc->bus, &latch.dev, 0x1000, 4, BUS_WHOLE);
	bus_memory_claim(&vpc->bus, &latch.dev, gfn(0xfed00));

	out(0x300, 0x1234);
	EXPECT(in(0x300) == 0x34 && vpc_next_deadline(vpc) == 0x34);
	out_wide(0x1000, 4, 0x12345678);
	EXPECT(in_wide(0x1000, 2) == 0x5678 && in(0x300) == 0x78);
	EXPECT(vpc_mmio_write(vpc, 0, gpa(0xfed00010), 4, 0x110, now));
	EXPECT(vpc_mmio_read(vpc, 0, gpa(0xfed00ff8), 8, &value, now) && value == 0x10f8);
	EXPECT(!vpc_mmio_read(vpc, 0, gpa(0xfed01000), 4, &value, now));
	advance(0x12345678);
	EXPECT(take(0) == 0x55 && vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
	vpc_reset(vpc, now);
	EXPECT(latch.value == 0);
	latch.check_count = 0;
	vpc_check(vpc);
	EXPECT(latch.check_count == 1);
}

/* The VM relies on it: while this number stays, it asks the PC for nothing. */
TEST(vpc, changes_rise_with_timers_and_interrupts)
{
	set_up(1);
	uint32_t seen = vpc_changes(vpc);
	(void)in(0x40);
	(void)in(0x3fd);
	EXPECT(vpc_changes(vpc) == seen);
	out(0x43, 0x34);
	EXPECT(vpc_changes(vpc) != seen);
	lapics_enable(1);
	seen = vpc_changes(vpc);
	lapic_write(0, LAPIC_ICR, 0x44050); /* to itself */
	EXPECT(vpc_interrupt_pending(vpc, 0) && vpc_changes(vpc) != seen);
	seen = vpc_changes(vpc);
	lapic_write(0, LAPIC_TPR, 0x80);
	EXPECT(!vpc_interrupt_pending(vpc, 0) && vpc_changes(vpc) != seen);
	seen = vpc_changes(vpc);
	lapic_write(0, LAPIC_ICR, 0x44400); /* an NMI */
	EXPECT(vpc_changes(vpc) != seen && vpc_nmi_take(vpc, 0));
}

TEST(vpc, other_msrs_are_not_the_apics)
{
	static const uint32_t others[] = { 0x1a, 0x1c, 0x6df, 0x6e1, 0x7ff, 0x900 };
	uint64_t value;
	set_up(1);
	for (unsigned i = 0; i < ARRAY_COUNT(others); i++) {
		EXPECT(!vpc_msr_is_apic(others[i]));
		EXPECT(!vpc_msr_read(vpc, 0, others[i], &value, now));
		EXPECT(!msr_write(0, others[i], 0));
	}
}

TEST(vpc, unclaimed_ports_read_ones)
{
	set_up(1);
	EXPECT(in(0x80) == 0xff);
	EXPECT(in_wide(0x80, 2) == 0xffff);
	EXPECT(in_wide(0xfffe, 4) == 0xffffffff);
	EXPECT(in(0xd00) == 0xff && in(0x3f7) == 0xff && in(0x400) == 0xff);
	EXPECT(in(0x2f8) == 0xff); /* no second serial port */
	out(0x80, 0x12);
	EXPECT(host.power_count == 0 && host.output_count == 0);
}

TEST(vpc, wide_access_is_one_byte_per_port)
{
	set_up(1);
	out_wide(0x3fe, 2, 0x5aff); /* MSR, then scratch */
	EXPECT(in(0x3ff) == 0x5a);
	EXPECT(in_wide(0x3fd, 2) == 0xb060);    /* LSR, then MSR */
	EXPECT(in_wide(0x20, 4) == 0xffffff00); /* command, mask, two empty ports */
}

TEST(vpc, reset_ends_everything_but_the_clock)
{
	set_up(2);
	lapics_enable(2);
	pics_init(1);
	ioapic_entry(4, 0x8040, 0);
	out(0x3fc, 8);
	out(0x3f9, 2);
	out(0x43, 0x34);
	out(0x40, 0);
	out(0x40, 0);
	EXPECT(vpc_interrupt_pending(vpc, 0));
	vpc_reset(vpc, now);
	vpc_check(vpc);
	EXPECT(!vpc_interrupt_pending(vpc, 0));
	EXPECT(vpc_next_deadline(vpc) == VPC_DEADLINE_NONE);
	out(0x70, 9);
	EXPECT(in(0x71) == 0x23);
}

static uint64_t random_state;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dull;
}

static uint16_t random_port(void)
{
	static const uint16_t ports[] = { 0x20,  0xa0,  0x40,  0x60,  0x70, 0x90,
					  0x3f8, 0x4d0, 0x600, 0xcf8, 0xf0 };
	if (random64() % 16 == 0)
		return (uint16_t)random64();
	return (uint16_t)(ports[random64() % ARRAY_COUNT(ports)] + random64() % 16);
}

static gpa_t random_device_address(void)
{
	uint64_t base = random64() % 2 ? VPC_LAPIC_BASE : VPC_IOAPIC_BASE;
	uint64_t offset = random64() % 4096;
	return gpa(base + (random64() % 8 ? offset % 1024 & ~15ull : offset));
}

static uint64_t random_value(void)
{
	uint64_t value = random64();
	return value >> random64() % 64;
}

static uint64_t random_base(unsigned vcpu)
{
	uint64_t flags = random64() & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC);
	return random64() % 8 ? VPC_LAPIC_BASE | flags | (vcpu == 0) << 8 : random64();
}

static void random_msr(unsigned vcpu)
{
	uint64_t value = random_value();
	switch (random64() % 4) {
	case 0:
		if (random64() % 16 == 0)
			(void)vpc_msr_write(vpc, vcpu, MSR_BASE, random_base(vcpu), now);
		break;
	case 1: (void)vpc_msr_write(vpc, vcpu, MSR_DEADLINE, now + value, now); break;
	case 2: (void)vpc_msr_write(vpc, vcpu, X2(random64() % 256), value, now); break;
	default: (void)vpc_msr_read(vpc, vcpu, X2(random64() % 256), &value, now); break;
	}
}

static void random_step(unsigned vcpu)
{
	static const uint8_t sizes[] = { 1, 1, 2, 4, 8 };
	unsigned size = sizes[random64() % 4];
	uint64_t value = random_value();
	uint8_t bytes[24] = { 0 };

	switch (random64() % 9) {
	case 0:
	case 1: vpc_pio_write(vpc, vcpu, random_port(), size, (uint32_t)value, now); break;
	case 2: (void)vpc_pio_read(vpc, vcpu, random_port(), size, now); break;
	case 3: (void)vpc_mmio_write(vpc, vcpu, random_device_address(), 4, value, now); break;
	case 4:
		size = sizes[random64() % 5];
		(void)vpc_mmio_read(vpc, vcpu, random_device_address(), size, &value, now);
		(void)vpc_mmio_write(vpc, vcpu, random_device_address(), size, value, now);
		break;
	case 5: random_msr(vcpu); break;
	case 6:
		while (vpc_interrupt_pending(vpc, vcpu) && random64() % 4)
			(void)vpc_interrupt_take(vpc, vcpu);
		break;
	case 7: vpc_cr8_set(vpc, vcpu, value); break;
	default: (void)vpc_serial_input(vpc, bytes, (unsigned)(value % 24), now); break;
	}
}

static void random_time(void)
{
	static const uint8_t shifts[] = { 10, 16, 22, 30, 36 };
	now += random64() & (BIT64(shifts[random64() % ARRAY_COUNT(shifts)]) - 1);
	if (random64() % 65536 == 0)
		now = random64();
}

TEST(vpc, garbage_breaks_nothing)
{
	static const unsigned counts[] = { 1, 3, 64 };
	static const uint64_t rates[] = { 2000000000, 10000000, 1ull << 40 };
	random_state = 20240229;
	for (unsigned round = 0; round < 3; round++) {
		set_up_at(counts[round], rates[round]);
		for (unsigned step = 0; step < 340000; step++) {
			random_time();
			if (random64() % 2)
				(void)vpc_advance(vpc, now);
			random_step((unsigned)(random64() % counts[round]));
			if (random64() % 4096 == 0)
				vpc_reset(vpc, now);
			if (step % 16 == 0)
				vpc_check(vpc);
		}
		vpc_check(vpc);
	}
	free(vpc);
	vpc = NULL;
}
