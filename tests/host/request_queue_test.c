/* SPDX-License-Identifier: MIT */
/*
 * lib/request_queue.h in one thread: order, ownership, and closed queues. Many
 * threads use it in tests/threads/request_queue_test.c.
 */
#include "test.h"

#include "lib/request_queue.h"

#define COUNT 8u

static struct request_queue queue;
static struct request_batch batch;
static struct request requests[COUNT];
static int waiter;

static void set_up(void)
{
	queue = (struct request_queue){ 0 };
	batch = (struct request_batch){ 0 };
	for (unsigned i = 0; i < COUNT; i++)
		requests[i] = (struct request){ .status = Q_INVALID };
}

static void post(unsigned i, enum request_class class)
{
	requests[i].class = class;
	EXPECT(request_queue_post(&queue, &requests[i]));
	EXPECT(!request_is_done(&requests[i]));
}

/* Expects request `i` next, or none (COUNT), and answers it. */
static void expect_next(unsigned i, q_status_t status)
{
	struct request *request = request_queue_next(&queue, &batch);
	EXPECT(request == (i < COUNT ? &requests[i] : NULL));
	if (!request)
		return;
	request->next = request; /* a link that no code may follow any more */
	EXPECT(request_answer(request, status) == NULL);
	EXPECT(request_is_done(request) && request->status == status);
}

TEST(request_queue, nothing_is_taken_from_an_empty_queue)
{
	set_up();
	expect_next(COUNT, Q_OK);
	EXPECT(!request_is_done(&requests[0])); /* IDLE is not DONE */
}

TEST(request_queue, first_posted_is_first_served)
{
	set_up();
	for (unsigned i = 0; i < COUNT; i++)
		post(i, REQUEST_NORMAL);
	for (unsigned i = 0; i < COUNT; i++)
		expect_next(i, i % 2 ? Q_OK : Q_STATE);
	expect_next(COUNT, Q_OK);
}

TEST(request_queue, a_request_posted_meanwhile_comes_after_those_taken)
{
	set_up();
	post(0, REQUEST_NORMAL);
	post(1, REQUEST_NORMAL);
	expect_next(0, Q_OK);
	post(2, REQUEST_NORMAL);
	post(3, REQUEST_NORMAL);
	expect_next(1, Q_OK);
	expect_next(2, Q_OK);
	expect_next(3, Q_OK);
	expect_next(COUNT, Q_OK);
}

/* A priority request goes even before the rest of a batch that was taken earlier. */
TEST(request_queue, priority_goes_first_and_in_order)
{
	set_up();
	post(0, REQUEST_NORMAL);
	post(1, REQUEST_NORMAL);
	post(2, REQUEST_PRIORITY);
	post(3, REQUEST_PRIORITY);
	expect_next(2, Q_OK);
	post(4, REQUEST_PRIORITY);
	expect_next(3, Q_OK);
	expect_next(4, Q_OK);
	expect_next(0, Q_OK);
	post(5, REQUEST_PRIORITY);
	expect_next(5, Q_OK);
	expect_next(1, Q_OK);
	expect_next(COUNT, Q_OK);
}

TEST(request_queue, storage_is_the_posters_again_after_the_answer)
{
	set_up();
	for (unsigned round = 0; round < 3; round++) {
		post(0, round % 2 ? REQUEST_PRIORITY : REQUEST_NORMAL);
		post(1, REQUEST_NORMAL);
		expect_next(0, Q_STATE);
		post(0, REQUEST_NORMAL); /* this time after request 1 */
		expect_next(1, Q_OK);
		expect_next(0, Q_OK);
		expect_next(COUNT, Q_OK);
	}
}

TEST(request_queue, two_consumers_share_what_is_there)
{
	struct request_batch other = { 0 };
	set_up();
	post(0, REQUEST_NORMAL);
	post(1, REQUEST_NORMAL);
	expect_next(0, Q_OK);
	post(2, REQUEST_NORMAL);
	EXPECT(request_queue_next(&queue, &other) == &requests[2]);
	EXPECT(request_queue_next(&queue, &other) == NULL);
	EXPECT(request_answer(&requests[2], Q_OK) == NULL);
	expect_next(1, Q_OK);
	expect_next(COUNT, Q_OK);
}

