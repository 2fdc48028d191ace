/* SPDX-License-Identifier: MIT */
#include "cmdline.h"

#include "lib/error_text.h"
#include "lib/number.h"
#include "lib/string.h"

static struct options chosen = {
	.console_port = 1, .log_level = LOG_NOTICE, .elides_zeroing = true, .works_ahead = true
};

struct choice {
	const char *word;
	int value;
};

/* The value of `word` in a table that ends with a NULL word; false if it is not there. */
static bool choose(const struct choice *table, const char *word, int *out_value)
{
	for (; table->word; table++) {
		if (strcmp(table->word, word) == 0) {
			*out_value = table->value;
			return true;
		}
	}
	return false;
}

static const struct choice consoles[] = { { "com1", 1 }, { "com2", 2 }, { NULL, 0 } };
static const struct choice levels[] = { { "error", LOG_ERROR },
					{ "notice", LOG_NOTICE },
					{ "info", LOG_INFO },
					{ "trace", LOG_TRACE },
					{ NULL, 0 } };
static const struct choice events[] = { { "json", 1 }, { NULL, 0 } };
static const struct choice exits[] = { { "poweroff", EXIT_MODE_POWEROFF },
				       { "halt", EXIT_MODE_HALT },
				       { "prompt", EXIT_MODE_PROMPT },
				       { NULL, 0 } };

static const struct choice switches[] = { { "on", 1 }, { "off", 0 }, { NULL, 0 } };

/* NULL: taken; otherwise what is wrong. */
static const char *take(const char *key, const char *value)
{
	int number;
	if (strcmp(key, "console") == 0) {
		if (!choose(consoles, value, &number))
			return "console is com1 or com2";
		chosen.console_port = (unsigned)number;
	} else if (strcmp(key, "log") == 0) {
		if (!choose(levels, value, &number))
			return "log is error, notice, info or trace";
		chosen.log_level = (enum log_level)number;
	} else if (strcmp(key, "events") == 0) {
		if (!choose(events, value, &number))
			return "events is json";
		chosen.events_json = true;
	} else if (strcmp(key, "exit") == 0) {
		if (!choose(exits, value, &number))
			return "exit is poweroff, halt or prompt";
		chosen.exit_mode = (enum exit_mode)number;
	} else if (strcmp(key, "elide") == 0) {
		if (!choose(switches, value, &number))
			return "elide is on or off";
		chosen.elides_zeroing = number;
	} else if (strcmp(key, "ahead") == 0) {
		if (!choose(switches, value, &number))
			return "ahead is on or off";
		chosen.works_ahead = number;
	} else if (strcmp(key, "memory") == 0) {
		if (size_parse(value, &chosen.memory_limit_bytes) != Q_OK ||
		    !chosen.memory_limit_bytes)
			return "memory is a size such as 512M";
	} else {
		return "unknown word";
	}
	return NULL;
}

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
	bool is_first = true;
	while ((text = next_word(text, word, sizeof(word)))) {
		char *equals = strchr(word, '=');
		/* QEMU puts the image's path before the options. */
		if (is_first && !equals) {
			is_first = false;
			continue;
		}
		is_first = false;
		if (equals)
			*equals = 0;
		const char *wrong = take(word, equals ? equals + 1 : "");
		if (wrong) {
			return refuse(error, Q_INVALID, "command line: '%s': %s", word, wrong);
		}
	}
	return Q_OK;
}

const struct options *options(void)
{
	return &chosen;
}
