/* SPDX-License-Identifier: MIT */
/* Walks a list of words from bar to bar, without changing it. */
#include "lib/words.h"

#include "lib/format.h"
#include "lib/string.h"

/* Returns the length of the word at `at`. */
static size_t length_at(const char *at)
{
	size_t length = 0;
	while (at[length] && at[length] != '|')
		length++;
	return length;
}

/* Returns the word after the one at `at`; NULL: that was the last. */
static const char *next_of(const char *at)
{
	at += length_at(at);
	return *at ? at + 1 : NULL;
}

bool words_find(const char *words, const char *word, unsigned *out_index)
{
	size_t length = strlen(word);
	unsigned index = 0;
	for (const char *at = words; at; at = next_of(at), index++) {
		if (length_at(at) == length && memcmp(at, word, length) == 0) {
			*out_index = index;
			return true;
		}
	}
	return false;
}

const char *words_at(const char *words, unsigned index, char *to, size_t size_bytes)
{
	const char *at = words;
	while (at && index--)
		at = next_of(at);
	format_text(to, size_bytes, "%.*s", at ? (int)length_at(at) : 0, at ? at : "");
	return to;
}

const char *words_list(const char *words, char *to, size_t size_bytes)
{
	size_t used = 0;
	to[0] = 0;
	for (const char *at = words; at && used < size_bytes; at = next_of(at)) {
		const char *before = at == words ? "" : next_of(at) ? ", " : " or ";
		used += format_text(to + used, size_bytes - used, "%s%.*s", before,
				    (int)length_at(at), at);
	}
	return to;
}
