/* SPDX-License-Identifier: MIT */
/*
 * Requests: what many ask of one, without a lock.
 *
 * Anybody posts, from any CPU, thread or interrupt handler; a consumer takes
 * and answers. Each request is answered exactly once. Those of one class
 * (normal, priority) are served in the order in which they were posted, and
 * priority goes first. After request_queue_close() nothing is lost either: what
 * was queued is handed to the closer, and what comes later is answered with
 * Q_CANCELLED at once.
 *
 * The storage of a request is the poster's, so nothing here allocates or fails.
 * Who may touch it:
 *
 *   IDLE, DONE     the poster: fill in, read the answer, post again, free
 *   QUEUED         the queue, then whoever took it; the poster may only ask
 *                  request_is_done(), or sleep: request_wait_start()
 *   WAITED         the same, and the poster sleeps until it is woken
 *   ANSWERED       whoever took it, who wakes the poster; it is about to let go
 *
 *          post            request_answer, nobody waits
 *   IDLE ---------> QUEUED --------------------------------> DONE
 *                     |                                       ^
 *                     | request_wait_start                    | request_release
 *                     v            request_answer             |
 *                   WAITED ------------------------------> ANSWERED
 *
 * DONE is the last thing that a consumer writes to a request. A poster that does
 * not wait polls, or sees to it that the storage outlives the queue.
 *
 * Invariants:
 *   Q1  A request is in at most one list; only QUEUED and WAITED ones are.
 *   Q2  A list that is closed stays closed: nobody writes its head any more.
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

/* Embed it. All zero is a request of class NORMAL that was never posted. */
struct request {
	struct request *next; /* the queue's */
	void *waiter;         /* published by WAITED */
	uint32_t state;       /* atomic: enum request_state */
	q_status_t status;    /* the answer; published by DONE */
	enum request_class class;
};

/* Atomic: newest first, each pointing to the one posted before it. All zero is open and empty. */
struct request_queue {
	struct request *heads[REQUEST_CLASS_COUNT];
};

/* What one consumer has taken and not yet answered, oldest first. Starts as all zero. */
struct request_batch {
	struct request *first[REQUEST_CLASS_COUNT];
};

/* --- the poster ------------------------------------------------------------------------ */

/*
 * Queues an IDLE or DONE request. True: somebody has to serve it, so wake the
 * consumer, and do not touch the request. False: the queue is closed, and the
 * request is DONE with Q_CANCELLED.
 */
bool request_queue_post(struct request_queue *queue, struct request *request) Q_MUST_USE;
/* DONE: `status` is the answer, and the storage is the poster's again. */
bool request_is_done(const struct request *request);
/*
 * Asks for `waiter` (not NULL) to be woken. True: sleep while request_is_unanswered(),
 * then spin until request_is_done(), which is a few instructions away. False: it
 * is DONE. Once for each post.
 */
bool request_wait_start(struct request *request, void *waiter) Q_MUST_USE;
bool request_is_unanswered(const struct request *request);

/* --- the consumer ------------------------------------------------------------------------- */

/*
 * The next request to serve, or NULL when there is none left in `batch` and
 * `queue`: what is in `batch` must be served, so go on until then. Several
 * consumers may take from one queue, each with a batch of its own; the order is
 * then that of taking.
 */
struct request *request_queue_next(struct request_queue *queue, struct request_batch *batch);
/*
 * NULL: the request is DONE and must not be touched any more. Otherwise the waiter:
 * wake it, then request_release().
 */
void *request_answer(struct request *request, q_status_t status) Q_MUST_USE;
/* Lets go of a request whose waiter was woken. */
void request_release(struct request *request);

/* --- the end -------------------------------------------------------------------------------- */

/* What was queued goes to the caller, who answers it (Q_CANCELLED); `batch` must be empty. */
void request_queue_close(struct request_queue *queue, struct request_batch *batch);

#endif
