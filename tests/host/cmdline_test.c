/* SPDX-License-Identifier: MIT */
/* Quire's command line: the values that each word takes, what they set, and the error texts. */
#include <string.h>

#include "test.h"

#include "kernel/cmdline.h"
#include "lib/error_text.h"

static struct error_text error;
static struct options defaults;

/* Before any test: what a test parses stays chosen for the tests that run after it. */
__attribute__((constructor)) static void defaults_keep(void)
{
	defaults = *options();
}

static q_status_t parse(const char *text)
{
	error.text[0] = 0;
	return cmdline_parse(text, &error);
}

TEST(cmdline, words_that_are_not_given_have_defaults)
{
	EXPECT(defaults.console_port == 1 && defaults.log_level == LOG_NOTICE);
	EXPECT(!defaults.events_json && defaults.exit_mode == EXIT_MODE_PROMPT);
	EXPECT(defaults.memory_limit_bytes == 0);
	EXPECT(defaults.works_ahead && defaults.elides_zeroing);
}

TEST(cmdline, an_empty_line_changes_nothing)
{
	EXPECT(parse("exit=halt memory=1G") == Q_OK);
	EXPECT(parse("") == Q_OK && parse(" \t ") == Q_OK);
	EXPECT(options()->exit_mode == EXIT_MODE_HALT);
	EXPECT(options()->memory_limit_bytes == 1ull << 30);
}

TEST(cmdline, the_console_is_one_of_two_ports)
{
	EXPECT(parse("console=com2") == Q_OK && options()->console_port == 2);
	EXPECT(parse("console=com1") == Q_OK && options()->console_port == 1);
}

TEST(cmdline, the_log_has_four_levels)
{
	EXPECT(parse("log=error") == Q_OK && options()->log_level == LOG_ERROR);
	EXPECT(parse("log=info") == Q_OK && options()->log_level == LOG_INFO);
	EXPECT(parse("log=trace") == Q_OK && options()->log_level == LOG_TRACE);
	EXPECT(parse("log=notice") == Q_OK && options()->log_level == LOG_NOTICE);
}

TEST(cmdline, events_are_printed_as_json)
{
	EXPECT(parse("events=json") == Q_OK && options()->events_json);
}

TEST(cmdline, the_end_is_one_of_three)
{
	EXPECT(parse("exit=poweroff") == Q_OK && options()->exit_mode == EXIT_MODE_POWEROFF);
	EXPECT(parse("exit=halt") == Q_OK && options()->exit_mode == EXIT_MODE_HALT);
	EXPECT(parse("exit=prompt") == Q_OK && options()->exit_mode == EXIT_MODE_PROMPT);
}

TEST(cmdline, memory_is_a_size)
{
	EXPECT(parse("memory=512M") == Q_OK && options()->memory_limit_bytes == 512ull << 20);
	EXPECT(parse("memory=3G") == Q_OK && options()->memory_limit_bytes == 3ull << 30);
	EXPECT(parse("memory=8192K") == Q_OK && options()->memory_limit_bytes == 8ull << 20);
	EXPECT(parse("memory=4096") == Q_OK && options()->memory_limit_bytes == 4096);
}

TEST(cmdline, switches_are_on_or_off)
{
	EXPECT(parse("ahead=off elide=off") == Q_OK);
	EXPECT(!options()->works_ahead && !options()->elides_zeroing);
	EXPECT(parse("ahead=on") == Q_OK);
	EXPECT(options()->works_ahead && !options()->elides_zeroing);
	EXPECT(parse("elide=on") == Q_OK);
	EXPECT(options()->works_ahead && options()->elides_zeroing);
}

