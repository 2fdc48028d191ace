/* SPDX-License-Identifier: MIT */
/*
 * A list is a stack that producers push onto with compare-and-swap; a consumer
 * takes all of it and turns it round. Nobody ever removes from the middle, so a
 * head that was taken, served and pushed again between a producer's look and its
 * swap is no harm: the new request then rightly points to it.
 *
 * Taking is a compare-and-swap, too, where an exchange would do for an open
 * queue: it could overwrite the mark of a list that was closed meanwhile (Q2),
 * and a request posted then would never be answered.
 */
#include "lib/request_queue.h"

#include <quire/assert.h>
#include <quire/atomic.h>

/* The head of a closed list. Its address counts, nothing else. */
static struct request closed;

static uint32_t state_of(const struct request *request)
{
	/* Pairs with the releases of request_answer() and request_release(). */
	return atomic_load_acquire(&request->state);
}

static void state_set(struct request *request, enum request_state state)
{
	/* Pairs with state_of() in the poster: the answer is there, and we are gone. */
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

/* Oldest first. */
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

/* All of a list, oldest first; NULL if it is empty or closed. */
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
	/* Once it has seen this the waiter may wake by itself, but does not let go of the storage. */
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
		/* Pairs with request_queue_post(): sees what was posted before. */
		struct request *newest = atomic_exchange_acq_rel(&queue->heads[i], &closed);
		batch->first[i] = newest == &closed ? NULL : turn_round(newest);
	}
}
