/* SPDX-License-Identifier: MIT */
/*
 * Two equal pages of two VMs become one shared page, as in reclaim/share_merge.c. The
 * scanner has no lock of the VMs, so it asks the owner of each page, and the owner
 * checks under its PGM lock what the scanner believes:
 *
 *   1  The scanner has seen two private pages that look alike.
 *   2  It asks both owners to monitor their pages.
 *   3  It looks at both records: a page that was written is not monitored any more.
 *   4  It makes a shared page, which it holds, and copies one of the two into it.
 *   5  It asks both owners to exchange their pages. Each owner does so if its page is
 *      still the same one, still monitored, and equal to the shared page.
 *   6  It drops its hold, and asks the owner of a page that was not exchanged to end the
 *      monitoring. If a page was exchanged, the hold goes to the working set first, which
 *      may drop it at any moment.
 *
 * Contents are compared in step 5 only, and that makes it right: `still monitored' alone
 * may be a second monitoring, after a write that has ended the first. What only decides
 * what is tried, and how it is counted, is left out: keys, and the comparison that tells
 * why a page was not exchanged.
 *
 * Each of the two VMs has a page of two words, which its guest reads and writes at any
 * moment. A VM may be destroyed at any moment. What the code does under a PGM lock is
 * one step here. The queue of requests is in request_queue.pml, TLBs are in cow_flush.pml.
 *
 * Proven: a guest reads what it wrote last; a page in use is not freed, and its count of
 * references is right; no thread waits for ever; no page stays monitored.
 *
 * variant TWO_SCANNERS: two of them, which meet on the same pages in opposite order.
 * variant JOINS: the second scanner lets a page join the shared page of the first.
 *
 * mistake COMPARE_BEFORE_PROTECT: only the scanner compares, before the pages are monitored.
 * mistake TRUST_MONITORING: only the scanner compares, while the pages are monitored.
 * mistake NO_RECHECK: an owner does not check whether its page is still the same one.
 * mistake NO_COPY_ON_WRITE: a guest writes to a shared page.
 * mistake NO_REFERENCE: an owner exchanges its page, and does not count its reference.
 * mistake DROPS_EARLY: the scanner drops its hold before the owners have answered.
 * mistake JOIN_WITHOUT_HOLD: the second scanner relies on the working set's hold.
 * mistake NO_CANCEL: a VM that is destroyed leaves requests unanswered.
 * mistake LEAVES_MONITORED: the scanner forgets the page that was not exchanged.
 */

#ifdef JOIN_WITHOUT_HOLD
#define JOINS
#endif

#if defined(TRUST_MONITORING) || defined(NO_RECHECK) || defined(JOINS)
#define TWO_SCANNERS
#endif

#define VMS   2
#define WORDS 2
#ifdef TWO_SCANNERS
#define SCANNERS 2
#define WRITES   1 /* of each guest */
#else
#define SCANNERS 1
#define WRITES   3
#endif
#if defined(TWO_SCANNERS) && !defined(JOINS)
#define MAY_END (me == 0) /* the case of the other VM is the mirror image */
#else
#define MAY_END true
#endif

/* Frames: two of each VM, which it uses in turn, then one that each scanner makes. */
#define FRAMES       6
#define FRAME(vm, i) ((vm) * 2 + (i))
#define SHARED(s)    (4 + (s))
#define IS_SHARED(f) ((f) >= 4)

/* The shared page for which a scanner asks the owners to exchange theirs. */
#ifdef JOINS
#define TARGET(s) SHARED(0)
#else
#define TARGET(s) SHARED(s)
#endif

#define WORD(f, i) content[(f) * WORDS + (i)]
#define EQUAL(a, b) (WORD(a, 0) == WORD(b, 0) && WORD(a, 1) == WORD(b, 1))

bit content[12];
byte references[FRAMES]; /* holds included; a private page has one */

/* Each VM's record of its page, changed by its thread only. */
byte frame[VMS];
bool is_monitored[VMS];
bit written[4];      /* what its guest wrote last, by word */
bool is_closed[VMS]; /* it is being destroyed */

/* One request of each scanner to each VM at a time. */
mtype = { NOTHING, MONITOR, UNMONITOR, SHARE };
mtype = { WAITING, OK, STATE, CANCELLED };
#define REQUEST(s, vm) ((s) * VMS + (vm))
mtype kind[4] = NOTHING;
mtype answer[4] = NOTHING;
byte expected[4];

#ifdef JOINS
bool is_known; /* the working set has an entry for SHARED(0), with the first scanner's hold */
#endif
byte owners_started, scanners_done;

inline put(f)
{
	assert(references[f] > 0);
	references[f]--;
	if
	:: references[f] == 0 -> WORD(f, 0) = 0; WORD(f, 1) = 0
	:: else
	fi
}

