/* SPDX-License-Identifier: MIT */
/*
 * vm/request.c on a VM of two vCPUs whose threads are only names: this program says as which thread
 * it runs, and what happens while that thread sleeps.
 */
#include "test.h"

#include <string.h>

#include "kernel/thread.h"
#include "vm/request.h"

#include "vm/vm_internal.h"

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
static const struct vm_request *asleep_on; /* must not be DONE before its waiter is woken */

/* --- what vm/request.c calls ------------------------------------------------------------------ */

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

static struct {
	const char *what;
	struct pgm *pgm;
	gfn_t gfn;
	page_id_t expected, with;
	unsigned calls;
} page;

#define REFUSED_GFN 13u

static q_status_t page_called(const char *what, struct pgm *pgm, gfn_t gfn, page_id_t expected,
			      page_id_t with)
{
	page.what = what;
	page.pgm = pgm;
	page.gfn = gfn;
	page.expected = expected;
	page.with = with;
	page.calls++;
	return gfn.raw == REFUSED_GFN ? Q_STATE : Q_OK;
}

void pgm_dirty_note(struct pgm *pgm, gfn_t first, unsigned count)
{
	(void)page_called("note dirty", pgm, first, (page_id_t){ count }, PAGE_ID_NIL);
}

q_status_t pgm_page_monitor(struct pgm *pgm, gfn_t gfn, page_id_t expected)
{
	return page_called("monitor", pgm, gfn, expected, PAGE_ID_NIL);
}

q_status_t pgm_page_unmonitor(struct pgm *pgm, gfn_t gfn, page_id_t expected)
{
	return page_called("unmonitor", pgm, gfn, expected, PAGE_ID_NIL);
}

q_status_t pgm_page_share(struct pgm *pgm, gfn_t gfn, page_id_t expected, page_id_t shared)
{
	return page_called("share", pgm, gfn, expected, shared);
}

q_status_t pgm_page_zero(struct pgm *pgm, gfn_t gfn, page_id_t expected)
{
	return page_called("zero", pgm, gfn, expected, PAGE_ID_NIL);
}

q_status_t pgm_page_move(struct pgm *pgm, gfn_t gfn, page_id_t expected)
{
	return page_called("move", pgm, gfn, expected, PAGE_ID_NIL);
}

/* --- the scene -------------------------------------------------------------------------------- */

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
	vm.machine.vcpu_count = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++) {
		vcpus[i].thread = &vcpu_threads[i];
		vcpus[i].index = i;
		vm.machine.vcpus[i] = &vcpus[i];
	}
	self = &scanner;
	while_asleep = vcpu_0_serves;
	asleep_on = NULL;
}

static const struct vm_request ping = { .kind = VM_REQUEST_PING };

/* --- tests ------------------------------------------------------------------------------------ */

TEST(vm_request, the_thread_of_vcpu_0_is_asked)
{
	struct vm_request request = ping;
	set_up();
	vm_request_post(&vm, &request);
	EXPECT(kicks[0] == 1 && kicks[1] == 0);
	EXPECT(!request_is_done(&request.request));
	serve_as(0);
	EXPECT(request_is_done(&request.request) && request.request.status == Q_OK);
	EXPECT(scanner.woken == 0); /* it did not wait */
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

/* So requests are served in the order of posting, whichever thread serves. */
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

/* --- pages ------------------------------------------------------------------------------------ */

TEST(vm_request, each_kind_is_what_its_name_says)
{
	static const struct {
		enum vm_request_kind kind;
		const char *what;
	} kinds[] = {
		{ VM_REQUEST_MONITOR, "monitor" }, { VM_REQUEST_UNMONITOR, "unmonitor" },
		{ VM_REQUEST_SHARE, "share" },     { VM_REQUEST_ZERO, "zero" },
		{ VM_REQUEST_MOVE, "move" },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++) {
		struct vm_request_page one = { .gfn = { 5 }, .expected = { 77 }, .shared = { 99 } };
		struct vm_request request = { .kind = kinds[i].kind, .pages = &one, .count = 1 };
		set_up();
		vm.machine.pgm = (struct pgm *)&vm;
		page.calls = 0;
		one.status = Q_INVALID;
		vm_request_post(&vm, &request);
		EXPECT(page.calls == 0 && one.status == Q_INVALID);
		EXPECT(vm_request_wait(&request) == Q_OK);
		EXPECT(page.calls == 1 && one.status == Q_OK);
		EXPECT(strcmp(page.what, kinds[i].what) == 0);
		EXPECT(page.pgm == vm.machine.pgm && page.gfn.raw == 5 && page.expected.raw == 77);
		EXPECT(page.with.raw == (kinds[i].kind == VM_REQUEST_SHARE ? 99 : 0));
	}
}

TEST(vm_request, each_page_has_an_answer_of_its_own)
{
	struct vm_request_page pages[VM_REQUEST_PAGES_MAX] = { 0 };
	struct vm_request request = { .kind = VM_REQUEST_MONITOR,
				      .pages = pages,
				      .count = VM_REQUEST_PAGES_MAX };
	set_up();
	for (unsigned i = 0; i < VM_REQUEST_PAGES_MAX; i++)
		pages[i] = (struct vm_request_page){ .gfn = { i }, .status = Q_INVALID };
	vm_request_post(&vm, &request);
	EXPECT(vm_request_wait(&request) == Q_OK);
	for (unsigned i = 0; i < VM_REQUEST_PAGES_MAX; i++)
		EXPECT(pages[i].status == (i == REFUSED_GFN ? Q_STATE : Q_OK));
}

TEST(vm_request, a_cancelled_request_touches_no_page)
{
	struct vm_request_page one = { .gfn = { 5 }, .status = Q_INVALID };
	struct vm_request request = { .kind = VM_REQUEST_ZERO, .pages = &one, .count = 1 };
	set_up();
	page.calls = 0;
	vm_request_post(&vm, &request);
	vm_requests_close(&vm);
	EXPECT(vm_request_wait(&request) == Q_CANCELLED);
	EXPECT(page.calls == 0 && one.status == Q_INVALID);
}

TEST(vm_request, dirty_bits_of_a_range)
{
	struct vm_request request = { .kind = VM_REQUEST_NOTE_DIRTY, .first = { 5 }, .count = 9 };
	set_up();
	page.calls = 0;
	vm_request_post(&vm, &request);
	EXPECT(vm_request_wait(&request) == Q_OK);
	EXPECT(page.calls == 1 && page.gfn.raw == 5 && page.expected.raw == 9);
}
