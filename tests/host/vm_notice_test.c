/* SPDX-License-Identifier: MIT */
/* What happened to VMs, as a line for people and as a line for programs. */
#include "vm_fixture.h"

static struct vm *vm;

static void set_up_named(const char *name, bool events_json)
{
	set_up();
	fake_options.events_json = events_json;
	vm = create(name);
}

static bool told(const char *line)
{
	return fake_log_count(line) == 1;
}

TEST(vm_notice, a_line_has_what_there_is_to_tell)
{
	set_up_named("web", false);
	notice_vm(vm, "started", NULL, NULL);
	EXPECT(told("vm web: started\n"));
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = "power-off" }, "");
	EXPECT(told("vm web: stopped: power-off\n"));
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = "debug exit", .status = 7 }, NULL);
	EXPECT(told("vm web: stopped: debug exit, status 7\n"));
	notice_vm(vm, "paused", &(struct vm_ending){ .reason = "out of memory" }, "needs 3 pages");
	EXPECT(told("vm web: paused: out of memory (needs 3 pages)\n"));
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = NULL }, NULL);
	EXPECT(told("vm web: stopped\n"));
	EXPECT(fake_console_text()[0] == 0);
}

static bool printed(const char *line)
{
	bool is_it = strcmp(fake_console_text(), line) == 0;
	if (!is_it)
		print_message("%s", fake_console_text());
	fake_console_clear();
	return is_it;
}

TEST(vm_notice, a_program_gets_a_line_of_its_own)
{
	set_up_named("web", true);
	notice_vm(vm, "started", NULL, NULL);
	EXPECT(printed("@{\"event\":\"vm\",\"vm\":\"web\",\"state\":\"started\",\"reason\":\"\","
		       "\"status\":0}\n"));
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = "debug exit", .status = 7 },
		  "why \"not\"");
	EXPECT(printed("@{\"event\":\"vm\",\"vm\":\"web\",\"state\":\"stopped\","
		       "\"reason\":\"debug exit\",\"status\":7,\"detail\":\"why \\\"not\\\"\"}\n"));
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = NULL }, "");
	EXPECT(printed("@{\"event\":\"vm\",\"vm\":\"web\",\"state\":\"stopped\",\"reason\":\"\","
		       "\"status\":0}\n"));
}

/* The longest name, and more detail than fits. */
TEST(vm_notice, long_texts_end_in_time)
{
	char name[VM_NAME_BYTES], detail[600];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	memset(detail, '"', sizeof(detail) - 1);
	detail[sizeof(detail) - 1] = 0;
	set_up_named(name, true);
	notice_vm(vm, "stopped", &(struct vm_ending){ .reason = "cannot start" }, detail);
	size_t length = strlen(fake_console_text());
	EXPECT(length < 320 && fake_console_text()[0] == '@' &&
	       fake_console_text()[length - 1] == '\n');
	EXPECT(fake_log_contains("stopped: cannot start (\"\"\""));
}

static void waiter_make(struct memory_waiter *waiter, const char *name, uint64_t pages,
			enum gmm_priority priority)
{
	*waiter = (struct memory_waiter){ .page_count = pages, .priority = priority };
	snprintf(waiter->name, sizeof(waiter->name), "%s", name);
}

TEST(vm_notice, those_that_wait_are_listed)
{
	struct memory_waiter waiters[3];

	set_up_named("web", true);
	waiter_make(&waiters[0], "a", 1, GMM_PRIORITY_LOW);
	waiter_make(&waiters[1], "b", 2, GMM_PRIORITY_HIGH);
	notice_exhausted(waiters, 2);
	EXPECT(told("memory: exhausted, every VM waits: a (1 page, low), b (2 pages, high)\n"));
	EXPECT(printed("@{\"event\":\"memory\",\"state\":\"exhausted\",\"waiting\":["
		       "{\"vm\":\"a\",\"pages\":1,\"priority\":\"low\"},"
		       "{\"vm\":\"b\",\"pages\":2,\"priority\":\"high\"}]}\n"));
	fake_options.events_json = false;
	notice_exhausted(waiters, 1);
	EXPECT(told("every VM waits: a (1 page, low)\n") && fake_console_text()[0] == 0);
}

TEST(vm_notice, more_than_fit_are_counted)
{
	struct memory_waiter waiters[MEMORY_WAITERS_LISTED];
	char name[VM_NAME_BYTES];

	set_up_named("web", true);
	for (unsigned i = 0; i < MEMORY_WAITERS_LISTED; i++) {
		snprintf(name, sizeof(name), "%02u-is-a-very-long-name-for-a-vm", i);
		waiter_make(&waiters[i], name, ~0ull, GMM_PRIORITY_NORMAL);
	}
	notice_exhausted(waiters, MEMORY_WAITERS_LISTED);
	EXPECT(!fake_log_contains("more") && !strstr(fake_console_text(), "more"));
	EXPECT(strstr(fake_console_text(), "\"vm\":\"15-is-a-very-long-name-for-a-vm\""));
	fake_console_clear();
	notice_exhausted(waiters, MEMORY_WAITERS_LISTED + 9);
	EXPECT(fake_log_contains(" and 9 more\n"));
	size_t length = strlen(fake_console_text());
	EXPECT(strcmp(fake_console_text() + length - 12, "],\"more\":9}\n") == 0);
}