/* --- a VM ------------------------------------------------------------------------------------ */

inline check_page()
{
	assert(references[frame[me]] > 0);
	assert(WORD(frame[me], 0) == written[me * WORDS]);
	assert(WORD(frame[me], 1) == written[me * WORDS + 1])
}

/* VM 0 gets the frame again that it had before the exchange, VM 1 the other one. */
inline make_private()
{
	if
	:: references[FRAME(me, me)] == 0 -> f = FRAME(me, me)
	:: else -> f = FRAME(me, 1 - me)
	fi;
	assert(references[f] == 0);
	references[f] = 1;
	WORD(f, 0) = WORD(frame[me], 0);
	WORD(f, 1) = WORD(frame[me], 1);
	put(frame[me]);
	frame[me] = f;
	f = 0
}

inline guest_write(i)
{
	d_step {
		check_page();
#ifndef NO_COPY_ON_WRITE
		if
		:: IS_SHARED(frame[me]) -> make_private()
		:: else
		fi;
#endif
		is_monitored[me] = false;
		written[me * WORDS + i] = 1 - written[me * WORDS + i];
		WORD(frame[me], i) = written[me * WORDS + i];
		check_page()
	}
}

#ifdef NO_RECHECK
#define IS_EXPECTED(r) true
#else
#define IS_EXPECTED(r) (frame[me] == expected[r])
#endif

#if defined(COMPARE_BEFORE_PROTECT) || defined(TRUST_MONITORING)
#define IS_EQUAL(s) true
#else
#define IS_EQUAL(s) EQUAL(expected[REQUEST(s, me)], TARGET(s))
#endif

/* pgm_page_monitor(), pgm_page_unmonitor(), pgm_page_share() */
inline execute(s)
{
	if
	:: kind[REQUEST(s, me)] == MONITOR && IS_EXPECTED(REQUEST(s, me)) && !IS_SHARED(frame[me]) &&
	   !is_monitored[me] ->
		is_monitored[me] = true;
		answer[REQUEST(s, me)] = OK
	:: kind[REQUEST(s, me)] == UNMONITOR && IS_EXPECTED(REQUEST(s, me)) && is_monitored[me] ->
		is_monitored[me] = false;
		answer[REQUEST(s, me)] = OK
	:: kind[REQUEST(s, me)] == SHARE && IS_EXPECTED(REQUEST(s, me)) && is_monitored[me] &&
	   IS_EQUAL(s) ->
		is_monitored[me] = false;
		put(frame[me]);
		frame[me] = TARGET(s);
		assert(references[frame[me]] > 0);
#ifndef NO_REFERENCE
		references[frame[me]]++;
#endif
		answer[REQUEST(s, me)] = OK
	:: else -> answer[REQUEST(s, me)] = STATE
	fi;
	kind[REQUEST(s, me)] = NOTHING;
	expected[REQUEST(s, me)] = 0
}

inline serve(s)
{
	d_step {
		kind[REQUEST(s, me)] != NOTHING;
		check_page();
		execute(s);
		check_page()
	}
}

inline cancel(s)
{
	if
	:: kind[REQUEST(s, me)] != NOTHING ->
		kind[REQUEST(s, me)] = NOTHING;
		expected[REQUEST(s, me)] = 0;
		answer[REQUEST(s, me)] = CANCELLED
	:: else
	fi
}

active [VMS] proctype owner()
{
	byte me = _pid, f, writes;
	atomic {
		frame[me] = FRAME(me, 0);
		references[frame[me]] = 1;
		owners_started++
	}
end_idle:
	do
	:: writes < WRITES -> guest_write(0); writes++
	:: writes < WRITES -> guest_write(1); writes++
	:: serve(0)
#ifdef TWO_SCANNERS
	:: serve(1)
#endif
	:: scanners_done == SCANNERS ->
		assert(!is_monitored[me]);
		break
	:: MAY_END ->
		d_step {
			is_closed[me] = true;
#ifndef NO_CANCEL
			cancel(0);
#ifdef TWO_SCANNERS
			cancel(1)
#endif
#endif
		}
		d_step { check_page(); put(frame[me]) }
		break
	od
}

/* --- a scanner ----------------------------------------------------------------------------------- */

inline post(what, vm, f)
{
	atomic {
		assert(kind[REQUEST(me, vm)] == NOTHING);
		if
		:: is_closed[vm] -> answer[REQUEST(me, vm)] = CANCELLED
		:: else ->
			answer[REQUEST(me, vm)] = WAITING;
			expected[REQUEST(me, vm)] = f;
			kind[REQUEST(me, vm)] = what
		fi
	}
}

#define IS_ANSWERED(vm) (answer[REQUEST(me, vm)] != WAITING)
#define SUCCEEDED(vm)   (answer[REQUEST(me, vm)] == OK)

