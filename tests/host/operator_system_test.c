/* SPDX-License-Identifier: MIT */
/* The console's commands about Quire itself, its switches, and the pages' hashes. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>

#include "mm/gmm/gmm_internal.h"
#include "mm/share/share.h"
#include "operator/commands.h"
#include "vm/vm_internal.h"

#include "operator_fixture.h"

/* --- check, log, the end -------------------------------------------------------------------------- */

TEST(operator_system, check_looks_at_everything)
{
	operator_at_prompt();
	EXPECT_ANSWER("check", "ok\n");
	EXPECT(leaves_checked == 1 && scans_checked == 1 && machines_checked == 0);
	EXPECT_DONE("create one memory=8M kernel=vmlinuz");
	EXPECT_DONE("create two memory=8M kernel=vmlinuz autostart=no");
	EXPECT_ANSWER("check --json", "{\"check\":\"ok\"}\n");
	EXPECT(leaves_checked == 2 && scans_checked == 2 && machines_checked == 2);
}

static bool check_dies_of(void (*damage)(void))
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		char line[] = "check";
		close(STDERR_FILENO);
		damage();
		command_run(line);
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void damage_nothing(void)
{
}

static void damage_gmm(void)
{
	gmm.private_free_pages++;
}

static void damage_vm(void)
{
	vm_named("one")->hold |= VM_HOLD_MEMORY;
}

TEST(operator_system, check_stops_quire_where_something_is_wrong)
{
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz");
	EXPECT(!check_dies_of(damage_nothing));
	EXPECT(check_dies_of(damage_gmm));
	EXPECT(check_dies_of(damage_vm));
}

TEST(operator_system, the_log_is_shown_or_its_level_set)
{
	static const struct {
		const char *line, *done;
	} rows[] = {
		{ "log", "show" },         { "log error", "level 0" }, { "log notice", "level 1" },
		{ "log info", "level 2" }, { "log trace", "level 3" },
	};
	operator_at_prompt();
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		EXPECT_DONE(rows[i].line);
		assert_string_equal(log_command, rows[i].done);
	}
	EXPECT_ANSWER("log debug", "log: 'debug': the levels are error, notice, info and trace\n");
	EXPECT_ANSWER("log \"\"", "log: '': the levels are error, notice, info and trace\n");
	assert_string_equal(log_command, "level 3");
}

TEST(operator_system, reboot_and_poweroff_do_not_come_back)
{
	operator_at_prompt();
	EXPECT_DONE("reboot");
	assert_string_equal(fake_power(), "reboot");
	operator_at_prompt();
	EXPECT_DONE("poweroff");
	assert_string_equal(fake_power(), "off 0");
}

TEST(operator_system, the_status_says_whether_a_vm_failed)
{
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz debug-exit=on");
	EXPECT_DONE("create two memory=8M kernel=vmlinuz");
	guest_power("one", VPC_POWER_DEBUG_EXIT, 1);
	EXPECT_DONE("poweroff");
	assert_string_equal(fake_power(), "off 1");
	/* A VM that failed, and was started again and went well, has not. */
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz debug-exit=on");
	guest_power("one", VPC_POWER_DEBUG_EXIT, 1);
	EXPECT_DONE("start one");
	guest_power("one", VPC_POWER_DEBUG_EXIT, 0);
	EXPECT_DONE("poweroff");
	assert_string_equal(fake_power(), "off 0");
}

/* --- the sharing scanner ----------------------------------------------------------------------------- */

TEST(operator_system, the_scanner_is_switched)
{
	operator_at_prompt();
	EXPECT(scan_is_on && scan_cpu_percent == 2);
	EXPECT_DONE("share off");
	EXPECT(!scan_is_on);
	EXPECT_DONE("share off");
	EXPECT_DONE("share on");
	EXPECT(scan_is_on);
	EXPECT_ANSWER("share yes", "share: 'yes': it must be on, off, or nothing\n");
	EXPECT_ANSWER("share yes --json", "share: 'yes': it must be on, off, or nothing\n");
	/* Nothing in quotes is nothing. */
	EXPECT(strncmp(answer("share \"\""), "scanner ", 8) == 0);
}

TEST(operator_system, the_scanner_gets_its_share_of_a_cpu)
{
	static const char *const bad[] = {
		"0", "101", "-1", "1x", "", "x", "99999999999999999999"
	};
	char line[64], text[128];
	operator_at_prompt();
	EXPECT_DONE("scan-cpu 1");
	EXPECT(scan_cpu_percent == 1);
	EXPECT_DONE("scan-cpu 100");
	EXPECT(scan_cpu_percent == 100);
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
		snprintf(line, sizeof(line), "scan-cpu \"%s\"", bad[i]);
		snprintf(text, sizeof(text), "scan-cpu: '%s': it must be a number from 1 to 100\n",
			 bad[i]);
		EXPECT_ANSWER(line, text);
	}
	EXPECT_ANSWER("scan-cpu", "scan-cpu: '': it must be a number from 1 to 100\n");
	EXPECT(scan_cpu_percent == 100);
}

