/* SPDX-License-Identifier: MIT */
/* How the console finds a command, explains it, and completes what is typed. */
#include <stdio.h>
#include <stdlib.h>

#include "operator/command_words.h"
#include "operator_fixture.h"

#define ALL                                                                                    \
	"list start pause resume reset stop create destroy attach ping memory share scan-cpu " \
	"hashes exits check log reboot poweroff help"

/* --- finding ----------------------------------------------------------------------------------- */

TEST(operator_commands, a_command_may_be_shortened_while_it_is_the_only_one)
{
	operator_at_prompt();
	EXPECT_ANSWER("pi", "ping: which VM?\n");
	EXPECT_ANSWER("res", "'res' could be any of: resume reset\n");
	EXPECT_ANSWER("rese", "reset: which VM?\n");
	EXPECT_ANSWER("reset", "reset: which VM?\n");
	EXPECT_ANSWER("p", "'p' could be any of: pause ping poweroff\n");
	EXPECT_ANSWER("\"\"", "'' could be any of: " ALL "\n");
	EXPECT_ANSWER("resets", "there is no command 'resets'; try help\n");
	EXPECT_ANSWER("List", "there is no command 'List'; try help\n");
	EXPECT_DONE("");
	EXPECT_DONE("   ");
}

TEST(operator_commands, json_may_stand_anywhere)
{
	operator_at_prompt();
	EXPECT_ANSWER("--json list", "{\"vms\":[]}\n");
	EXPECT_ANSWER("list --json --json", "{\"vms\":[]}\n");
	EXPECT_ANSWER("list \"--json\"", "{\"vms\":[]}\n");
	EXPECT_DONE("--json");
	EXPECT_ANSWER("--jso", "there is no command '--jso'; try help\n");
	EXPECT_ANSWER("start --json", "start: which VM?\n");
	EXPECT_ANSWER("help --json check",
		      "check    [--json]            runs every invariant check "
		      "over all state\n");
}

TEST(operator_commands, words_are_counted_and_quotes_end)
{
	char line[256] = "list";
	operator_at_prompt();
	EXPECT_ANSWER("start \"one",
		      "the command has more than 24 words, or a quote that does not end\n");
	EXPECT_ANSWER("\"", "the command has more than 24 words, or a quote that does not end\n");
	for (unsigned i = 1; i < COMMAND_WORD_MAX; i++)
		strcat(line, " x");
	strcat(line, " --json");
	EXPECT_ANSWER(line, "{\"vms\":[]}\n");
	strcat(line, " y");
	EXPECT_ANSWER(line, "the command has more than 24 words, or a quote that does not end\n");
}

TEST(operator_commands, quotes_join_words_and_disappear)
{
	operator_at_prompt();
	EXPECT_ANSWER("start \"a b\"", "start: there is no VM 'a b'\n");
	EXPECT_ANSWER("st\"art\" a\" \"b", "start: there is no VM 'a b'\n");
	EXPECT_ANSWER("start \"\"", "start: there is no VM ''\n");
}

/* Whatever is wrong with a line of 1023 bytes is said in a line, not cut. */
TEST(operator_commands, long_words_are_not_repeated_in_full)
{
	static const char *const starts[] = { "",           "start ",    "create ",    "log ",
					      "share ",     "scan-cpu ", "memory ",    "help ",
					      "attach ",    "ping ",     "create a b", "hashes ",
					      "create a b=" };
	char line[1024];
	operator_at_prompt();
	for (unsigned i = 0; i < ARRAY_COUNT(starts); i++) {
		memset(line, 'z', sizeof(line) - 1);
		line[sizeof(line) - 1] = 0;
		memcpy(line, starts[i], strlen(starts[i]));
		const char *text = answer(line);
		EXPECT(strchr(text, '\n') == text + strlen(text) - 1);
		EXPECT(strlen(text) < 320);
	}
}

/* --- help --------------------------------------------------------------------------------------- */

TEST(operator_commands, help_lists_every_command_in_a_line)
{
	char names[512] = "";
	operator_at_prompt();
	char *text = strdup(answer("help"));
	char *line = strtok(text, "\n");
	for (; line && line[0] != 'A'; line = strtok(NULL, "\n")) {
		/* Name, arguments and help are in columns, and each has a help. */
		EXPECT(strlen(line) > 29 && line[28] == ' ' && line[29] != ' ');
		EXPECT(strlen(line) < 100);
		strncat(names, line, strcspn(line, " "));
		strcat(names, " ");
	}
	assert_string_equal(names, ALL " ");
	assert_string_equal(line, "A command may be shortened as long as no other begins so; Tab "
				  "completes it.");
	free(text);
}

