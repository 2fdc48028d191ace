/* SPDX-License-Identifier: MIT */
/*
 * VMs that wait for memory: which one waits, which has its turn, what ends a wait, what is told
 * when all wait. Memory is what a VM outside of the table leaves or gives back.
 */
#include "vm_fixture.h"

#define RETRY_TICKS (250000u * TICKS_PER_US)

static const char waits[] = "paused (out of memory)";

static struct vm *start_with(const struct vm_config *config)
{
	struct vm *vm = create_with(config);

	EXPECT(vm_start(vm) == Q_OK);
	settle();
	return vm;
}

static struct vm *start(const char *name)
{
	struct vm_config config = config_named(name);

	return start_with(&config);
}

static struct vm *start_at(const char *name, enum gmm_priority priority)
{
	struct vm_config config = config_named(name);

	config.priority = priority;
	return start_with(&config);
}

/* No memory is left, and the guest wants to touch a thousand pages on vCPU 1. */
static void starve(struct vm *vm)
{
	hog_take(0);
	guest_do(vm, 1, touches, 1000);
	settle();
	EXPECT(state_is(vm, waits));
}

static struct thread *waiter_of(const struct vm *vm)
{
	return vm->wait.vcpu->thread;
}

static uint64_t touched(const struct vm *vm)
{
	return pc_of(vm)->touched;
}

/* --- one waits -------------------------------------------------------------------------------- */

TEST(vm_wait, a_guest_that_finds_no_memory_waits_and_goes_on)
{
	set_up();
	struct vm *vm = start("a");
	starve(vm);
	EXPECT(vm->wait.vcpu == vm->machine.vcpus[1] && vm->wait.page_count == 1);
	EXPECT(fake_log_count("vm a: paused: out of memory (needs 1 page)") == 1);
	uint64_t until_then = touched(vm);
	EXPECT(until_then > 100 && until_then < 1000);

	hog_give(10);
	settle();
	/* It waits again ten pages later. */
	EXPECT(touched(vm) == until_then + 10 && state_is(vm, waits));
	EXPECT(fake_log_count("vm a: resumed: memory is there again") == 1);
	EXPECT(fake_log_count("vm a: paused: out of memory") == 2);

	hog_give(2000);
	settle();
	EXPECT(touched(vm) == 1000 && state_is(vm, "running"));
	EXPECT(fake_log_count("vm a: ") == 1 + 2 + 2);
}

TEST(vm_wait, a_need_of_several_pages_is_told)
{
	set_up();
	struct vm *vm = start("a");
	EXPECT(vm_pause(vm) == Q_OK);
	memory_wait_start(vm->machine.vcpus[0], 12);
	EXPECT(fake_log_count("vm a: paused: out of memory (needs 12 pages)") == 1);
	/* The first need counts. */
	memory_wait_start(vm->machine.vcpus[1], 3);
	EXPECT(vm->wait.page_count == 12 && vm->wait.vcpu == vm->machine.vcpus[0]);
	EXPECT(fake_log_count("out of memory") == 1);
}

TEST(vm_wait, the_other_vcpus_are_held_and_may_want_memory_themselves)
{
	set_up();
	struct vm *vm = start("a");
	hog_take(0);
	guest_do(vm, 0, touches, 300);
	guest_do(vm, 1, touches, 300);
	settle();
	EXPECT(state_is(vm, waits) && fake_log_count("vm a: paused") == 1);
	hog_give(1000);
	settle();
	EXPECT(state_is(vm, "running") && touched(vm) == 600);
}

/* Quire's heap gives memory back without waking any VM. */
TEST(vm_wait, the_first_waiter_looks_again_by_itself)
{
	unsigned done;

	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	starve(b);
	EXPECT(fake_thread_deadline(waiter_of(a)) == cpu_rdtsc() + RETRY_TICKS);
	EXPECT(fake_thread_deadline(waiter_of(b)) == 0);
	uint64_t until_then = touched(a);
	EXPECT(gmm_pages_free(hog, &hog_pages[--hog_count].id, 1, &done) == Q_OK);
	settle();
	EXPECT(touched(a) == until_then);
	fake_clock_advance(RETRY_TICKS);
	settle();
	EXPECT(touched(a) == until_then + 1);
}

