/* SPDX-License-Identifier: MIT */
/* The registers of a 16550 and how they are used. */
#include "uart16550.h"

#include <quire/bits.h>

#include "arch/x86_64/cpu.h"

/* PC16550D data sheet, "Registers". */
#define REG_DATA           0
#define REG_IER            1
#define REG_IIR            2 /* when read */
#define REG_FCR            2 /* when written */
#define REG_LCR            3
#define REG_MCR            4
#define REG_LSR            5
#define REG_SCRATCH        7
#define IER_RECEIVE        BIT32(0)
#define IER_TRANSMIT       BIT32(1)
#define IIR_NONE           BIT32(0)
#define FCR_ENABLE_CLEAR   0x07
#define LCR_8N1            0x03
#define LCR_DIVISOR        0x80
#define MCR_DTR_RTS_OUT2   0x0b
#define LSR_DATA_READY     BIT32(0)
#define LSR_TRANSMIT_EMPTY BIT32(5)
#define FIFO_BYTES         16
#define DIVISOR_115200     1

void uart16550_init(struct uart16550 *uart, uint16_t port)
{
	uart->port = port;
	cpu_out8(port + REG_SCRATCH, 0x5a);
	uart->is_present = cpu_in8(port + REG_SCRATCH) == 0x5a;
	if (!uart->is_present)
		return;
	cpu_out8(port + REG_IER, 0);
	cpu_out8(port + REG_LCR, LCR_DIVISOR);
	cpu_out8(port + REG_DATA, DIVISOR_115200);
	cpu_out8(port + REG_IER, 0);
	cpu_out8(port + REG_LCR, LCR_8N1);
	cpu_out8(port + REG_FCR, FCR_ENABLE_CLEAR);
	cpu_out8(port + REG_MCR, MCR_DTR_RTS_OUT2);
}

size_t uart16550_send(struct uart16550 *uart, const uint8_t *bytes, size_t count)
{
	if (!uart->is_present)
		return count;
	if (!(cpu_in8(uart->port + REG_LSR) & LSR_TRANSMIT_EMPTY))
		return 0;
	if (count > FIFO_BYTES)
		count = FIFO_BYTES;
	for (size_t i = 0; i < count; i++)
		cpu_out8(uart->port + REG_DATA, bytes[i]);
	return count;
}

int uart16550_receive(struct uart16550 *uart)
{
	if (!uart->is_present || !(cpu_in8(uart->port + REG_LSR) & LSR_DATA_READY))
		return -1;
	return cpu_in8(uart->port + REG_DATA);
}

void uart16550_interrupts_set(struct uart16550 *uart, bool wants_transmit)
{
	if (uart->is_present)
		cpu_out8(uart->port + REG_IER, IER_RECEIVE | (wants_transmit ? IER_TRANSMIT : 0));
}

bool uart16550_is_interrupting(struct uart16550 *uart)
{
	return uart->is_present && !(cpu_in8(uart->port + REG_IIR) & IIR_NONE);
}
