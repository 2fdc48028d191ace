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

static struct options chosen = {
	.console_port = 1, .log_level = LOG_NOTICE, .elides_zeroing = true, .works_ahead = true
};

/* --- values --------------------------------------------------------------------------- */

#define CHOICES_MAX 4u

/* One of the values that a word takes, and the number that stands for it. */
struct choice {
	const char *name;
	unsigned number;
};

struct word {
	const char *name;
	bool (*set)(const struct word *word, const char *value); /* false: a bad value */
	size_t offset, size_bytes;                               /* of its field */
	const char *must_be;                                     /* for the error text */
	struct choice choices[CHOICES_MAX];                      /* of choice_set() */
};

/* The CPU is little endian, so a narrow field gets the number's low bytes. */
static void store(const struct word *word, uint64_t number)
{
	memcpy((uint8_t *)&chosen + word->offset, &number, word->size_bytes);
}

static bool choice_set(const struct word *word, const char *value)
{
	for (unsigned i = 0; i < CHOICES_MAX && word->choices[i].name; i++) {
		if (strcmp(value, word->choices[i].name) == 0) {
			store(word, word->choices[i].number);
			return true;
		}
	}
	return false;
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

/* In the order of docs/operating.md. */
static const struct word words[] = {
	{ "console", choice_set, FIELD(console_port), .must_be = "com1 or com2",
	  .choices = { { "com1", 1 }, { "com2", 2 } } },
	{ "log", choice_set, FIELD(log_level), .must_be = "error, notice, info or trace",
	  .choices = { { "error", LOG_ERROR },
		       { "notice", LOG_NOTICE },
		       { "info", LOG_INFO },
		       { "trace", LOG_TRACE } } },
	{ "events", choice_set, FIELD(events_json), .must_be = "json",
	  .choices = { { "json", true } } },
	{ "exit", choice_set, FIELD(exit_mode), .must_be = "poweroff, halt or prompt",
	  .choices = { { "poweroff", EXIT_MODE_POWEROFF },
		       { "halt", EXIT_MODE_HALT },
		       { "prompt", EXIT_MODE_PROMPT } } },
	{ "memory", size_set, FIELD(memory_limit_bytes),
	  .must_be = "a size above 0, such as 512M" },
	{ "ahead", choice_set, FIELD(works_ahead), .must_be = "on or off",
	  .choices = { { "on", true }, { "off", false } } },
	{ "elide", choice_set, FIELD(elides_zeroing), .must_be = "on or off",
	  .choices = { { "on", true }, { "off", false } } },
};

static q_status_t unknown_word(const char *name, struct error_text *error)
{
	char known[128];
	size_t length = 0;
	for (unsigned i = 0; i < ARRAY_COUNT(words) && length < sizeof(known); i++)
		length += format_text(known + length, sizeof(known) - length, "%s%s", i ? ", " : "",
				      words[i].name);
	return refuse(error, Q_INVALID, "command line: no word '%.40s': there are %s", name, known);
}

static q_status_t word_set(const char *name, const char *value, struct error_text *error)
{
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++) {
		const struct word *word = &words[i];
		if (strcmp(name, word->name) != 0)
			continue;
		if (word->set(word, value))
			return Q_OK;
		return refuse(error, Q_INVALID, "command line: %s='%.40s': must be %s", name, value,
			      word->must_be);
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
