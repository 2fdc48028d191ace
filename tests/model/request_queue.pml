/* SPDX-License-Identifier: MIT */
/*
 * Requests to a VM: lib/request_queue.c and vm/request.c, step by step. There is one
 * class of requests only, because the two lists of a queue never meet.
 *
 * The threads: one posts and waits, twice with the same storage, and then ends; one
 * posts and polls, and then frees its storage; vCPU 0's serves; the operator's
 * destroys the VM at any moment.
 *
 * Proven: each request is answered exactly once, and those of one poster in order; no
 * thread sleeps for ever; no thread touches a request that is its poster's again, a
 * thread that has ended, or a VM that is gone.
 *
 * variant TWO_AT_ONCE: the polling thread posts two requests, the waiting one waits once.
 * variant SIBLING: instead of the waiting thread, vCPU 1 posts to its own VM and serves.
 *
 * mistake EXCHANGE_TAKE: takes with an exchange, over the mark of a closed list.
 * mistake NO_CLOSED_MARK: closing leaves an open list behind.
 * mistake KICK_BEFORE_POST: the server is kicked before the request is in the queue.
 * mistake SERVE_FLAG_LAST: the flag is cleared after the queue was looked at.
 * mistake NO_PERMIT: an unpark before the park is lost.
 * mistake NO_REVERSAL: serves the request first that was posted last.
 * mistake NEXT_AFTER_ANSWER: follows the link of a request that is its poster's again.
 * mistake DONE_BEFORE_WAKE: without ANSWERED: lets go of the request, then wakes its poster.
 * mistake WAIT_WITHOUT_SWAP: tests for an answer, then sleeps.
 * mistake NO_REFERENCE: the VM goes while a poster is about to kick it.
 */

#ifdef NO_REVERSAL
#define TWO_AT_ONCE
#endif

#ifdef TWO_AT_ONCE
#define ROUNDS 1
#else
#define ROUNDS 2
#endif

#define NONE   0
#define CLOSED 255

#define IDLE     0
#define QUEUED   1
#define WAITED   2
#define ANSWERED 3
#define DONE     4

/* Threads that sleep. */
#define WAITER   0
#define SERVER   1
#define OPERATOR 2
#define SIBLING_ 3

#define SERVE 1
#define END   2

#define WAITER_OF(r) (r == 4 -> SIBLING_ : WAITER)

/* Requests: 1 is the waiting thread's, 2 and 3 the polling one's in this order, 4 the sibling's. */
#define REQUESTS 5

byte head;
byte next[REQUESTS];
byte state[REQUESTS];
byte answers[REQUESTS];     /* since the post */
bool is_posters[REQUESTS];  /* no other thread may touch it */
byte last_served;           /* of the polling thread's */

bool permit[4];
bool is_asleep[4];          /* for NO_PERMIT only */
bool has_ended[4];
bool is_gone[4];            /* joined and freed: must not be woken */
byte flags;                 /* vCPU 0's request word */
byte references;
bool vm_is_gone;

inline park(thread)
{
#ifdef NO_PERMIT
	is_asleep[thread] = true;
#endif
	atomic { permit[thread] -> permit[thread] = false; is_asleep[thread] = false }
}

inline unpark(thread)
{
	atomic {
		assert(!is_gone[thread]);
#ifdef NO_PERMIT
		permit[thread] = is_asleep[thread]
#else
		permit[thread] = true
#endif
	}
}

/* --- lib/request_queue.c ------------------------------------------------------------------ */

inline post(r, is_queued)
{
	atomic {
		assert(state[r] == IDLE || state[r] == DONE);
		answers[r] = 0;
		is_posters[r] = false;
		state[r] = QUEUED
	}
	newest = head;
	do
	:: newest == CLOSED ->
		atomic { answers[r]++; is_posters[r] = true; state[r] = DONE }
		is_queued = false;
		break
	:: else ->
		next[r] = newest;
		atomic {
			if
			:: head == newest -> head = r; is_queued = true; break
			:: else -> newest = head
			fi
		}
	od;
	newest = NONE
}

/* Moves what was queued to `list`, oldest first. */
inline take(list)
{
	list = NONE;
#ifdef EXCHANGE_TAKE
	atomic { newest = head; head = NONE }
	if
	:: newest == CLOSED -> newest = NONE
	:: else
	fi;
#else
	newest = head;
	do
	:: newest == NONE || newest == CLOSED -> newest = NONE; break
	:: else ->
		atomic {
			if
			:: head == newest -> head = NONE; break
			:: else -> newest = head
			fi
		}
	od;
#endif
	turn_round(list)
}

inline turn_round(list)
{
#ifdef NO_REVERSAL
	list = newest; newest = NONE;
#else
	do
	:: newest == NONE -> break
	:: else ->
		/* No other thread looks at these, so this is one step. */
		d_step {
			assert(!is_posters[newest]);
			older = next[newest];
			next[newest] = list;
			list = newest;
			newest = older;
			older = NONE
		}
	od;
#endif
}

/* vm/request.c, answer(): request_answer(), wake, request_release(). */
inline answer(r)
{
	atomic {
		assert(!is_posters[r]);
		answers[r]++;
		if
		:: state[r] == QUEUED -> state[r] = DONE; is_posters[r] = true
		:: else -> assert(state[r] == WAITED); whom = WAITER_OF(r); goto_wake = true
		fi
	}
	if
	:: goto_wake ->
		goto_wake = false;
#ifdef DONE_BEFORE_WAKE
		atomic { state[r] = DONE; is_posters[r] = true }
		unpark(whom);
#else
		state[r] = ANSWERED;
		unpark(whom);
		atomic { assert(!is_posters[r]); state[r] = DONE; is_posters[r] = true }
#endif
		whom = 0
	:: else
	fi
}

