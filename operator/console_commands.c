/* SPDX-License-Identifier: MIT */
#include "console_commands.h"

#include "lib/error_text.h"
#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/console.h"
#include "kernel/heap.h"
#include "kernel/log_console.h"
#include "kernel/power.h"
#include "kernel/time.h"
#include "mm/gmm/gmm.h"
#include "vm/request.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"
#include "operator/address_space.h"
#include "operator/config.h"
#include "operator/console.h"

/* The VM that a command names; says so if there is none. */
static struct vm *vm_named(const struct command_words *words)
{
	if (words->count < 2) {
		console_print("%s: which VM?\n", words->word[0]);
		return NULL;
	}
	struct vm *vm = vm_find(words->word[1]);
	if (!vm)
		console_print("%s: there is no VM '%s'\n", words->word[0], words->word[1]);
	return vm;
}

/* --- life cycle ------------------------------------------------------------------------- */

static void life(const struct command_words *words, q_status_t (*change)(struct vm *))
{
	struct vm *vm = vm_named(words);
	q_status_t status = vm ? change(vm) : Q_OK;
	if (status == Q_DECLINED)
		console_print("%s: not possible: others have the %lluM that %s reserves\n",
			      words->word[0],
			      (unsigned long long)(vm_configuration(vm)->reserve_bytes >> 20),
			      vm_name(vm));
	else if (status != Q_OK)
		console_print("%s: not possible: %s is %s\n", words->word[0], vm_name(vm),
			      vm_state_text(vm));
}

static void command_start(const struct command_words *words)
{
	life(words, vm_start);
}

static void command_pause(const struct command_words *words)
{
	life(words, vm_pause);
}

static void command_resume(const struct command_words *words)
{
	life(words, vm_resume);
}

static void command_reset(const struct command_words *words)
{
	life(words, vm_reset);
}

static void command_stop(const struct command_words *words)
{
	life(words, vm_stop);
}

static void command_destroy(const struct command_words *words)
{
	life(words, vm_destroy);
}

/* NAME and key=value pairs into a complete configuration. */
static q_status_t config_read(const struct command_words *words, struct vm_config *config,
			      struct error_text *error)
{
	q_status_t status = config_vm_init(config, words->word[1], error);
	for (unsigned i = 2; i < words->count && status == Q_OK; i++) {
		char *value = strchr(words->word[i], '=');
		if (value)
			*value++ = 0;
		status = config_set_key(config, words->word[i], value ? value : "", error);
	}
	return status == Q_OK ? config_vm_complete(config, error) : status;
}

static void create(const struct command_words *words, struct vm_config *config)
{
	struct error_text error = { "" };
	struct vm *vm;
	q_status_t status = config_read(words, config, &error);
	if (status == Q_OK)
		status = vm_create(config, &vm, &error);
	if (status != Q_OK)
		console_print("create: %s\n", error.text);
	else if (config->autostart && vm_start(vm) != Q_OK)
		console_print("create: cannot start %s\n", vm_name(vm));
}

static void command_create(const struct command_words *words)
{
	if (words->count < 2) {
		console_print("create: which name?\n");
		return;
	}
	/* Too large for a thread's stack. */
	struct vm_config *config = heap_alloc(sizeof(*config));
	if (!config) {
		console_print("create: %s\n", q_status_text(Q_NO_MEMORY));
		return;
	}
	create(words, config);
	heap_free(config, sizeof(*config));
}

/* --- the rest ---------------------------------------------------------------------------- */

static void command_attach(const struct command_words *words)
{
	struct vm *vm = vm_named(words);
	if (vm)
		console_attach(vm);
}

static void command_ping(const struct command_words *words)
{
	struct vm *vm = vm_named(words);
	if (!vm)
		return;
	struct vm_request request = { .kind = VM_REQUEST_PING };
	uint64_t start = cpu_rdtsc();
	vm_request_post(vm, &request);
	q_status_t status = vm_request_wait(&request);
	uint64_t us = time_us_from_ticks(cpu_rdtsc() - start);
	console_print("%s: %s after %llu us (%s)\n", vm_name(vm), q_status_text(status),
		      (unsigned long long)us, vm_state_text(vm));
}

