/* SPDX-License-Identifier: MIT */
/*
 * A 16550 serial port of the machine, 115200 8N1. No function here waits: bytes
 * that the chip cannot take now stay with the caller.
 */
#ifndef DRIVERS_UART16550_H
#define DRIVERS_UART16550_H

#include <quire/compiler.h>

struct uart16550 {
	uint16_t port;   /* the first of its I/O ports */
	bool is_present; /* a chip answered */
};

/* Sets the chip up with interrupts off. uart->is_present then tells whether there is one. */
void uart16550_init(struct uart16550 *uart, uint16_t port);

/*
 * Gives the chip as many bytes as its FIFO holds, and returns how many it took: 0 while
 * it is still sending. Without a chip all bytes count as sent.
 */
size_t uart16550_send(struct uart16550 *uart, const uint8_t *bytes, size_t count);
/* Returns a received byte, or -1. */
int uart16550_receive(struct uart16550 *uart);
/* Enables receive interrupts, and transmit interrupts if `wants_transmit`. */
void uart16550_interrupts_set(struct uart16550 *uart, bool wants_transmit);
/*
 * True while the chip's interrupt line is high. The interrupt is edge-triggered, so a
 * handler that leaves the line high is never called again. The read also clears a
 * pending "transmitter empty" interrupt. PC16550D data sheet, "Interrupt
 * Identification Register".
 */
bool uart16550_is_interrupting(struct uart16550 *uart);

#endif