/* vm/request.c, vm_request_wait(). */
inline wait(r, thread)
{
#ifdef WAIT_WITHOUT_SWAP
	if
	:: state[r] == QUEUED -> state[r] = WAITED
	:: else
	fi;
#else
	atomic {
		if
		:: state[r] == QUEUED -> state[r] = WAITED
		:: else -> assert(state[r] == DONE)
		fi
	}
#endif
	do
	:: state[r] == WAITED -> park(thread)
	:: else -> break
	od;
	state[r] == DONE
}

/* vm/request.c, vm_request_post(). */
inline request_post(r)
{
#ifdef KICK_BEFORE_POST
	kick();
	post(r, is_queued);
#else
	post(r, is_queued);
	if
	:: is_queued -> kick()
	:: else
	fi;
#endif
	is_queued = false
}

inline kick()
{
	assert(!vm_is_gone);
	flags = flags | SERVE;
	assert(!vm_is_gone);
	unpark(SERVER)
}

inline check_answer(r)
{
	assert(is_posters[r] && answers[r] == 1 && state[r] == DONE)
}

/* A reference for a moment: posting does not sleep. */
inline get_vm(is_there)
{
	atomic { is_there = !is_removed; references = references + is_there }
}

inline put_vm()
{
	atomic {
		references--;
		if
		:: references == 0 && is_removed -> unpark(OPERATOR)
		:: else
		fi
	}
}

bool is_removed; /* from the table */

/* --- the threads ------------------------------------------------------------------------------ */

#ifndef SIBLING
active proctype waits_twice()
{
	byte newest = NONE, round;
	bool is_queued, is_there;
	do
	:: round < ROUNDS ->
		round++;
		get_vm(is_there);
		if
		:: !is_there -> break
		:: else
		fi;
		request_post(1);
		put_vm();
		wait(1, WAITER);
		check_answer(1)
	:: else -> break
	od;
	is_gone[WAITER] = true
}
#endif

active proctype polls()
{
	byte newest = NONE;
	bool is_queued, is_there;
	get_vm(is_there);
	if
	:: is_there ->
		request_post(2);
#ifdef TWO_AT_ONCE
		request_post(3);
#endif
		put_vm();
#ifdef TWO_AT_ONCE
		state[3] == DONE;
		next[3] = NONE; /* freed: its link is junk from here on */
		check_answer(3);
#endif
		state[2] == DONE;
		next[2] = NONE;
		check_answer(2)
	:: else
	fi
}

inline execute(r)
{
	if
	:: r == 2 || r == 3 ->
#ifndef SIBLING
		assert(r > last_served); /* two servers keep only the order of taking */
#endif
		last_served = r
	:: else
	fi
}

inline serve()
{
	do
	:: take(list);
		if
		:: list == NONE -> break
		:: else
		fi;
		do
		:: list == NONE -> break
		:: else ->
			r = list;
			assert(!is_posters[r]);
#ifndef NEXT_AFTER_ANSWER
			list = next[r];
#endif
			execute(r);
			answer(r);
#ifdef NEXT_AFTER_ANSWER
			assert(!is_posters[r]);
			list = next[r];
#endif
			r = NONE
		od
	od
}

active proctype vcpu_0()
{
	byte newest = NONE, older = NONE, list = NONE, r = NONE, seen, whom;
	bool goto_wake;
	do
	:: true ->
#ifdef SERVE_FLAG_LAST
		seen = flags;
#else
		atomic { seen = flags; flags = 0 }
#endif
		if
		:: seen & END -> break
		:: else
		fi;
		if
		:: seen & SERVE -> serve()
		:: else
		fi;
#ifdef SERVE_FLAG_LAST
		flags = flags & ~seen;
#endif
		if
		:: flags == 0 ->
end_idle:		/* where it stays if the VM is not destroyed */
			park(SERVER)
		:: else
		fi;
		seen = 0
	od;
	has_ended[SERVER] = true
}

#ifdef SIBLING
active proctype vcpu_1()
{
	byte newest = NONE, older = NONE, list = NONE, r = NONE, whom;
	bool is_queued, goto_wake;
	post(4, is_queued);
	if
	:: is_queued -> serve()
	:: else
	fi;
	wait(4, SIBLING_);
	check_answer(4);
	has_ended[SIBLING_] = true
}
#endif

/* vm_destroy() */
active proctype operator()
{
	byte newest = NONE, older = NONE, list = NONE, r = NONE, whom;
	bool goto_wake;
	if
	:: is_removed = true
	:: goto keeps_it
	fi;
#ifdef NO_CLOSED_MARK
	atomic { newest = head; head = NONE }
#else
	atomic { newest = head; head = CLOSED }
#endif
	turn_round(list);
	do
	:: list == NONE -> break
	:: else ->
		r = list;
		list = next[r];
		answer(r);
		r = NONE
	od;
#ifndef NO_REFERENCE
	do
	:: references > 0 -> park(OPERATOR)
	:: else -> break
	od;
#endif
	flags = flags | END;
	unpark(SERVER);
	has_ended[SERVER];
#ifdef SIBLING
	has_ended[SIBLING_];
#endif
	is_gone[SERVER] = true;
	vm_is_gone = true;
keeps_it:
	skip
}
