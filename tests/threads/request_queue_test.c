/* SPDX-License-Identifier: MIT */
/*
 * lib/request_queue.h with host threads as producers, consumer and closer, under
 * ThreadSanitizer. Each request must be answered exactly once, in order within its
 * producer and class, whenever the queue is closed.
 *
 * A producer overwrites or frees a request as soon as it owns the storage again, so
 * a consumer that touches a request after its answer shows as a race or a crash.
 */
#include "test.h"

#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>

#include <quire/atomic.h>

#include "lib/request_queue.h"

#define PRODUCERS 4u
#define POSTS     20000u /* each */
#define IN_FLIGHT 8u     /* each, without waiting */

struct message {
	struct request request;
	unsigned producer;
	unsigned sequence; /* counts the requests of this producer and class */
};

struct producer {
	pthread_t thread;
	unsigned index;
	bool may_wait;
	unsigned served, cancelled;
	unsigned posted[REQUEST_CLASS_COUNT];
	unsigned random;
};

static struct request_queue queue;
static sem_t work;          /* stands for the unpark of a vCPU's thread */
static uint32_t must_end;   /* atomic */
static uint32_t post_count; /* atomic: of all producers */
static unsigned served_count;
static unsigned next_sequence[PRODUCERS][REQUEST_CLASS_COUNT];

static void answer(struct request *request, q_status_t status)
{
	sem_t *waiter = request_answer(request, status);
	if (!waiter)
		return;
	/* The semaphore is on the stack of the waiter, which may go on after request_release(). */
	sem_post(waiter);
	request_release(request);
}

/* --- consumer ----------------------------------------------------------------------- */

static void serve(struct request *request)
{
	const struct message *message = (const struct message *)request;
	unsigned *next = &next_sequence[message->producer][request->class];
	/* Not assert_true(): cmocka's assertions work in the main thread only. */
	if (message->sequence != *next)
		abort();
	++*next;
	served_count++;
	answer(request, message->sequence % 3 ? Q_OK : Q_STATE);
}

static void *consumer_run(void *argument)
{
	struct request_batch batch = { 0 };
	(void)argument;
	while (!atomic_load_acquire(&must_end)) {
		struct request *request;
		sem_wait(&work);
		while ((request = request_queue_next(&queue, &batch)) != NULL)
			serve(request);
	}
	return NULL;
}

/* --- producers ---------------------------------------------------------------------- */

static unsigned random_next(struct producer *producer)
{
	producer->random = producer->random * 1103515245u + 12345u;
	return producer->random >> 16;
}

static void post(struct producer *producer, struct message *message)
{
	enum request_class class = random_next(producer) % 4 ? REQUEST_NORMAL : REQUEST_PRIORITY;
	message->request.class = class;
	message->producer = producer->index;
	message->sequence = producer->posted[class]++;
	atomic_add_relaxed(&post_count, 1);
	if (request_queue_post(&queue, &message->request))
		sem_post(&work);
}

static void wait(struct message *message)
{
	sem_t done;
	sem_init(&done, 0, 0);
	if (request_wait_start(&message->request, &done)) {
		while (request_is_unanswered(&message->request))
			sem_wait(&done);
		while (!request_is_done(&message->request))
			sched_yield();
	}
	/* As if the thread had ended: the test notices a wake-up after this. */
	sem_destroy(&done);
	memset(&done, 0xa5, sizeof(done));
}

static void collect(struct producer *producer, struct message *message)
{
	if (producer->may_wait && random_next(producer) % 2)
		wait(message);
	while (!request_is_done(&message->request))
		sched_yield();
	if (message->request.status == Q_CANCELLED)
		producer->cancelled++;
	else if (message->request.status == (message->sequence % 3 ? Q_OK : Q_STATE))
		producer->served++;
	else
		abort();
	memset(message, 0, sizeof(*message));
}

static void *producer_run(void *argument)
{
	struct producer *producer = argument;
	struct message *messages = calloc(IN_FLIGHT, sizeof(*messages));
	for (unsigned i = 0; i < POSTS; i += IN_FLIGHT) {
		for (unsigned k = 0; k < IN_FLIGHT; k++)
			post(producer, &messages[k]);
		for (unsigned k = 0; k < IN_FLIGHT; k++)
			collect(producer, &messages[k]);
	}
	free(messages);
	return NULL;
}

/* --- the play ----------------------------------------------------------------------- */

static void queue_end(void)
{
	struct request_batch left = { 0 };
	struct request *request;
	request_queue_close(&queue, &left);
	while ((request = request_queue_next(&queue, &left)) != NULL)
		answer(request, Q_CANCELLED);
}

/*
 * Lets all producers post, and closes the queue after `close_after` posts, or not at all if
 * there are no more posts than that. Returns how many requests were cancelled.
 */
static unsigned play(unsigned close_after, bool may_wait)
{
	struct producer producers[PRODUCERS] = { 0 };
	pthread_t consumer;
	queue = (struct request_queue){ 0 };
	memset(next_sequence, 0, sizeof(next_sequence));
	served_count = must_end = post_count = 0;
	sem_init(&work, 0, 0);
	EXPECT(pthread_create(&consumer, NULL, consumer_run, NULL) == 0);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		producers[i].index = i;
		producers[i].random = i + close_after;
		producers[i].may_wait = may_wait;
		EXPECT(pthread_create(&producers[i].thread, NULL, producer_run, &producers[i]) ==
		       0);
	}
	if (close_after < PRODUCERS * POSTS) {
		while (atomic_load_relaxed(&post_count) < close_after)
			sched_yield();
		queue_end();
	}
	unsigned served = 0, cancelled = 0;
	for (unsigned i = 0; i < PRODUCERS; i++) {
		pthread_join(producers[i].thread, NULL);
		served += producers[i].served;
		cancelled += producers[i].cancelled;
	}
	atomic_store_release(&must_end, 1);
	sem_post(&work);
	pthread_join(consumer, NULL);
	sem_destroy(&work);
	EXPECT(served == served_count);
	EXPECT(served + cancelled == PRODUCERS * POSTS);
	return cancelled;
}

TEST(request_queue, each_request_is_served_once_and_in_order)
{
	EXPECT(play(PRODUCERS * POSTS, false) == 0);
}

TEST(request_queue, each_waiter_is_woken)
{
	EXPECT(play(PRODUCERS * POSTS, true) == 0);
}

TEST(request_queue, the_end_loses_and_doubles_nothing)
{
	EXPECT(play(0, true) > 0);
	for (unsigned i = 1; i <= 8; i++)
		EXPECT(play(i * POSTS / 4, i % 2) > 0);
}
