/* SPDX-License-Identifier: MIT */
/*
 * vm/vm_loop.c with fakes of everything that it calls. A test is a list of turns, which say what
 * happens in each run of the guest and in each sleep. The fakes note their calls, a word each.
 */
#include "fake_cpu.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "kernel/thread.h"
#include "vm/memory_wait.h"
#include "vm/request.h"
#include "vm/vm_internal.h"

static struct percpu percpu_data;
static struct vm vm;
static struct vcpu vcpu;
static char calls[512];
static uint32_t served; /* all that vcpu_requests_serve() got */

/* What happens in one run of the guest, or in one sleep of the thread. */
struct turn {
	uint32_t requests;
	uint32_t hold; /* of the VM, from now on */
	struct vcpu_wish wish;
	bool should_yield;
};

static const struct turn *turns;
static unsigned turns_left;
static bool is_awake;
static uint32_t requests_while_resting;

static void note(const char *word)
{
	EXPECT(strlen(calls) + strlen(word) + 2 < sizeof(calls));
	strcat(calls, word);
	strcat(calls, " ");
}

/* After the last turn the thread ends. */
static void turn_take(void)
{
	if (turns_left == 0) {
		vcpu.requests |= VCPU_REQUEST_END;
		vm.hold = 0;
		return;
	}
	vcpu.requests |= turns->requests;
	vcpu.wish = turns->wish;
	vm.hold = turns->hold;
	percpu_data.should_yield = turns->should_yield;
	turns++;
	turns_left--;
}

/* --- what vm/vm_loop.c calls -------------------------------------------------------------- */

struct percpu *percpu(void)
{
	return &percpu_data;
}

void vcpu_run(struct vcpu *of)
{
	EXPECT(of == &vcpu && vm.hold == 0 && of->wish.kind == VCPU_WISH_NOTHING);
	note("run");
	turn_take();
}

void vcpu_requests_serve(struct vcpu *of, uint32_t requests)
{
	char word[24];
	EXPECT(of == &vcpu && vm.hold == 0);
	served |= requests;
	snprintf(word, sizeof(word), "serve:%x", requests);
	note(word);
	if (requests & VCPU_REQUEST_EVENT)
		is_awake = true;
}

bool vcpu_is_awake(struct vcpu *of)
{
	EXPECT(of == &vcpu);
	return is_awake;
}

void memory_wait_start(struct vcpu *of, uint64_t page_count)
{
	char word[24];
	EXPECT(of == &vcpu);
	snprintf(word, sizeof(word), "memory:%u", (unsigned)page_count);
	note(word);
	vm.hold |= VM_HOLD_MEMORY;
}

static struct vm_ending ending;

void vm_stop_post(struct vm *of, const struct vm_ending *why)
{
	EXPECT(of == &vm);
	ending = *why;
	note("stop");
	vm.hold |= VM_HOLD_JOB;
}

void vm_requests_serve(struct vm *of)
{
	EXPECT(of == &vm);
	note("pages");
}

void vm_power_request_handle(struct vm *of)
{
	EXPECT(of == &vm);
	note("power");
}

void vm_hold_wait(struct vcpu *of)
{
	EXPECT(of == &vcpu && vm.hold);
	note("held");
	turn_take();
}

void pgm_ahead_rest(struct pgm *pgm)
{
	EXPECT(pgm == (struct pgm *)&vm);
	note("rest");
	vcpu.requests |= requests_while_resting;
	requests_while_resting = 0;
}

void thread_yield(void)
{
	percpu_data.should_yield = false;
	note("yield");
}

void thread_park(void)
{
	EXPECT(vcpu.requests == 0);
	note("park");
	turn_take();
}

/* --- the scene ---------------------------------------------------------------------------- */

static bool calls_are(const char *expected)
{
	if (strcmp(calls, expected) != 0)
		fail_msg("calls are %s", calls);
	return true;
}

/* The vCPU is awake from the start, or from the first EVENT on. */
static void loop_with(const struct turn *list, unsigned count, bool starts_awake)
{
	percpu_data = (struct percpu){ .should_yield = false };
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	vm.machine.pgm = (struct pgm *)&vm;
	vcpu.machine = &vm.machine;
	turns = list;
	turns_left = count;
	calls[0] = 0;
	served = 0;
	is_awake = starts_awake;
	vm_loop(&vcpu);
	EXPECT(turns_left == 0);
}

#define TURNS(starts_awake, ...)                                                 \
	do {                                                                     \
		const struct turn list[] = { __VA_ARGS__ };                      \
		loop_with(list, sizeof(list) / sizeof(list[0]), (starts_awake)); \
	} while (0)
#define LOOP(...)        TURNS(true, __VA_ARGS__)
#define LOOP_ASLEEP(...) TURNS(false, __VA_ARGS__)

#define WISH_MEMORY(pages) \
	.requests = VCPU_REQUEST_WISH, .wish = { .kind = VCPU_WISH_MEMORY, .page_count = (pages) }

/* --- tests -------------------------------------------------------------------------------- */

TEST(vm_loop, runs_until_the_end)
{
	LOOP({ .requests = 0 }, { .requests = 0 });
	EXPECT(calls_are("run serve:0 run serve:0 run "));
}

TEST(vm_loop, nothing_is_served_at_the_end)
{
	LOOP({ .requests = VCPU_REQUEST_END | VCPU_REQUEST_SERVE | VCPU_REQUEST_WISH |
			   VCPU_REQUEST_POWER | VCPU_REQUEST_RESET });
	EXPECT(calls_are("run "));
}

