/* SPDX-License-Identifier: MIT */
/* The console's commands about VMs' lives: what each does in each state, and what it says. */
#include <stdio.h>

#include "operator_fixture.h"

#define CREATE "create one memory=8M kernel=vmlinuz"

/* --- states and changes ------------------------------------------------------------------------ */

static void be_created(void)
{
	EXPECT_DONE(CREATE " autostart=no");
}

static void be_running(void)
{
	EXPECT_DONE(CREATE);
}

static void be_paused(void)
{
	be_running();
	EXPECT_DONE("pause one");
}

static void be_out_of_memory(void)
{
	EXPECT_DONE(CREATE " reserve=4K");
	EXPECT_DONE("create hog memory=1G kernel=vmlinuz autostart=no reserve=4K");
	guest_takes_all("hog");
	guest_takes_all("one");
	guest_wants_memory("one", 1);
}

static void be_stopped(void)
{
	be_running();
	EXPECT_DONE("stop one");
}

static void be_failed(void)
{
	EXPECT_DONE(CREATE " debug-exit=on");
	guest_power("one", VPC_POWER_DEBUG_EXIT, 3);
}

static const struct {
	const char *state;
	void (*be)(void);
} states[] = {
	{ "created", be_created }, { "running", be_running },
	{ "paused", be_paused },   { "paused (out of memory)", be_out_of_memory },
	{ "stopped", be_stopped }, { "stopped (failed)", be_failed },
};

/* The state that a command leaves, for each state above; NULL: refused. "": the VM is gone. */
static const struct {
	const char *command;
	const char *leaves[ARRAY_COUNT(states)];
} changes[] = {
	{ "start", { "running", NULL, NULL, NULL, "running", "running" } },
	{ "pause", { NULL, "paused", NULL, "paused", NULL, NULL } },
	{ "resume", { NULL, NULL, "running", NULL, NULL, NULL } },
	{ "reset", { NULL, "running", "paused", "running", NULL, NULL } },
	{ "stop", { NULL, "stopped", "stopped", "stopped", NULL, NULL } },
	{ "destroy", { "", NULL, NULL, NULL, "", "" } },
};

static void expect_state(const char *state)
{
	if (state[0])
		assert_string_equal(vm_state_text(vm_named("one")), state);
	else
		EXPECT(!vm_find("one"));
}

TEST(operator_life, each_command_in_each_state)
{
	char line[64], refusal[96];
	for (unsigned c = 0; c < ARRAY_COUNT(changes); c++)
		for (unsigned s = 0; s < ARRAY_COUNT(states); s++) {
			const char *leaves = changes[c].leaves[s];
			operator_at_prompt();
			states[s].be();
			expect_state(states[s].state);
			snprintf(line, sizeof(line), "%s one", changes[c].command);
			snprintf(refusal, sizeof(refusal), "%s: not possible: one is %s\n",
				 changes[c].command, states[s].state);
			EXPECT_ANSWER(line, leaves ? "" : refusal);
			expect_state(leaves ? leaves : states[s].state);
		}
}

TEST(operator_life, a_paused_vm_is_reset_and_stays_paused)
{
	operator_at_prompt();
	be_paused();
	EXPECT_DONE("reset one");
	EXPECT_DONE("resume one");
	expect_state("running");
}

TEST(operator_life, what_needs_a_vm_says_so)
{
	static const char *const commands[] = { "start", "pause",   "resume", "reset",
						"stop",  "destroy", "attach", "ping" };
	char line[64], text[96];
	operator_at_prompt();
	for (unsigned i = 0; i < ARRAY_COUNT(commands); i++) {
		snprintf(text, sizeof(text), "%s: which VM?\n", commands[i]);
		EXPECT_ANSWER(commands[i], text);
		snprintf(line, sizeof(line), "%s two", commands[i]);
		snprintf(text, sizeof(text), "%s: there is no VM 'two'\n", commands[i]);
		EXPECT_ANSWER(line, text);
	}
}

