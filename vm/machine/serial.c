/* SPDX-License-Identifier: MIT */
#include "serial.h"

#include "lib/format.h"
#include "lib/string.h"
#include "kernel/console.h"
#include "kernel/heap.h"

#define CHUNK_BYTES 256u /* passed on at a time */

q_status_t serial_init(struct serial *serial, const char *name, enum serial_mode mode)
{
	*serial = (struct serial){ .name = name, .mode = mode };
	serial->pages[0] = heap_alloc(PAGE_SIZE);
	if (!serial->pages[0])
		return Q_NO_MEMORY;
	serial->page_count = 1;
	spin_init(&serial->lock, LOCK_RANK_SERIAL, "serial output");
	return Q_OK;
}

void serial_fini(struct serial *serial)
{
	for (unsigned i = 0; i < serial->page_count; i++)
		heap_free(serial->pages[i], PAGE_SIZE);
}

static uint64_t capacity(const struct serial *serial)
{
	return serial->page_count * PAGE_SIZE;
}

/* Returns where byte `at` is stored: one that is kept, or the next one to be written. */
static uint8_t *byte_at(const struct serial *serial, uint64_t at)
{
	uint64_t index = at - serial->origin;
	if (at < serial->origin)
		index += capacity(serial);
	return &serial->pages[index / PAGE_SIZE][index % PAGE_SIZE];
}

/* The ring is written to its end: adds a page if there is one, else starts again at the front. */
static void ring_turn(struct serial *serial)
{
	/* Only this thread writes `page_count`. The heap must not be called with `lock` held. */
	bool is_short = serial->page_count < SERIAL_PAGE_COUNT;
	uint8_t *page = is_short ? heap_alloc(PAGE_SIZE) : NULL;
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	if (page)
		serial->pages[serial->page_count++] = page;
	else
		serial->origin = serial->written;
	spin_unlock_irqrestore(&serial->lock, flags);
}

void serial_append(struct serial *serial, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		/* Only this thread writes `written` and `origin`: it holds the devices lock. */
		if (serial->written - serial->origin == capacity(serial))
			ring_turn(serial);
		uint64_t flags = spin_lock_irqsave(&serial->lock);
		*byte_at(serial, serial->written++) = bytes[i];
		if (serial->written - serial->oldest > capacity(serial))
			serial->oldest++;
		/* Drained too late: the overwritten bytes are lost. */
		if (serial->drained < serial->oldest)
			serial->drained = serial->oldest;
		spin_unlock_irqrestore(&serial->lock, flags);
	}
}

static void line_end(struct serial *serial)
{
	char text[SERIAL_LINE_BYTES + SERIAL_NAME_BYTES + 8];
	format_text(text, sizeof(text), "[%s] %.*s\n", serial->name, (int)serial->line_length,
		    serial->line);
	serial->line_length = 0;
	console_print_line(text);
}

/* Mode LOG: prints whole lines, without the characters that a terminal would act on. */
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
	if (serial->mode == SERIAL_COM2)
		console_com2_write(bytes, count);
	if (serial->mode == SERIAL_LOG && !is_attached)
		log_bytes(serial, bytes, count);
}

/* Takes up to CHUNK_BYTES of what is new. If nothing is left, ends the draining. */
static unsigned chunk_take(struct serial *serial, uint8_t *to, bool *out_is_attached)
{
	unsigned count = 0;
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	while (count < CHUNK_BYTES && serial->drained != serial->written)
		to[count++] = *byte_at(serial, serial->drained++);
	serial->is_draining = count != 0;
	*out_is_attached = serial->is_attached;
	spin_unlock_irqrestore(&serial->lock, flags);
	return count;
}

/* False: another thread is draining, and also takes what is new. */
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
 * Takes up to CHUNK_BYTES, from `*at` on, of what was drained before. When nothing of that is
 * left, attaches the terminal; what is newer is drained as always.
 */
static unsigned history_take(struct serial *serial, uint64_t *at, uint8_t *to)
{
	unsigned count = 0;
	uint64_t flags = spin_lock_irqsave(&serial->lock);
	/* Skips what was overwritten meanwhile. */
	if (*at < serial->oldest)
		*at = serial->oldest;
	while (count < CHUNK_BYTES && *at < serial->drained)
		to[count++] = *byte_at(serial, (*at)++);
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
