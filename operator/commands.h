/* SPDX-License-Identifier: MIT */
/*
 * The operator's commands. A command is a row in the table of one of the files commands_*.c. Help,
 * abbreviations and completion come from the row. All run in the operator's thread.
 */
#ifndef OPERATOR_COMMANDS_H
#define OPERATOR_COMMANDS_H

#include "operator/command_words.h"

struct vm;

/*
 * Returns the candidate at `index` for the argument at `position` (from 1); NULL after the last.
 * The text is valid until the next call.
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

/* Carries out a command line, which it takes apart in place. Prints what is wrong with it. */
void command_run(char *text);

/*
 * Completes the last word of a line that ends at the cursor: writes what can be added to it, and
 * returns how many words it could become. command_candidates_print() lists those.
 */
unsigned command_complete(const char *text, char *to_add, size_t size_bytes);
void command_candidates_print(const char *text);

/* --- for commands: command_vms.c --------------------------------------------------------- */

/* Returns the VM that a command names. NULL: there is none, and a message said so. */
struct vm *command_vm(const struct command_words *words);
/*
 * Finds the first VM that a command is about: the named one, or the first of all; NULL if there is
 * none at all. False: there is no VM of that name, and a message said so.
 */
bool command_vms_start(const struct command_words *words, struct vm **out_first);
struct vm *command_vms_next(const struct command_words *words, const struct vm *vm);

/* For commands whose first argument is the name of a VM. */
command_candidate_t command_candidate_vm;

extern const struct command_table commands_life, commands_memory, commands_share, commands_system;

#endif
