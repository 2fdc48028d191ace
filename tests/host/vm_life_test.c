/* SPDX-License-Identifier: MIT */
/*
 * A VM's life: each state and each operation, holds and jobs as vm_internal.h says, what the
 * guest asks of its power switch, and how Quire ends.
 */
#include "vm_fixture.h"

static struct vm *vm;

/* --- every state, every operation -------------------------------------------------------- */

static void reach_created(void)
{
	vm = create("a");
	settle();
}

static void reach_starting(void)
{
	reach_created();
	EXPECT(vm_start(vm) == Q_OK);
}

static void reach_running(void)
{
	reach_starting();
	settle();
}

static void reach_paused(void)
{
	reach_running();
	EXPECT(vm_pause(vm) == Q_OK);
	settle();
}

static void reach_waiting(void)
{
	reach_running();
	hog_take(0);
	guest_do(vm, 1, touches, 1000);
	settle();
}

static void reach_waiting_paused(void)
{
	reach_waiting();
	EXPECT(vm_pause(vm) == Q_OK);
	settle();
}

/* With a reserve of one page its kernel finds no room. */
static void reach_loading(void)
{
	struct vm_config config = config_named("a");

	config.reserve_bytes = PAGE_SIZE;
	vm = create_with(&config);
	hog_take(0);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
}

static void reach_stopping(void)
{
	reach_running();
	EXPECT(vm_stop(vm) == Q_OK);
}

static void reach_stopped(void)
{
	reach_stopping();
	settle();
}

static void reach_restarting(void)
{
	reach_stopped();
	EXPECT(vm_start(vm) == Q_OK);
}

static void reach_resetting(void)
{
	reach_running();
	EXPECT(vm_reset(vm) == Q_OK);
}

#define OPERATIONS 6u

/* What each operation answers, and the state once all threads sleep. */
static const struct {
	const char *text;
	void (*reach)(void);
	const char *state; /* before */
	bool is_alive;
	struct {
		q_status_t status;
		const char *state; /* NULL: there is no VM any more */
	} then[OPERATIONS];        /* start, pause, resume, reset, stop, destroy */
} rows[] = {
	{ "created",
	  reach_created,
	  "created",
	  false,
	  { { Q_OK, "running" },
	    { Q_STATE, "created" },
	    { Q_STATE, "created" },
	    { Q_STATE, "created" },
	    { Q_STATE, "created" },
	    { Q_OK, NULL } } },
	{ "starting",
	  reach_starting,
	  "created",
	  true,
	  { { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_OK, "stopped" },
	    { Q_OK, NULL } } },
	{ "running",
	  reach_running,
	  "running",
	  true,
	  { { Q_STATE, "running" },
	    { Q_OK, "paused" },
	    { Q_STATE, "running" },
	    { Q_OK, "running" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "running" } } },
	{ "paused",
	  reach_paused,
	  "paused",
	  true,
	  { { Q_STATE, "paused" },
	    { Q_STATE, "paused" },
	    { Q_OK, "running" },
	    { Q_OK, "paused" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "paused" } } },
	{ "waiting for memory",
	  reach_waiting,
	  "paused (out of memory)",
	  true,
	  { { Q_STATE, "paused (out of memory)" },
	    { Q_OK, "paused" },
	    { Q_STATE, "paused (out of memory)" },
	    { Q_OK, "running" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "paused (out of memory)" } } },
	{ "waiting and paused",
	  reach_waiting_paused,
	  "paused",
	  true,
	  { { Q_STATE, "paused" },
	    { Q_STATE, "paused" },
	    { Q_OK, "paused (out of memory)" },
	    { Q_OK, "paused" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "paused" } } },
	{ "waiting for its kernel's memory",
	  reach_loading,
	  "paused (out of memory)",
	  true,
	  { { Q_STATE, "paused (out of memory)" },
	    { Q_OK, "paused" },
	    { Q_STATE, "paused (out of memory)" },
	    { Q_OK, "paused (out of memory)" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "paused (out of memory)" } } },
	{ "stopping",
	  reach_stopping,
	  "running",
	  true,
	  { { Q_STATE, "stopped" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "stopped" },
	    { Q_STATE, "stopped" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "stopped" } } },
	{ "stopped",
	  reach_stopped,
	  "stopped",
	  false,
	  { { Q_OK, "running" },
	    { Q_STATE, "stopped" },
	    { Q_STATE, "stopped" },
	    { Q_STATE, "stopped" },
	    { Q_STATE, "stopped" },
	    { Q_OK, NULL } } },
	{ "restarting",
	  reach_restarting,
	  "stopped",
	  true,
	  { { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_OK, "stopped" },
	    { Q_OK, NULL } } },
	{ "resetting",
	  reach_resetting,
	  "running",
	  true,
	  { { Q_STATE, "running" },
	    { Q_OK, "paused" },
	    { Q_STATE, "running" },
	    { Q_STATE, "running" },
	    { Q_OK, "stopped" },
	    { Q_STATE, "running" } } },
};