/* A guest that is off lends its guarantee to others, who may not have returned it. */
TEST(operator_life, a_start_says_who_has_the_reservation)
{
	unsigned left;
	operator_at_prompt();
	EXPECT_DONE("create one memory=40M reserve=40M kernel=vmlinuz");
	EXPECT_DONE("stop one");
	EXPECT_DONE("create two memory=40M reserve=32M kernel=vmlinuz");
	EXPECT(sscanf(answer("start one"),
		      "start: not possible: one reserves 40M, of which %uM can be promised now; "
		      "stop or destroy another VM\n",
		      &left) == 1);
	/* Tables, records and heap are the rest. */
	EXPECT(left >= 64 - 32 - 8 && left < 40);
	expect_state("stopped");
	EXPECT_DONE("stop two");
	EXPECT_DONE("start one");
	expect_state("running");
}

TEST(operator_life, a_vm_that_was_destroyed_leaves_nothing)
{
	struct gmm_stats before, after;
	operator_at_prompt();
	be_stopped();
	EXPECT_DONE("destroy one");
	gmm_stats(&before);
	unsigned objects = fake_heap_blocks();
	be_running();
	guest_touches("one", 300, 20);
	EXPECT_DONE("stop one");
	EXPECT_DONE("destroy one");
	gmm_stats(&after);
	EXPECT(fake_heap_blocks() == objects);
	EXPECT(after.vm_count == 0 && after.reserved_pages == before.reserved_pages);
	EXPECT(after.private_pages == 0);
}

/* --- create --------------------------------------------------------------------------------------- */

/* For each key a value that is taken with those of `with`, and one that is not. */
static const struct {
	const char *key, *good, *with, *bad;
} keys[] = {
	{ "kernel", "vmlinuz", "memory=8M", "\"\"" },
	{ "initrd", "vmlinuz", "memory=8M kernel=vmlinuz", "\"\"" },
	{ "cmdline", "\"quiet  root=/dev/sda\"", "memory=8M kernel=vmlinuz", NULL },
	{ "firmware", NULL, "memory=8M kernel=vmlinuz", "\"\"" },
	{ "memory", "8M", "kernel=vmlinuz", "4m" },
	{ "reserve", "2M", "memory=8M kernel=vmlinuz", "2MB" },
	{ "overcommit", "zero-and-shared", "memory=8M kernel=vmlinuz", "zero" },
	{ "priority", "high", "memory=8M kernel=vmlinuz", "High" },
	{ "bound", "yes", "memory=8M kernel=vmlinuz overcommit=none share=none", "5M-4M" },
	{ "share", "lab", "memory=8M kernel=vmlinuz", "La" },
	{ "vcpus", "3", "memory=8M kernel=vmlinuz", "33" },
	{ "serial", "log", "memory=8M kernel=vmlinuz", "com1" },
	{ "autostart", "no", "memory=8M kernel=vmlinuz", "off" },
	{ "on-reset", "stop", "memory=8M kernel=vmlinuz", "start" },
	{ "debug-exit", "on", "memory=8M kernel=vmlinuz", "yes" },
	{ "debug-console", "on", "memory=8M kernel=vmlinuz", "1" },
};

static void expect_values_arrived(void)
{
	const struct vm_config *vm = vm_configuration(vm_named("all"));
	assert_string_equal(vm->kernel, "vmlinuz");
	assert_string_equal(vm->initrd, "vmlinuz");
	assert_string_equal(vm->cmdline, "quiet  root=/dev/sda");
	EXPECT(vm->memory_bytes == 8 << 20 && vm->reserve_bytes == 2 << 20);
	EXPECT(vm->overcommit == GMM_OVERCOMMIT_ZERO_AND_SHARED);
	EXPECT(vm->priority == GMM_PRIORITY_HIGH && strcmp(vm->share, "lab") == 0);
	EXPECT(vm->vcpu_count == 3 && vm->serial == SERIAL_LOG && !vm->autostart);
	EXPECT(vm->on_reset == VM_ON_RESET_STOP && vm->debug_exit && vm->debug_console);
}

TEST(operator_life, create_takes_every_key)
{
	char line[512], all[512] = "create all bound=no";
	operator_at_prompt();
	for (unsigned i = 0; i < ARRAY_COUNT(keys); i++) {
		if (!keys[i].good)
			continue;
		snprintf(line, sizeof(line), "create one %s %s=%s", keys[i].with, keys[i].key,
			 keys[i].good);
		EXPECT_DONE(line);
		(void)answer("stop one");
		EXPECT_DONE("destroy one");
		if (strcmp(keys[i].key, "bound") != 0)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), " %s=%s",
				 keys[i].key, keys[i].good);
	}
	EXPECT_DONE(all);
	expect_values_arrived();
}