TEST(vm_loop, each_request_has_its_server)
{
	LOOP({ .requests = VCPU_REQUEST_SERVE });
	EXPECT(calls_are("run pages serve:400 run "));
	LOOP({ .requests = VCPU_REQUEST_POWER });
	EXPECT(calls_are("run power serve:4 run "));
	LOOP({ .requests = VCPU_REQUEST_WISH });
	EXPECT(calls_are("run serve:800 run "));
	LOOP({ .requests = VCPU_REQUEST_TIMER | VCPU_REQUEST_EVENT });
	EXPECT(calls_are("run serve:30 run "));
	LOOP({ .requests = VCPU_REQUEST_HOLD });
	EXPECT(calls_are("run serve:1 run "));
}

TEST(vm_loop, a_wish_for_memory_is_granted_once_before_the_next_entry)
{
	LOOP({ WISH_MEMORY(3) }, { .requests = 0 }, { .requests = 0 });
	EXPECT(calls_are("run memory:3 held serve:0 run serve:0 run "));
	/* The wish is not found a second time. */
	LOOP({ WISH_MEMORY(3) }, { .requests = VCPU_REQUEST_WISH });
	EXPECT(calls_are("run memory:3 held serve:800 run "));
}

TEST(vm_loop, a_wish_to_stop_is_a_failure_with_its_reason)
{
	LOOP({ .requests = VCPU_REQUEST_WISH,
	       .wish = { .kind = VCPU_WISH_STOP, .reason = "triple fault" } },
	     { .requests = 0 });
	EXPECT(calls_are("run stop held serve:0 run "));
	EXPECT(strcmp(ending.reason, "triple fault") == 0 && ending.is_failure);
	EXPECT(ending.status == 0);
}

TEST(vm_loop, requests_come_before_wishes_and_these_before_the_power_switch)
{
	LOOP({ .requests = VCPU_REQUEST_SERVE | VCPU_REQUEST_WISH | VCPU_REQUEST_POWER,
	       .wish = { .kind = VCPU_WISH_MEMORY, .page_count = 1 } },
	     { .requests = 0 });
	EXPECT(calls_are("run pages memory:1 power held serve:0 run "));
}

/* Requests about the guest are kept until it runs; those of a safe point are served once. */
TEST(vm_loop, requests_are_kept_while_the_vm_is_held)
{
	const uint32_t guests = VCPU_REQUEST_HOLD | VCPU_REQUEST_RESET | VCPU_REQUEST_TIMER |
				VCPU_REQUEST_EVENT | VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP |
				VCPU_REQUEST_REFILL | VCPU_REQUEST_SLEEP;
	LOOP({ .requests = 0xfff & ~(uint32_t)VCPU_REQUEST_END, .hold = VM_HOLD_OPERATOR },
	     { .hold = VM_HOLD_OPERATOR }, { .requests = 0 });
	EXPECT(calls_are("run pages power held held serve:3f9 run "));
	EXPECT(served == guests && guests == 0x3f9);
}

TEST(vm_loop, a_held_vm_is_still_asked)
{
	LOOP({ .hold = VM_HOLD_OPERATOR },
	     { .requests = VCPU_REQUEST_SERVE, .hold = VM_HOLD_OPERATOR },
	     { .requests = VCPU_REQUEST_POWER, .hold = VM_HOLD_MEMORY },
	     { .requests = VCPU_REQUEST_EVENT });
	EXPECT(calls_are("run held pages held power held serve:20 run "));
}

TEST(vm_loop, a_held_vm_can_end)
{
	LOOP({ .hold = VM_HOLD_STOPPED },
	     { .requests = VCPU_REQUEST_END, .hold = VM_HOLD_STOPPED });
	EXPECT(calls_are("run held "));
}

TEST(vm_loop, others_run_before_it_attends)
{
	LOOP({ .requests = VCPU_REQUEST_EVENT, .should_yield = true }, { .requests = 0 });
	EXPECT(calls_are("run yield serve:20 run serve:0 run "));
}

/* The interrupt that the EVENT request is about wakes the vCPU. */
TEST(vm_loop, a_vcpu_that_sleeps_rests_and_parks)
{
	LOOP_ASLEEP({ .requests = VCPU_REQUEST_SLEEP }, { .requests = VCPU_REQUEST_HOLD },
		    { .requests = VCPU_REQUEST_EVENT });
	EXPECT(calls_are("run serve:200 rest park serve:1 rest park serve:20 run "));
}

TEST(vm_loop, what_is_requested_while_it_rests_is_not_slept_over)
{
	requests_while_resting = VCPU_REQUEST_EVENT;
	LOOP_ASLEEP({ .requests = VCPU_REQUEST_SLEEP });
	EXPECT(calls_are("run serve:200 rest serve:20 run "));
}

TEST(vm_loop, a_vcpu_that_sleeps_is_held_and_asked_and_can_end)
{
	LOOP_ASLEEP({ .requests = VCPU_REQUEST_SLEEP },
		    { .requests = VCPU_REQUEST_HOLD, .hold = VM_HOLD_OPERATOR }, { .requests = 0 },
		    { .requests = VCPU_REQUEST_SERVE });
	EXPECT(calls_are(
		"run serve:200 rest park held serve:1 rest park pages serve:400 rest park "));
}
