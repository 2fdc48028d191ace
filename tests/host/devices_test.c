/* SPDX-License-Identifier: MIT */
/*
 * The PC's devices against their data sheets. A test drives the PC as a guest
 * does, by ports, memory and MSRs, with the clock in its own hands. The TSC runs
 * at 2 GHz, two ticks per tick of the local APIC's bus clock.
 */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "devices/vcalendar.h"
#include "devices/vpc_internal.h"

#define TSC_HZ   2000000000ull
#define EPOCH    1700000000ull /* 2023-11-14 22:13:20 UTC, a Tuesday */
#define VCPU_MAX 20u
#define MS       (TSC_HZ / 1000)

#define MSR_BASE     0x1b
#define MSR_DEADLINE 0x6e0
#define X2(reg)      (0x800 + (reg))
#define BASE_X2APIC  (VPC_LAPIC_BASE | BIT64(11) | BIT64(10))

static struct vpc *vpc;
static uint64_t now;

/* What the devices asked of the VM. */
static struct {
	unsigned interrupts[VPC_VCPU_MAX];
	uint8_t output[256];
	unsigned output_count;
	unsigned power_count;
	enum vpc_power power;
	uint32_t power_value;
	unsigned inits[VPC_VCPU_MAX], startups[VPC_VCPU_MAX];
	uint32_t entry;
} host;

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

static void set_up_at(unsigned vcpu_count, uint64_t tsc_hz)
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

static void set_up(unsigned vcpu_count)
{
	set_up_at(vcpu_count, TSC_HZ);
}

static uint32_t in(uint16_t port)
{
	return vpc_pio_read(vpc, 0, port, 1, now);
}

static uint32_t in_wide(uint16_t port, unsigned size)
{
	return vpc_pio_read(vpc, 0, port, size, now);
}

static void out(uint16_t port, uint32_t value)
{
	vpc_pio_write(vpc, 0, port, 1, value, now);
	vpc_check(vpc);
}

static void out_wide(uint16_t port, unsigned size, uint32_t value)
{
	vpc_pio_write(vpc, 0, port, size, value, now);
	vpc_check(vpc);
}

static uint32_t lapic_read(unsigned vcpu, unsigned reg)
{
	uint64_t value = 0;
	EXPECT(vpc_mmio_read(vpc, vcpu, gpa(VPC_LAPIC_BASE + reg * 16), 4, &value, now));
	return (uint32_t)value;
}

static void lapic_write(unsigned vcpu, unsigned reg, uint32_t value)
{
	EXPECT(vpc_mmio_write(vpc, vcpu, gpa(VPC_LAPIC_BASE + reg * 16), 4, value, now));
	vpc_check(vpc);
}

static uint32_t ioapic_read(unsigned index)
{
	uint64_t value = 0;
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE), 4, index, now));
	EXPECT(vpc_mmio_read(vpc, 0, gpa(VPC_IOAPIC_BASE + 0x10), 4, &value, now));
	return (uint32_t)value;
}

static void ioapic_write(unsigned index, uint32_t value)
{
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE), 4, index, now));
	EXPECT(vpc_mmio_write(vpc, 0, gpa(VPC_IOAPIC_BASE + 0x10), 4, value, now));
	vpc_check(vpc);
}

static void ioapic_entry(unsigned pin, uint32_t low, uint32_t high)
{
	ioapic_write(0x11 + 2 * pin, high);
	ioapic_write(0x10 + 2 * pin, low);
}

static bool msr_write(unsigned vcpu, uint32_t msr, uint64_t value)
{
	bool is_done = vpc_msr_write(vpc, vcpu, msr, value, now);
	vpc_check(vpc);
	return is_done;
}

static uint64_t msr_read(unsigned vcpu, uint32_t msr)
{
	uint64_t value = 0;
	EXPECT(vpc_msr_read(vpc, vcpu, msr, &value, now));
	return value;
}

static void advance(uint64_t ticks)
{
	now += ticks;
	(void)vpc_advance(vpc, now);
	vpc_check(vpc);
}

/* The vector of the next interrupt, or -1 if none is deliverable. */
static int take(unsigned vcpu)
{
	if (!vpc_interrupt_pending(vpc, vcpu))
		return -1;
	int vector = vpc_interrupt_take(vpc, vcpu);
	vpc_check(vpc);
	return vector;
}

static void lapics_enable(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		lapic_write(i, LAPIC_SVR, 0x1ff);
}

/* TSC ticks in which the PIT makes `ticks` of its own, and a little. */
static uint64_t pit_time(uint64_t ticks)
{
	return ticks * TSC_HZ / VPIT_HZ + 2;
}

/* --- clocks --------------------------------------------------------------------- */

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

/* --- storage and ports ------------------------------------------------------------ */

