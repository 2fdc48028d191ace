/* SPDX-License-Identifier: MIT */
/* Keeps the last lines of the log in a ring, and prints each on the console. */
#include "log_console.h"

#include <quire/lock.h>

#include "lib/format.h"
#include "lib/string.h"

#include "console.h"

#define RING_BYTES 8192u
#define LINE_BYTES 320u

/*
 * The last bytes of the log. Guarded by log_state.lock, but log_show() reads them without
 * it: a line that is logged meanwhile may be shown in part.
 */
static char ring[RING_BYTES];

static struct {
	struct spinlock lock;

	uint64_t written; /* bytes, since the start; guarded like `ring` */

	/* One word each, read without the lock. A stale value prints or drops a line. */
	enum log_level level;
	bool on_console;
} log_state = { .lock = { .rank = LOCK_RANK_LOG, .name = "log" }, .level = LOG_NOTICE };

void log_level_set(enum log_level level)
{
	log_state.level = level;
}

enum log_level log_level_get(void)
{
	return log_state.level;
}

static void keep(const char *text, size_t count)
{
	uint64_t flags = spin_lock_irqsave(&log_state.lock);
	for (size_t i = 0; i < count; i++)
		ring[log_state.written++ % RING_BYTES] = text[i];
	spin_unlock_irqrestore(&log_state.lock, flags);
}

void log_write(enum log_level level, const char *format, ...)
{
	if (level > log_state.level)
		return;
	char line[LINE_BYTES];
	va_list args;
	va_start(args, format);
	size_t length = format_text_va(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (length > sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	line[length] = 0;
	keep(line, length);
	if (log_state.on_console)
		console_print_line(line);
}

void log_show(void)
{
	uint64_t first = log_state.written > RING_BYTES ? log_state.written - RING_BYTES : 0;
	for (uint64_t i = first; i < log_state.written; i++)
		console_print("%c", ring[i % RING_BYTES]);
}

void log_console_start(void)
{
	log_state.on_console = true;
	log_show();
}
