/* SPDX-License-Identifier: MIT */
/*
 * Each serial port has a queue of output and one of input. Its lock guards both
 * and the chip; writers and the interrupt handler take it.
 */
#include "console.h"

#include <stdarg.h>

#include <quire/lock.h>

#include "lib/format.h"
#include "lib/string.h"
#include "arch/x86_64/trap.h"
#include "drivers/uart16550.h"

#include "interrupt.h"

/* Powers of two, because the indices run freely. */
#define OUT_BYTES 8192u
#define IN_BYTES  256u

/* One serial port with its queues. */
struct port {
	struct spinlock lock; /* LOCK_RANK_LOG: a leaf, taken by interrupt handlers */
	struct uart16550 uart;
	bool is_interrupt_driven;

	/* Guarded by lock. The indices run freely; modulo the size they are places in the queue. */
	uint8_t out[OUT_BYTES];
	uint32_t out_head, out_tail;
	uint8_t in[IN_BYTES];
	uint32_t in_head, in_tail;
};

static struct port ports[2]; /* the console, and the other port */
static unsigned console_irq = 4;
static void (*input_hook)(void);
static void (*hook_before)(void);
static void (*hook_after)(void);

static void port_init(struct port *port, uint16_t io_port)
{
	spin_init(&port->lock, LOCK_RANK_LOG, "serial port");
	uart16550_init(&port->uart, io_port);
}

void console_init(unsigned com)
{
	port_init(&ports[0], com == 1 ? 0x3f8 : 0x2f8);
	port_init(&ports[1], com == 1 ? 0x2f8 : 0x3f8);
	console_irq = com == 1 ? 4 : 3;
}

/* Gives the chip as many bytes as it takes. True: some are still queued. */
static bool port_send(struct port *port)
{
	while (port->out_head != port->out_tail) {
		uint32_t at = port->out_tail % OUT_BYTES;
		uint32_t count = port->out_head - port->out_tail;
		if (count > OUT_BYTES - at)
			count = OUT_BYTES - at;
		size_t sent = uart16550_send(&port->uart, port->out + at, count);
		if (!sent)
			return true;
		port->out_tail += (uint32_t)sent;
	}
	return false;
}

static void port_pump(struct port *port)
{
	bool is_waiting = port_send(port);
	if (port->is_interrupt_driven)
		uart16550_interrupts_set(&port->uart, is_waiting);
	while (!port->is_interrupt_driven && port_send(port))
		;
}

/*
 * Queues the bytes. While the queue is full, it waits with the lock free and with interrupts
 * as the caller has them, so timers go on.
 */
static void port_write(struct port *port, const uint8_t *bytes, size_t count)
{
	while (count) {
		uint64_t flags = spin_lock_irqsave(&port->lock);
		for (; count && port->out_head - port->out_tail < OUT_BYTES; count--)
			port->out[port->out_head++ % OUT_BYTES] = *bytes++;
		port_pump(port);
		spin_unlock_irqrestore(&port->lock, flags);
	}
}

static void port_receive(struct port *port)
{
	for (int byte; (byte = uart16550_receive(&port->uart)) >= 0;)
		if (port->in_head - port->in_tail < IN_BYTES)
			port->in[port->in_head++ % IN_BYTES] = (uint8_t)byte;
}

/* Serves the chip until its line is low: an event while the line is high raises no interrupt. */
static void port_interrupt(struct port *port)
{
	spin_lock(&port->lock);
	do {
		port_receive(port);
		port_pump(port);
	} while (uart16550_is_interrupting(&port->uart));
	spin_unlock(&port->lock);
}

static void console_interrupt(void)
{
	port_interrupt(&ports[0]);
	if (input_hook)
		input_hook();
}

static void other_interrupt(void)
{
	port_interrupt(&ports[1]);
}

void console_interrupts_start(void)
{
	interrupt_isa_attach(console_irq, TRAP_VECTOR_SERIAL, console_interrupt);
	interrupt_isa_attach(console_irq == 4 ? 3 : 4, TRAP_VECTOR_SERIAL2, other_interrupt);
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
		uint64_t flags = spin_lock_irqsave(&ports[i].lock);
		ports[i].is_interrupt_driven = true;
		port_pump(&ports[i]);
		spin_unlock_irqrestore(&ports[i].lock, flags);
	}
}

void console_polled(void)
{
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
		/* The lock may be held, but its holder never goes on: the panic keeps the CPU. */
		spin_init(&ports[i].lock, LOCK_RANK_LOG, "serial port");
		ports[i].is_interrupt_driven = false;
		port_pump(&ports[i]);
	}
}

void console_write(const void *bytes, size_t count)
{
	port_write(&ports[0], bytes, count);
}

void console_com2_write(const void *bytes, size_t count)
{
	port_write(&ports[1], bytes, count);
}

static void write_text(const char *text)
{
	for (const char *newline; (newline = strchr(text, '\n')); text = newline + 1) {
		console_write(text, (size_t)(newline - text));
		console_write("\r\n", 2);
	}
	console_write(text, strlen(text));
}

void console_print(const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	format_text_va(text, sizeof(text), format, args);
	va_end(args);
	write_text(text);
}

void console_print_line(const char *line)
{
	if (hook_before)
		hook_before();
	write_text(line);
	if (hook_after)
		hook_after();
}

void console_flush(void)
{
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++) {
		uint64_t flags = spin_lock_irqsave(&ports[i].lock);
		while (port_send(&ports[i]))
			;
		spin_unlock_irqrestore(&ports[i].lock, flags);
	}
}

int console_getc(void)
{
	struct port *port = &ports[0];
	uint64_t flags = spin_lock_irqsave(&port->lock);
	int byte = port->in_head == port->in_tail ? -1 : port->in[port->in_tail++ % IN_BYTES];
	spin_unlock_irqrestore(&port->lock, flags);
	return byte;
}

void console_input_hook_set(void (*hook)(void))
{
	input_hook = hook;
}

void console_line_hook_set(void (*before)(void), void (*after)(void))
{
	hook_before = before;
	hook_after = after;
}
