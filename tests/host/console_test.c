/* SPDX-License-Identifier: MIT */
/*
 * The console's interrupt handler with a model of a 16550, whose interrupt is
 * edge-triggered like that of every ISA device. The chip's events happen at every
 * step of the handler in turn.
 */
#include <string.h>

#include <quire/bits.h>

#include "test.h"

/* The model of the chip takes the place of the port instructions. */
#define ARCH_X86_64_CPU_H
static uint8_t cpu_in8(uint16_t port);
static void cpu_out8(uint16_t port, uint8_t value);

#include "drivers/uart16550.c"
#include "kernel/console.c"

#define IIR_SENT     2
#define IIR_RECEIVED 4

/* The part of a 16550 that the console uses: PC16550D data sheet. */
static struct chip {
	uint8_t ier, scratch;
	char received[16];
	unsigned received_count, sent_count;
	bool is_sending;
	bool is_sent_pending; /* "transmitter holding register empty" */
	bool line, edge;      /* the interrupt line's level; it rose since the last interrupt */

	unsigned accesses;
	unsigned receive_at, sent_at; /* the access at which the event happens; 0: never */
} chip;

static void (*handlers[2])(void);

void interrupt_isa_attach(unsigned irq, uint8_t vector, void (*handler)(void))
{
	(void)vector;
	handlers[irq == 3] = handler;
}

static void chip_update(void)
{
	bool line = ((chip.ier & IER_RECEIVE) && chip.received_count) ||
		    ((chip.ier & IER_TRANSMIT) && chip.is_sent_pending);
	chip.edge |= line && !chip.line;
	chip.line = line;
}

static void chip_receive(char byte)
{
	chip.received[chip.received_count++] = byte;
	chip_update();
}

static void chip_finish_sending(void)
{
	if (!chip.is_sending)
		return;
	chip.is_sending = false;
	chip.is_sent_pending = true;
	chip_update();
}

static void chip_step(void)
{
	chip_update();
	chip.accesses++;
	if (chip.accesses == chip.receive_at)
		chip_receive('x');
	if (chip.accesses == chip.sent_at)
		chip_finish_sending();
}

static uint8_t chip_identify(void)
{
	if ((chip.ier & IER_RECEIVE) && chip.received_count)
		return IIR_RECEIVED;
	if (!(chip.ier & IER_TRANSMIT) || !chip.is_sent_pending)
		return IIR_NONE;
	chip.is_sent_pending = false;
	return IIR_SENT;
}

static uint8_t chip_pop(void)
{
	assert_true(chip.received_count > 0);
	uint8_t byte = (uint8_t)chip.received[0];
	memmove(chip.received, chip.received + 1, --chip.received_count);
	return byte;
}

static uint8_t cpu_in8(uint16_t port)
{
	uint8_t value = 0xff;
	if (port >> 3 != 0x3f8 >> 3)
		return value;
	switch (port & 7) {
	case REG_DATA: value = chip_pop(); break;
	case REG_IER: value = chip.ier; break;
	case REG_IIR: value = chip_identify(); break;
	case REG_LSR:
		value = (chip.received_count ? LSR_DATA_READY : 0) |
			(chip.is_sending ? 0 : LSR_TRANSMIT_EMPTY);
		break;
	case REG_SCRATCH: value = chip.scratch; break;
	}
	chip_step();
	return value;
}

static void cpu_out8(uint16_t port, uint8_t value)
{
	static bool has_divisor_latch;
	if (port >> 3 != 0x3f8 >> 3)
		return;
	switch (port & 7) {
	case REG_DATA:
		if (has_divisor_latch)
			break;
		chip.sent_count++;
		chip.is_sending = true;
		chip.is_sent_pending = false;
		break;
	case REG_IER:
		if (has_divisor_latch)
			break;
		/* If the transmitter is empty, enabling its interrupt raises it at once. */
		if ((value & ~chip.ier & IER_TRANSMIT) && !chip.is_sending)
			chip.is_sent_pending = true;
		chip.ier = value;
		break;
	case REG_LCR: has_divisor_latch = value & LCR_DIVISOR; break;
	case REG_SCRATCH: chip.scratch = value; break;
	}
	chip_step();
}

/* Calls the handler each time the line has risen, and lets the chip finish sending. */
static void run_until_quiet(void)
{
	for (unsigned turn = 0; turn < 100 && (chip.edge || chip.is_sending); turn++) {
		if (!chip.edge)
			chip_finish_sending();
		if (!chip.edge)
			continue;
		chip.edge = false;
		handlers[0]();
	}
}

/* Sends 100 bytes. The chip's events happen at the given accesses of the handler. */
static void run_with(unsigned receive_at, unsigned sent_at)
{
	chip = (struct chip){ 0 };
	memset(ports, 0, sizeof(ports));
	console_init(1);
	console_interrupts_start();
	uint8_t bytes[100] = { 0 };
	console_write(bytes, sizeof(bytes));
	chip.accesses = 0;
	chip.receive_at = receive_at;
	chip.sent_at = sent_at;
	chip_finish_sending();
	run_until_quiet();
	if (chip.accesses < receive_at) {
		chip.receive_at = 0;
		chip_receive('x');
	}
	run_until_quiet();
}

TEST(console, an_event_during_an_interrupt_is_not_forgotten)
{
	for (unsigned receive_at = 0; receive_at < 200; receive_at++) {
		for (unsigned sent_at = 0; sent_at < 60; sent_at++) {
			run_with(receive_at, sent_at);
			EXPECT(chip.sent_count == 100);
			EXPECT(console_getc() == (receive_at ? 'x' : -1));
			EXPECT(console_getc() == -1);
			/* The line is low, so the next event raises an interrupt. */
			EXPECT(!chip.line);
		}
	}
}