TEST(cmdline, a_word_changes_nothing_but_its_own_field)
{
	static const char *const lines[] = { "console=com2", "log=trace", "events=json",
					     "exit=halt",    "memory=1G", "ahead=off",
					     "elide=off" };
	struct options expected = { .console_port = 2,
				    .log_level = LOG_TRACE,
				    .events_json = true,
				    .exit_mode = EXIT_MODE_HALT,
				    .memory_limit_bytes = 1ull << 30 };
	for (size_t skipped = 0; skipped < ARRAY_COUNT(lines); skipped++) {
		EXPECT(parse(lines[skipped]) == Q_OK);
		for (size_t i = 0; i < ARRAY_COUNT(lines); i++)
			EXPECT(i == skipped || parse(lines[i]) == Q_OK);
		const struct options *got = options();
		EXPECT(got->console_port == expected.console_port);
		EXPECT(got->log_level == expected.log_level);
		EXPECT(got->events_json == expected.events_json);
		EXPECT(got->exit_mode == expected.exit_mode);
		EXPECT(got->memory_limit_bytes == expected.memory_limit_bytes);
		EXPECT(got->works_ahead == expected.works_ahead);
		EXPECT(got->elides_zeroing == expected.elides_zeroing);
	}
}

TEST(cmdline, words_are_parted_by_blanks_and_the_later_one_wins)
{
	EXPECT(parse("  log=info\texit=halt   log=error ") == Q_OK);
	EXPECT(options()->log_level == LOG_ERROR && options()->exit_mode == EXIT_MODE_HALT);
}

TEST(cmdline, a_first_word_without_a_value_is_the_images_path)
{
	EXPECT(parse("build/quire.elf log=info") == Q_OK && options()->log_level == LOG_INFO);
	EXPECT(parse("quire") == Q_OK);
	EXPECT(parse("log=info quire") == Q_INVALID);
}

TEST(cmdline, the_words_before_a_bad_one_count)
{
	EXPECT(parse("log=error exit=halt") == Q_OK);
	EXPECT(parse("log=info exit=never log=trace") == Q_INVALID);
	EXPECT(options()->log_level == LOG_INFO && options()->exit_mode == EXIT_MODE_HALT);
}

#define ALL_WORDS "there are console, log, events, exit, memory, ahead, elide"

TEST(cmdline, what_is_wrong_is_named_with_what_would_be_right)
{
	static const struct {
		const char *line, *message;
	} bad[] = {
		{ "console=com3", "console='com3': must be com1 or com2" },
		{ "console=1", "console='1': must be com1 or com2" },
		{ "log=loud", "log='loud': must be error, notice, info or trace" },
		{ "log=Info", "log='Info': must be error, notice, info or trace" },
		{ "x log", "log='': must be error, notice, info or trace" },
		{ "events=xml", "events='xml': must be json" },
		{ "events=", "events='': must be json" },
		{ "exit=reboot", "exit='reboot': must be poweroff, halt or prompt" },
		{ "exit=halt=now", "exit='halt=now': must be poweroff, halt or prompt" },
		{ "memory=lots", "memory='lots': must be a size above 0, such as 512M" },
		{ "memory=0", "memory='0': must be a size above 0, such as 512M" },
		{ "memory=", "memory='': must be a size above 0, such as 512M" },
		{ "memory=1MB", "memory='1MB': must be a size above 0, such as 512M" },
		{ "memory=17179869184G",
		  "memory='17179869184G': must be a size above 0, such as 512M" },
		{ "ahead=1", "ahead='1': must be off or on" },
		{ "ahead=", "ahead='': must be off or on" },
		{ "elide=maybe", "elide='maybe': must be off or on" },
		{ "elude=on", "there is no word 'elude'; " ALL_WORDS },
		{ "=on", "there is no word ''; " ALL_WORDS },
		{ "logs=info", "there is no word 'logs'; " ALL_WORDS },
		{ "lo=info", "there is no word 'lo'; " ALL_WORDS },
	};
	for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
		EXPECT(parse(bad[i].line) == Q_INVALID);
		EXPECT(strncmp(error.text, "command line: ", 14) == 0);
		assert_string_equal(error.text + 14, bad[i].message);
	}
}

TEST(cmdline, a_long_word_leaves_room_for_what_would_be_right)
{
	char line[400];
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	line[100] = '=';
	EXPECT(parse(line) == Q_INVALID);
	assert_non_null(strstr(error.text, ALL_WORDS));
	memcpy(line, "memory=", 7);
	EXPECT(parse(line) == Q_INVALID);
	assert_non_null(strstr(error.text, "such as 512M"));
}