TEST(operator_life, create_refuses_a_bad_value_of_every_key)
{
	char line[256], text[128];
	operator_at_prompt();
	for (unsigned i = 0; i < ARRAY_COUNT(keys); i++) {
		if (!keys[i].bad)
			continue;
		const char *bad = strcmp(keys[i].bad, "\"\"") == 0 ? "" : keys[i].bad;
		snprintf(line, sizeof(line), "create one %s=%s", keys[i].key, keys[i].bad);
		snprintf(text, sizeof(text), "create: vm one: %s = '%s': must be ", keys[i].key,
			 bad);
		const char *said = answer(line);
		if (strncmp(said, text, strlen(text)) != 0)
			fail_msg("'%s' said '%s', not '%s'", line, said, text);
		/* One line, and the same words as those of `help create`. */
		EXPECT(strchr(said, '\n') == said + strlen(said) - 1);
		EXPECT(strstr(answer("help create"), said + strlen(text)));
		EXPECT(!vm_find("one"));
	}
}

/* A row of VM_KEYS that this file does not know would be untested. */
TEST(operator_life, every_key_is_tried)
{
	static const char *const names[] = {
#define KEY_NAME(key, field, type, ...) key,
		VM_KEYS(KEY_NAME)
	};
	EXPECT(ARRAY_COUNT(names) == ARRAY_COUNT(keys));
	for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
		assert_string_equal(names[i], keys[i].key);
}

TEST(operator_life, create_says_what_is_wrong)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{ "create", "create: which name?\n" },
		{ "create --json", "create: which name?\n" },
		{ "create One memory=8M kernel=vmlinuz",
		  "create: vm One: 'One' is no name: it must be 1 to 31 of a-z, 0-9 and '-'\n" },
		{ "create \"\" memory=8M kernel=vmlinuz",
		  "create: vm : '' is no name: it must be 1 to 31 of a-z, 0-9 and '-'\n" },
		{ "create one", "create: vm one: 'memory' is missing\n" },
		{ "create one memory=8M", "create: vm one: 'kernel' is missing\n" },
		{ "create one memory=8M memory=8M", "create: vm one: 'memory' is given twice\n" },
		{ "create one memory",
		  "create: vm one: memory = '': must be a number with K, M or G\n" },
		{ "create one colour=red",
		  "create: vm one: no key 'colour'; there are kernel, initrd, cmdline, firmware, "
		  "memory, reserve, overcommit, priority, bound, share, vcpus, serial, autostart, "
		  "on-reset, debug-exit, debug-console\n" },
		{ "create one memory=8M kernel=bzImage",
		  "create: vm one: kernel = bzImage: there is no such boot module; there are "
		  "vmlinuz, quire.conf\n" },
		{ "create one memory=8M kernel=quire.conf",
		  "create: vm one: 'quire.conf' is no Linux bzImage\n" },
		{ "create one memory=4M kernel=vmlinuz",
		  "create: vm one: kernel 'vmlinuz' needs at least 6M of memory, the VM has 4M\n" },
		{ "create one memory=8M firmware=vmlinuz",
		  "create: vm one: this build starts kernels only, not firmware\n" },
		{ "create one memory=8M kernel=vmlinuz initrd=vmlinuz,vmlinuz",
		  "create: vm one: Linux takes one initrd only\n" },
		{ "create one memory=8M kernel=vmlinuz initrd=vmlinuz,",
		  "create: vm one: a name is missing in 'initrd'\n" },
		{ "create two memory=8M kernel=vmlinuz",
		  "create: vm two: there is a VM of this name already\n" },
	};
	operator_at_prompt();
	EXPECT_DONE("create two memory=8M kernel=vmlinuz");
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		EXPECT_ANSWER(rows[i].line, rows[i].text);
		EXPECT(!vm_find("one"));
	}
}