TEST(operator_commands, help_explains_one_command)
{
	operator_at_prompt();
	EXPECT_ANSWER("help start",
		      "start    NAME                starts a VM that is created or stopped\n");
	EXPECT_ANSWER("help star start",
		      "start    NAME                starts a VM that is created or stopped\n");
	EXPECT_ANSWER("help rese",
		      "reset    NAME                restarts a VM, like its reset button\n");
	EXPECT_ANSWER("help help",
		      "help     [COMMAND]           this list, or one command explained\n");
	EXPECT_ANSWER("help res", "'res' could be any of: resume reset\n");
	EXPECT_ANSWER("help me out",
		      "memory   [NAME] [--json]     where the machine's memory is\n");
	EXPECT_ANSWER("help out", "there is no command 'out'; try help\n");
}

TEST(operator_commands, help_create_lists_every_key)
{
	operator_at_prompt();
	EXPECT_ANSWER(
		"help create",
		"create   NAME key=value ...  a new VM, with the keys of quire.conf\n"
		"  kernel         the name of a module\n"
		"  initrd         the name of a module\n"
		"  cmdline        at most 2047 bytes\n"
		"  firmware       the name of a module\n"
		"  memory         a number with K, M or G\n"
		"  reserve        a number with K, M or G\n"
		"  overcommit     none, zero-and-shared or full\n"
		"  priority       low, normal or high\n"
		"  bound          yes, no, or START-END with K, M or G\n"
		"  share          none, or 1 to 31 of a-z, 0-9 and '-'\n"
		"  vcpus          a number from 1 to 32\n"
		"  serial         console, log or com2\n"
		"  autostart      no or yes\n"
		"  on-reset       restart or stop\n"
		"  debug-exit     off or on\n"
		"  debug-console  off or on\n"
		"'memory' and 'kernel' are required. A value with blanks is put in double quotes: "
		"cmdline=\"console=ttyS0 quiet\"\n");
}

/* --- completing ------------------------------------------------------------------------------------ */

/* What Tab adds to a line, or what it shows before the line appears again. */
static const struct {
	const char *line, *shown;
} completions[] = {
	/* commands */
	{ "li", "st " },
	{ "list", " " },
	{ "r", "e" },
	{ "re", "\n resume reset reboot\nquire> re" },
	{ "reb", "oot " },
	{ "s", "\n start stop share scan-cpu\nquire> s" },
	{ "x", "" },
	{ "", "\n " ALL "\nquire> " },
	{ "lists", "" },
	/* names of VMs */
	{ "start ", "web-" },
	{ "start web-", "\n web-1 web-2\nquire> start web-" },
	{ "start web-1", " " },
	{ "sta w", "eb-" },
	{ "memory web-2", " " },
	{ "start x", "" },
	{ "start web-1 ", "" },
	{ "start web-1 w", "" },
	{ "ping web-1 w", "" },
	{ "help att", "ach " },
	{ "help attach p", "" },
	/* keys */
	{ "create w", "" },
	{ "create ", "" },
	{ "create new me", "mory=" },
	{ "create new memory=", "" },
	{ "create new debug", "-" },
	{ "create new debug-", "\n debug-exit= debug-console=\nquire> create new debug-" },
	{ "create new memory=4M k", "ernel=" },
	{ "create new memory=4M x", "" },
	/* a command without arguments, one that there is not, and an ambiguous one */
	{ "list ", "" },
	{ "share o", "" },
	{ "no w", "" },
	{ "re w", "" },
	/* blanks are as many as one likes */
	{ "  li", "st " },
	{ "  start  w", "eb-" },
	{ "start   web-1   w", "" },
};

TEST(operator_commands, tab_completes)
{
	operator_at_prompt();
	EXPECT_DONE("create web-1 memory=8M kernel=vmlinuz");
	EXPECT_DONE("create web-2 memory=8M kernel=vmlinuz");
	for (unsigned i = 0; i < ARRAY_COUNT(completions); i++) {
		type("\x15");
		type(completions[i].line);
		fake_console_clear();
		type("\t");
		if (strcmp(fake_console_text(), completions[i].shown) != 0)
			fail_msg("'%s' and Tab: '%s', not '%s'", completions[i].line,
				 fake_console_text(), completions[i].shown);
	}
}

/* What was added is part of the line, and Tab does not confuse the history. */
TEST(operator_commands, a_completed_line_runs)
{
	operator_at_prompt();
	EXPECT_DONE("create web-1 memory=8M kernel=vmlinuz");
	type("pau\tw\t");
	type("\r");
	assert_string_equal(vm_state_text(vm_named("web-1")), "paused");
	type("\x1b[A");
	EXPECT(strstr(fake_console_text(), "quire> pause web-1 "));
	type("\x15");
}

TEST(operator_commands, a_full_line_is_not_completed_beyond_its_end)
{
	char line[1024];
	operator_at_prompt();
	memset(line, ' ', sizeof(line));
	line[1019] = 'h';
	line[1020] = 'e';
	line[1021] = 0;
	type(line);
	fake_console_clear();
	type("\t");
	assert_string_equal(fake_console_text(), "lp");
	fake_console_clear();
	type("\t");
	type("x");
	assert_string_equal(fake_console_text(), "");
	type("\r");
	EXPECT(strstr(fake_console_text(), "this list, or one command explained"));
}
