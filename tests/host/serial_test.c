/* SPDX-License-Identifier: MIT */
/* The output of a VM's serial port is kept and passed on, also when memory is short. */
#include "vm/machine/serial.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/console.h"
#include "kernel/heap.h"

#include "test.h"

static unsigned pages_left, pages_in_use;

void *heap_alloc(size_t size_bytes)
{
	if (pages_left == 0)
		return NULL;
	pages_left--;
	pages_in_use++;
	return malloc(size_bytes);
}

void heap_free(void *memory, size_t size_bytes)
{
	(void)size_bytes;
	pages_in_use -= memory != NULL;
	free(memory);
}

/* What the console got. */
static uint8_t shown[4 * SERIAL_BYTES];
static size_t shown_count;
static void (*while_it_waits)(void); /* called once, while the console waits for its line */
static unsigned com2_count;

void console_write(const void *bytes, size_t count)
{
	void (*others)(void) = while_it_waits;

	EXPECT(shown_count + count <= sizeof(shown));
	memcpy(shown + shown_count, bytes, count);
	shown_count += count;
	while_it_waits = NULL;
	if (others)
		others();
}

void console_com2_write(const void *bytes, size_t count)
{
	com2_count++;
	console_write(bytes, count);
}

void console_print_line(const char *text)
{
	console_write(text, strlen(text));
}

static struct serial serial;
static uint64_t written;

static void set_up(unsigned page_count)
{
	pages_left = page_count;
	shown_count = 0;
	written = 0;
	EXPECT(serial_init(&serial, "vm", SERIAL_CONSOLE) == Q_OK);
}

static void tear_down(void)
{
	serial_fini(&serial);
	EXPECT(pages_in_use == 0);
}

/* Each place has its own pattern, so no byte can be taken for another. */
static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 167 + (at >> 8) * 13 + (at >> 16));
}

static void write_some(uint64_t count)
{
	for (; count > 0; count--) {
		uint8_t byte = pattern(written++);
		serial_append(&serial, &byte, 1);
	}
}

/* True if the console was shown all that was written from `first` on, and nothing else. */
static bool is_shown_from(uint64_t first)
{
	if (shown_count != written - first)
		return false;
	for (uint64_t at = first; at < written; at++)
		if (shown[at - first] != pattern(at))
			return false;
	return true;
}

static bool attaching_shows_from(uint64_t first)
{
	shown_count = 0;
	serial_attach(&serial);
	serial_detach(&serial);
	return is_shown_from(first);
}

TEST(serial, the_last_64_kib_are_kept)
{
	const uint64_t counts[] = {
		1, 4095, 1, 1, SERIAL_BYTES - 4098, 1, 4096, 3 * SERIAL_BYTES / 2
	};

	set_up(SERIAL_PAGE_COUNT);
	EXPECT(attaching_shows_from(0));
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		write_some(counts[i]);
		serial_drain(&serial);
		EXPECT(attaching_shows_from(written > SERIAL_BYTES ? written - SERIAL_BYTES : 0));
	}
	EXPECT(pages_in_use == SERIAL_PAGE_COUNT);
	tear_down();
}

TEST(serial, pages_come_when_they_are_needed)
{
	set_up(SERIAL_PAGE_COUNT);
	write_some(PAGE_SIZE);
	EXPECT(pages_in_use == 1);
	write_some(1);
	EXPECT(pages_in_use == 2);
	tear_down();
	pages_left = 0;
	EXPECT(serial_init(&serial, "vm", SERIAL_CONSOLE) == Q_NO_MEMORY);
}

/* Without memory less is kept, but all is passed on. With memory again, more is kept again. */
TEST(serial, nothing_is_lost_without_memory)
{
	set_up(3);
	serial_attach(&serial);
	for (unsigned i = 0; i < 100; i++) {
		write_some(i * 41 % PAGE_SIZE);
		serial_drain(&serial);
	}
	EXPECT(is_shown_from(0));
	serial_detach(&serial);
	EXPECT(attaching_shows_from(written - 3 * PAGE_SIZE));
	pages_left = 1;
	/* Turn after turn of the ring, with and without a page to be had. */
	for (unsigned i = 0; i < 2 * SERIAL_PAGE_COUNT; i++) {
		write_some(PAGE_SIZE - 1);
		serial_drain(&serial);
		uint64_t kept = serial.written - serial.oldest;
		EXPECT(kept >= 3 * PAGE_SIZE && kept <= pages_in_use * PAGE_SIZE);
		EXPECT(attaching_shows_from(written - kept));
		pages_left = i % 3 == 0;
	}
	EXPECT(pages_in_use > 4);
	tear_down();
}