TEST(operator_life, create_says_how_much_can_be_reserved)
{
	unsigned left, left_for_tables;
	operator_at_prompt();
	EXPECT_DONE("create one memory=32M reserve=32M kernel=vmlinuz");
	EXPECT(sscanf(answer("create two memory=40M reserve=40M kernel=vmlinuz"),
		      "create: vm two: reservation of 40M refused: the VM needs 41M, and 1M for "
		      "tables; of the machine's 64M, %uM and %uM can still be promised; set "
		      "'reserve' or 'memory' lower\n",
		      &left, &left_for_tables) == 2);
	EXPECT(left >= 64 - 32 - 8 && left <= 32 && left_for_tables >= left);
	EXPECT(!vm_find("two"));
	const char *text = answer("create two memory=8M kernel=vmlinuz overcommit=none share=none "
				  "bound=1G-2G");
	EXPECT(strstr(text, " lower, or 'bound' to memory that is free\n"));
}

TEST(operator_life, names_have_31_characters_at_most)
{
	char line[128], name[33] = "a-name-of-31-characters-is-the-";
	operator_at_prompt();
	EXPECT(strlen(name) == 31);
	snprintf(line, sizeof(line), "create %s memory=8M kernel=vmlinuz", name);
	EXPECT_DONE(line);
	EXPECT(strcmp(vm_name(vm_named(name)), name) == 0);
	snprintf(line, sizeof(line), "stop %s", name);
	EXPECT_DONE(line);
	name[31] = 'x';
	snprintf(line, sizeof(line), "create %s memory=8M kernel=vmlinuz", name);
	EXPECT(strstr(answer(line), "' is no name: it must be 1 to 31"));
	snprintf(line, sizeof(line), "start %s", name);
	EXPECT(strstr(answer(line), "start: there is no VM '"));
}

/* Whichever allocation fails, the reason is said and nothing is left. */
TEST(operator_life, create_leaves_nothing_when_memory_runs_out)
{
	struct gmm_stats before, after;
	operator_at_prompt();
	EXPECT_DONE(CREATE);
	EXPECT_DONE("stop one");
	EXPECT_DONE("destroy one");
	gmm_stats(&before);
	unsigned objects = fake_heap_blocks(), count = 0;
	for (;;) {
		fake_heap_fail_at(++count);
		const char *text = answer(CREATE " vcpus=2");
		if (!text[0])
			break;
		assert_string_equal(text, count == 1 ? "create: out of memory\n"
						     : "create: vm one: cannot be created: out of "
						       "memory\n");
		gmm_stats(&after);
		EXPECT(fake_heap_blocks() == objects && !vm_find("one"));
		EXPECT(after.vm_count == 0 && after.reserved_pages == before.reserved_pages);
	}
	/* The configuration, the VM, its serial output, two vCPUs. */
	EXPECT(count == 6);
	fake_heap_fail_at(0);
	EXPECT_DONE("stop one");
	EXPECT_DONE("destroy one");
	for (count = 1; count <= 2; count++) {
		fake_thread_create_fail_at(count);
		EXPECT_ANSWER(CREATE " vcpus=2",
			      "create: vm one: cannot be created: out of memory\n");
		EXPECT(fake_heap_blocks() == objects);
	}
}

TEST(operator_life, there_are_as_many_vms_as_gmm_tells_apart)
{
	struct gmm_vm_config config = { .overcommit = GMM_OVERCOMMIT_FULL };
	char text[96];
	gmm_vm_t vm;
	operator_at_prompt();
	for (unsigned i = 1; i < GMM_VM_LAST; i++)
		EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	EXPECT_DONE("create two memory=8M kernel=vmlinuz autostart=no");
	snprintf(text, sizeof(text),
		 "create: vm one: there are %u VMs, as many as this build can tell apart\n",
		 GMM_VM_LAST);
	EXPECT_ANSWER(CREATE, text);
	EXPECT_DONE("destroy two");
	EXPECT_DONE(CREATE);
}

/* --- ping ----------------------------------------------------------------------------------------- */

TEST(operator_life, a_vm_answers_a_ping_in_every_state)
{
	for (unsigned s = 0; s < ARRAY_COUNT(states); s++) {
		unsigned us;
		char said[32];
		operator_at_prompt();
		states[s].be();
		EXPECT(sscanf(answer("ping one"), "one: ok after %u us (%31[^\n]", &us, said) == 2);
		EXPECT(strncmp(said, states[s].state, strlen(states[s].state)) == 0);
		EXPECT(strcmp(said + strlen(states[s].state), ")") == 0);
	}
}