TEST(vpc, one_vcpu_fits_12_kib)
{
	EXPECT(vpc_size_bytes(1) <= 12 * 1024);
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

/* --- PIT -------------------------------------------------------------------------- */

TEST(vpit, rate_generator_counts_down_and_reloads)
{
	set_up(1);
	out(0x43, 0x34); /* channel 0, low then high, mode 2 */
	out(0x40, 0xe8);
	out(0x40, 0x03); /* 1000 */
	now += pit_time(10);
	out(0x43, 0x00); /* latch */
	now += pit_time(500);
	EXPECT((in(0x40) | in(0x40) << 8) == 990); /* latched, not later */
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
	/* Edges that were missed become one, and the phase stays. */
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
	EXPECT(in(0x42) == 0xfe); /* the high byte has gone down by one */
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

/* --- PIC -------------------------------------------------------------------------- */

static void pics_init(uint8_t icw4)
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

static void pulse(unsigned irq)
{
	vpc_irq_set(vpc, irq, true);
	vpc_irq_set(vpc, irq, false);
	vpc_check(vpc);
}

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
	EXPECT(host.interrupts[0] == 1); /* told once */
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
	out(0x20, 0xc7); /* 7 lowest: as at first */
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
	EXPECT(in(0x4d1) == 0xde); /* RTC and FPU are edges for ever */
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
	EXPECT(vpic_acknowledge(vpc) == 0x27);
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

/* --- UART ------------------------------------------------------------------------- */

TEST(vuart, looks_like_a_16550a_to_a_probe)
{
	set_up(1);
	out(0x3f9, 0);
	EXPECT((in(0x3f9) & 0xf) == 0);
	out(0x3f9, 0xff);
	EXPECT(in(0x3f9) == 0x0f);
	out(0x3f9, 0);
	out(0x3fc, 0x1a); /* loopback, OUT2, RTS */
	EXPECT((in(0x3fe) & 0xf0) == 0x90);
	out(0x3fc, 0);
	out(0x3fa, 0x01);
	EXPECT(in(0x3fa) >> 6 == 3);
	out(0x3fb, 0x80);
	EXPECT(in(0x3fa) != 0); /* no enhanced features behind the divisor latch */
	out(0x3fa, 0x21);
	EXPECT(in(0x3fa) >> 5 == 6); /* no 64-byte FIFO */
	out(0x3f8, 0x01);
	out(0x3f9, 0x00);
	EXPECT(in(0x3f8) == 1 && in(0x3f9) == 0);
	out(0x3fb, 0x03);
	EXPECT(in(0x3fb) == 3);
	out(0x3ff, 0xa5);
	EXPECT(in(0x3ff) == 0xa5);
	EXPECT(in(0x3fd) == 0x60);
	EXPECT(host.output_count == 0);
}

TEST(vuart, output_is_immediate)
{
	set_up(1);
	for (const char *text = "Hi"; *text; text++)
		out(0x3f8, (uint8_t)*text);
	EXPECT(host.output_count == 2 && memcmp(host.output, "Hi", 2) == 0);
	EXPECT(in(0x3fd) & 0x20);
}

static void uart_interrupts_to_vector_0x40(void)
{
	set_up(1);
	lapics_enable(1);
	ioapic_entry(4, 0x40, 0);
	out(0x3fc, 0x08);
}

TEST(vuart, interrupts_have_priorities)
{
	uart_interrupts_to_vector_0x40();
	out(0x3fa, 0x01);
	out(0x3f9, 0x0f);
	EXPECT(take(0) == 0x40); /* the transmitter is empty */
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"x", 1, now) == 1);
	EXPECT(in(0x3fa) == 0xc4);
	EXPECT(in(0x3f8) == 'x');
	EXPECT(in(0x3fa) == 0xc2);
	EXPECT(in(0x3fa) == 0xc1); /* reading it ended it */
	out(0x3f8, 'y');
	EXPECT(in(0x3fa) == 0xc2);
	lapic_write(0, LAPIC_EOI, 0);
	EXPECT(take(0) == 0x40);
}

TEST(vuart, line_is_gated_by_out2)
{
	uart_interrupts_to_vector_0x40();
	out(0x3fc, 0);
	out(0x3f9, 0x02);
	EXPECT(take(0) == -1);
	out(0x3fc, 0x08);
	EXPECT(take(0) == 0x40);
}

TEST(vuart, fifo_takes_16_and_reports_its_level)
{
	uart_interrupts_to_vector_0x40();
	out(0x3fa, 0x81); /* trigger at 8 */
	out(0x3f9, 0x01);
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"0123456789abcdefgh", 7, now) == 7);
	EXPECT(in(0x3fa) == 0xcc); /* below the trigger: time-out */
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"789abcdefgh", 11, now) == 9);
	EXPECT(in(0x3fa) == 0xc4);
	EXPECT(in(0x3fd) == 0x61);
	for (const char *text = "0123456789abcdef"; *text; text++)
		EXPECT(in(0x3f8) == (uint8_t)*text);
	EXPECT(in(0x3fd) == 0x60 && in(0x3fa) == 0xc1);
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"zz", 2, now) == 2);
	out(0x3fa, 0x83); /* clears */
	EXPECT(in(0x3fd) == 0x60);
}

TEST(vuart, without_fifo_one_byte_fits)
{
	set_up(1);
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"ab", 2, now) == 1);
	EXPECT(in(0x3f8) == 'a');
}

