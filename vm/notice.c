/* SPDX-License-Identifier: MIT */
#include "notice.h"

#include <quire/log.h>

#include "lib/format.h"
#include "lib/json.h"
#include "lib/words.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"

#include "vm_internal.h"

#define LINE_BYTES 320u

static void say(const struct vm *vm, const char *state, const struct vm_ending *ending,
		const char *detail)
{
	char reason[64] = "", status[24] = "", more[192] = "";
	if (ending && ending->reason)
		format_text(reason, sizeof(reason), ": %s", ending->reason);
	if (ending && ending->status)
		format_text(status, sizeof(status), ", status %u", ending->status);
	if (detail && detail[0])
		format_text(more, sizeof(more), " (%s)", detail);
	log_notice("vm %s: %s%s%s%s", vm->config.name, state, reason, status, more);
}

/* Begins a line of '@' and one JSON object. */
static void event_open(struct json *json, char *line, size_t line_bytes, const char *kind)
{
	line[0] = '@';
	/* Two bytes are kept free: for the '@' before the object and the '\n' after it. */
	json_init(json, line + 1, line_bytes - 2);
	json_object_open(json, NULL);
	json_text(json, "event", kind);
}

static void event_close(struct json *json, char *line)
{
	json_object_close(json);
	line[1 + json->used_bytes] = '\n';
	line[2 + json->used_bytes] = 0;
	console_print_line(line);
}

static void print_json(const struct vm *vm, const char *state, const struct vm_ending *ending,
		       const char *detail)
{
	char line[LINE_BYTES];
	struct json json;
	event_open(&json, line, sizeof(line), "vm");
	json_text(&json, "vm", vm->config.name);
	json_text(&json, "state", state);
	json_text(&json, "reason", ending && ending->reason ? ending->reason : "");
	json_number(&json, "status", ending ? ending->status : 0);
	if (detail && detail[0])
		json_text(&json, "detail", detail);
	event_close(&json, line);
}

void notice_vm(const struct vm *vm, const char *state, const struct vm_ending *ending,
	       const char *detail)
{
	say(vm, state, ending, detail);
	if (options()->events_json)
		print_json(vm, state, ending, detail);
}

/* --- memory is exhausted ---------------------------------------------------------------------- */

static const char *priority_text(enum gmm_priority priority, char *to, size_t size_bytes)
{
	return words_at(VM_PRIORITY_WORDS, priority, to, size_bytes);
}

static void say_exhausted(const struct memory_waiter *waiters, unsigned listed, unsigned more)
{
	char text[240] = "", rest[32] = "", word[16];
	size_t used = 0;
	for (unsigned i = 0; i < listed && used < sizeof(text); i++)
		used += format_text(text + used, sizeof(text) - used, "%s%s (%llu page%s, %s)",
				    i ? ", " : "", waiters[i].name,
				    (unsigned long long)waiters[i].page_count,
				    waiters[i].page_count == 1 ? "" : "s",
				    priority_text(waiters[i].priority, word, sizeof(word)));
	if (more)
		format_text(rest, sizeof(rest), " and %u more", more);
	log_notice("memory: exhausted, every VM waits: %s%s", text, rest);
}

static void print_exhausted(const struct memory_waiter *waiters, unsigned listed, unsigned more)
{
	char line[MEMORY_WAITERS_LISTED * 96 + 96], word[16];
	struct json json;
	event_open(&json, line, sizeof(line), "memory");
	json_text(&json, "state", "exhausted");
	json_array_open(&json, "waiting");
	for (unsigned i = 0; i < listed; i++) {
		json_object_open(&json, NULL);
		json_text(&json, "vm", waiters[i].name);
		json_number(&json, "pages", waiters[i].page_count);
		json_text(&json, "priority",
			  priority_text(waiters[i].priority, word, sizeof(word)));
		json_object_close(&json);
	}
	json_array_close(&json);
	if (more)
		json_number(&json, "more", more);
	event_close(&json, line);
}

void notice_exhausted(const struct memory_waiter *waiters, unsigned count)
{
	unsigned listed = count < MEMORY_WAITERS_LISTED ? count : MEMORY_WAITERS_LISTED;
	say_exhausted(waiters, listed, count - listed);
	if (options()->events_json)
		print_exhausted(waiters, listed, count - listed);
}
