/* SPDX-License-Identifier: MIT */
/* From quire.conf to the prompt: what starts, what is refused, and how Quire's run ends. */
#include <stdio.h>
#include <stdlib.h>

#include "seam/seam.h"

#include "operator_fixture.h"

#define VM(name) "[vm " name "]\nkernel = vmlinuz\nmemory = 8M\n"

static void expect_refused(const char *conf, q_status_t status, const char *error)
{
	operator_set_up();
	EXPECT(operator_boot(conf) == status);
	assert_string_equal(boot_error.text, error);
	/* Nobody would read it. */
	assert_string_equal(fake_console_text(), "");
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		EXPECT(vm_state(vm) == VM_CREATED);
}

static void boot(const char *conf)
{
	operator_set_up();
	EXPECT(operator_boot(conf) == Q_OK);
	assert_string_equal(boot_error.text, "");
}

static const char *state_of(const char *name)
{
	return vm_state_text(vm_named(name));
}

/* --- refused ---------------------------------------------------------------------------------------- */

TEST(operator_start, without_a_configuration)
{
	expect_refused(NULL, Q_NOT_FOUND, "there is no boot module quire.conf");
}

TEST(operator_start, with_an_error_in_the_configuration)
{
	expect_refused("[vm a]\nmemory = 1\n", Q_INVALID,
		       "quire.conf:1: vm a: 'kernel' is missing");
	expect_refused(VM("a") "\n[vm b]\nvcpus = none\nshare =\n", Q_INVALID,
		       "quire.conf:6: vm b: vcpus = 'none': must be a number from 1 to 32");
	EXPECT(fake_log_contains("quire.conf:7: vm b: share = '': must be none, or 1 to 31"));
	/* Nothing was even tried. */
	EXPECT(!vm_find("a") && scan_config.cpu_percent == 0);
}

TEST(operator_start, all_vms_that_cannot_be_created_are_named)
{
	expect_refused(VM("a") "[vm b]\nkernel = bzImage\nmemory = 8M\n"
			       "[vm c]\nkernel = quire.conf\nmemory = 8M\n" VM(
				       "d") "[vm e]\nkernel = vmlinuz\nmemory = 1G\nreserve = 1G\n",
		       Q_NOT_FOUND,
		       "quire.conf:4: vm b: kernel = bzImage: there is no such boot module; there "
		       "are vmlinuz, quire.conf");
	const char *log = fake_log_text(), *first = "quire.conf:7: vm c: 'quire.conf' is no Linux "
						    "bzImage\nquire.conf:13: vm e: reservation of "
						    "1024M refused: ";
	EXPECT(strncmp(log, first, strlen(first)) == 0);
	EXPECT(strchr(log + strlen(first), '\n')[1] == 0);
	assert_string_equal(state_of("a"), "created");
}

TEST(operator_start, without_memory_for_the_threads_of_idle_time)
{
	operator_set_up();
	scan_start_status = Q_NO_MEMORY;
	EXPECT(operator_boot(VM("a")) == Q_NO_MEMORY);
	assert_string_equal(boot_error.text, "no memory for the threads that use idle time");
	operator_set_up();
	zero_ahead_start_status = Q_NO_MEMORY;
	EXPECT(operator_boot(VM("a")) == Q_NO_MEMORY);
	assert_string_equal(boot_error.text, "no memory for the threads that use idle time");
	EXPECT(!vm_find("a"));
}

TEST(operator_start, without_memory_for_its_thread_or_the_configuration)
{
	operator_set_up();
	fake_thread_create_fail_at(1);
	EXPECT(operator_boot(VM("a")) == Q_NO_MEMORY);
	assert_string_equal(boot_error.text, "no memory for the operator's thread");
	operator_set_up();
	fake_heap_fail_at(1);
	EXPECT(operator_boot(VM("a") VM("b") "[machine]\n") == Q_NO_MEMORY);
	assert_string_equal(boot_error.text, "no memory for the configuration of 3 VMs");
	EXPECT(fake_heap_blocks() == 0);
}

/* What is typed is answered at once, however much the guests do. */
TEST(operator_start, its_thread_is_urgent)
{
	boot(VM("a"));
	EXPECT(fake_thread_priority(fake_thread_find("operator")) == THREAD_INTERACTIVE);
}

/* More VMs than there can be are refused by a line of the file, not by the memory for them. */
TEST(operator_start, with_more_vms_than_can_be_told_apart)
{
	size_t used = 0, room = (GMM_VM_LAST + 2) * 64;
	char *text = malloc(room), error[128];
	for (unsigned i = 0; i <= GMM_VM_LAST; i++)
		used += (size_t)snprintf(text + used, room - used,
					 "[vm v%u]\nkernel=vmlinuz\nmemory=8M\n", i);
	snprintf(error, sizeof(error), "quire.conf:%u: vm v%u: there may be ", GMM_VM_LAST * 3 + 1,
		 GMM_VM_LAST);
	operator_set_up();
	EXPECT(operator_boot(text) == Q_LIMIT);
	EXPECT(strncmp(boot_error.text, error, strlen(error)) == 0);
	snprintf(error, sizeof(error), "%u VMs", GMM_VM_LAST);
	EXPECT(strstr(boot_error.text, error));
	free(text);
}

