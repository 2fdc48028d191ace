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
	EXPECT(command_words_split(empty, &words) && words.count == 0);
}