TEST(vm_wait, a_vm_inside_its_reserve_does_not_wait)
{
	set_up();
	struct vm_config config = config_named("a");
	config.reserve_bytes = MIB(7);
	struct vm *vm = start_with(&config);
	hog_take(0);
	guest_do(vm, 0, touches, 1000);
	settle();
	EXPECT(touched(vm) == 1000 && state_is(vm, "running"));
}

/* --- several wait ----------------------------------------------------------------------------- */

TEST(vm_wait, turns_go_by_age)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(b);
	starve(a);
	uint64_t of_a = touched(a), of_b = touched(b);
	EXPECT(gmm_wait_first() == pgm_vm(b->machine.pgm));
	hog_give(5);
	settle();
	/* b got the pages, and now waits behind a. */
	EXPECT(touched(b) == of_b + 5 && touched(a) == of_a);
	hog_give(5);
	settle();
	EXPECT(touched(b) == of_b + 5 && touched(a) == of_a + 5);
}

TEST(vm_wait, only_the_first_waiter_is_woken)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	starve(b);
	unsigned of_a = fake_thread_wakes(waiter_of(a)), of_b = fake_thread_wakes(waiter_of(b));
	vm_memory_freed();
	EXPECT(fake_thread_wakes(waiter_of(a)) == of_a + 1);
	EXPECT(fake_thread_wakes(waiter_of(b)) == of_b);
}

TEST(vm_wait, turns_go_by_priority_first)
{
	set_up();
	struct vm *a = start("a"), *b = start_at("b", GMM_PRIORITY_HIGH),
		  *c = start_at("c", GMM_PRIORITY_LOW);
	starve(c);
	starve(a);
	starve(b);
	uint64_t of_a = touched(a), of_b = touched(b), of_c = touched(c);
	for (unsigned i = 0; i < 3; i++) {
		hog_give(5);
		settle();
	}
	EXPECT(touched(b) == of_b + 15 && touched(a) == of_a && touched(c) == of_c);
}

/* Only the first waiter is woken, and there is enough for all. */
TEST(vm_wait, a_vm_that_goes_on_wakes_the_next)
{
	set_up();
	struct vm *vms[3] = { start("a"), start("b"), start("c") };
	for (unsigned i = 0; i < 3; i++) {
		hog_take(0);
		guest_do(vms[i], 1, touches, 300);
		settle();
		EXPECT(state_is(vms[i], waits));
	}
	hog_give(2000);
	settle();
	for (unsigned i = 0; i < 3; i++)
		EXPECT(state_is(vms[i], "running") && touched(vms[i]) == 300);
	EXPECT(gmm_wait_first() == GMM_VM_QUIRE);
}

TEST(vm_wait, a_waiter_that_stops_lets_the_next_one_look)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	starve(b);
	uint64_t of_b = touched(b);
	EXPECT(vm_stop(a) == Q_OK);
	settle();
	/* All of a's memory. */
	EXPECT(state_is(a, "stopped") && touched(b) > of_b + 300);
}

TEST(vm_wait, a_vm_that_is_destroyed_leaves_its_memory_to_waiters)
{
	set_up();
	struct vm_config config = config_named("a");
	/* It never ran, so all that it has is its guarantee. */
	config.reserve_bytes = MIB(4);
	create_with(&config);
	struct vm *b = start("b");
	starve(b);
	uint64_t of_b = touched(b);
	EXPECT(vm_destroy(vm_find("a")) == Q_OK);
	settle();
	EXPECT(touched(b) == 1000 && of_b < 1000 && state_is(b, "running"));
}

/* --- what the operator wants goes first ------------------------------------------------------- */

