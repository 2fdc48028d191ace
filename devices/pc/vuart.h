/* SPDX-License-Identifier: MIT */
/* 16550A serial port: registers, FIFO and interrupt line; see vuart.c. */
#ifndef DEVICES_PC_VUART_H
#define DEVICES_PC_VUART_H

#include <quire/compiler.h>

struct vpc;

#define VUART_FIRST_PORT 0x3f8u
#define VUART_IRQ        4u
#define VUART_FIFO_SIZE  16u

struct vuart {
	uint8_t ier, fcr, lcr, mcr, msr, scratch;
	uint8_t divisor[2];
	bool has_overrun;
	bool is_thre_pending; /* the transmitter-empty interrupt was not yet seen */
	uint8_t head;         /* index of the oldest received byte */
	uint8_t count;
	uint8_t fifo[VUART_FIFO_SIZE];
};

void vuart_reset(struct vpc *vpc);
/* `offset` is 0..7. */
uint8_t vuart_read(struct vpc *vpc, unsigned offset);
void vuart_write(struct vpc *vpc, unsigned offset, uint8_t value);
/* Returns how many of the bytes were taken. */
unsigned vuart_input(struct vpc *vpc, const uint8_t *bytes, unsigned count);
/* What the interrupt line ought to be. */
bool vuart_line(const struct vuart *uart);
void vuart_check(const struct vuart *uart);

#endif
