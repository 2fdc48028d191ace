/* SPDX-License-Identifier: MIT */
/* Commands about Quire itself: exits, checks, the log, and the end. */
#include "lib/words.h"
#include "kernel/console.h"
#include "kernel/log_console.h"
#include "kernel/power.h"
#include "mm/gmm/gmm.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"
#include "operator/address_space.h"
#include "operator/commands.h"
#include "operator/listing.h"

/* --- exits ------------------------------------------------------------------------------------ */

struct exits_row {
	const char *name, *exit;
	uint64_t average;
	struct exit_figures figures;
};

static const struct listing_column exits_rows[] = {
	{ "name", "NAME", LISTING_NAME, offsetof(struct exits_row, name) },
	{ "exit", "EXIT", LISTING_STATE, offsetof(struct exits_row, exit) },
	{ "count", "COUNT", LISTING_COUNT, offsetof(struct exits_row, figures.count) },
	{ "ticks", "TICKS", LISTING_TICKS, offsetof(struct exits_row, figures.ticks) },
	{ "average", "AVERAGE", LISTING_COUNT, offsetof(struct exits_row, average) },
};
static const struct listing_columns exits_columns = LISTING_COLUMNS(exits_rows);
/* For programs: the name of a VM, and an object with two figures for each kind of exit. */
static const struct listing_columns name_columns = { &exits_rows[0], 1 };
static const struct listing_columns figures_columns = { &exits_rows[2], 2 };

static void exits_for_programs(struct listing *listing, const struct vm *vm,
			       const struct exit_figures *figures)
{
	struct exits_row row = { .name = vm_name(vm) };
	listing_open(listing, NULL);
	listing_fields(listing, "", &name_columns, &row);
	listing_open(listing, "exits");
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		row.figures = figures[kind];
		listing_group(listing, vmexit_kind_name(kind), &figures_columns, &row);
	}
	listing_close(listing);
	listing_close(listing);
}

static void exits_for_people(struct listing *listing, const struct vm *vm,
			     const struct exit_figures *figures)
{
	for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
		struct exits_row row = { .name = vm_name(vm),
					 .exit = vmexit_kind_name(kind),
					 .figures = figures[kind] };
		if (row.figures.count == 0)
			continue;
		row.average = row.figures.ticks / row.figures.count;
		listing_row(listing, &row);
	}
}

static void command_exits(const struct command_words *words)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	struct listing listing;
	struct vm *vm;
	if (!command_vms_start(words, &vm))
		return;
	listing_begin(&listing, words->is_json);
	listing_table_open(&listing, "vms", &exits_columns);
	for (; vm; vm = command_vms_next(words, vm)) {
		vm_exit_figures(vm, figures);
		if (words->is_json)
			exits_for_programs(&listing, vm, figures);
		else
			exits_for_people(&listing, vm, figures);
	}
	listing_table_close(&listing);
	listing_end(&listing);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void command_check(const struct command_words *words)
{
	address_space_check();
	gmm_check();
	share_scan_check();
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		vm_check(vm);
	/* A check that finds something does not return: it prints what, and Quire stops. */
	console_print(words->is_json ? "{\"check\":\"ok\"}\n" : "ok\n");
}

static void command_log(const struct command_words *words)
{
	unsigned level;
	if (words->count < 2)
		log_show();
	else if (words_find("error|notice|info|trace", words->word[1], &level))
		log_level_set((enum log_level)level);
	else
		console_print("log: '%.40s': the levels are error, notice, info and trace\n",
			      words->word[1]);
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

static const struct command rows[] = {
	{ "exits", "[NAME] [--json]", "exits by reason: count and TSC ticks", command_exits,
	  command_candidate_vm, NULL },
	{ "check", "[--json]", "runs every invariant check over all state", command_check, NULL,
	  NULL },
	{ "log", "[LEVEL]", "shows the log, or sets what goes into it", command_log, NULL, NULL },
	{ "reboot", "", "restarts the machine", command_reboot, NULL, NULL },
	{ "poweroff", "", "switches the machine off", command_poweroff, NULL, NULL },
};
const struct command_table commands_system = { rows, ARRAY_COUNT(rows) };