TEST(vm_wait, a_pause_gives_up_the_place_and_resume_takes_a_new_one)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	starve(b);
	uint64_t of_a = touched(a), of_b = touched(b);
	EXPECT(vm_pause(a) == Q_OK);
	settle();
	EXPECT(state_is(a, "paused") && !is_queued(a) && a->wait.vcpu);
	hog_give(5);
	settle();
	EXPECT(touched(b) == of_b + 5 && touched(a) == of_a);
	EXPECT(vm_resume(a) == Q_OK);
	settle();
	EXPECT(state_is(a, waits) && is_queued(a));
	/* It is told that the VM waits, and not that it goes on. */
	EXPECT(fake_log_count("vm a: resumed") == 0 &&
	       fake_log_count("vm a: paused: out of memory") == 2);
	EXPECT(gmm_wait_first() == pgm_vm(b->machine.pgm));
	hog_give(5);
	settle();
	EXPECT(touched(b) == of_b + 10 && touched(a) == of_a);
	hog_give(3000);
	settle();
	EXPECT(touched(a) == 1000 && touched(b) == 1000);
}

/* Memory comes while the operator has paused the VM. */
TEST(vm_wait, memory_does_not_end_a_pause)
{
	set_up();
	struct vm *a = start("a");
	starve(a);
	EXPECT(vm_pause(a) == Q_OK);
	hog_give(2000);
	settle();
	EXPECT(state_is(a, "paused") && touched(a) < 1000);
	EXPECT(vm_resume(a) == Q_OK);
	settle();
	EXPECT(state_is(a, "running") && touched(a) == 1000);
}

TEST(vm_wait, a_reset_ends_the_wait)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	/* More than its reserve. */
	guest_do(a, 0, touches, 300);
	settle();
	starve(a);
	starve(b);
	uint64_t of_b = touched(b);
	EXPECT(vm_reset(a) == Q_OK);
	settle();
	/* a has its reserve still, and what it had beyond that is b's now. */
	EXPECT(state_is(a, "running") && !is_queued(a) && touched(a) == 0);
	EXPECT(pc_of(a)->power_ons == 2 && touched(b) > of_b);
}

TEST(vm_wait, a_job_goes_before_a_try)
{
	set_up();
	struct vm *a = start("a");
	starve(a);
	uint64_t of_a = touched(a);
	/* When the threads run, both the memory and the job are there. */
	hog_give(100);
	EXPECT(vm_stop(a) == Q_OK);
	settle();
	EXPECT(state_is(a, "stopped") && touched(a) == of_a);
	EXPECT(!fake_log_contains("vm a: resumed"));
}

/* --- a kernel that finds no room ------------------------------------------------------------------ */

static struct vm_config poor_config(const char *name)
{
	struct vm_config config = config_named(name);

	config.reserve_bytes = PAGE_SIZE;
	return config;
}

/* The kernel needs more than the stock, which is guaranteed. */
static struct vm *start_poor(const char *name, uint64_t left)
{
	struct vm_config config = poor_config(name);
	struct vm *vm = create_with(&config);

	hog_take(left);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	return vm;
}

TEST(vm_wait, a_kernel_that_finds_no_room_waits_and_is_loaded)
{
	set_up();
	struct vm *vm = start_poor("a", 0);
	EXPECT(state_is(vm, waits) && vm->wait.is_for_load && vm->wait.vcpu->index == 0);
	uint64_t needed = vm->wait.page_count;
	EXPECT(needed > 0 && needed < KERNEL_PAGES + LINUX_OWN_PAGES);
	EXPECT(fake_log_count("vm a: paused: out of memory (its kernel needs up to ") == 1);
	EXPECT(!fake_log_contains("vm a: started") && pc_of(vm)->power_ons == 1);

	/* With a part of it the VM needs less, which is not told. */
	hog_give(40);
	settle();
	EXPECT(state_is(vm, waits) && vm->wait.page_count == needed - 40);
	EXPECT(fake_log_count("vm a: paused") == 1);

	hog_give((unsigned)needed - 40);
	settle();
	EXPECT(state_is(vm, "running") && pc_of(vm)->power_ons == 1);
	EXPECT(fake_log_count("vm a: started") == 1 && !fake_log_contains("vm a: resumed"));
	uint8_t byte;
	EXPECT(pgm_read(vm_pgm(vm), gpa(0x100000 + CODE_BYTES - 1), &byte, 1, NULL) == Q_OK);
	EXPECT(byte == 0x5c);
}

