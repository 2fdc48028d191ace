/* SPDX-License-Identifier: MIT */
/* Splits a command line into words. Pure. */
#ifndef OPERATOR_COMMAND_WORDS_H
#define OPERATOR_COMMAND_WORDS_H

#include <quire/compiler.h>

#define COMMAND_WORD_MAX 24u

struct command_words {
	char *word[COMMAND_WORD_MAX]; /* the first is the command */
	unsigned count;
	bool is_json; /* --json was among them, and is not in `word` */
};

/*
 * Splits `text` in place at blanks, except inside double quotes, and removes the quotes. False:
 * more than COMMAND_WORD_MAX words, or a quote that does not end.
 */
bool command_words_split(char *text, struct command_words *words);

#endif
