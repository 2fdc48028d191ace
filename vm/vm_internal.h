/* SPDX-License-Identifier: MIT */
/*
 * What the files of vm/ share about a VM.
 *
 * A VM runs when nothing holds it: `hold` is a set of reasons, one bit each.
 * Its vCPUs' threads look at it at their safe points and park while it is not
 * empty. What changes a VM as a whole (power-on, stop) is a job: it is posted
 * together with VM_HOLD_JOB and done by the thread of vCPU 0 once every vCPU
 * is held, so it never races with a running guest.
 */
#ifndef VM_VM_INTERNAL_H
#define VM_VM_INTERNAL_H

#include <quire/bits.h>
#include <quire/list.h>
#include <quire/lock.h>
#include <quire/virt_ops.h>

#include "lib/request_queue.h"
#include "arch/x86_64/cpu.h"
#include "kernel/timer.h"
#include "mm/pgm/pgm.h"
#include "mm/share/share.h"
#include "devices/vpc.h"
#include "vm/config.h"
#include "vm/vm.h"

#include "serial.h"

struct cpuid_table;
struct error_text;
struct vcpu;

enum vm_hold {
	VM_HOLD_CREATED = BIT32(0), /* never started */
	VM_HOLD_STOPPED = BIT32(1),
	VM_HOLD_OPERATOR = BIT32(2), /* paused by hand */
	VM_HOLD_MEMORY = BIT32(3),   /* paused until memory is there */
	VM_HOLD_JOB = BIT32(4),      /* a job waits or is being done */
};

enum vm_job {
	VM_JOB_NONE,
	VM_JOB_POWER_ON,
	VM_JOB_LOAD, /* the rest of a power-on that had to wait for memory */
	VM_JOB_STOP,
};

/* Why a VM stopped. */
struct vm_ending {
	const char *reason; /* static text */
	uint32_t status;    /* of a debug exit */
	bool is_failure;
};

/* What the VM waits for while it has VM_HOLD_MEMORY, see memory_wait.h. */
struct memory_wait {
	struct vcpu *vcpu;   /* whose thread tries; NULL: the VM does not wait */
	uint64_t page_count; /* that it needs to go on */
	bool is_for_load;    /* its kernel is not in place yet; needs that many at most */
};

struct vm {
	/* Guarded by the table's lock. */
	struct list_node node;
	unsigned reference_count;
	struct thread *destroyer; /* waits for the last reference, or NULL */

	/* Fixed by vm_create(). */
	uint64_t number;
	struct vm_config config;
	const struct virt_ops *ops;
	struct pgm *pgm;
	share_group_t share_group; /* 0: its pages are shared with nobody's */
	struct cpuid_table *cpuid;
	struct vcpu *vcpus[VPC_VCPU_MAX];
	unsigned vcpu_count;

	struct spinlock devices_lock; /* LOCK_RANK_DEVICES */
	/* Guarded by devices_lock. */
	struct vpc *vpc;
	uint64_t armed_deadline; /* guest TSC that `timer` stands for */
	struct vcpu *timer_vcpu; /* whom the timer wakes: who armed it last */
	struct timer timer;

	struct serial serial; /* has its own lock */

	/* Host TSC at guest TSC 0. Written by the power-on job while all vCPUs are held. */
	uint64_t start_tsc;

	struct spinlock lock; /* LOCK_RANK_VM */
	/* Guarded by lock; `hold` is also read without it, where a stale value only costs a turn. */
	uint32_t hold;           /* enum vm_hold */
	unsigned held_count;     /* vCPU threads in vm_hold_wait() */
	enum vm_job job;         /* wanted, not yet begun */
	struct vm_ending ending; /* of the STOP job, and of the last run */
	struct memory_wait wait; /* with a vCPU exactly while VM_HOLD_MEMORY */
	bool is_fresh;           /* its memory was not touched since creation or stop */

	struct request_queue requests; /* atomic, see vm/request.h */
	/* Atomic: what the guest asked of the power switch, see vm_host.c; 0: nothing. */
	uint64_t power_request;
	/* Any vCPU; a lost update costs a second line in the log. */
	bool has_reported_emulation;
};