static void operation_check(unsigned row, unsigned which, q_status_t status)
{
	static const char *const names[OPERATIONS] = { "start", "pause", "resume",
						       "reset", "stop",  "destroy" };
	const char *now = vm_find("a") ? vm_state_text(vm) : "gone";
	const char *expected = rows[row].then[which].state;

	if (status != rows[row].then[which].status ||
	    strcmp(now, expected ? expected : "gone") != 0)
		fail_msg("%s, %s: status %d, then %s", rows[row].text, names[which], status, now);
}

TEST(vm_life, every_operation_in_every_state)
{
	static q_status_t (*const operations[OPERATIONS])(struct vm *) = {
		vm_start, vm_pause, vm_resume, vm_reset, vm_stop, vm_destroy,
	};

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		for (unsigned j = 0; j < OPERATIONS; j++) {
			set_up();
			rows[i].reach();
			EXPECT(state_is(vm, rows[i].state) && vm_is_alive(vm) == rows[i].is_alive);
			q_status_t status = operations[j](vm);
			settle();
			operation_check(i, j, status);
		}
	}
}

/* --- jobs ----------------------------------------------------------------------------------- */

static unsigned power_ons(void)
{
	return pc_of(vm)->power_ons;
}

static unsigned power_offs(void)
{
	return pc_of(vm)->power_offs;
}

static struct thread *vcpu_thread(unsigned index)
{
	return vm->machine.vcpus[index]->thread;
}

/* The machine itself asserts that no vCPU is in the guest, see job_check(). */
TEST(vm_life, a_job_begins_when_the_last_vcpu_is_held)
{
	set_up();
	struct vm_config config = config_named("a");
	config.vcpu_count = 4;
	vm = create_with(&config);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(vm_reset(vm) == Q_OK);
	static const unsigned order[] = { 0, 2, 3 };
	for (unsigned i = 0; i < ARRAY_COUNT(order); i++)
		fake_thread_run(vcpu_thread(order[i]));
	/* The others woke vCPU 0, which found that vCPU 1 is not held. */
	while (fake_thread_is_ready(vcpu_thread(0)))
		fake_thread_run(vcpu_thread(0));
	EXPECT(power_ons() == 1 && vm->held_count == 3 && vm->job == VM_JOB_POWER_ON);
	fake_thread_run(vcpu_thread(1));
	EXPECT(power_ons() == 1 && vm->held_count == 4 && fake_thread_is_ready(vcpu_thread(0)));
	fake_thread_run(vcpu_thread(0));
	EXPECT(power_ons() == 2);
	settle();
	EXPECT(state_is(vm, "running"));
}

TEST(vm_life, power_on_begins_anew)
{
	set_up();
	reach_running();
	guest_do(vm, 0, touches, 50);
	settle();
	EXPECT(pc_of(vm)->touched == 50);
	EXPECT(vm_reset(vm) == Q_OK);
	settle();
	struct pgm_stats memory;
	vm_memory_figures(vm, &memory);
	EXPECT(power_ons() == 2 && power_offs() == 0 && pc_of(vm)->touched == 0);
	/* The kernel is in place, and what the guest had written is gone. */
	EXPECT(memory.private_pages > KERNEL_PAGES && memory.private_pages < KERNEL_PAGES + 10);
	EXPECT(fake_log_count("vm a: started") == 2);
}

TEST(vm_life, a_stop_replaces_a_start_that_has_not_begun)
{
	set_up();
	reach_starting();
	EXPECT(vm_stop(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "stopped") && power_ons() == 0 && power_offs() == 1);
	EXPECT(!fake_log_contains("vm a: started"));
	EXPECT(fake_log_count("vm a: stopped: by the operator") == 1);
}

TEST(vm_life, nothing_replaces_a_stop)
{
	set_up();
	reach_stopping();
	EXPECT(vm_start(vm) == Q_STATE && vm_reset(vm) == Q_STATE);
	spin_lock(&vm->lock);
	vm_job_load_post_locked(vm);
	EXPECT(vm->job == VM_JOB_STOP);
	spin_unlock(&vm->lock);
	settle();
	EXPECT(state_is(vm, "stopped") && power_ons() == 1 && power_offs() == 1);
}

