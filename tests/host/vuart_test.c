/* SPDX-License-Identifier: MIT */
/* The serial port against the data sheet of the 16550A. */
#include <string.h>

#include "pc.h"

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
	EXPECT(in(0x3fa) == 0xc1); /* the read above ended the interrupt */
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
	out(0x3fa, 0x83); /* clears the FIFO */
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
	out(0x3fc, 0x17); /* RTS as CTS; OUT1 as RI, whose delta bit is set when it ends */
	EXPECT(in(0x3fe) == 0x71);
	out(0x3fc, 0x11);
	EXPECT(in(0x3fe) == 0x25);
}
