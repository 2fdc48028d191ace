/* SPDX-License-Identifier: MIT */
/*
 * 16550A serial port.
 *
 * Sending takes no time: the transmitter is always empty, and each byte written
 * raises a new transmitter-empty interrupt. A receive FIFO below its trigger level
 * reports the character time-out at once instead of after four character times;
 * this saves a timer and makes input faster. The interrupt line is a function of
 * the registers, line(); update() sets it after each change.
 *
 * Invariants, asserted by check():
 *   U1  count <= the FIFO's depth (1 while FIFOs are off), head < VUART_FIFO_SIZE.
 *   U2  IER has no bits but the four interrupt enables.
 *   U3  The interrupt line has the level line().
 *
 * Reference: PC16550D data sheet, "Registers" and "FIFO Interrupt Mode Operation".
 */
#include "vuart.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define FIRST_PORT 0x3f8u
#define PORT_COUNT 8u

enum uart_register {
	UART_DATA, /* receive buffer, transmit holding; divisor low */
	UART_IER,  /* divisor high */
	UART_IIR,  /* FIFO control when written */
	UART_LCR,
	UART_MCR,
	UART_LSR,
	UART_MSR,
	UART_SCRATCH,
};

#define IER_RX       BIT32(0)
#define IER_TX       BIT32(1)
#define IER_LINE     BIT32(2)
#define IER_MODEM    BIT32(3)
#define IER_ALL      0x0fu
#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_TX       0x02u
#define IIR_RX       0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFOS    0xc0u
#define FCR_ENABLE   BIT32(0)
#define FCR_CLEAR_RX BIT32(1)
#define FCR_KEPT     0xc9u /* trigger level, DMA mode, enable */
#define LCR_DLAB     BIT32(7)
#define MCR_DTR      BIT32(0)
#define MCR_RTS      BIT32(1)
#define MCR_OUT1     BIT32(2)
#define MCR_OUT2     BIT32(3) /* on a PC it gates the interrupt line */
#define MCR_LOOP     BIT32(4)
#define MCR_ALL      0x1fu
#define LSR_READY    BIT32(0)
#define LSR_OVERRUN  BIT32(1)
#define LSR_TX_EMPTY 0x60u /* holding register and shift register */
#define MSR_CTS      BIT32(4)
#define MSR_DSR      BIT32(5)
#define MSR_RI       BIT32(6)
#define MSR_DCD      BIT32(7)
#define MSR_LINES    0xf0u
#define MSR_DELTAS   0x0fu
#define MSR_RI_DELTA BIT32(2) /* set by the trailing edge only */

static struct vuart *uart_of(const struct vdev *dev)
{
	return container_of(dev, struct vuart, dev);
}

static bool has_fifo(const struct vuart *uart)
{
	return uart->fcr & FCR_ENABLE;
}

static unsigned depth(const struct vuart *uart)
{
	return has_fifo(uart) ? VUART_FIFO_SIZE : 1;
}

