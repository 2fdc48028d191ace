/* SPDX-License-Identifier: MIT */
/*
 * vm/request.c on a VM of two vCPUs whose threads are names only: this program
 * says which thread it is, and what happens while it sleeps.
 */
#include "test.h"

#include <string.h>

#include "kernel/thread.h"
#include "vm/request.h"

#include "vm/vcpu.h"

#define VCPUS 2u

struct thread {
	unsigned woken;
};

static struct thread vcpu_threads[VCPUS], scanner;
static struct thread *self;
static struct vcpu vcpus[VCPUS];
static struct vm vm;
static unsigned kicks[VCPUS], parks;
static void (*while_asleep)(void);
static const struct vm_request *asleep_on; /* must not be let go of before it is woken */

/* --- what vm/request.c calls ---------------------------------------------------------- */

struct thread *thread_self(void)
{
	return self;
}

void thread_park(void)
{
	parks++;
	EXPECT(parks < 10);
	while_asleep();
}

void thread_unpark(struct thread *thread)
{
	EXPECT(!asleep_on || !request_is_done(&asleep_on->request));
	thread->woken++;
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
	EXPECT(requests == VCPU_REQUEST_SERVE);
	kicks[vcpu->index]++;
}

/* --- the scene ---------------------------------------------------------------------------- */

static void serve_as(unsigned index)
{
	struct thread *before = self;
	self = &vcpu_threads[index];
	vm_requests_serve(&vm);
	self = before;
}

static void vcpu_0_serves(void)
{
	serve_as(0);
}

static void vcpu_0_serves_the_second_time(void)
{
	if (parks == 2)
		serve_as(0);
}

static void vm_is_destroyed(void)
{
	vm_requests_close(&vm);
}

static void set_up(void)
{
	memset(&vm, 0, sizeof(vm));
	memset(kicks, 0, sizeof(kicks));
	memset(vcpu_threads, 0, sizeof(vcpu_threads));
	scanner.woken = parks = 0;
	vm.vcpu_count = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++) {
		vcpus[i].thread = &vcpu_threads[i];
		vcpus[i].index = i;
		vm.vcpus[i] = &vcpus[i];
	}
	self = &scanner;
	while_asleep = vcpu_0_serves;
	asleep_on = NULL;
}

static const struct vm_request ping = { .kind = VM_REQUEST_PING };

/* --- tests --------------------------------------------------------------------------------- */

TEST(vm_request, the_thread_of_vcpu_0_is_asked)
{
	struct vm_request request = ping;
	set_up();
	vm_request_post(&vm, &request);
	EXPECT(kicks[0] == 1 && kicks[1] == 0);
	EXPECT(!request_is_done(&request.request));
	serve_as(0);
	EXPECT(request_is_done(&request.request) && request.request.status == Q_OK);
	EXPECT(scanner.woken == 0); /* nobody waited */
	EXPECT(vm_request_wait(&request) == Q_OK && parks == 0);
}

TEST(vm_request, a_waiter_sleeps_until_it_is_answered)
{
	struct vm_request request = ping;
	set_up();
	vm_request_post(&vm, &request);
	while_asleep = vcpu_0_serves_the_second_time;
	asleep_on = &request;
	EXPECT(vm_request_wait(&request) == Q_OK);
	EXPECT(parks == 2 && scanner.woken == 1);
}

TEST(vm_request, a_vcpu_does_not_wait_for_itself)
{
	struct vm_request request = ping;
	for (unsigned i = 0; i < VCPUS; i++) {
		set_up();
		self = &vcpu_threads[i];
		vm_request_post(&vm, &request);
		EXPECT(request_is_done(&request.request));
		EXPECT(vm_request_wait(&request) == Q_OK);
		EXPECT(parks == 0 && kicks[0] == 0 && kicks[1] == 0);
	}
}

/* So that the order is that of posting, whoever serves. */
TEST(vm_request, a_vcpu_that_posts_serves_what_was_posted_before)
{
	struct vm_request first = ping, second = ping;
	set_up();
	vm_request_post(&vm, &first);
	self = &vcpu_threads[1];
	vm_request_post(&vm, &second);
	EXPECT(request_is_done(&first.request) && request_is_done(&second.request));
}

TEST(vm_request, a_vm_that_goes_away_cancels)
{
	struct vm_request waited = ping, queued = ping, late = ping;
	set_up();
	vm_request_post(&vm, &queued);
	vm_request_post(&vm, &waited);
	while_asleep = vm_is_destroyed;
	asleep_on = &waited;
	EXPECT(vm_request_wait(&waited) == Q_CANCELLED);
	EXPECT(scanner.woken == 1);
	EXPECT(request_is_done(&queued.request) && queued.request.status == Q_CANCELLED);

	kicks[0] = 0;
	vm_request_post(&vm, &late);
	EXPECT(kicks[0] == 0);
	EXPECT(vm_request_wait(&late) == Q_CANCELLED && parks == 1);
	self = &vcpu_threads[0];
	vm_request_post(&vm, &queued);
	EXPECT(vm_request_wait(&queued) == Q_CANCELLED);
}