/* --- started ----------------------------------------------------------------------------------------- */

TEST(operator_start, what_the_machine_is_told_arrives)
{
	boot("[machine]\nscan = off\nscan-cpu = 7\nscan-memory = 64K\n");
	EXPECT(!scan_config.is_on && scan_config.cpu_percent == 7);
	EXPECT(scan_config.size_bytes == 65536);
	boot("");
	EXPECT(scan_config.is_on && scan_config.cpu_percent == 2 && scan_config.size_bytes == 0);
}

TEST(operator_start, vms_start_unless_they_are_told_not_to)
{
	boot(VM("a") VM("b") "autostart = no\n" VM("c") "autostart = yes\n");
	assert_string_equal(state_of("a"), "running");
	assert_string_equal(state_of("b"), "created");
	assert_string_equal(state_of("c"), "running");
	assert_string_equal(fake_console_text(), "quire> ");
	EXPECT_DONE("start b");
	assert_string_equal(state_of("b"), "running");
}

/* The configuration's memory is given back; VMs and their threads are what is left. */
TEST(operator_start, the_configuration_is_not_kept)
{
	boot("[machine]\n# nothing\n");
	EXPECT(fake_heap_blocks() == 0);
}

TEST(operator_start, the_only_console_is_attached)
{
	boot(VM("a") "serial = log\n" VM("b"));
	assert_string_equal(fake_console_text(), "attached to b; Ctrl-] leaves\n");
	guest_room = 10;
	type("x\x1d");
	assert_string_equal(guest_typed, "x");
	assert_string_equal(fake_console_text(),
			    "attached to b; Ctrl-] leaves\n\ndetached from b\nquire> ");
}

TEST(operator_start, the_console_that_was_asked_for_is_attached)
{
	boot("[machine]\nattach = b\n" VM("a") VM("b"));
	assert_string_equal(fake_console_text(), "attached to b; Ctrl-] leaves\n");
	/* One that does not run is left at once. */
	boot("[machine]\nattach = b\n" VM("a") VM("b") "autostart = no\n");
	assert_string_equal(fake_console_text(),
			    "attached to b; Ctrl-] leaves\n\ndetached from b\nquire> ");
}

/* --- the end ------------------------------------------------------------------------------------------- */

static void boot_with(enum exit_mode mode, const char *conf)
{
	operator_set_up();
	fake_options.exit_mode = mode;
	EXPECT(operator_boot(conf) == Q_OK);
}

TEST(operator_start, without_a_vm_that_runs_it_ends_as_exit_says)
{
	boot_with(EXIT_MODE_PROMPT, "");
	assert_string_equal(fake_power(), "");
	assert_string_equal(fake_console_text(), "quire> ");
	boot_with(EXIT_MODE_POWEROFF, "");
	assert_string_equal(fake_power(), "off 0");
	assert_string_equal(fake_console_text(), "");
	boot_with(EXIT_MODE_HALT, VM("a") "autostart = no\n");
	assert_string_equal(fake_power(), "halt 0");
}

TEST(operator_start, the_last_vms_end_is_the_machines)
{
	boot_with(EXIT_MODE_POWEROFF, VM("a") "debug-exit = on\n" VM("b"));
	assert_string_equal(fake_power(), "");
	guest_power("a", VPC_POWER_DEBUG_EXIT, 7);
	assert_string_equal(fake_power(), "");
	guest_power("b", VPC_POWER_OFF, 0);
	assert_string_equal(fake_power(), "off 1");
	boot_with(EXIT_MODE_POWEROFF, VM("a") "on-reset = stop\n");
	guest_power("a", VPC_POWER_RESET, 0);
	assert_string_equal(fake_power(), "off 0");
}

/* Also a VM that the operator stops: nobody is left to type at, unless exit=prompt. */
TEST(operator_start, a_stop_at_the_prompt_may_be_the_end)
{
	boot_with(EXIT_MODE_HALT, VM("a") VM("b"));
	EXPECT_DONE("stop a");
	type("stop b\r");
	assert_string_equal(fake_power(), "halt 0");
	boot_with(EXIT_MODE_PROMPT, VM("a"));
	type("\x1d");
	EXPECT_DONE("stop a");
	EXPECT_DONE("start a");
	assert_string_equal(state_of("a"), "running");
}