TEST(vm_life, a_load_replaces_no_job)
{
	set_up();
	reach_starting();
	spin_lock(&vm->lock);
	vm_job_load_post_locked(vm);
	EXPECT(vm->job == VM_JOB_POWER_ON);
	spin_unlock(&vm->lock);
}

TEST(vm_life, the_first_reason_is_the_cause)
{
	set_up();
	reach_running();
	guest_do(vm, 1, fails, 0);
	fake_thread_run(vcpu_thread(1));
	EXPECT(vm->job == VM_JOB_STOP && vm_stop(vm) == Q_OK);
	settle();
	EXPECT(fake_log_count("vm a: stopped") == 1 &&
	       fake_log_contains("vm a: stopped: triple fault"));
	EXPECT(state_is(vm, "stopped (failed)") && vm_exit_status() == EXIT_STATUS_VM);

	/* Here the operator's reason is the first one. */
	set_up();
	reach_running();
	EXPECT(vm_stop(vm) == Q_OK);
	guest_do(vm, 1, switches, SWITCH(VPC_POWER_DEBUG_EXIT, 3));
	settle();
	EXPECT(fake_log_count("vm a: stopped") == 1 &&
	       fake_log_contains("vm a: stopped: by the operator"));
	EXPECT(state_is(vm, "stopped") && vm_exit_status() == EXIT_STATUS_OK);
}

/* --- while a job is being done -------------------------------------------------------------- */

static q_status_t (*meanwhile)(struct vm *);
static q_status_t meanwhile_status;

/* Another CPU does this once, in the middle of a job. */
static void meanwhile_do(struct vm *of)
{
	q_status_t (*what)(struct vm *) = meanwhile;

	meanwhile = NULL;
	if (what)
		meanwhile_status = what(of);
}

static void meanwhile_set(q_status_t (*what)(struct vm *))
{
	meanwhile = what;
	machine_hook = meanwhile_do;
}

TEST(vm_life, a_stop_that_comes_during_a_start_is_the_next_job)
{
	set_up();
	reach_starting();
	meanwhile_set(vm_stop);
	settle();
	EXPECT(meanwhile_status == Q_OK && state_is(vm, "stopped"));
	EXPECT(power_ons() == 1 && power_offs() == 1);
	EXPECT(fake_log_count("vm a: stopped: by the operator") == 1);
}

TEST(vm_life, a_stop_that_comes_during_a_stop_changes_nothing)
{
	set_up();
	reach_running();
	guest_do(vm, 0, fails, 0);
	meanwhile_set(vm_stop);
	settle();
	EXPECT(meanwhile_status == Q_OK && power_offs() == 1);
	EXPECT(fake_log_count("vm a: stopped") == 1 &&
	       fake_log_contains("vm a: stopped: triple fault"));
	EXPECT(state_is(vm, "stopped (failed)"));
}

TEST(vm_life, a_stop_that_comes_while_a_start_fails_is_done_with_it)
{
	set_up();
	reach_starting();
	kernel_image[0x202] = 0;
	meanwhile_set(vm_stop);
	settle();
	EXPECT(meanwhile_status == Q_OK && power_offs() == 1);
	EXPECT(fake_log_count("vm a: stopped") == 1);
}

TEST(vm_life, what_a_job_in_progress_refuses)
{
	static q_status_t (*const refused[])(struct vm *) = { vm_start, vm_reset, vm_resume };

	for (unsigned i = 0; i < ARRAY_COUNT(refused); i++) {
		set_up();
		reach_resetting();
		meanwhile_set(refused[i]);
		settle();
		EXPECT(meanwhile_status == Q_STATE && state_is(vm, "running"));
		EXPECT(power_ons() == 2);
	}
}

TEST(vm_life, a_pause_that_comes_during_a_reset_stays)
{
	set_up();
	reach_resetting();
	meanwhile_set(vm_pause);
	settle();
	EXPECT(meanwhile_status == Q_OK && state_is(vm, "paused") && power_ons() == 2);
	EXPECT(vm_resume(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "running"));
}

/* --- a start that fails --------------------------------------------------------------------- */

TEST(vm_life, a_kernel_that_cannot_be_loaded_is_the_end_of_the_run)
{
	set_up();
	reach_created();
	struct thread *watcher = fake_thread_name_only();
	vm_watcher_set(vm, watcher);
	/* The file was good when the VM was created. */
	kernel_image[0x202] = 0;
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "stopped (failed)") && vm_exit_status() == EXIT_STATUS_VM);
	EXPECT(fake_log_contains("vm a: stopped: cannot start (") &&
	       fake_log_contains("no Linux bzImage"));
	EXPECT(power_ons() == 1 && power_offs() == 1 && fake_thread_wakes(watcher) == 1);
	/* The next run may be a better one. */
	modules_make();
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "running") && vm_exit_status() == EXIT_STATUS_OK);
}