/* No thread drains: attaching skips what was overwritten. */
TEST(serial, a_late_drain_gets_what_is_kept)
{
	set_up(2);
	write_some(5 * PAGE_SIZE + 77);
	serial_attach(&serial);
	EXPECT(is_shown_from(written - 2 * PAGE_SIZE));
	serial_detach(&serial);
	tear_down();
}

/* --- where it goes ------------------------------------------------------------------------------ */

static void start_as(enum serial_mode mode)
{
	set_up(SERIAL_PAGE_COUNT);
	serial.mode = mode;
	com2_count = 0;
}

static void append(const char *text)
{
	serial_append(&serial, (const uint8_t *)text, (unsigned)strlen(text));
}

static bool is_shown(const char *text)
{
	bool is_same = shown_count == strlen(text) && memcmp(shown, text, shown_count) == 0;
	if (!is_same)
		print_message("shown: %.*s\n", (int)shown_count, shown);
	shown_count = 0;
	return is_same;
}

static bool passes_on(const char *text, const char *expected)
{
	append(text);
	EXPECT(serial_has_new(&serial) == (text[0] != 0));
	serial_drain(&serial);
	EXPECT(!serial_has_new(&serial));
	return is_shown(expected);
}

TEST(serial, mode_log_prints_lines_without_what_a_terminal_acts_on)
{
	start_as(SERIAL_LOG);
	EXPECT(passes_on("one\ntw", "[vm] one\n"));
	EXPECT(passes_on("o\n", "[vm] two\n"));
	EXPECT(passes_on("\n", "[vm] \n"));
	EXPECT(passes_on("a\r\033[1m\tb\x7f\x01\x1f~\xc3\xa9\n", "[vm] a[1m\tb~\xc3\xa9\n"));
	tear_down();
}

TEST(serial, mode_log_breaks_lines_of_200_bytes)
{
	char line[SERIAL_LINE_BYTES + 1], expected[SERIAL_LINE_BYTES + 8];
	memset(line, 'x', SERIAL_LINE_BYTES);
	line[SERIAL_LINE_BYTES] = 0;
	strcpy(expected, "[vm] ");
	strcat(expected, line);
	strcat(expected, "\n");
	start_as(SERIAL_LOG);
	EXPECT(passes_on(line, ""));
	EXPECT(passes_on("y", expected));
	EXPECT(passes_on("\n", "[vm] y\n"));
	/* A line of exactly that length stays one line. */
	EXPECT(passes_on(line, "") && passes_on("\n", expected));
	tear_down();
}

TEST(serial, the_end_of_a_run_ends_the_line)
{
	start_as(SERIAL_LOG);
	append("last wo");
	serial_drain(&serial);
	append("rds");
	serial_finish(&serial);
	EXPECT(is_shown("[vm] last words\n"));
	serial_finish(&serial);
	EXPECT(is_shown(""));
	tear_down();
}

TEST(serial, an_attached_terminal_gets_the_bytes_instead_of_lines)
{
	start_as(SERIAL_LOG);
	EXPECT(passes_on("one\n", "[vm] one\n"));
	serial_attach(&serial);
	EXPECT(is_shown("one\n"));
	EXPECT(passes_on("\033two\n", "\033two\n"));
	serial_detach(&serial);
	EXPECT(passes_on("three\n", "[vm] three\n"));
	tear_down();
}

TEST(serial, mode_console_shows_nothing_until_a_terminal_is_attached)
{
	start_as(SERIAL_CONSOLE);
	EXPECT(passes_on("one\n", ""));
	serial_attach(&serial);
	EXPECT(is_shown("one\n") && passes_on("two\n", "two\n") && com2_count == 0);
	tear_down();
}

TEST(serial, mode_com2_gets_every_byte_as_it_is)
{
	start_as(SERIAL_COM2);
	EXPECT(passes_on("a\033\n", "a\033\n") && com2_count == 1);
	/* An attached terminal gets them as well. */
	serial_attach(&serial);
	EXPECT(com2_count == 1 && is_shown("a\033\n"));
	EXPECT(passes_on("b", "bb") && com2_count == 2);
	tear_down();
}

static void others_write_and_drain(void)
{
	append("two");
	serial_drain(&serial);
	EXPECT(shown_count == 3); /* the second drainer has written nothing */
}

/* While the console waits for its line, another vCPU writes. */
TEST(serial, one_drainer_at_a_time_keeps_the_order)
{
	start_as(SERIAL_COM2);
	while_it_waits = others_write_and_drain;
	append("one");
	serial_drain(&serial);
	EXPECT(is_shown("onetwo") && passes_on("three", "three"));
	tear_down();
}
