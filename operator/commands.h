/* SPDX-License-Identifier: MIT */
/*
 * The operator's commands. A command is a row in the table of one of the files commands_*.c;
 * help, abbreviations and completion come from the row.
 */
#ifndef OPERATOR_COMMANDS_H
#define OPERATOR_COMMANDS_H

#include "operator/command_words.h"

struct vm;

/*
 * The candidate at `index` for the argument at `position` (from 1); NULL behind the last. The
 * text is good until the next call.
 */
typedef const char *command_candidate_t(unsigned position, unsigned index);

struct command {
	const char *name, *arguments, *help;
	void (*run)(const struct command_words *words);
	/* For completing its arguments, or NULL. */
	command_candidate_t *candidate;
	/* For `help COMMAND`: prints what does not fit in a line. Or NULL. */
	void (*explain)(void);
};

struct command_table {
	const struct command *rows;
	unsigned count;
};

/* Carries out a line, which is taken apart in place; prints what is wrong with it. */
void command_run(char *text);

/*
 * Completes the last word of a line that ends at the cursor. Writes what can be added to it, and
 * returns how many words it could become; command_candidates_print() lists those.
 */
unsigned command_complete(const char *text, char *to_add, size_t size_bytes);
void command_candidates_print(const char *text);

/* --- for commands: command_vms.c ---------------------------------------------------------------------- */

/* The VM that a command names; NULL, and it said so, if there is none. */
struct vm *command_vm(const struct command_words *words);
/*
 * The first VM that a command is about: the named one, or of all. False, and it said so: there
 * is no VM of that name. *out_first is NULL where there is none at all.
 */
bool command_vms_start(const struct command_words *words, struct vm **out_first);
struct vm *command_vms_next(const struct command_words *words, const struct vm *vm);

/* Completes the name of a VM, as the first argument. */
command_candidate_t command_candidate_vm;

extern const struct command_table commands_life, commands_memory, commands_share, commands_system;

#endif