TEST(vm_wait, a_vm_that_waits_for_its_kernel_can_be_paused)
{
	set_up();
	struct vm *vm = start_poor("a", 0);
	EXPECT(vm_pause(vm) == Q_OK);
	hog_give(1000);
	settle();
	EXPECT(state_is(vm, "paused") && !fake_log_contains("vm a: started"));
	EXPECT(vm_resume(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "running") && fake_log_count("vm a: started") == 1);
}

TEST(vm_wait, a_vm_that_waits_for_its_kernel_can_be_stopped_and_reset)
{
	set_up();
	struct vm *vm = start_poor("a", 0);
	EXPECT(vm_reset(vm) == Q_OK);
	settle();
	/* Power-on freed what was loaded, and the new load waits in its turn. */
	EXPECT(state_is(vm, waits) && pc_of(vm)->power_ons == 2);
	EXPECT(fake_log_count("vm a: paused: out of memory") == 2);
	EXPECT(vm_stop(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "stopped") && !is_queued(vm));
	EXPECT(fake_log_count("vm a: stopped: by the operator") == 1);
	hog_give(1000);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(state_is(vm, "running"));
}

/* --- all wait ------------------------------------------------------------------------------------- */

static const char all_wait[] = "memory: exhausted, every VM waits: ";

TEST(vm_wait, that_all_wait_is_told_once)
{
	set_up();
	fake_options.events_json = true;
	struct vm *a = start_at("a", GMM_PRIORITY_LOW), *b = start("b");
	struct vm *off = create("c");
	starve(a);
	EXPECT(fake_log_count(all_wait) == 0);
	starve(b);
	EXPECT(fake_log_count(all_wait) == 1);
	EXPECT(fake_log_contains("every VM waits: a (1 page, low), b (1 page, normal)"));
	EXPECT(strstr(fake_console_text(),
		      "@{\"event\":\"memory\",\"state\":\"exhausted\",\"waiting\":"
		      "[{\"vm\":\"a\",\"pages\":1,\"priority\":\"low\"},"
		      "{\"vm\":\"b\",\"pages\":1,\"priority\":\"normal\"}]}\n"));
	for (unsigned i = 0; i < 5; i++) {
		fake_clock_advance(RETRY_TICKS);
		settle();
	}
	EXPECT(fake_log_count(all_wait) == 1 && state_is(off, "created"));

	/* a could run in between, so it is told again. */
	hog_give(3);
	settle();
	EXPECT(fake_log_count(all_wait) == 2);
}

/* The first waiter looked while another VM ran; it looks again when that one waits as well. */
TEST(vm_wait, it_is_told_at_once)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	starve(b);
	fake_of(a->machine.vcpus[1])->count = 3;
	hog_give(3);
	settle();
	EXPECT(state_is(a, "running") && fake_log_count(all_wait) == 1);
	EXPECT(fake_thread_deadline(waiter_of(b)) == cpu_rdtsc() + RETRY_TICKS);
	guest_do(a, 1, touches, 1);
	settle();
	EXPECT(state_is(a, waits) && fake_log_count(all_wait) == 2);
}

TEST(vm_wait, it_is_not_told_while_a_vm_runs)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	fake_clock_advance(RETRY_TICKS);
	settle();
	EXPECT(fake_log_count(all_wait) == 0);
	/* A VM that the operator has paused gives nothing back. */
	EXPECT(vm_pause(b) == Q_OK);
	settle();
	EXPECT(fake_log_count(all_wait) == 1 && fake_log_contains("waits: a (1 page, normal)"));
	EXPECT(vm_resume(b) == Q_OK);
	fake_clock_advance(RETRY_TICKS);
	settle();
	EXPECT(vm_pause(b) == Q_OK);
	settle();
	EXPECT(fake_log_count(all_wait) == 2);
}