/* Returns the interrupt identification of the source with the highest priority. */
static uint8_t identify(const struct vuart *uart)
{
	static const uint8_t triggers[] = { 1, 4, 8, 14 };

	if ((uart->ier & IER_LINE) && uart->has_overrun)
		return IIR_LINE;
	if ((uart->ier & IER_RX) && uart->count != 0) {
		bool is_full = !has_fifo(uart) || uart->count >= triggers[uart->fcr >> 6];
		return is_full ? IIR_RX : IIR_TIMEOUT;
	}
	if ((uart->ier & IER_TX) && uart->is_thre_pending)
		return IIR_TX;
	if ((uart->ier & IER_MODEM) && (uart->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

static bool line(const struct vuart *uart)
{
	return (uart->mcr & MCR_OUT2) && identify(uart) != IIR_NONE;
}

static void update(struct vuart *uart)
{
	vpc_irq_set(vpc_of(&uart->dev), VUART_IRQ, line(uart));
}

static void reset(struct vdev *dev, uint64_t now)
{
	struct vuart *uart = uart_of(dev);
	(void)now;
	*uart = (struct vuart){
		.dev = uart->dev,
		.msr = MSR_DCD | MSR_DSR | MSR_CTS,
		.divisor = { 12, 0 },
	};
}

static uint8_t pop(struct vuart *uart)
{
	if (uart->count == 0)
		return 0;
	uint8_t byte = uart->fifo[uart->head];
	uart->head = (uart->head + 1) % VUART_FIFO_SIZE;
	uart->count--;
	return byte;
}

static void push(struct vuart *uart, uint8_t byte)
{
	uart->fifo[(uart->head + uart->count) % VUART_FIFO_SIZE] = byte;
	uart->count++;
}

static uint8_t read_iir(struct vuart *uart)
{
	uint8_t source = identify(uart);
	if (source == IIR_TX)
		uart->is_thre_pending = false;
	return source | (has_fifo(uart) ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct vuart *uart)
{
	uint8_t value = LSR_TX_EMPTY;
	if (uart->count != 0)
		value |= LSR_READY;
	if (uart->has_overrun)
		value |= LSR_OVERRUN;
	uart->has_overrun = false;
	return value;
}

static uint8_t read_msr(struct vuart *uart)
{
	uint8_t value = uart->msr;
	uart->msr &= MSR_LINES;
	return value;
}

static uint8_t register_read(struct vuart *uart, unsigned offset)
{
	uint8_t value = 0;

	if ((uart->lcr & LCR_DLAB) && offset <= UART_IER)
		return uart->divisor[offset];
	switch ((enum uart_register)offset) {
	case UART_LSR:
		/* Guests poll it for each byte they send: skip update() unless it clears an error. */
		if (!uart->has_overrun)
			return read_lsr(uart);
		value = read_lsr(uart);
		break;
	case UART_DATA: value = pop(uart); break;
	case UART_IIR: value = read_iir(uart); break;
	case UART_MSR: value = read_msr(uart); break;
	case UART_IER: return uart->ier;
	case UART_LCR: return uart->lcr;
	case UART_MCR: return uart->mcr;
	case UART_SCRATCH: return uart->scratch;
	}
	update(uart);
	return value;
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	(void)size, (void)now;
	return register_read(uart_of(dev), port - FIRST_PORT);
}

static void send(struct vuart *uart, uint8_t byte)
{
	uart->is_thre_pending = true;
	if (!(uart->mcr & MCR_LOOP)) {
		const struct vpc *vpc = vpc_of(&uart->dev);
		vpc->host->serial_output(vpc->vm, &byte, 1);
		return;
	}
	if (uart->count < depth(uart))
		push(uart, byte);
	else
		uart->has_overrun = true;
}

static void write_fcr(struct vuart *uart, uint8_t value)
{
	bool is_switched = (value ^ uart->fcr) & FCR_ENABLE;
	if (is_switched || (value & FCR_CLEAR_RX))
		uart->count = 0;
	/* The other bits can be written only while the FIFOs are on. */
	uart->fcr = (value & FCR_ENABLE) ? value & FCR_KEPT : 0;
}

/* The modem inputs; in loopback they are the modem outputs. */
static uint8_t modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void write_mcr(struct vuart *uart, uint8_t value)
{
	uart->mcr = value & MCR_ALL;
	uint8_t lines = modem_lines(uart->mcr);
	uint8_t changed = (lines ^ uart->msr) & MSR_LINES;
	uint8_t deltas = changed >> 4;
	if (lines & MSR_RI)
		deltas &= (uint8_t)~MSR_RI_DELTA;
	uart->msr = lines | (uart->msr & MSR_DELTAS) | deltas;
}

static void write_ier(struct vuart *uart, uint8_t value)
{
	/* The transmitter is empty, so enabling its interrupt raises it. */
	if ((value & ~uart->ier) & IER_TX)
		uart->is_thre_pending = true;
	uart->ier = value & IER_ALL;
}

static void register_write(struct vuart *uart, unsigned offset, uint8_t value)
{
	if ((uart->lcr & LCR_DLAB) && offset <= UART_IER) {
		uart->divisor[offset] = value;
		return;
	}
	switch ((enum uart_register)offset) {
	case UART_DATA: send(uart, value); break;
	case UART_IER: write_ier(uart, value); break;
	case UART_IIR: write_fcr(uart, value); break;
	case UART_LCR: uart->lcr = value; return;
	case UART_MCR: write_mcr(uart, value); break;
	case UART_LSR: return; /* writes are for factory tests */
	case UART_MSR: return;
	case UART_SCRATCH: uart->scratch = value; return;
	}
	update(uart);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	(void)size, (void)now;
	register_write(uart_of(dev), port - FIRST_PORT, (uint8_t)value);
}

unsigned vuart_input(struct vuart *uart, const uint8_t *bytes, unsigned count)
{
	/* In loopback the input pin is disconnected. The sender keeps its bytes. */
	if (uart->mcr & MCR_LOOP)
		return 0;
	unsigned taken = 0;
	while (taken < count && uart->count < depth(uart))
		push(uart, bytes[taken++]);
	update(uart);
	return taken;
}

static void check(const struct vdev *dev)
{
	const struct vuart *uart = uart_of(dev);

	Q_ASSERT(uart->count <= depth(uart)); /* U1 */
	Q_ASSERT(uart->head < VUART_FIFO_SIZE);
	Q_ASSERT((uart->ier & ~IER_ALL) == 0);                         /* U2 */
	Q_ASSERT(line(uart) == vpc_irq_level(vpc_of(dev), VUART_IRQ)); /* U3 */
}

static const struct vdev_ops uart_ops = {
	.name = "uart",
	.reset = reset,
	.port_read = port_read,
	.port_write = port_write,
	.check = check,
};

void vuart_init(struct vuart *uart, struct vpc *vpc)
{
	bus_add(&vpc->bus, &uart->dev, &uart_ops);
	bus_ports_claim(&vpc->bus, &uart->dev, FIRST_PORT, PORT_COUNT, BUS_BYTES);
}