inline ask_both(what)
{
	post(what, first, first_frame);
	post(what, second, second_frame);
	IS_ANSWERED(first);
	IS_ANSWERED(second)
}

inline ask_one(what)
{
	post(what, first, first_frame);
	IS_ANSWERED(first)
}

/* Reads a record without a lock, in one step. */
#define IS_STILL_WATCHED(vm, f) (!is_closed[vm] && frame[vm] == (f) && is_monitored[vm])

/* Word by word, without a lock; a frame that was freed meanwhile reads as anything. */
inline compare(a, b)
{
	is_equal = (WORD(a, 0) == WORD(b, 0));
	is_equal = is_equal && (WORD(a, 1) == WORD(b, 1))
}

inline copy(to, from)
{
	WORD(to, 0) = WORD(from, 0);
	WORD(to, 1) = WORD(from, 1)
}

inline make_shared()
{
	references[SHARED(me)] = 1;
	has_hold = true;
	copy(SHARED(me), first_frame);
#if defined(COMPARE_BEFORE_PROTECT) || defined(TRUST_MONITORING)
	compare(SHARED(me), first_frame);
	if
	:: is_equal -> compare(SHARED(me), second_frame)
	:: else
	fi
#endif
}

/* The working set's entry goes with its hold. */
inline drop_hold()
{
	atomic {
		if
		:: has_hold ->
			put(TARGET(me));
			has_hold = false;
#ifdef JOINS
			is_known = is_known && me == 1
#endif
		:: else
		fi
	}
}

inline unmonitor(vm, f)
{
	post(UNMONITOR, vm, f);
	IS_ANSWERED(vm)
}

inline give_up(vm, f, is_watched)
{
#ifndef LEAVES_MONITORED
	if
	:: is_watched -> unmonitor(vm, f)
	:: else
	fi
#else
	skip
#endif
}

inline merge_pair()
{
	first_frame = frame[first];
	second_frame = frame[second];
	if
	:: IS_SHARED(first_frame) || IS_SHARED(second_frame) -> goto done
	:: else
	fi;
#ifdef COMPARE_BEFORE_PROTECT
	make_shared();
#endif
	ask_both(MONITOR);
	d_step { first_is_watched = SUCCEEDED(first); second_is_watched = SUCCEEDED(second) }
	first_is_watched = first_is_watched && IS_STILL_WATCHED(first, first_frame);
	second_is_watched = second_is_watched && IS_STILL_WATCHED(second, second_frame);
	if
	:: first_is_watched && second_is_watched ->
#ifndef COMPARE_BEFORE_PROTECT
		make_shared();
#endif
#if defined(COMPARE_BEFORE_PROTECT) || defined(TRUST_MONITORING)
		if
		:: !is_equal -> goto settle
		:: else
		fi;
#endif
#ifdef DROPS_EARLY
		drop_hold();
#endif
		ask_both(SHARE);
		d_step {
			first_is_watched = !SUCCEEDED(first);
			second_is_watched = !SUCCEEDED(second);
#ifdef JOINS
			is_known = !first_is_watched || !second_is_watched
#endif
		}
	:: else
	fi
}

#ifdef JOINS
/* The hold comes before all else: the working set may drop its own at any moment. */
inline join()
{
	first = 1;
	first_frame = frame[first];
	if
	:: IS_SHARED(first_frame) -> goto done
	:: else
	fi;
	if
	:: atomic {
		is_known;
#ifndef JOIN_WITHOUT_HOLD
		references[TARGET(me)]++;
		has_hold = true
#endif
	   }
	:: true -> goto done
	fi;
	ask_one(MONITOR);
	first_is_watched = SUCCEEDED(first);
	first_is_watched = first_is_watched && IS_STILL_WATCHED(first, first_frame);
	if
	:: first_is_watched ->
		ask_one(SHARE);
		first_is_watched = !SUCCEEDED(first)
	:: else
	fi
}
#endif

active [SCANNERS] proctype scanner()
{
	byte me = _pid - VMS, first, second, first_frame, second_frame;
	bool is_equal, has_hold, first_is_watched, second_is_watched;
	owners_started == VMS;
	d_step { first = me; second = 1 - me }
#ifdef JOINS
	if
	:: me == 1 -> join(); goto settle
	:: else
	fi;
#endif
	merge_pair();
settle:
	drop_hold();
	give_up(first, first_frame, first_is_watched);
	give_up(second, second_frame, second_is_watched);
done:
	skip;
	d_step {
		first_frame = 0;
		second_frame = 0;
		answer[REQUEST(me, 0)] = NOTHING;
		answer[REQUEST(me, 1)] = NOTHING;
		scanners_done++
	}
}
