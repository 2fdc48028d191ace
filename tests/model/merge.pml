/* SPDX-License-Identifier: MIT */
/*
 * Two equal pages of two VMs become one. Who scans has no lock of the VMs and asks
 * each owner; an owner checks again, under its PGM lock, what the scanner
 * believes:
 *
 *   1  both pages are private, and look alike
 *   2  both owners are asked to write-monitor them
 *   3  both are compared, byte by byte, now that a write would be noticed
 *   4  a shared page is made, copied, and compared with both
 *   5  both owners are asked to switch, which each does if its page is still the
 *      same one, still monitored, and equal to the shared page
 *   6  the scanner gives back its own reference, and asks an owner that did not
 *      switch to end the monitoring
 *
 * The last comparison, under the lock, is what makes it right: `still monitored'
 * alone may be somebody else's monitoring after a write that ended ours.
 *
 * Two VMs with a page of two words each, whose guests read and write at any
 * moment, and which may be destroyed; a scanner. What is done under a PGM lock is one step here, and the queue of
 * requests is request_queue.pml's; TLBs are cow_flush.pml's.
 *
 * Proven: a guest reads what it wrote last, a page in use is not freed and its
 * count of references is right, nobody waits for ever, and no page stays monitored.
 *
 * variant TWO_SCANNERS: two, which meet on the same pages in opposite order.
 *
 * mistake COMPARE_BEFORE_PROTECT: compares and copies before the pages are monitored.
 * mistake TRUST_MONITORING: switches without the comparison under the lock.
 * mistake NO_RECHECK: switches a page that is no longer the same one.
 * mistake NO_COPY_ON_WRITE: writes to a shared page.
 * mistake NO_REFERENCE: switches without a reference of its own.
 * mistake DROPS_EARLY: the scanner gives back its reference before the answers.
 * mistake NO_CANCEL: a VM that is destroyed leaves requests unanswered.
 * mistake LEAVES_MONITORED: the scanner forgets the page that did not switch.
 */

#ifdef TRUST_MONITORING
#define TWO_SCANNERS
#endif

#define VMS   2
#define WORDS 2
#ifdef TWO_SCANNERS
#define SCANNERS 2
#define WRITES   1          /* of each guest */
#define MAY_END  (me == 0) /* the other case is this one in the mirror */
#else
#define SCANNERS 1
#define WRITES   3
#define MAY_END  true
#endif

/* Frames: two of each VM, in turn, then what each scanner makes. */
#define FRAMES       6
#define FRAME(vm, i) ((vm) * 2 + (i))
#define SHARED(s)    (4 + (s))
#define IS_SHARED(f) ((f) >= 4)

#define WORD(f, i) content[(f) * WORDS + (i)]
#define EQUAL(a, b) (WORD(a, 0) == WORD(b, 0) && WORD(a, 1) == WORD(b, 1))

bit content[12];
byte references[FRAMES]; /* a private page has one */

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

byte scanners_done;

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

inline make_private()
{
	if
	:: references[FRAME(me, 0)] == 0 -> f = FRAME(me, 0)
	:: else -> f = FRAME(me, 1)
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

#if defined(COMPARE_BEFORE_PROTECT) || defined(TRUST_MONITORING) || defined(NO_RECHECK)
#define IS_EQUAL(s) true
#else
#define IS_EQUAL(s) EQUAL(frame[me], SHARED(s))
#endif

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
		frame[me] = SHARED(s);
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
		references[frame[me]] = 1
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

/* --- who scans ----------------------------------------------------------------------------------- */

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
	compare(first_frame, second_frame);
	if
	:: is_equal ->
		references[SHARED(me)] = 1;
		copy(SHARED(me), first_frame);
		compare(SHARED(me), first_frame);
		if
		:: is_equal -> compare(SHARED(me), second_frame)
		:: else
		fi
	:: else
	fi
}

inline unmonitor(vm, f)
{
	post(UNMONITOR, vm, f);
	IS_ANSWERED(vm)
}

inline give_up(vm, f, is_ours)
{
#ifndef LEAVES_MONITORED
	if
	:: is_ours -> unmonitor(vm, f)
	:: else
	fi
#else
	skip
#endif
}

active [SCANNERS] proctype scanner()
{
	byte me = _pid - VMS, first, second, first_frame, second_frame;
	bool is_equal, first_is_ours, second_is_ours;
	d_step { first = me; second = 1 - me }
	first_frame = frame[first];
	second_frame = frame[second];
	if
	:: IS_SHARED(first_frame) || IS_SHARED(second_frame) -> goto done
	:: else
	fi;
#ifdef COMPARE_BEFORE_PROTECT
	make_shared();
	ask_both(MONITOR);
	d_step { first_is_ours = SUCCEEDED(first); second_is_ours = SUCCEEDED(second) }
	is_equal = is_equal && first_is_ours && second_is_ours;
#else
	ask_both(MONITOR);
	d_step { first_is_ours = SUCCEEDED(first); second_is_ours = SUCCEEDED(second) }
	if
	:: first_is_ours && second_is_ours -> make_shared()
	:: else
	fi;
#endif
	if
	:: is_equal ->
#ifdef DROPS_EARLY
		atomic { put(SHARED(me)) }
#endif
		ask_both(SHARE);
		d_step {
			first_is_ours = !SUCCEEDED(first);
			second_is_ours = !SUCCEEDED(second)
		}
	:: else
	fi;
#ifndef DROPS_EARLY
	atomic {
		if
		:: references[SHARED(me)] > 0 -> put(SHARED(me))
		:: else
		fi
	}
#endif
	give_up(first, first_frame, first_is_ours);
	give_up(second, second_frame, second_is_ours);
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
