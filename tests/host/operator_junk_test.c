/* SPDX-License-Identifier: MIT */
/*
 * Lines of words that mean something, in an order that need not: whatever they say, Quire comes
 * back to its prompt, its books are right, and what was asked for as JSON is JSON.
 */
#include <stdio.h>
#include <stdlib.h>

#include "json_read.h"
#include "seam/seam.h"
#include "operator_fixture.h"

#define LINES       4000u
#define CHECK_EVERY 50u

static uint32_t junk_state;

static uint32_t junk(uint32_t below)
{
	junk_state = junk_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(junk_state >> 4) * below >> 28);
}

#define PICK(array) ((array)[junk(ARRAY_COUNT(array))])

static const char *const commands[] = {
	"list", "start", "pause", "resume",   "reset",  "stop",  "create", "destroy", "attach",
	"ping", "mem",   "share", "scan-cpu", "hashes", "exits", "check",  "log",     "help",
	"r",    "x",     "sto",   "create",   "create", "start", "start",  "resume",  "pa",
};
static const char *const words[] = {
	"a",       "b",      "c",      "d",
	"on",      "off",    "50",     "0",
	"error",   "\"\"",   "create", "a b",
	"\"a b\"", "--json", "--json", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
};
static const char *const settings[] = {
	"memory=8M",     "memory=20M",       "memory=1M",       "memory=1G",
	"memory=8193K",  "reserve=4K",       "reserve=40M",     "reserve=8M",
	"reserve=1G",    "overcommit=none",  "overcommit=full", "share=none",
	"share=lab",     "vcpus=1",          "vcpus=3",         "vcpus=99",
	"autostart=no",  "autostart=yes",    "serial=log",      "on-reset=stop",
	"debug-exit=on", "priority=high",    "bound=yes",       "bound=5G-6G",
	"bound=0-1G",    "initrd=vmlinuz",   "initrd=x,y",      "cmdline=\"a b\"",
	"kernel=x",      "firmware=vmlinuz", "memory",          "=",
	"colour=red",
};
static const char *const bytes[] = {
	"\t", "\x15", "\b", "\x1b[A", "\x1b[B", "\x1b", "\x1d", "\xff"
};

static void line_make(char *line, size_t size_bytes)
{
	const char *command = PICK(commands);
	size_t used = (size_t)snprintf(line, size_bytes, "%s", command);
	bool is_create = strcmp(command, "create") == 0;
	/* Mostly what can work: a command about a VM. */
	if (junk(8))
		used += (size_t)snprintf(line + used, size_bytes - used, " %c", 'a' + junk(4));
	if (is_create && junk(8))
		used += (size_t)snprintf(line + used, size_bytes - used,
					 " kernel=vmlinuz memory=%uM", 8 + junk(50));
	for (uint32_t count = is_create ? junk(6) : junk(3) / 2; count; count--)
		used += (size_t)snprintf(line + used, size_bytes - used, " %s",
					 is_create ? PICK(settings) : PICK(words));
}

/* It writes to a run of pages, as far as there is memory. */
static void guest_fills(struct vm *vm)
{
	uint64_t content = junk(4), start = junk(16384), end = start + junk(3000);
	for (; start < end; start++)
		if (pgm_write(vm_pgm(vm), gpa(start << PAGE_SHIFT), &content, sizeof(content),
			      NULL) == Q_NO_MEMORY)
			guest_wants_memory(vm_name(vm), 1);
}

/* A guest does something: writes, ends, resets, or waits for memory. */
static void guest_act(void)
{
	const char name[] = { (char)('a' + junk(4)), 0 };
	struct vm *vm = vm_find(name);
	if (!vm || !vm_is_alive(vm))
		return;
	switch (junk(24)) {
	case 0: guest_power(name, VPC_POWER_OFF, 0); break;
	case 1: guest_power(name, VPC_POWER_RESET, 0); break;
	case 2: guest_wants_memory(name, 1); break;
	case 3: guest_prints(name, "says\r\n"); break;
	default: guest_fills(vm); break;
	}
}

static void expect_json(const char *line, const char *said)
{
	/* An error is a line of words, whatever was asked for. */
	if (!strstr(line, "--json") || said[0] != '{')
		return;
	char *object = strdup(said);
	EXPECT(object[strlen(object) - 1] == '\n');
	object[strlen(object) - 1] = 0;
	if (!json_is_valid(object))
		fail_msg("'%s' printed %s", line, object);
	free(object);
}

TEST(operator_junk, lines_of_commands)
{
	char line[512];
	operator_at_prompt();
	junk_state = 1;
	for (unsigned i = 0; i < LINES; i++) {
		line_make(line, sizeof(line));
		guest_act();
		guest_room = 100;
		guest_typed[0] = 0;
		/* In an attached guest the prompt comes back with Ctrl-]. */
		if (strncmp(line, "at", 2) == 0) {
			type(line);
			type("\r");
			type(PICK(bytes));
			type("\x1d\x15");
			continue;
		}
		expect_json(line, answer(line));
		if (i % CHECK_EVERY == 0)
			EXPECT_ANSWER("check", "ok\n");
		if (i % 16 == 0)
			time_passes();
		fake_log_clear();
	}
}
