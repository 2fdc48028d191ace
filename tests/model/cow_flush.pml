/* SPDX-License-Identifier: MIT */
/*
 * One guest page while its nested entry changes, and what the TLBs of CPUs that are
 * in the guest still hold. What a vCPU does between its safe point and its exit is
 * in vm/vm_loop.c and vm/machine/vcpu_enter.c. What the VM's own thread does to the
 * page is in mm/pgm: write-monitoring, sharing and copy on write.
 *
 * The rules, for any number of CPUs. (With one CPU, no vCPU is in the guest while a
 * thread changes an entry, so there is nothing to wait for.)
 *   1  Change the entry, then raise the generation, then kick, then wait until each
 *      vCPU is out of the guest or has entered with the new generation. Only then is
 *      the change complete. Do not compare, copy, allow writing, or free before that.
 *   2  A vCPU says that it is about to enter before it reads the generation. It says
 *      that it is out before it waits for anything.
 *   3  Until rule 1 is satisfied, the old and the new translation must allow the same.
 *      So the copy of a shared page is mapped read-only first.
 *   4  A thread that switches the page checks under the lock that it is still
 *      protected.
 *
 * Two vCPUs read and write. A third thread of the VM monitors the page, copies it,
 * and switches to the copy, which is shared; a write copies the page again.
 *
 * Proven: every read returns what was written last, by whichever CPU; no CPU reads or
 * writes a frame that was freed; no thread waits for ever.
 *
 * variant THREE_VCPUS: a third vCPU reads, and the page is shared from the start.
 *
 * mistake COPY_BEFORE_PROTECT: copies, then protects, and trusts the copy.
 * mistake NO_RECHECK: switches a page that was written since it was copied.
 * mistake MONITOR_WITHOUT_WAIT: copies while a CPU may still write.
 * mistake FREE_BEFORE_WAIT: frees the old frame while a CPU may still use it.
 * mistake NO_FLUSH: a vCPU does not compare generations when it enters.
 * mistake GENERATION_FIRST: raises the generation, then changes the entry.
 * mistake ENTERS_UNSEEN: a vCPU reads the generation, then says that it enters.
 * mistake LEAVES_LATE: a vCPU says that it is out after it has handled the exit.
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

/* Frames: the guest's own, the shared copy, and one from the stock of handy pages. */
#define NONE   0
#define OWN    1
#define SHARED 2
#define HANDY  3

bit content[4];
bool is_free[4]; /* it may be given to another owner at any moment */
bit written; /* what the guest wrote last, and a read must return */

/* The nested entry and the record. The lock guards both; CPUs read the entry without it. */
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

/* Each vCPU's own; a thread that waits for it reads them. */
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

/* For the last change: the lock is held, so `generation` stays. */
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
	is_inside[me] = true; /* followed by a full fence */
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
	/* No flush, because this allows more: a CPU with the old entry faults and looks again. */
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
		/* The guest is in a loop until its CPU is kicked. */
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