/* --- vm_life.c ------------------------------------------------------------------------ */

/* In a vCPU's thread: stays while the VM is held, and does the VM's jobs. */
void vm_hold_wait(struct vcpu *vcpu);
/* Ends the run as soon as every vCPU is out of the guest. */
void vm_stop_post(struct vm *vm, const struct vm_ending *ending);
/* Its memory came: what is left of the power-on is done next, unless the VM is to stop. */
void vm_job_load_post_locked(struct vm *vm) Q_REQUIRES(vm->lock);
/* Every vCPU looks at `hold` again. */
void vm_kick(struct vm *vm);
/* Carries out what the guest asked of the power switch. */
void vm_power_request_handle(struct vm *vm);

/* --- vm_power.c ------------------------------------------------------------------------ */

/* With all vCPUs held, in vCPU 0's thread: memory, devices and CPUs as at power-on. */
void vm_power_on(struct vm *vm);
/* Then the kernel. Q_NO_MEMORY: what is in place stays; calling it again goes on from there. */
q_status_t vm_load(struct vm *vm, struct error_text *error) Q_MUST_USE;
/* How many pages more that can take, at most. */
uint64_t vm_load_pages_max(const struct vm *vm);
/* Gives memory and its guarantee back, and stops the devices' timer. */
void vm_power_off(struct vm *vm);

/* --- vm_devices.c ---------------------------------------------------------------------- */

/* Guest TSC ticks since power-on, the devices' time. */
static inline uint64_t vm_now(const struct vm *vm)
{
	return cpu_rdtsc() - vm->start_tsc;
}
/* The lock around calls of devices/vpc.h. `vcpu`: whose thread this is, or NULL. */
void vm_devices_enter(struct vm *vm) Q_ACQUIRES(vm->devices_lock);
void vm_devices_leave(struct vm *vm, struct vcpu *vcpu) Q_RELEASES(vm->devices_lock);
/* The devices' timer went off: lets them catch up. */
void vm_devices_advance(struct vcpu *vcpu);
/* Devices as at power-on, their timer not yet armed; the storage stays. */
void vm_devices_init(struct vm *vm);
void vm_devices_power_on(struct vm *vm);
void vm_devices_power_off(struct vm *vm);
void vm_devices_timer_fired(struct timer *timer);

extern const struct vpc_host vm_host; /* vm_host.c */

/* The power switch as one word: `what` above, so that 0 is nothing, the value below. */
static inline uint64_t vm_power_request_make(enum vpc_power what, uint32_t value)
{
	return (uint64_t)(what + 1) << 32 | value;
}

static inline enum vpc_power vm_power_request_what(uint64_t request)
{
	return (enum vpc_power)((request >> 32) - 1);
}

/* --- vm_table.c -------------------------------------------------------------------------- */

/* Q_EXISTS: the name is taken. */
q_status_t vm_table_add(struct vm *vm) Q_MUST_USE;
/* From here on there are no new references; vm_references_wait() waits for the old ones. */
void vm_table_remove(struct vm *vm);
void vm_references_wait(struct vm *vm);
/* Around a walk with vm_next() in any thread but the operator's. */
void vm_table_enter(void);
void vm_table_leave(void);

/* --- events.c ------------------------------------------------------------------------------ */

/* Says it in the log and, if wanted, as a JSON line. `detail` may be NULL. */
void vm_event(const struct vm *vm, const char *state, const struct vm_ending *ending,
	      const char *detail);
/* One VM of those that wait, and for what. */
struct memory_waiter {
	char name[CONFIG_NAME_BYTES];
	uint64_t page_count;
	enum gmm_priority priority;
};
#define MEMORY_WAITERS_LISTED 16u
/* All VMs that could run wait, `count` of them; `waiters` has the first MEMORY_WAITERS_LISTED. */
void vm_event_exhausted(const struct memory_waiter *waiters, unsigned count);
/* Carries out exit= when no VM is left; returns otherwise. */
void vm_exit_if_idle(void);

#endif
