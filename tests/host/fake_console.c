/* SPDX-License-Identifier: MIT */
#include "fake_console.h"

#include <stdarg.h>
#include <string.h>

#include <quire/assert.h>

#include "lib/format.h"
#include "kernel/console.h"

#include "seam/seam.h"
#include "test.h"

#define PRINT_BYTES  1024u /* as in kernel/console.c */
#define OUTPUT_BYTES (1u << 20)

struct output {
	char bytes[OUTPUT_BYTES];
	size_t used;
};

static struct output screen, com2;
static bool was_cut; /* a text for the screen */
static uint8_t keys[8192];
static size_t keys_head, keys_tail;
static void (*input_hook)(void);
static void (*hook_before)(void);
static void (*hook_after)(void);

/* --- output -------------------------------------------------------------------------------- */

/* A fuzzer never reads and never clears: a full output begins anew. */
static void output_append(struct output *output, const void *bytes, size_t count)
{
	Q_ASSERT(fake_locks_held() == 0);
	Q_ASSERT(count < sizeof(output->bytes));
	if (count >= sizeof(output->bytes) - output->used)
		output->used = 0;
	memcpy(output->bytes + output->used, bytes, count);
	output->used += count;
	output->bytes[output->used] = 0;
}

static void output_clear(struct output *output)
{
	output->used = 0;
	output->bytes[0] = 0;
}

void console_write(const void *bytes, size_t count)
{
	output_append(&screen, bytes, count);
}

static void text_write(const char *text)
{
	for (const char *newline; (newline = strchr(text, '\n')); text = newline + 1) {
		console_write(text, (size_t)(newline - text));
		console_write("\r\n", 2);
	}
	console_write(text, strlen(text));
}

void console_print(const char *format, ...)
{
	char text[PRINT_BYTES];
	va_list args;
	va_start(args, format);
	was_cut |= format_text_va(text, sizeof(text), format, args) >= sizeof(text);
	va_end(args);
	text_write(text);
}

void console_print_line(const char *line)
{
	if (hook_before)
		hook_before();
	text_write(line);
	if (hook_after)
		hook_after();
}

void console_line_hook_set(void (*before)(void), void (*after)(void))
{
	hook_before = before;
	hook_after = after;
}

void console_com2_write(const void *bytes, size_t count)
{
	output_append(&com2, bytes, count);
}

const char *fake_console_text(void)
{
	static char text[OUTPUT_BYTES];
	char *to = text;
	EXPECT(!was_cut);
	for (const char *from = screen.bytes; *from; from++) {
		EXPECT(*from != '\n' || (from != screen.bytes && from[-1] == '\r'));
		if (*from != '\r' || from[1] != '\n')
			*to++ = *from;
	}
	*to = 0;
	return text;
}

bool fake_console_was_cut(void)
{
	return was_cut;
}

const char *fake_com2_text(void)
{
	return com2.bytes;
}

void fake_console_clear(void)
{
	output_clear(&screen);
	output_clear(&com2);
	was_cut = false;
}

/* --- input --------------------------------------------------------------------------------- */

int console_getc(void)
{
	return keys_tail == keys_head ? -1 : keys[keys_tail++];
}

void console_input_hook_set(void (*hook)(void))
{
	input_hook = hook;
}

void fake_console_type(const void *bytes, size_t count)
{
	if (keys_tail == keys_head)
		keys_tail = keys_head = 0;
	Q_ASSERT(count <= sizeof(keys) - keys_head);
	memcpy(keys + keys_head, bytes, count);
	keys_head += count;
	if (input_hook)
		input_hook();
}

void fake_console_unplug(void)
{
	keys_tail = keys_head = 0;
	console_input_hook_set(NULL);
	console_line_hook_set(NULL, NULL);
}
