/* SPDX-License-Identifier: MIT */
/*
 * The operator's input line: editing and history. Pure: takes the bytes that were typed, and says
 * what to send to the terminal.
 */
#ifndef OPERATOR_PROMPT_LINE_H
#define OPERATOR_PROMPT_LINE_H

#include <quire/compiler.h>

#define PROMPT_LINE_BYTES    1024u
#define PROMPT_HISTORY_COUNT 8u
/* Room for redrawing a whole line, and for what clears the old one. */
#define PROMPT_ECHO_BYTES (PROMPT_LINE_BYTES + 32u)

struct prompt_line {
	char text[PROMPT_LINE_BYTES]; /* always terminated */
	unsigned length;
	char history[PROMPT_HISTORY_COUNT][PROMPT_LINE_BYTES]; /* newest first */
	unsigned history_count;
	unsigned history_at;          /* 0: the line being typed; n: history[n - 1] */
	unsigned escape;              /* bytes of an escape sequence seen */
	char last;                    /* the byte before */
	char echo[PROMPT_ECHO_BYTES]; /* terminated */
};

enum prompt_line_result {
	PROMPT_LINE_MORE,
	PROMPT_LINE_FINISHED, /* Enter */
	PROMPT_LINE_COMPLETE, /* Tab: the caller may add text */
};

/*
 * Takes a byte that was typed. `line->echo` is what to send to the terminal for it; where the line
 * is redrawn, that includes `prompt`.
 */
enum prompt_line_result prompt_line_input(struct prompt_line *line, const char *prompt, char typed);
/* Adds text at the end, as far as there is room. `line->echo` is what to send for it. */
void prompt_line_add(struct prompt_line *line, const char *text);
/* Call after a finished line: adds it to the history and begins a new one. */
void prompt_line_next(struct prompt_line *line);

#endif
