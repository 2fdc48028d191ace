/* SPDX-License-Identifier: MIT */
/*
 * One guest page while its nested entry changes, and what the TLBs of CPUs that
 * are in the guest still hold. What each vCPU does between safe point and exit is
 * vm/vm_loop.c; what the VM's own thread does to the page is write-monitoring,
 * sharing and copy on write in mm/pgm.
 *
 * The rules, for any number of CPUs (with one, no vCPU is in the guest while a
 * thread changes an entry, so that waiting is nothing):
 *   1  Change the entry, then raise the generation, then kick, then wait until each
 *      vCPU is out of the guest or went in with the new generation. Only then is
 *      the change done: only then compare, copy, let anybody write, or free.
 *   2  A vCPU says that it is about to enter before it reads the generation, and
 *      that it is out before it waits for anything.
 *   3  Until rule 1 is satisfied, old and new translation must allow the same: the
 *      copy of a shared page is mapped read-only first.
 *   4  Whoever switches the page checks under the lock that it is still protected.
 *
 * Two vCPUs read and write; a third thread of the VM monitors the page, copies
 * it, and switches to the copy, which is shared; a write copies it again.
 *
 * Proven: every read gives what was written last, by whichever CPU; nobody reads
 * or writes a frame that was freed; nobody waits for ever.
 *
 * variant THREE_VCPUS: a third one reads, and the page is shared from the start.
 *
 * mistake COPY_BEFORE_PROTECT: copies, then protects, and trusts the copy.
 * mistake NO_RECHECK: switches a page that was written since it was copied.
 * mistake MONITOR_WITHOUT_WAIT: compares while a CPU may still write.
 * mistake FREE_BEFORE_WAIT: frees the old frame while a CPU may still use it.
 * mistake NO_FLUSH: a vCPU does not compare generations when it enters.
 * mistake GENERATION_FIRST: raises the generation, then changes the entry.
 * mistake ENTERS_UNSEEN: reads the generation, then says that it enters.
 * mistake LEAVES_LATE: says that it is out after it has handled the exit.
 * mistake NO_KICK: waits for a CPU that has no reason to leave the guest.
 * mistake COPY_WITHOUT_WAIT: copies on write, and enters at once.
 * mistake WRITABLE_AT_ONCE: maps the copy writable while a CPU may read the original.
 */

#ifdef WRITABLE_AT_ONCE
#define THREE_VCPUS
#endif

#ifdef THREE_VCPUS
#define VCPUS     3
#define ACCESSES  2
#define MAY_WRITE (me != 2)
#else
#define VCPUS     2
#define ACCESSES  3
#define MAY_WRITE true
#endif

/* Frames: the guest's own, the shared copy, the one from the handy stock. */
#define NONE   0
#define OWN    1
#define SHARED 2
#define HANDY  3

bit content[4];
bool is_free[4]; /* and somebody else's at any moment */
bit written; /* what the guest wrote last: what a read must give */

/* The nested entry and the record, guarded by the lock; the entry is also read by CPUs. */
#ifdef THREE_VCPUS
byte frame = SHARED;
bool is_writable = false;
#else
byte frame = OWN;
bool is_writable = true;
#endif
bool is_monitored;
byte generation = 1;
bool lock;

/* Each vCPU's, read by whoever waits. */
bool is_inside[VCPUS];
byte entered_with[VCPUS];
bool is_kicked[VCPUS];

/* --- changing the entry, lock held --------------------------------------------------------- */

inline acquire()
{
	atomic { !lock -> lock = true }
}

inline release()
{
	lock = false
}

inline map(to, writable)
{
#ifdef GENERATION_FIRST
	generation++;
	atomic { frame = to; is_writable = writable }
#else
	/* One store of 64 bits. */
	atomic { frame = to; is_writable = writable }
	generation++
#endif
}

inline kick(v)
{
#ifndef NO_KICK
	is_kicked[v] = true
#else
	skip
#endif
}

/* Of the change that was made last: the lock is held, so `generation` stays. */
inline wait_for(v)
{
	!is_inside[v] || entered_with[v] == generation
}