TEST(vuart, loopback_feeds_back_and_overruns)
{
	set_up(1);
	out(0x3fc, 0x10);
	out(0x3f8, 'q');
	EXPECT(host.output_count == 0);
	EXPECT(vpc_serial_input(vpc, (const uint8_t *)"a", 1, now) == 0);
	out(0x3f8, 'r');
	EXPECT(in(0x3fd) == 0x63);
	EXPECT(in(0x3fd) == 0x61); /* the error was read */
	EXPECT(in(0x3f8) == 'q');
	EXPECT((in(0x3fe) & 0xf0) == 0);
	out(0x3fc, 0x11); /* DTR comes back as DSR */
	EXPECT(in(0x3fe) == 0x22);
	EXPECT(in(0x3fe) == 0x20);
	out(0x3fc, 0x17); /* RTS as CTS; OUT1 as the ring indicator, of which only the end counts */
	EXPECT(in(0x3fe) == 0x71);
	out(0x3fc, 0x11);
	EXPECT(in(0x3fe) == 0x25);
}

/* --- RTC -------------------------------------------------------------------------- */

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

/* --- local APIC --------------------------------------------------------------------- */

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
	EXPECT(take(0) == -1); /* the same class waits */
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
	lapic_write(0, LAPIC_LVT_ERROR, 0x01); /* its own vector is bad: nothing loops */
	lapic_write(0, 0x3a, 0);
	lapic_write(0, LAPIC_ESR, 0);
	EXPECT(lapic_read(0, LAPIC_ESR) == LAPIC_ERROR_REGISTER);
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
	now += 2 * MS; /* nobody has served it yet, and it counts all the same */
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

/* Bit n: vCPU n got `vector`; ends what it got. */
static uint32_t receivers(unsigned count, uint8_t vector)
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
	ipi(0, 0x8500, 1); /* de-assert: nothing */
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

/* --- I/O APIC ----------------------------------------------------------------------- */

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
	ioapic_entry(10, 0x0059, 0); /* edge: remote IRR goes */
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

/* --- PCI, PM, chip set ---------------------------------------------------------------- */

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
	EXPECT((in(0x64) & 3) == 1); /* never drained, never busy */
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
	vpc->has_debug_exit = vpc->has_debug_console = false;
	out(0xf4, 1);
	out(0xe9, '!');
	EXPECT(host.power_count == 1 && host.output_count == 1 && in(0xe9) == 0xff);
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
	EXPECT(cmos(9) == 0x23);
}

/* --- ACPI tables ------------------------------------------------------------------------ */

static uint32_t word(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return value;
}

static uint8_t sum(const uint8_t *bytes, uint32_t size)
{
	uint8_t total = 0;
	for (uint32_t i = 0; i < size; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* The table at a guest address, after its signature and checksum were looked at. */
static const uint8_t *table_at(const uint8_t *block, uint64_t size, const uint8_t *pointer,
			       const char *signature)
{
	uint64_t offset = word(pointer) - VPC_ACPI_START;
	EXPECT(offset < size);
	const uint8_t *table = block + offset;
	EXPECT(memcmp(table, signature, 4) == 0);
	EXPECT(offset + word(table + 4) <= size);
	if (memcmp(signature, "FACS", 4) != 0)
		EXPECT(sum(table, word(table + 4)) == 0);
	return table;
}

TEST(vacpi, tables_link_and_add_up)
{
	static const unsigned counts[] = { 1, 2, 64 };
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		uint8_t *block = malloc(VPC_ACPI_SIZE);
		memset(block, 0xa5, VPC_ACPI_SIZE);
		uint64_t size = vpc_acpi_build(counts[i], block);
		EXPECT(size <= VPC_ACPI_SIZE);
		EXPECT(memcmp(block, "RSD PTR ", 8) == 0 && block[15] == 2);
		EXPECT(sum(block, 20) == 0 && sum(block, 36) == 0);
		const uint8_t *xsdt = table_at(block, size, block + 24, "XSDT");
		EXPECT(word(xsdt + 4) == 52);
		const uint8_t *fadt = table_at(block, size, xsdt + 36, "FACP");
		const uint8_t *madt = table_at(block, size, xsdt + 44, "APIC");
		const uint8_t *dsdt = table_at(block, size, fadt + 40, "DSDT");
		EXPECT(table_at(block, size, fadt + 140, "DSDT") == dsdt);
		const uint8_t *facs = table_at(block, size, fadt + 36, "FACS");
		EXPECT((facs - block) % 64 == 0);
		EXPECT(word(fadt + 4) == 276 && word(fadt + 76) == 0x608 && fadt[46] == 9);
		EXPECT(fadt[117] == 8 && word(fadt + 120) == 0xcf9 && fadt[128] == 6);
		EXPECT(word(madt + 4) == 44 + 8 * counts[i] + 12 + 10 + 10 + 6);
		unsigned lapics = 0;
		for (const uint8_t *e = madt + 44; e < madt + word(madt + 4); e += e[1])
			if (e[0] == 0)
				EXPECT(e[3] == lapics++);
		EXPECT(lapics == counts[i]);
		free(block);
	}
}

/* --- anything goes ------------------------------------------------------------------------ */

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
