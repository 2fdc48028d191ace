/* SPDX-License-Identifier: MIT */
/*
 * A queue of requests from many posters to a consumer, without a lock.
 *
 * Any CPU, thread or interrupt handler may post; a consumer takes and answers.
 * Each request is answered exactly once. Requests of one class (normal,
 * priority) are served in the order in which they were posted, and priority
 * goes first. request_queue_close() loses nothing either: the closer gets the
 * requests that were queued, and a later one is answered with Q_CANCELLED at once.
 *
 * The poster owns the storage of a request, so nothing here allocates or fails.
 * Who may touch the storage depends on the state:
 *
 *   IDLE, DONE     the poster: fill in, read the answer, post again, free
 *   QUEUED         the queue, then the consumer that took the request; the poster
 *                  may only ask request_is_done(), or request_wait_start() to sleep
 *   WAITED         the same, and the poster sleeps until it is woken
 *   ANSWERED       the consumer, which wakes the poster and then lets go
 *
 *          post            request_answer, no waiter
 *   IDLE ---------> QUEUED --------------------------------> DONE
 *                     |                                       ^
 *                     | request_wait_start                    | request_release
 *                     v            request_answer             |
 *                   WAITED ------------------------------> ANSWERED
 *
 * DONE is the last thing that a consumer writes to a request. A poster that does
 * not wait must poll, or make sure that the storage outlives the queue.
 *
 * Invariants:
 *   Q1  A request is in at most one list, and only while QUEUED or WAITED.
 *   Q2  A closed list stays closed: its head does not change any more.
 */
#ifndef LIB_REQUEST_QUEUE_H
#define LIB_REQUEST_QUEUE_H

#include <quire/status.h>

enum request_class { REQUEST_NORMAL, REQUEST_PRIORITY };
#define REQUEST_CLASS_COUNT 2u

enum request_state {
	REQUEST_IDLE,
	REQUEST_QUEUED,
	REQUEST_WAITED,
	REQUEST_ANSWERED,
	REQUEST_DONE,
};

/* For embedding. All zero is a request of class NORMAL that was never posted. */
struct request {
	struct request *next; /* owned by the queue */
	void *waiter;         /* published by WAITED */
	uint32_t state;       /* atomic: enum request_state */
	q_status_t status;    /* the answer; published by DONE */
	enum request_class class;
};

/*
 * One list for each class, newest request first: each points to the one posted before it.
 * The heads are atomic. All zero is an open and empty queue.
 */
struct request_queue {
	struct request *heads[REQUEST_CLASS_COUNT];
};

/* The requests that one consumer has taken and not yet served, oldest first. Starts as all zero. */
struct request_batch {
	struct request *first[REQUEST_CLASS_COUNT];
};

/* --- the poster --------------------------------------------------------------------- */

/*
 * Queues an IDLE or DONE request. True: the caller must wake the consumer, and must
 * not touch the request. False: the queue is closed, and the request is DONE with
 * Q_CANCELLED.
 */
bool request_queue_post(struct request_queue *queue, struct request *request) Q_MUST_USE;
/* True: DONE. `status` is the answer, and the poster owns the storage again. */
bool request_is_done(const struct request *request);
/*
 * Registers `waiter` (not NULL) to be woken; at most once for each post. True: sleep
 * while request_is_unanswered(), then spin until request_is_done(), which is a few
 * instructions away. False: the request is DONE already.
 */
bool request_wait_start(struct request *request, void *waiter) Q_MUST_USE;
/* True: WAITED, so the waiter may go on sleeping. */
bool request_is_unanswered(const struct request *request);

/* --- the consumer ------------------------------------------------------------------- */

/*
 * Returns the next request to serve, or NULL when `batch` and `queue` have none left.
 * The caller must go on until NULL, because requests in `batch` are in no queue.
 * Several consumers may take from one queue, each with a batch of its own; requests
 * are then served in the order in which they were taken.
 */
struct request *request_queue_next(struct request_queue *queue, struct request_batch *batch);
/*
 * Answers. NULL: the request is DONE, and the caller must not touch it any more.
 * Otherwise the waiter: wake it, then call request_release().
 */
void *request_answer(struct request *request, q_status_t status) Q_MUST_USE;
/* Makes a request DONE after its waiter was woken. */
void request_release(struct request *request);

/* --- the end ------------------------------------------------------------------------ */

/*
 * Closes the queue, and puts the requests that it held into the empty `batch`. The caller
 * answers them with Q_CANCELLED.
 */
void request_queue_close(struct request_queue *queue, struct request_batch *batch);

#endif
