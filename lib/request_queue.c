/* SPDX-License-Identifier: MIT */
/*
 * Each class has a list, which is a stack: posters push onto it with
 * compare-and-swap, and a consumer takes all of it and reverses it. No request is
 * ever removed from the middle. So it does no harm if the newest request is taken,
 * served and pushed again between a poster's load and its swap: the poster's request
 * then rightly points to it.
 *
 * Taking is also a compare-and-swap. An exchange would do for an open list, but it
 * could overwrite the mark of a list that was closed meanwhile (Q2), and a request
 * posted after that would never be answered.
 */
#include "lib/request_queue.h"

#include <quire/assert.h>
#include <quire/atomic.h>

/* The head of a closed list points to this. Only its address matters. */
static struct request closed;

static uint32_t state_of(const struct request *request)
{
	/* Pairs with the releases of request_answer() and request_release(). */
	return atomic_load_acquire(&request->state);
}

static void state_set(struct request *request, enum request_state state)
{
	/* Pairs with state_of(): the poster sees the answer and, once DONE, owns the request. */
	atomic_store_release(&request->state, state);
}

bool request_is_done(const struct request *request)
{
	return state_of(request) == REQUEST_DONE;
}

bool request_is_unanswered(const struct request *request)
{
	return state_of(request) == REQUEST_WAITED;
}

bool request_queue_post(struct request_queue *queue, struct request *request)
{
	uint32_t state = atomic_load_relaxed(&request->state);
	Q_ASSERT(state == REQUEST_IDLE || state == REQUEST_DONE); /* Q1 */
	Q_ASSERT(request->class < REQUEST_CLASS_COUNT);
	struct request **head = &queue->heads[request->class];

	atomic_store_relaxed(&request->state, REQUEST_QUEUED);
	struct request *newest = atomic_load_relaxed(head);
	do {
		if (newest == &closed) {
			request->status = Q_CANCELLED;
			state_set(request, REQUEST_DONE);
			return false;
		}
		request->next = newest;
		/* Publishes the request; pairs with list_take() and request_queue_close(). */
	} while (!atomic_cas_acq_rel(head, &newest, request));
	return true;
}

bool request_wait_start(struct request *request, void *waiter)
{
	Q_ASSERT(waiter);
	uint32_t state = REQUEST_QUEUED;
	request->waiter = waiter;
	/* Publishes `waiter`, or takes the answer; pairs with request_answer() both ways. */
	if (atomic_cas_acq_rel(&request->state, &state, REQUEST_WAITED))
		return true;
	Q_ASSERT(state == REQUEST_DONE);
	return false;
}

/* Reverses a list, so that the oldest request comes first. */
static struct request *turn_round(struct request *newest)
{
	struct request *first = NULL;
	while (newest) {
		struct request *older = newest->next;
		newest->next = first;
		first = newest;
		newest = older;
	}
	return first;
}

/* Takes all of a list, oldest first. NULL: it is empty or closed. */
static struct request *list_take(struct request **head)
{
	struct request *newest = atomic_load_relaxed(head);
	do {
		if (!newest || newest == &closed)
			return NULL;
		/* Pairs with request_queue_post(). */
	} while (!atomic_cas_acq_rel(head, &newest, NULL));
	return turn_round(newest);
}

struct request *request_queue_next(struct request_queue *queue, struct request_batch *batch)
{
	for (unsigned i = REQUEST_CLASS_COUNT; i-- > 0;) {
		struct request **first = &batch->first[i];
		if (!*first)
			*first = list_take(&queue->heads[i]);
		struct request *request = *first;
		if (request) {
			*first = request->next;
			return request;
		}
	}
	return NULL;
}

void *request_answer(struct request *request, q_status_t status)
{
	request->status = status;
	uint32_t state = REQUEST_QUEUED;
	/* Publishes the answer, or takes `waiter`; pairs with request_wait_start() both ways. */
	if (atomic_cas_acq_rel(&request->state, &state, REQUEST_DONE))
		return NULL;
	Q_ASSERT(state == REQUEST_WAITED);
	/* The waiter may see ANSWERED and wake by itself, but it keeps the storage until DONE. */
	void *waiter = request->waiter;
	state_set(request, REQUEST_ANSWERED);
	return waiter;
}

void request_release(struct request *request)
{
	state_set(request, REQUEST_DONE);
}

void request_queue_close(struct request_queue *queue, struct request_batch *batch)
{
	for (unsigned i = 0; i < REQUEST_CLASS_COUNT; i++) {
		Q_ASSERT(!batch->first[i]);
		/* Pairs with request_queue_post(): sees every request that was posted before. */
		struct request *newest = atomic_exchange_acq_rel(&queue->heads[i], &closed);
		batch->first[i] = newest == &closed ? NULL : turn_round(newest);
	}
}
