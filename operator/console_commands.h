/* SPDX-License-Identifier: MIT */
/* The operator's commands: one table row each. */
#ifndef OPERATOR_CONSOLE_COMMANDS_H
#define OPERATOR_CONSOLE_COMMANDS_H

#include <quire/compiler.h>

/* Carries out a line; it is taken apart in place. Says what is wrong with it. */
void console_command_run(char *text);

#define COMMAND_WORD_MAX 24u

/* A command line in words; the first is the command. */
struct command_words {
	char *word[COMMAND_WORD_MAX];
	unsigned count;
	bool is_json; /* --json was among them */
};

/*
 * Splits at blanks, except inside double quotes, which go away. False: more
 * than COMMAND_WORD_MAX words, or a quote that does not end.
 */
bool command_words_split(char *text, struct command_words *words);

/* console_listings.c */
void command_list(const struct command_words *words);
void command_memory(const struct command_words *words);
void command_exits(const struct command_words *words);

/* console_share.c */
void command_share(const struct command_words *words);
void command_scan_cpu(const struct command_words *words);
void command_hashes(const struct command_words *words);

#endif