/* --- waiting ------------------------------------------------------------------------ */

TEST(request_queue, a_waiter_keeps_the_storage_until_it_is_released)
{
	set_up();
	post(0, REQUEST_NORMAL);
	EXPECT(request_wait_start(&requests[0], &waiter));
	EXPECT(request_is_unanswered(&requests[0]));
	struct request *request = request_queue_next(&queue, &batch);
	EXPECT(request_is_unanswered(request));
	EXPECT(request_answer(request, Q_STATE) == &waiter);
	EXPECT(!request_is_unanswered(request) && !request_is_done(request));
	request_release(request);
	EXPECT(request_is_done(request) && request->status == Q_STATE);
	expect_next(COUNT, Q_OK);
}

TEST(request_queue, an_answered_request_is_not_waited_for)
{
	set_up();
	post(0, REQUEST_NORMAL);
	expect_next(0, Q_STATE);
	EXPECT(!request_wait_start(&requests[0], &waiter));
	EXPECT(request_is_done(&requests[0]) && requests[0].status == Q_STATE);
	/* A wait that came too late has no effect on the next round. */
	post(0, REQUEST_NORMAL);
	expect_next(0, Q_OK);
}

/* --- the end ------------------------------------------------------------------------ */

static void close_and_expect(const unsigned *left, unsigned count)
{
	request_queue_close(&queue, &batch);
	for (unsigned i = 0; i < count; i++)
		expect_next(left[i], Q_CANCELLED);
	expect_next(COUNT, Q_OK);
}

static void expect_closed(unsigned i, enum request_class class)
{
	requests[i].class = class;
	requests[i].status = Q_INVALID;
	EXPECT(!request_queue_post(&queue, &requests[i]));
	EXPECT(request_is_done(&requests[i]) && requests[i].status == Q_CANCELLED);
	EXPECT(!request_wait_start(&requests[i], &waiter));
	expect_next(COUNT, Q_OK);
}

TEST(request_queue, a_queue_that_was_empty_is_closed_for_both_classes)
{
	set_up();
	close_and_expect(NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		expect_closed(0, REQUEST_NORMAL);
		expect_closed(1, REQUEST_PRIORITY);
	}
}

TEST(request_queue, queued_requests_go_to_the_closer)
{
	const unsigned left[] = { 2, 0, 1 };
	set_up();
	post(0, REQUEST_NORMAL);
	post(1, REQUEST_NORMAL);
	post(2, REQUEST_PRIORITY);
	close_and_expect(left, ARRAY_COUNT(left));
	expect_closed(0, REQUEST_NORMAL);
	close_and_expect(NULL, 0); /* to close twice changes nothing */
	expect_closed(0, REQUEST_NORMAL);
}

/* The consumer that took a request before the end still serves it. */
TEST(request_queue, taken_requests_are_not_cancelled)
{
	struct request_batch taken = { 0 };
	set_up();
	post(0, REQUEST_NORMAL);
	post(1, REQUEST_NORMAL);
	EXPECT(request_queue_next(&queue, &taken) == &requests[0]);
	post(2, REQUEST_NORMAL);
	close_and_expect((const unsigned[]){ 2 }, 1);
	EXPECT(request_answer(&requests[0], Q_OK) == NULL);
	EXPECT(request_queue_next(&queue, &taken) == &requests[1]);
	EXPECT(request_answer(&requests[1], Q_OK) == NULL);
	EXPECT(request_queue_next(&queue, &taken) == NULL);
}

TEST(request_queue, a_waiter_is_woken_by_the_end)
{
	set_up();
	post(0, REQUEST_PRIORITY);
	EXPECT(request_wait_start(&requests[0], &waiter));
	request_queue_close(&queue, &batch);
	struct request *request = request_queue_next(&queue, &batch);
	EXPECT(request_answer(request, Q_CANCELLED) == &waiter);
	request_release(request);
	EXPECT(request_is_done(&requests[0]) && requests[0].status == Q_CANCELLED);
}
