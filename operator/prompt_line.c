/* SPDX-License-Identifier: MIT */
#include "prompt_line.h"

#include "lib/format.h"
#include "lib/string.h"

#define KEY_BACKSPACE 0x08
#define KEY_TAB       0x09
#define KEY_KILL      0x15 /* Ctrl-U */
#define KEY_ESCAPE    0x1b
#define KEY_DELETE    0x7f

#define CLEAR_LINE "\r\x1b[K"

static void redraw(struct prompt_line *line, const char *prompt)
{
	format_text(line->echo, sizeof(line->echo), CLEAR_LINE "%s%s", prompt, line->text);
}

static void text_set(struct prompt_line *line, const char *text)
{
	string_copy(line->text, sizeof(line->text), text);
	line->length = (unsigned)strlen(line->text);
}

/* Up goes to older lines; down goes to newer ones, and at last to an empty one. */
static void history_move(struct prompt_line *line, const char *prompt, bool is_up)
{
	if (is_up ? line->history_at == line->history_count : line->history_at == 0)
		return;
	line->history_at += is_up ? 1 : -1u;
	text_set(line, line->history_at ? line->history[line->history_at - 1] : "");
	redraw(line, prompt);
}

/* Handles ESC [ A (up) and ESC [ B (down). Swallows other sequences up to their final letter. */
static void escape_input(struct prompt_line *line, const char *prompt, char typed)
{
	if (line->escape == 1) {
		line->escape = typed == '[' || typed == 'O' ? 2 : 0;
		return;
	}
	if (typed >= 0x40 && typed <= 0x7e)
		line->escape = 0;
	if (typed == 'A' || typed == 'B')
		history_move(line, prompt, typed == 'A');
}

static void character_erase(struct prompt_line *line)
{
	if (line->length == 0)
		return;
	line->text[--line->length] = 0;
	string_copy(line->echo, sizeof(line->echo), "\b \b");
}

void prompt_line_add(struct prompt_line *line, const char *text)
{
	unsigned start = line->length;
	string_copy(line->text + start, sizeof(line->text) - start, text);
	line->length = start + (unsigned)strlen(line->text + start);
	string_copy(line->echo, sizeof(line->echo), line->text + start);
}

enum prompt_line_result prompt_line_input(struct prompt_line *line, const char *prompt, char typed)
{
	char previous = line->last;
	line->last = typed;
	line->echo[0] = 0;
	/* A control character cuts an escape sequence short, and means what it always does. */
	if ((unsigned char)typed < 0x20)
		line->escape = 0;
	if (line->escape) {
		escape_input(line, prompt, typed);
		return PROMPT_LINE_MORE;
	}
	switch (typed) {
	case '\n':
		/* The second half of CR LF. */
		if (previous == '\r')
			return PROMPT_LINE_MORE;
		/* fall through */
	case '\r': string_copy(line->echo, sizeof(line->echo), "\r\n"); return PROMPT_LINE_FINISHED;
	case KEY_TAB: return PROMPT_LINE_COMPLETE;
	case KEY_BACKSPACE:
	case KEY_DELETE: character_erase(line); break;
	case KEY_KILL:
		text_set(line, "");
		redraw(line, prompt);
		break;
	case KEY_ESCAPE: line->escape = 1; break;
	default:
		if ((unsigned char)typed >= 0x20)
			prompt_line_add(line, (char[]){ typed, 0 });
		break;
	}
	return PROMPT_LINE_MORE;
}

void prompt_line_next(struct prompt_line *line)
{
	bool is_new = line->history_count == 0 || strcmp(line->history[0], line->text) != 0;
	if (line->length && is_new) {
		memmove(line->history[1], line->history[0],
			(PROMPT_HISTORY_COUNT - 1) * sizeof(line->history[0]));
		string_copy(line->history[0], sizeof(line->history[0]), line->text);
		if (line->history_count < PROMPT_HISTORY_COUNT)
			line->history_count++;
	}
	line->history_at = 0;
	text_set(line, "");
}