TEST(vm_life, a_cpu_that_refuses_the_first_state_is_the_end_of_the_run)
{
	set_up();
	state_is_refused = true;
	reach_running();
	EXPECT(state_is(vm, "stopped (failed)"));
	EXPECT(fake_log_contains("vm a: stopped: cannot start"));
}

/* A VM that is off has no guarantee, so another one may have it when it starts again. */
TEST(vm_life, a_start_whose_memory_is_promised_elsewhere_is_declined)
{
	set_up();
	reach_stopped();
	struct vm_config config = config_named("b");
	struct vm *other;
	/* All that can be promised. */
	config.memory_bytes = config.reserve_bytes = MIB(32);
	while (vm_create(&config, &other, &error) != Q_OK)
		config.memory_bytes = config.reserve_bytes -= 64 * PAGE_SIZE;
	EXPECT(vm_start(vm) == Q_DECLINED && state_is(vm, "stopped") && !vm_is_alive(vm));
	settle();
	EXPECT(vm_destroy(other) == Q_OK && vm_start(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "running"));
}

/* --- the power switch ------------------------------------------------------------------------ */

static void switched(uint64_t count)
{
	set_up();
	reach_running();
	guest_do(vm, 1, switches, count);
	settle();
}

TEST(vm_life, the_guest_powers_off)
{
	switched(SWITCH(VPC_POWER_OFF, 0));
	EXPECT(state_is(vm, "stopped") && fake_log_count("vm a: stopped: power-off") == 1);
	EXPECT(vm_exit_status() == EXIT_STATUS_OK && pc_of(vm)->serial_finishes == 1);
}

TEST(vm_life, the_guest_ends_with_a_status)
{
	switched(SWITCH(VPC_POWER_DEBUG_EXIT, 0));
	EXPECT(state_is(vm, "stopped") && fake_log_contains("vm a: stopped: debug exit"));
	EXPECT(!fake_log_contains("status"));
	switched(SWITCH(VPC_POWER_DEBUG_EXIT, 3));
	EXPECT(state_is(vm, "stopped (failed)"));
	EXPECT(fake_log_contains("vm a: stopped: debug exit, status 3"));
	EXPECT(vm_exit_status() == EXIT_STATUS_VM);
}

TEST(vm_life, the_guest_resets_itself)
{
	switched(SWITCH(VPC_POWER_RESET, 0));
	EXPECT(state_is(vm, "running") && power_ons() == 2 && power_offs() == 0);
	EXPECT(fake_log_count("vm a: resets itself") == 1);

	set_up();
	struct vm_config config = config_named("a");
	config.on_reset = VM_ON_RESET_STOP;
	vm = create_with(&config);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	guest_do(vm, 0, switches, SWITCH(VPC_POWER_RESET, 0));
	settle();
	EXPECT(state_is(vm, "stopped") && fake_log_count("vm a: stopped: reset") == 1);
	EXPECT(!fake_log_contains("resets itself"));
}

/* Every vCPU looks at the switch, but what was asked is taken once. */
TEST(vm_life, the_switch_is_carried_out_once)
{
	switched(SWITCH(VPC_POWER_OFF, 0));
	EXPECT(power_offs() == 1);
	vm_power_request_handle(vm);
	settle();
	EXPECT(power_offs() == 1 && fake_log_count("vm a: stopped") == 1);
}

TEST(vm_life, a_reset_of_a_vm_that_is_about_to_stop_is_not_told)
{
	set_up();
	reach_stopping();
	guest_do(vm, 1, switches, SWITCH(VPC_POWER_RESET, 0));
	settle();
	EXPECT(state_is(vm, "stopped") && !fake_log_contains("resets itself"));
}

/* --- what is told ------------------------------------------------------------------------------ */

TEST(vm_life, each_change_is_told_once)
{
	set_up();
	reach_running();
	EXPECT(vm_pause(vm) == Q_OK && vm_pause(vm) == Q_STATE);
	settle();
	EXPECT(vm_resume(vm) == Q_OK && vm_resume(vm) == Q_STATE);
	settle();
	EXPECT(vm_stop(vm) == Q_OK);
	settle();
	EXPECT(fake_log_count("vm a: started") == 1);
	EXPECT(fake_log_count("vm a: paused: by the operator") == 1);
	EXPECT(fake_log_count("vm a: resumed") == 1);
	EXPECT(fake_log_count("vm a: stopped: by the operator") == 1);
	EXPECT(fake_log_count("vm a: ") == 4);
}

