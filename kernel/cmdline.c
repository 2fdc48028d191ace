/* SPDX-License-Identifier: MIT */
/*
 * A word of the command line is one row of `words`: its name, how its value is
 * read, where the value goes, and what the error text about a bad value says.
 */
#include "cmdline.h"

#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/number.h"
#include "lib/string.h"
#include "lib/words.h"

static struct options chosen = {
	.console_port = 1,
	.log_level = LOG_NOTICE,
	.exit_mode = EXIT_MODE_PROMPT,
	.elides_zeroing = true,
	.works_ahead = true,
};

/* --- values --------------------------------------------------------------------------- */

struct word {
	const char *name;
	bool (*set)(const struct word *word, const char *value); /* false: a bad value */
	/* choice_set(): the good values, separated by bars; else what a good value looks like. */
	const char *good;
	uint16_t offset;
	uint8_t size_bytes; /* of its field */
	uint8_t first;      /* choice_set(): the number that the first value stands for */
};

/* The CPU is little endian, so a narrow field gets the number's low bytes. */
static void store(const struct word *word, uint64_t number)
{
	memcpy((uint8_t *)&chosen + word->offset, &number, word->size_bytes);
}

static bool choice_set(const struct word *word, const char *value)
{
	unsigned index;
	if (!words_find(word->good, value, &index))
		return false;
	store(word, word->first + index);
	return true;
}

static bool size_set(const struct word *word, const char *value)
{
	uint64_t size_bytes;
	if (size_parse(value, &size_bytes) != Q_OK || size_bytes == 0)
		return false;
	store(word, size_bytes);
	return true;
}

/* --- words ---------------------------------------------------------------------------- */

#define FIELD(field) .offset = offsetof(struct options, field), .size_bytes = sizeof(chosen.field)

/* In the order of docs/operating.md. Enums have the order of the values. */
static const struct word words[] = {
	{ "console", choice_set, "com1|com2", FIELD(console_port), .first = 1 },
	{ "log", choice_set, "error|notice|info|trace", FIELD(log_level) },
	{ "events", choice_set, "json", FIELD(events_json), .first = true },
	{ "exit", choice_set, "poweroff|halt|prompt", FIELD(exit_mode) },
	{ "memory", size_set, "a size above 0, such as 512M", FIELD(memory_limit_bytes) },
	{ "ahead", choice_set, "off|on", FIELD(works_ahead) },
	{ "elide", choice_set, "off|on", FIELD(elides_zeroing) },
};

static q_status_t unknown_word(const char *name, struct error_text *error)
{
	char known[128];
	size_t length = 0;
	for (unsigned i = 0; i < ARRAY_COUNT(words) && length < sizeof(known); i++)
		length += format_text(known + length, sizeof(known) - length, "%s%s", i ? ", " : "",
				      words[i].name);
	return refuse(error, Q_INVALID, "command line: there is no word '%.40s'; there are %s",
		      name, known);
}

static q_status_t word_set(const char *name, const char *value, struct error_text *error)
{
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		const struct word *word = &words[i];
		if (strcmp(name, word->name) != 0)
			continue;
		if (word->set(word, value))
			return Q_OK;
		char good[64];
		return refuse(error, Q_INVALID, "command line: %s='%.40s': must be %s", name, value,
			      word->set == choice_set ? words_list(word->good, good, sizeof(good))
						      : word->good);
	}
	return unknown_word(name, error);
}

/* --- the line ------------------------------------------------------------------------- */

/* Copies the next word to `word`; returns what follows it, or NULL at the end. */
static const char *next_word(const char *text, char *word, size_t size_bytes)
{
	size_t length = 0;
	while (*text == ' ' || *text == '\t')
		text++;
	if (!*text)
		return NULL;
	for (; *text && *text != ' ' && *text != '\t'; text++)
		if (length + 1 < size_bytes)
			word[length++] = *text;
	word[length] = 0;
	return text;
}

q_status_t cmdline_parse(const char *text, struct error_text *error)
{
	char word[128];
	for (bool is_first = true; (text = next_word(text, word, sizeof(word))); is_first = false) {
		char *equals = strchr(word, '=');
		/* QEMU puts the image's path before the options. */
		if (is_first && !equals)
			continue;
		if (equals)
			*equals = 0;
		q_status_t status = word_set(word, equals ? equals + 1 : "", error);
		if (status != Q_OK)
			return status;
	}
	return Q_OK;
}

const struct options *options(void)
{
	return &chosen;
}
