/* SPDX-License-Identifier: MIT */
/*
 * What happened to a VM: one line for people, and with events=json one for
 * programs. Called without locks. When no VM is left, exit= is carried out.
 */
#include <quire/log.h>

#include "lib/format.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/power.h"

#include "json.h"
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

static void print_json(const struct vm *vm, const char *state, const struct vm_ending *ending,
		       const char *detail)
{
	char line[LINE_BYTES];
	struct json json;
	line[0] = '@';
	/* Two bytes are kept back: '@' before it, '\n' behind. */
	json_init(&json, line + 1, sizeof(line) - 2);
	json_object_open(&json, NULL);
	json_text(&json, "event", "vm");
	json_text(&json, "vm", vm->config.name);
	json_text(&json, "state", state);
	json_text(&json, "reason", ending && ending->reason ? ending->reason : "");
	json_number(&json, "status", ending ? ending->status : 0);
	if (detail && detail[0])
		json_text(&json, "detail", detail);
	json_object_close(&json);
	line[1 + json.used_bytes] = '\n';
	line[2 + json.used_bytes] = 0;
	console_print_line(line);
}

void vm_event(const struct vm *vm, const char *state, const struct vm_ending *ending,
	      const char *detail)
{
	say(vm, state, ending, detail);
	if (options()->events_json)
		print_json(vm, state, ending, detail);
}

void vm_exit_if_idle(void)
{
	if (vm_any_alive())
		return;
	switch (options()->exit_mode) {
	case EXIT_MODE_PROMPT: return;
	case EXIT_MODE_POWEROFF: power_off(vm_exit_status());
	case EXIT_MODE_HALT: power_halt(vm_exit_status());
	}
}