static void command_check(const struct command_words *words)
{
	address_space_check();
	gmm_check();
	share_scan_check();
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		vm_check(vm);
	/* What is broken does not come back from its check: it prints itself and stops. */
	console_print(words->is_json ? "{\"check\":\"ok\"}\n" : "ok\n");
}

static void command_log(const struct command_words *words)
{
	static const char *const names[] = { "error", "notice", "info", "trace" };
	if (words->count < 2) {
		log_show();
		return;
	}
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		if (strcmp(words->word[1], names[i]) == 0) {
			log_level_set((enum log_level)i);
			return;
		}
	}
	console_print("log: the levels are error, notice, info and trace\n");
}

static void command_reboot(const struct command_words *words)
{
	(void)words;
	power_reboot();
}

static void command_poweroff(const struct command_words *words)
{
	(void)words;
	power_off(vm_exit_status());
}

static void command_help(const struct command_words *words);

static const struct command {
	const char *name, *arguments, *help;
	void (*run)(const struct command_words *words);
} commands[] = {
	{ "list", "[--json]", "the VMs, their memory, CPU time and exits", command_list },
	{ "start", "NAME", "starts a VM that is created or stopped", command_start },
	{ "pause", "NAME", "stops its CPUs until resume", command_pause },
	{ "resume", "NAME", "goes on after pause", command_resume },
	{ "reset", "NAME", "as its reset button: from power-on again", command_reset },
	{ "stop", "NAME", "switches it off and frees its memory", command_stop },
	{ "create", "NAME key=value ...", "a new VM, with the keys of quire.conf", command_create },
	{ "destroy", "NAME", "forgets a VM that does not run", command_destroy },
	{ "attach", "NAME", "its serial console; Ctrl-] leaves", command_attach },
	{ "ping", "NAME", "asks its first CPU's thread for a sign of life", command_ping },
	{ "memory", "[NAME] [--json]", "where the machine's memory is", command_memory },
	{ "share", "[on|off] [--json]", "what sharing saves and costs; switches the scanner",
	  command_share },
	{ "scan-cpu", "PERCENT", "the sharing scanner's share of one CPU, 1 to 100",
	  command_scan_cpu },
	{ "hashes", "[NAME]", "hashes of all pages that are not zero, for scripts/share-oracle",
	  command_hashes },
	{ "exits", "[NAME] [--json]", "exits by reason: count and TSC ticks", command_exits },
	{ "check", "[--json]", "runs every invariant check over all state", command_check },
	{ "log", "[LEVEL]", "shows the log, or sets what goes into it", command_log },
	{ "reboot", "", "restarts the machine", command_reboot },
	{ "poweroff", "", "switches the machine off", command_poweroff },
	{ "help", "[COMMAND]", "this list, or one line of it", command_help },
};

static const struct command *command_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void help_line(const struct command *command)
{
	console_print("%-9s%-20s%s\n", command->name, command->arguments, command->help);
}

static void command_help(const struct command_words *words)
{
	if (words->count < 2) {
		for (unsigned i = 0; i < ARRAY_COUNT(commands); i++)
			help_line(&commands[i]);
		return;
	}
	const struct command *command = command_find(words->word[1]);
	if (command)
		help_line(command);
	else
		console_print("help: there is no command '%s'\n", words->word[1]);
}

void console_command_run(char *text)
{
	struct command_words words;
	if (!command_words_split(text, &words)) {
		console_print("too many words, or a quote that does not end\n");
		return;
	}
	if (words.count == 0)
		return;
	const struct command *command = command_find(words.word[0]);
	if (command)
		command->run(&words);
	else
		console_print("there is no command '%s'; try help\n", words.word[0]);
}
