/* SPDX-License-Identifier: MIT */
/* The operator's input line: editing, history, and splitting into words. */
#include <stdio.h>
#include <string.h>

#include "test.h"

#include "operator/command_words.h"
#include "operator/prompt_line.h"

static struct prompt_line line;

static bool type(const char *text)
{
	enum prompt_line_result result = PROMPT_LINE_MORE;
	for (; *text; text++)
		result = prompt_line_input(&line, "> ", *text);
	return result == PROMPT_LINE_FINISHED;
}

static void line_reset(void)
{
	memset(&line, 0, sizeof(line));
}

TEST(operator_line, line_editing)
{
	line_reset();
	EXPECT(!type("lisx\x7ft"));
	EXPECT(strcmp(line.text, "list") == 0);
	EXPECT(!type("\x15"));
	EXPECT(line.length == 0 && strcmp(line.echo, "\r\x1b[K> ") == 0);
	EXPECT(!type("\b"));
	EXPECT(line.echo[0] == 0);
	EXPECT(type("help\r"));
	EXPECT(strcmp(line.text, "help") == 0);
	prompt_line_next(&line);
	EXPECT(!type("\n"));
	EXPECT(line.length == 0);
}

TEST(operator_line, history_goes_up_and_down)
{
	line_reset();
	type("one\r");
	prompt_line_next(&line);
	type("two\r");
	prompt_line_next(&line);
	type("two\r");
	prompt_line_next(&line);
	type("\x1b[A");
	EXPECT(strcmp(line.text, "two") == 0);
	type("\x1b[A");
	EXPECT(strcmp(line.text, "one") == 0);
	type("\x1b[A\x1b[B");
	EXPECT(strcmp(line.text, "two") == 0);
	type("\x1b[B\x1b[B");
	EXPECT(line.length == 0);
	type("\x1b[1;5Cx");
	EXPECT(strcmp(line.text, "x") == 0);
}

TEST(operator_line, an_escape_sequence_that_does_not_end_takes_no_line_with_it)
{
	line_reset();
	type("old\r");
	prompt_line_next(&line);
	/* The Escape key alone swallows one character, as if it were held down: Alt. */
	EXPECT(!type("a\x1b"
		     "bc"));
	EXPECT(strcmp(line.text, "ac") == 0);
	EXPECT(!type("\x1b[1;2;3"));
	for (unsigned i = 0; i < 2 * PROMPT_LINE_BYTES; i++)
		EXPECT(prompt_line_input(&line, "> ", i % 2 ? '9' : '\xe4') == PROMPT_LINE_MORE);
	EXPECT(strcmp(line.text, "ac") == 0);
	EXPECT(type("\r") && strcmp(line.text, "ac") == 0);
	prompt_line_next(&line);
	EXPECT(!type("\x1b[1\x15") && strcmp(line.echo, "\r\x1b[K> ") == 0);
	EXPECT(!type("x\x1b[\b") && line.length == 0);
	EXPECT(!type("\x1b\x1b[A") && strcmp(line.text, "ac") == 0);
	EXPECT(!type("\x1bOA") && strcmp(line.text, "old") == 0);
	EXPECT(!type("\x1b[\x1b[B") && strcmp(line.text, "ac") == 0);
	EXPECT(!type("\x1b[3~") && strcmp(line.text, "ac") == 0);
}

TEST(operator_line, what_cannot_be_printed_is_not_in_the_line)
{
	line_reset();
	for (unsigned c = 0; c < 0x20; c++) {
		if (c == '\t' || c == '\r' || c == '\n')
			continue;
		line_reset();
		type("ab");
		EXPECT(prompt_line_input(&line, "> ", (char)c) == PROMPT_LINE_MORE);
		EXPECT(strcmp(line.text, c == '\b' ? "a" : c == 0x15 ? "" : "ab") == 0);
	}
	line_reset();
	EXPECT(!type("\xc3\xa4 \xff"));
	EXPECT(strcmp(line.text, "\xc3\xa4 \xff") == 0);
}

/* CR LF, LF alone and CR alone are one Enter each. */
TEST(operator_line, an_enter_is_an_enter)
{
	line_reset();
	EXPECT(type("a\n") && strcmp(line.echo, "\r\n") == 0);
	prompt_line_next(&line);
	EXPECT(type("\n") && line.length == 0);
	EXPECT(type("b\r"));
	prompt_line_next(&line);
	EXPECT(!type("\n") && line.echo[0] == 0);
	EXPECT(type("\n"));
	EXPECT(type("\r") && type("\r"));
}

TEST(operator_line, empty_and_repeated_lines_are_not_remembered)
{
	line_reset();
	static const char *const lines[] = { "a\r", "\r", "a\r", "b\r", "b\r", "a\r" };
	for (unsigned i = 0; i < ARRAY_COUNT(lines); i++) {
		type(lines[i]);
		prompt_line_next(&line);
	}
	EXPECT(line.history_count == 3);
	EXPECT(strcmp(line.history[0], "a") == 0 && strcmp(line.history[1], "b") == 0 &&
	       strcmp(line.history[2], "a") == 0);
	type("\x1b[A\x1b[A");
	EXPECT(strcmp(line.text, "b") == 0);
	/* An old line that is changed is a new one, and the old one stays. */
	type("c\r");
	prompt_line_next(&line);
	EXPECT(strcmp(line.history[0], "bc") == 0 && strcmp(line.history[2], "b") == 0);
}

TEST(operator_line, line_and_history_stay_in_their_bounds)
{
	line_reset();
	for (unsigned round = 0; round < 2 * PROMPT_HISTORY_COUNT; round++) {
		for (unsigned i = 0; i < 2 * PROMPT_LINE_BYTES; i++)
			prompt_line_input(&line, "> ", (char)('a' + round));
		EXPECT(line.length == PROMPT_LINE_BYTES - 1);
		prompt_line_next(&line);
	}
	EXPECT(line.history_count == PROMPT_HISTORY_COUNT);
	for (unsigned i = 0; i < 2 * PROMPT_HISTORY_COUNT; i++)
		type("\x1b[A");
	EXPECT(line.text[0] == 'a' + PROMPT_HISTORY_COUNT);
}

TEST(operator_line, words_are_split_at_blanks_outside_quotes)
{
	struct command_words words;
	char text[] = "  create a\tcmdline=\"console=ttyS0 quiet\" --json ";
	EXPECT(command_words_split(text, &words));
	EXPECT(words.count == 3 && words.is_json);
	EXPECT(strcmp(words.word[2], "cmdline=console=ttyS0 quiet") == 0);
	char open[] = "create \"a";
	EXPECT(!command_words_split(open, &words));
	char many[] = "a b c d e f g h i j k l m n o p q r s t u v w x y";
	EXPECT(!command_words_split(many, &words));
	char empty[] = " ";
	EXPECT(command_words_split(empty, &words) && words.count == 0 && !words.is_json);
	char quoted[] = "a\"\"b \"\" \"c\td\"e\"\tf\"";
	EXPECT(command_words_split(quoted, &words) && words.count == 3);
	EXPECT(strcmp(words.word[0], "ab") == 0 && strcmp(words.word[1], "") == 0 &&
	       strcmp(words.word[2], "c\tde\tf") == 0);
}
