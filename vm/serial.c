/* SPDX-License-Identifier: MIT */
#include "serial.h"

#include "lib/format.h"
#include "lib/string.h"
#include "kernel/console.h"
#include "kernel/heap.h"

#define CHUNK_BYTES 256u /* passed on at a time */

void serial_init(struct serial *serial, const char *name, enum vm_serial mode)
{
	*serial = (struct serial){ .name = name, .mode = mode };
	spin_init(&serial->lock, LOCK_RANK_SERIAL, "serial output");
}

void serial_fini(struct serial *serial)
{
	for (unsigned i = 0; i < SERIAL_PAGE_COUNT; i++)
		heap_free(serial->pages[i], PAGE_SIZE);
}

/* The page of the ring's byte `at`, or NULL: there is no memory for it. */
static uint8_t *page_get(struct serial *serial, uint64_t at)
{
	uint8_t **page = &serial->pages[at / PAGE_SIZE % SERIAL_PAGE_COUNT];
	if (!*page)
		*page = heap_alloc(PAGE_SIZE);
	return *page;
}

void serial_append(struct serial *serial, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		/* Only we write `written`, and the heap must not be entered with the lock held. */
		uint8_t *page = page_get(serial, serial->written);
		if (!page)
			return;
		page[serial->written % PAGE_SIZE] = bytes[i];
		uint64_t flags = spin_lock_irqsave(&serial->lock);
		serial->written++;
		/* Drained too late: what was overwritten is lost. */
		if (serial->written - serial->drained > SERIAL_BYTES)
			serial->drained = serial->written - SERIAL_BYTES;
		spin_unlock_irqrestore(&serial->lock, flags);
	}
}

static uint8_t byte_at(const struct serial *serial, uint64_t at)
{
	return serial->pages[at / PAGE_SIZE % SERIAL_PAGE_COUNT][at % PAGE_SIZE];
}

static void line_end(struct serial *serial)
{
	char text[SERIAL_LINE_BYTES + CONFIG_NAME_BYTES + 8];
	format_text(text, sizeof(text), "[%s] %.*s\n", serial->name, (int)serial->line_length,
		    serial->line);
	serial->line_length = 0;
	console_print_line(text);
}

/* Mode `log`: whole lines; what a terminal would act on is left out. */
static void log_bytes(struct serial *serial, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (bytes[i] == '\n' || serial->line_length == SERIAL_LINE_BYTES)
			line_end(serial);
		if ((bytes[i] >= 0x20 && bytes[i] != 0x7f) || bytes[i] == '\t')
			serial->line[serial->line_length++] = (char)bytes[i];
	}
}

static void pass_on(struct serial *serial, bool is_attached, const uint8_t *bytes, unsigned count)
{
	if (is_attached)
		console_write(bytes, count);
	if (serial->mode == VM_SERIAL_COM2)
		console_com2_write(bytes, count);
	if (serial->mode == VM_SERIAL_LOG && !is_attached)
		log_bytes(serial, bytes, count);
}

/* Takes up to CHUNK_BYTES of what is new; with nothing left, nobody drains any more. */
static unsigned chunk_take(struct serial *serial, uint8_t *to, bool *out_is_attached)
{
	unsigned count = 0;
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	while (count < CHUNK_BYTES && serial->drained != serial->written)
		to[count++] = byte_at(serial, serial->drained++);
	serial->is_draining = count != 0;
	*out_is_attached = serial->is_attached;
	spin_unlock_irqrestore(&serial->lock, flags);
	return count;
}

/* False: somebody else is at it, and will take what is new, too. */
static bool draining_start(struct serial *serial)
{
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	bool is_busy = serial->is_draining;
	serial->is_draining = true;
	spin_unlock_irqrestore(&serial->lock, flags);
	return !is_busy;
}

void serial_drain(struct serial *serial)
{
	uint8_t chunk[CHUNK_BYTES];
	bool is_attached;
	if (!draining_start(serial))
		return;
	for (unsigned count; (count = chunk_take(serial, chunk, &is_attached));)
		pass_on(serial, is_attached, chunk, count);
}

void serial_finish(struct serial *serial)
{
	serial_drain(serial);
	if (serial->line_length)
		line_end(serial);
}

/*
 * Takes up to CHUNK_BYTES of what was passed on before, from `*at` on; what is
 * newer is drained as always. At its end the terminal is attached.
 */
static unsigned history_take(struct serial *serial, uint64_t *at, uint8_t *to)
{
	unsigned count = 0;
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	/* What was overwritten meanwhile is skipped. */
	if (serial->written > SERIAL_BYTES && *at < serial->written - SERIAL_BYTES)
		*at = serial->written - SERIAL_BYTES;
	while (count < CHUNK_BYTES && *at < serial->drained)
		to[count++] = byte_at(serial, (*at)++);
	serial->is_attached = count == 0;
	spin_unlock_irqrestore(&serial->lock, flags);
	return count;
}

void serial_attach(struct serial *serial)
{
	uint8_t chunk[CHUNK_BYTES];
	uint64_t at = 0;
	for (unsigned count; (count = history_take(serial, &at, chunk));)
		console_write(chunk, count);
	serial_drain(serial);
}

void serial_detach(struct serial *serial)
{
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	serial->is_attached = false;
	spin_unlock_irqrestore(&serial->lock, flags);
}
