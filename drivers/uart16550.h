/* SPDX-License-Identifier: MIT */
/*
 * A 16550 serial port of the machine, 115200 8N1. Never blocks: what the chip
 * cannot take now stays with the caller.
 */
#ifndef DRIVERS_UART16550_H
#define DRIVERS_UART16550_H

#include <quire/compiler.h>

struct uart16550 {
	uint16_t port;   /* base */
	bool is_present; /* a chip answered */
};

/* Sets it up with interrupts off. `uart->is_present` says whether anybody is there. */
void uart16550_init(struct uart16550 *uart, uint16_t port);

/* Gives the chip up to its FIFO's size of bytes; 0 while it is still sending. */
size_t uart16550_send(struct uart16550 *uart, const uint8_t *bytes, size_t count);
/* A received byte, or -1. */
int uart16550_receive(struct uart16550 *uart);
/* Receive interrupts always, transmit interrupts if `wants_transmit`. */
void uart16550_interrupts_set(struct uart16550 *uart, bool wants_transmit);
/*
 * Whether its interrupt line is high. The line is edge-triggered: a handler that
 * leaves it high is never called again. Takes the interrupt for "transmitter empty"
 * back. PC16550D data sheet, "Interrupt Identification Register".
 */
bool uart16550_is_interrupting(struct uart16550 *uart);

#endif