inline flush_and_wait()
{
	kick(0);
	kick(1);
#ifdef THREE_VCPUS
	kick(2);
#endif
	wait_for(0);
	wait_for(1);
#ifdef THREE_VCPUS
	wait_for(2)
#endif
}

/* --- a vCPU ------------------------------------------------------------------------------------ */

inline enter()
{
#ifdef ENTERS_UNSEEN
	seen = generation;
	is_inside[me] = true;
#else
	is_inside[me] = true; /* with a full fence behind it */
	seen = generation;
#endif
#ifndef NO_FLUSH
	if
	:: seen != entered_with[me] -> tlb_frame = NONE
	:: else
	fi;
#endif
	d_step { entered_with[me] = seen; seen = 0 }
}

inline leave()
{
	d_step { is_inside[me] = false; is_kicked[me] = false }
}

inline copy_on_write()
{
	content[HANDY] = content[SHARED];
#ifdef WRITABLE_AT_ONCE
	map(HANDY, true);
#else
	map(HANDY, false);
#endif
#ifndef COPY_WITHOUT_WAIT
	flush_and_wait();
#endif
	/* More is allowed than before: no flush; who has the old one faults and looks again. */
	is_writable = true;
	is_free[SHARED] = true
}

inline fault()
{
	tlb_frame = NONE; /* the CPU drops the translation that faulted */
#ifndef LEAVES_LATE
	leave();
#endif
	acquire();
	if
	:: is_writable
	:: !is_writable && is_monitored -> d_step { is_monitored = false; is_writable = true }
	:: !is_writable && !is_monitored -> copy_on_write()
	fi;
	release();
#ifdef LEAVES_LATE
	leave();
#endif
	enter()
}

inline write()
{
	if
	:: tlb_writable ->
		atomic {
			assert(!is_free[tlb_frame]);
			if
			:: written = 0
			:: written = 1
			fi;
			content[tlb_frame] = written
		}
		accesses++
	:: else -> fault()
	fi
}

inline read()
{
	atomic {
		assert(!is_free[tlb_frame]);
		assert(content[tlb_frame] == written)
	}
	accesses++
}

active [VCPUS] proctype vcpu()
{
	byte me = _pid, tlb_frame = NONE, accesses, seen;
	bool tlb_writable;
	enter();
	do
	:: is_kicked[me] -> leave(); enter()
	:: accesses == ACCESSES ->
		/* In a loop of its own, for as long as nobody kicks it. */
end_busy:	is_kicked[me] -> leave(); enter()
	:: accesses < ACCESSES && tlb_frame == NONE ->
		/* The CPU's walk is one load. */
		atomic { tlb_frame = frame; tlb_writable = is_writable }
	:: accesses < ACCESSES && tlb_frame != NONE -> read()
	:: accesses < ACCESSES && tlb_frame != NONE && MAY_WRITE -> write()
	od
}

/* --- the VM's thread that serves requests ------------------------------------------------------ */

inline monitor()
{
	acquire();
	is_monitored = true;
	map(OWN, false);
#ifndef MONITOR_WITHOUT_WAIT
	flush_and_wait();
#endif
	release()
}

inline copy()
{
	content[SHARED] = content[OWN]
}

inline switch_to_shared()
{
	acquire();
#ifdef NO_RECHECK
	if
	:: true ->
#else
	if
	:: is_monitored ->
#endif
		is_monitored = false;
		map(SHARED, false);
#ifdef FREE_BEFORE_WAIT
		is_free[OWN] = true;
		flush_and_wait();
#else
		flush_and_wait();
		is_free[OWN] = true;
#endif
#ifndef NO_RECHECK
	:: else -> is_free[SHARED] = true
#endif
	fi;
	release()
}

#ifndef THREE_VCPUS
active proctype server()
{
#ifdef COPY_BEFORE_PROTECT
	copy();
	monitor();
#else
	monitor();
	copy();
#endif
	switch_to_shared()
}
#endif