/* Another test of this program may have started a VM first. */
TEST(vm_life, the_first_guest_is_told_once)
{
	set_up();
	reach_running();
	EXPECT(vm_reset(vm) == Q_OK);
	settle();
	EXPECT(fake_log_count("quire: first guest instruction after") <= 1);
}

TEST(vm_life, the_watcher_is_woken_at_the_end_of_each_run)
{
	set_up();
	reach_created();
	struct thread *watcher = fake_thread_name_only();
	vm_watcher_set(vm, watcher);
	for (unsigned runs = 1; runs <= 2; runs++) {
		EXPECT(vm_start(vm) == Q_OK);
		settle();
		EXPECT(vm_pause(vm) == Q_OK && vm_resume(vm) == Q_OK && vm_reset(vm) == Q_OK);
		settle();
		EXPECT(fake_thread_wakes(watcher) == runs - 1);
		EXPECT(vm_stop(vm) == Q_OK);
		settle();
		EXPECT(fake_thread_wakes(watcher) == runs);
	}
	vm_watcher_set(vm, NULL);
	EXPECT(vm_start(vm) == Q_OK && vm_stop(vm) == Q_OK);
	settle();
	EXPECT(fake_thread_wakes(watcher) == 2);
}

/* --- requests ----------------------------------------------------------------------------------- */

TEST(vm_life, requests_are_served_in_every_state)
{
	void (*const states[])(void) = { reach_created, reach_running, reach_paused,
					 reach_waiting, reach_loading, reach_stopped };

	for (unsigned i = 0; i < ARRAY_COUNT(states); i++) {
		struct vm_request ping = { .kind = VM_REQUEST_PING };
		set_up();
		states[i]();
		vm_request_post(vm, &ping);
		EXPECT(!request_is_done(&ping.request));
		settle();
		EXPECT(request_is_done(&ping.request) && ping.request.status == Q_OK);
	}
}

/* --- the end of Quire ---------------------------------------------------------------------------- */

static void two_run(enum exit_mode mode)
{
	set_up();
	fake_options.exit_mode = mode;
	reach_running();
	EXPECT(vm_start(create("b")) == Q_OK);
	settle();
}

TEST(vm_life, quire_ends_with_its_last_vm)
{
	static const struct {
		enum exit_mode mode;
		const char *how;
	} ends[] = { { EXIT_MODE_POWEROFF, "off 0" }, { EXIT_MODE_HALT, "halt 0" } };

	for (unsigned i = 0; i < ARRAY_COUNT(ends); i++) {
		two_run(ends[i].mode);
		EXPECT(vm_stop(vm) == Q_OK);
		settle();
		EXPECT(!fake_power()[0]);
		EXPECT(vm_stop(vm_find("b")) == Q_OK);
		settle();
		assert_string_equal(fake_power(), ends[i].how);
	}
}

TEST(vm_life, quire_ends_with_the_failure_of_any_vm)
{
	two_run(EXIT_MODE_POWEROFF);
	guest_do(vm, 0, fails, 0);
	settle();
	EXPECT(!fake_power()[0] && vm_stop(vm_find("b")) == Q_OK);
	settle();
	assert_string_equal(fake_power(), "off 1");
}

TEST(vm_life, with_a_prompt_quire_does_not_end)
{
	two_run(EXIT_MODE_PROMPT);
	EXPECT(vm_stop(vm) == Q_OK && vm_stop(vm_find("b")) == Q_OK);
	settle();
	EXPECT(!fake_power()[0] && state_is(vm, "stopped"));
}

TEST(vm_life, a_vm_that_is_about_to_start_keeps_quire_alive)
{
	two_run(EXIT_MODE_POWEROFF);
	struct vm *other = vm_find("b");
	EXPECT(vm_stop(other) == Q_OK);
	settle();
	EXPECT(vm_start(other) == Q_OK && vm_stop(vm) == Q_OK);
	settle();
	EXPECT(!fake_power()[0] && state_is(other, "running"));
}

TEST(vm_life, the_operator_may_find_that_nothing_runs)
{
	jmp_buf ended;
	set_up();
	fake_options.exit_mode = EXIT_MODE_HALT;
	reach_created();
	fake_power_return = &ended;
	if (setjmp(ended) == 0)
		vm_exit_if_idle();
	assert_string_equal(fake_power(), "halt 0");
	set_up();
	fake_options.exit_mode = EXIT_MODE_HALT;
	reach_running();
	vm_exit_if_idle();
	EXPECT(!fake_power()[0]);
}
