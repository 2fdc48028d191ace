/* SPDX-License-Identifier: MIT */
/* The terminal: the prompt between lines of the log, history, and a VM's serial console. */
#include "kernel/console.h"
#include "operator_fixture.h"
#include "vm/vm_internal.h"

#define CTRL_CLOSE "\x1d"
#define ATTACHED   "attached to one; Ctrl-] leaves\n"
#define DETACHED   "\ndetached from one\nquire> "

/* --- the prompt ------------------------------------------------------------------------------- */

TEST(operator_console, a_line_of_the_log_does_not_break_the_prompt)
{
	operator_at_prompt();
	assert_string_equal(fake_console_text(), "quire> ");
	type("lis");
	fake_console_clear();
	console_print_line("vm one: stopped\n");
	assert_string_equal(fake_console_text(), "\r\x1b[Kvm one: stopped\nquire> lis");
	fake_console_clear();
	type("\x15");
	assert_string_equal(fake_console_text(), "\r\x1b[Kquire> ");
}

/* Programs read events, each at the start of a line. */
TEST(operator_console, an_event_begins_a_line)
{
	operator_at_prompt();
	fake_options.events_json = true;
	type("lis");
	fake_console_clear();
	console_print_line("@{}\n");
	assert_string_equal(fake_console_text(), "\n@{}\nquire> lis");
	type("\x15");
	EXPECT_ANSWER("create one memory=8M kernel=vmlinuz",
		      "quire> \n@{\"event\":\"vm\",\"vm\":\"one\",\"state\":\"started\","
		      "\"reason\":\"\",\"status\":0}\n");
}

/* While a command runs there is no prompt to be hidden. */
TEST(operator_console, a_line_of_the_log_inside_a_command_stands_alone)
{
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz");
	fake_options.events_json = true;
	EXPECT_ANSWER("pause one", "@{\"event\":\"vm\",\"vm\":\"one\",\"state\":\"paused\","
				   "\"reason\":\"by the operator\",\"status\":0}\n");
}

TEST(operator_console, keys_edit_and_show_what_they_do)
{
	operator_at_prompt();
	fake_console_clear();
	type("px\bo\x7fing a\r");
	assert_string_equal(fake_console_text(),
			    "px\b \bo\b \bing a\nping: there is no VM 'a'\nquire> ");
}

TEST(operator_console, earlier_lines_come_back)
{
	operator_at_prompt();
	EXPECT_ANSWER("ping a", "ping: there is no VM 'a'\n");
	EXPECT_ANSWER("ping b", "ping: there is no VM 'b'\n");
	fake_console_clear();
	type("\x1b[A\x1b[A");
	assert_string_equal(fake_console_text(), "\r\x1b[Kquire> ping b\r\x1b[Kquire> ping a");
	fake_console_clear();
	type("\r");
	assert_string_equal(fake_console_text(), "\nping: there is no VM 'a'\nquire> ");
	fake_console_clear();
	type("\x1b[A\x1b[B");
	assert_string_equal(fake_console_text(), "\r\x1b[Kquire> ping a\r\x1b[Kquire> ");
}

TEST(operator_console, a_full_line_takes_no_more)
{
	static char line[2049];
	operator_at_prompt();
	memset(line, 'x', sizeof(line) - 1);
	fake_console_clear();
	type(line);
	EXPECT(strlen(fake_console_text()) == 1023);
	/* Nor does it break the prompt, which shows all of it. */
	fake_console_clear();
	console_print_line("log\n");
	EXPECT(strlen(fake_console_text()) == strlen("\r\x1b[Klog\nquire> ") + 1023);
	fake_console_clear();
	type("\r");
	EXPECT(strstr(fake_console_text(), "there is no command 'xxx"));
	fake_console_clear();
	type("\x1b[A");
	EXPECT(strlen(fake_console_text()) == strlen("\r\x1b[Kquire> ") + 1023);
}

TEST(operator_console, several_lines_at_once_are_several_commands)
{
	operator_at_prompt();
	fake_console_clear();
	type("ping a\r\nping b\nping c\r");
	assert_string_equal(fake_console_text(), "ping a\nping: there is no VM 'a'\nquire> "
						 "ping b\nping: there is no VM 'b'\nquire> "
						 "ping c\nping: there is no VM 'c'\nquire> ");
}

/* What a line noise or a cat of a binary file would type. */
TEST(operator_console, nothing_that_is_typed_is_too_much)
{
	uint32_t random = 1;
	uint8_t bytes[512];
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz");
	for (unsigned round = 0; round < 400; round++) {
		for (unsigned i = 0; i < sizeof(bytes); i++) {
			random = random * 1664525 + 1013904223;
			bytes[i] = (uint8_t)(random >> 24);
		}
		fake_console_clear();
		type_bytes(bytes, sizeof(bytes));
		EXPECT(!fake_console_was_cut());
	}
	type(CTRL_CLOSE "\x15");
	assert_string_equal(answer("pause one"), "");
}