/* --- hashes ---------------------------------------------------------------------------------------- */

static uint64_t hash_at(const char *name, uint64_t frame)
{
	struct pgm_page_view view;
	uint64_t hash;
	EXPECT(pgm_page_look(vm_pgm(vm_named(name)), gfn(frame), &view));
	EXPECT(share_hash(view.id, &hash));
	return hash;
}

/* Replaces a page by a shared one of the same content. */
static void share(const char *name, uint64_t frame)
{
	struct pgm *pgm = vm_pgm(vm_named(name));
	struct pgm_page_view view;
	struct gmm_page page;
	EXPECT(pgm_page_look(pgm, gfn(frame), &view));
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_page_copy(page.id, view.id);
	EXPECT(pgm_page_monitor(pgm, gfn(frame), view.id) == Q_OK);
	EXPECT(pgm_page_share(pgm, gfn(frame), view.id, page.id) == Q_OK);
}

/* Eight in a line, consecutive frames; a page without a hash ends the line. */
TEST(operator_system, hashes_of_every_page_that_is_there)
{
	char text[1024] = "hashes one lab 200";
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz share=lab autostart=no");
	EXPECT_DONE("create two memory=8M kernel=vmlinuz share=none autostart=no");
	guest_touches("one", 0x200, 10);
	guest_touches("one", 0x20b, 1);
	guest_touches("one", 0x7ff, 1); /* the last frame of RAM */
	guest_touches("two", 0, 1);
	share("one", 0x201);
	for (uint64_t i = 0x200; i < 0x20a; i++) {
		size_t used = strlen(text);
		snprintf(text + used, sizeof(text) - used, "%s %s%016" PRIx64,
			 i == 0x208 ? "\nhashes one lab 208" : "", i == 0x201 ? "=" : "",
			 hash_at("one", i));
	}
	size_t used = strlen(text);
	used += (size_t)snprintf(text + used, sizeof(text) - used,
				 "\nhashes one lab 20b %016" PRIx64
				 "\nhashes one lab 7ff %016" PRIx64 "\n",
				 hash_at("one", 0x20b), hash_at("one", 0x7ff));
	char *end = text + used;
	snprintf(end, sizeof(text) - used, "hashes end\n");
	EXPECT_ANSWER("hashes one", text);
	snprintf(end, sizeof(text) - used, "hashes two - 0 %016" PRIx64 "\nhashes end\n",
		 hash_at("two", 0));
	EXPECT_ANSWER("hashes", text);
	EXPECT_ANSWER("hashes three", "hashes: there is no VM 'three'\n");
	/* A page of each content has a hash of its own. */
	EXPECT(hash_at("one", 0x200) != hash_at("one", 0x202));
}

/* The longest line: it is not cut. */
TEST(operator_system, long_names_leave_room_for_hashes)
{
	operator_at_prompt();
	EXPECT_DONE("create a-name-of-31-characters-is-long memory=8M kernel=vmlinuz "
		    "share=a-group-of-31-characters-is-lon autostart=no");
	guest_touches("a-name-of-31-characters-is-long", 0x7f8, 8);
	for (uint64_t i = 0x7f8; i < 0x800; i++)
		share("a-name-of-31-characters-is-long", i);
	const char *text = answer("hashes");
	EXPECT(strlen(text) == strlen("hashes a-name-of-31-characters-is-long "
				      "a-group-of-31-characters-is-lon 7f8") +
				       8 * 18 + 1 + strlen("hashes end\n"));
}

TEST(operator_system, hashes_of_nothing)
{
	operator_at_prompt();
	EXPECT_ANSWER("hashes", "hashes end\n");
	EXPECT_DONE("create one memory=8M kernel=vmlinuz autostart=no");
	EXPECT_ANSWER("hashes", "hashes end\n");
}

/* Hashing takes long: guests go on meanwhile. */
TEST(operator_system, hashes_let_others_run)
{
	operator_at_prompt();
	EXPECT_DONE("create one memory=8M kernel=vmlinuz autostart=no");
	const struct thread *operator= fake_thread_find("operator");
	unsigned before = fake_thread_yields(operator);
	EXPECT_ANSWER("hashes", "hashes end\n");
	EXPECT(fake_thread_yields(operator) == before);
	fake_should_yield_set(true);
	EXPECT_ANSWER("hashes", "hashes end\n");
	EXPECT(fake_thread_yields(operator) - before >= 2048);
	fake_should_yield_set(false);
}