TEST(vm_wait, a_waiter_that_is_paused_is_not_listed)
{
	set_up();
	struct vm *a = start("a"), *b = start("b");
	starve(a);
	EXPECT(vm_pause(a) == Q_OK);
	settle();
	starve(b);
	EXPECT(fake_log_count(all_wait) == 1 && fake_log_contains("waits: b (1 page, normal)"));
}

/* A VM that is about to start, or to end, may change everything. */
TEST(vm_wait, a_vm_with_a_job_counts_as_running)
{
	set_up();
	struct vm *a = start("a");
	struct vm_config config = poor_config("b");
	struct vm *b = create_with(&config);
	hog_take(0);
	guest_do(a, 1, touches, 1000);
	EXPECT(vm_start(b) == Q_OK);
	/* a's threads only: b has not begun. */
	for (unsigned i = 0; i < 10; i++)
		for (unsigned j = 0; j < 2; j++)
			if (fake_thread_is_ready(a->machine.vcpus[j]->thread))
				fake_thread_run(a->machine.vcpus[j]->thread);
	EXPECT(state_is(a, waits) && fake_log_count(all_wait) == 0);
	settle();
	EXPECT(state_is(b, waits) && fake_log_count(all_wait) == 1);
}

/* a is the first waiter, so it is a that counts the others. */
TEST(vm_wait, a_waiter_with_a_job_counts_as_running)
{
	set_up();
	struct vm *a = start_at("a", GMM_PRIORITY_HIGH), *b = start("b");
	starve(b);
	guest_do(a, 1, touches, 1000);
	EXPECT(vm_reset(b) == Q_OK);
	for (unsigned i = 0; i < 10; i++)
		for (unsigned j = 0; j < 2; j++)
			if (fake_thread_is_ready(a->machine.vcpus[j]->thread))
				fake_thread_run(a->machine.vcpus[j]->thread);
	EXPECT(state_is(a, waits) && (b->hold & VM_HOLD_JOB) && (b->hold & VM_HOLD_MEMORY));
	EXPECT(fake_log_count(all_wait) == 0);
	settle();
	EXPECT(state_is(b, "running") && fake_log_count(all_wait) == 0);
}

TEST(vm_wait, as_many_waiters_are_listed_as_a_line_holds)
{
	char name[8];

	set_up_on(MIB(64));
	fake_options.events_json = true;
	for (unsigned i = 0; i < MEMORY_WAITERS_LISTED + 3; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		struct vm_config config = poor_config(name);
		config.vcpu_count = 1;
		create_with(&config);
	}
	hog_take(0);
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(fake_log_count(all_wait) == 1 && fake_log_contains(" and 3 more"));
	EXPECT(strstr(fake_console_text(), "\"vm\":\"vm15\"") &&
	       strstr(fake_console_text(), "],\"more\":3}\n"));
	EXPECT(fake_log_contains("waits: vm0 ("));
}

/* --- none waits --------------------------------------------------------------------------------- */

TEST(vm_wait, memory_wakes_no_vm_that_does_not_wait)
{
	set_up();
	struct vm *a = start("a");
	unsigned wakes = fake_thread_wakes(a->machine.vcpus[0]->thread);
	vm_memory_freed();
	EXPECT(fake_thread_wakes(a->machine.vcpus[0]->thread) == wakes);
	/* Nor does memory for a waiter that is not in the table. */
	hog_take(0);
	gmm_wait_begin(hog);
	vm_memory_freed();
	EXPECT(fake_thread_wakes(a->machine.vcpus[0]->thread) == wakes);
	/* Nor where the first waiter's VM does not wait any more. */
	gmm_wait_end(hog);
	gmm_wait_begin(pgm_vm(a->machine.pgm));
	vm_memory_freed();
	EXPECT(fake_thread_wakes(a->machine.vcpus[0]->thread) == wakes);
	gmm_wait_end(pgm_vm(a->machine.pgm));
}
