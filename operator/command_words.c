/* SPDX-License-Identifier: MIT */
#include "operator/command_words.h"

#include "lib/string.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Copies a word without its quotes, and ends it. Returns what follows; NULL: a quote is open. */
static char *word_take(char *from, char *to)
{
	bool is_quoted = false;
	for (; *from && (is_quoted || !is_blank(*from)); from++) {
		if (*from == '"')
			is_quoted = !is_quoted;
		else
			*to++ = *from;
	}
	char *next = *from ? from + 1 : from;
	*to = 0;
	return is_quoted ? NULL : next;
}

bool command_words_split(char *text, struct command_words *words)
{
	*words = (struct command_words){ .count = 0 };
	for (;;) {
		while (is_blank(*text))
			text++;
		if (!*text)
			return true;
		char *word = text;
		text = word_take(text, word);
		if (!text)
			return false;
		if (strcmp(word, "--json") == 0) {
			words->is_json = true;
			continue;
		}
		if (words->count == COMMAND_WORD_MAX)
			return false;
		words->word[words->count++] = word;
	}
}
