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
#include "thread.h"

/* Powers of two, because the indices run freely. */
#define OUT_BYTES 8192u
#define IN_BYTES  256u

/* One serial port with its queue. */
struct line {
	struct spinlock lock; /* LOCK_RANK_LOG: a leaf, taken by interrupt handlers */
	struct uart16550 uart;
	bool is_interrupt_driven;

	/* Guarded by lock. The indices run freely; modulo the size they are places in the queue. */
	uint8_t out[OUT_BYTES];
	uint32_t out_head, out_tail;
	uint8_t in[IN_BYTES];
	uint32_t in_head, in_tail;
};

static struct line lines[2]; /* the console, and the other port */
static unsigned console_irq = 4;
static struct thread *reader;
static void (*hook_before)(void);
static void (*hook_after)(void);

static void line_init(struct line *line, uint16_t port)
{
	spin_init(&line->lock, LOCK_RANK_LOG, "serial line");
	uart16550_init(&line->uart, port);
}

void console_init(unsigned port)
{
	line_init(&lines[0], port == 1 ? 0x3f8 : 0x2f8);
	line_init(&lines[1], port == 1 ? 0x2f8 : 0x3f8);
	console_irq = port == 1 ? 4 : 3;
}

/* Gives the chip as many bytes as it takes. True: some are still queued. */
static bool line_send(struct line *line)
{
	while (line->out_head != line->out_tail) {
		uint32_t at = line->out_tail % OUT_BYTES;
		uint32_t count = line->out_head - line->out_tail;
		if (count > OUT_BYTES - at)
			count = OUT_BYTES - at;
		size_t sent = uart16550_send(&line->uart, line->out + at, count);
		if (!sent)
			return true;
		line->out_tail += (uint32_t)sent;
	}
	return false;
}

static void line_pump(struct line *line)
{
	bool is_waiting = line_send(line);
	if (line->is_interrupt_driven)
		uart16550_interrupts_set(&line->uart, is_waiting);
	while (!line->is_interrupt_driven && line_send(line))
		;
}

/* Waits for room with the lock free and interrupts as the caller has them, so timers go on. */
static void line_write(struct line *line, const uint8_t *bytes, size_t count)
{
	while (count) {
		uint64_t flags = spin_lock_irqsave(&line->lock);
		for (; count && line->out_head - line->out_tail < OUT_BYTES; count--)
			line->out[line->out_head++ % OUT_BYTES] = *bytes++;
		line_pump(line);
		spin_unlock_irqrestore(&line->lock, flags);
	}
}

static void line_receive(struct line *line)
{
	for (int byte; (byte = uart16550_receive(&line->uart)) >= 0;)
		if (line->in_head - line->in_tail < IN_BYTES)
			line->in[line->in_head++ % IN_BYTES] = (uint8_t)byte;
}

/* Serves until the line was low: an event that comes before that raises no new interrupt. */
static void line_interrupt(struct line *line)
{
	spin_lock(&line->lock);
	do {
		line_receive(line);
		line_pump(line);
	} while (uart16550_is_interrupting(&line->uart));
	spin_unlock(&line->lock);
}

static void console_interrupt(void)
{
	line_interrupt(&lines[0]);
	if (reader)
		thread_unpark(reader);
}

static void other_interrupt(void)
{
	line_interrupt(&lines[1]);
}

void console_interrupts_start(void)
{
	interrupt_isa_attach(console_irq, TRAP_VECTOR_SERIAL, console_interrupt);
	interrupt_isa_attach(console_irq == 4 ? 3 : 4, TRAP_VECTOR_SERIAL2, other_interrupt);
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++) {
		uint64_t flags = spin_lock_irqsave(&lines[i].lock);
		lines[i].is_interrupt_driven = true;
		line_pump(&lines[i]);
		spin_unlock_irqrestore(&lines[i].lock, flags);
	}
}

void console_polled(void)
{
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++) {
		/* The lock may be held, but its holder never goes on: the panic keeps the CPU. */
		spin_init(&lines[i].lock, LOCK_RANK_LOG, "serial line");
		lines[i].is_interrupt_driven = false;
		line_pump(&lines[i]);
	}
}

void console_write(const void *bytes, size_t count)
{
	line_write(&lines[0], bytes, count);
}

void console_com2_write(const void *bytes, size_t count)
{
	line_write(&lines[1], bytes, count);
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
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++) {
		uint64_t flags = spin_lock_irqsave(&lines[i].lock);
		while (line_send(&lines[i]))
			;
		spin_unlock_irqrestore(&lines[i].lock, flags);
	}
}

int console_getc(void)
{
	struct line *line = &lines[0];
	uint64_t flags = spin_lock_irqsave(&line->lock);
	int byte = line->in_head == line->in_tail ? -1 : line->in[line->in_tail++ % IN_BYTES];
	spin_unlock_irqrestore(&line->lock, flags);
	return byte;
}

void console_reader_set(struct thread *thread)
{
	reader = thread;
}

void console_line_hook_set(void (*before)(void), void (*after)(void))
{
	hook_before = before;
	hook_after = after;
}
