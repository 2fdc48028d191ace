/* SPDX-License-Identifier: MIT */
/*
 * The operator's input line: editing and history. Pure: a byte that was typed goes in, what the
 * terminal must be sent comes out.
 */
#ifndef OPERATOR_CONSOLE_LINE_H
#define OPERATOR_CONSOLE_LINE_H

#include <quire/compiler.h>

#define CONSOLE_LINE_BYTES    1024u
#define CONSOLE_HISTORY_COUNT 8u
/* A whole line redrawn, with what clears the old one. */
#define CONSOLE_ECHO_BYTES (CONSOLE_LINE_BYTES + 32u)

struct console_line {
	char text[CONSOLE_LINE_BYTES]; /* always terminated */
	unsigned length;
	char history[CONSOLE_HISTORY_COUNT][CONSOLE_LINE_BYTES]; /* newest first */
	unsigned history_count;
	unsigned history_at;           /* 0: the line being typed; n: history[n - 1] */
	unsigned escape;               /* bytes of an escape sequence seen */
	char last;                     /* the byte before */
	char echo[CONSOLE_ECHO_BYTES]; /* terminated */
};

enum console_line_result {
	CONSOLE_LINE_MORE,
	CONSOLE_LINE_FINISHED, /* Enter */
	CONSOLE_LINE_COMPLETE, /* Tab: the caller may know what can be added */
};

/*
 * Takes a byte that was typed. `line->echo` is what to send to the terminal for it. `prompt` is
 * redrawn with the line.
 */
enum console_line_result console_line_input(struct console_line *line, const char *prompt,
					    char typed);
/* Adds text at the end, as far as there is room; `line->echo` is what to send for it. */
void console_line_add(struct console_line *line, const char *text);
/* After a finished line: remembers it and begins a new one. */
void console_line_next(struct console_line *line);

#endif
