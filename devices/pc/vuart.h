/* SPDX-License-Identifier: MIT */
/* 16550A serial port: registers, FIFO and interrupt line; see vuart.c. */
#ifndef DEVICES_PC_VUART_H
#define DEVICES_PC_VUART_H

#include "devices/vdev.h"

struct vpc;

#define VUART_IRQ       4u
#define VUART_FIFO_SIZE 16u

struct vuart {
	struct vdev dev;
	uint8_t ier, fcr, lcr, mcr, msr, scratch;
	uint8_t divisor[2];
	bool has_overrun;
	bool is_thre_pending; /* the guest has not seen the transmitter-empty interrupt */
	uint8_t head;         /* index of the oldest received byte */
	uint8_t count;
	uint8_t fifo[VUART_FIFO_SIZE];
};

void vuart_init(struct vuart *uart, struct vpc *vpc);
/* Bytes that arrive on the line. Returns how many of them were taken. */
unsigned vuart_input(struct vuart *uart, const uint8_t *bytes, unsigned count);

#endif