/* --- attached ---------------------------------------------------------------------------------------- */

static void attach(void)
{
	fake_console_clear();
	type("attach one\r");
}

static void one_runs(void)
{
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz");
	guest_room = 1000;
}

TEST(operator_console, what_the_guest_says_is_shown_and_what_is_typed_reaches_it)
{
	one_runs();
	guest_prints("one", "before ");
	attach();
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED "before ");
	guest_prints("one", "login: ");
	type("root\r\x03\xff\t");
	assert_string_equal(guest_typed, "root\r\x03\xff\t");
	type("a" CTRL_CLOSE);
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED "before login: " DETACHED);
	/* The VM's end wakes nobody now. */
	EXPECT(!vm_named("one")->watcher);
	/* What came together with Ctrl-] is the guest's, too; what follows is a command. */
	assert_string_equal(guest_typed, "root\r\x03\xff\ta");
	fake_console_clear();
	guest_prints("one", "unseen");
	assert_string_equal(fake_console_text(), "");
	EXPECT_DONE("pause one");
}

TEST(operator_console, the_guests_end_leaves)
{
	one_runs();
	attach();
	guest_prints("one", "bye");
	guest_power("one", VPC_POWER_OFF, 0);
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED "bye" DETACHED);
	EXPECT_ANSWER("pause one", "pause: not possible: one is stopped\n");
}

TEST(operator_console, a_guest_that_resets_itself_stays_attached)
{
	one_runs();
	attach();
	guest_power("one", VPC_POWER_RESET, 0);
	type("x");
	assert_string_equal(guest_typed, "x");
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED);
}

TEST(operator_console, a_vm_that_is_off_shows_what_it_said_and_is_left)
{
	one_runs();
	guest_prints("one", "last words");
	EXPECT_DONE("stop one");
	attach();
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED "last words" DETACHED);
	assert_string_equal(guest_typed, "");
}

TEST(operator_console, a_paused_vm_is_attached_too)
{
	one_runs();
	EXPECT_DONE("pause one");
	attach();
	type("x");
	assert_string_equal(guest_typed, "x");
	type(CTRL_CLOSE);
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED DETACHED);
}

TEST(operator_console, what_the_guest_does_not_take_waits)
{
	one_runs();
	attach();
	guest_room = 2;
	type("abcdef");
	assert_string_equal(guest_typed, "ab");
	guest_room = 3;
	assert_string_equal(guest_typed, "ab");
	time_passes();
	assert_string_equal(guest_typed, "abcde");
	type("gh");
	guest_room = 100;
	time_passes();
	assert_string_equal(guest_typed, "abcdefgh");
	type(CTRL_CLOSE);
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED DETACHED);
}

/* Or a guest that hangs would keep the operator. */
TEST(operator_console, a_guest_that_takes_nothing_can_be_left)
{
	char many[400];
	one_runs();
	guest_room = 0;
	attach();
	memset(many, 'x', sizeof(many));
	type_bytes(many, sizeof(many));
	type_bytes(many, sizeof(many));
	type(CTRL_CLOSE);
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED DETACHED);
	/* It got nothing, and the next one who attaches begins anew. */
	guest_room = 1000;
	attach();
	type("y");
	assert_string_equal(guest_typed, "y");
}

/* 512 bytes wait, in their order; what is more is lost. */
TEST(operator_console, a_guest_gets_what_was_typed_ahead_in_order)
{
	char many[600];
	one_runs();
	guest_room = 0;
	attach();
	for (unsigned i = 0; i < sizeof(many); i++)
		many[i] = (char)('a' + i % 26);
	type_bytes(many, sizeof(many));
	for (unsigned i = 0; i < 60; i++) {
		guest_room = 10;
		time_passes();
	}
	EXPECT(strlen(guest_typed) == 512 && memcmp(guest_typed, many, 512) == 0);
}

TEST(operator_console, attach_goes_from_one_vm_to_another)
{
	one_runs();
	EXPECT_DONE("create two memory=8M kernel=vmlinuz");
	attach();
	type(CTRL_CLOSE "attach two\r");
	guest_prints("one", "1");
	guest_prints("two", "2");
	assert_string_equal(fake_console_text(), "attach one\n" ATTACHED DETACHED
						 "attach two\nattached to two; Ctrl-] leaves\n2");
	/* Each end wakes the terminal only if it is that VM's. */
	guest_power("one", VPC_POWER_OFF, 0);
	type("x");
	assert_string_equal(guest_typed, "x");
}
