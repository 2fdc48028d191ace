/* SPDX-License-Identifier: MIT */
/*
 * What the files of vm/ share about a VM. The files:
 *
 *   vm.c           birth and end, figures; the operator's thread
 *   vm_table.c     all VMs, references, states; any thread, the table's lock
 *   vm_life.c      holds and jobs: what the operator and the guest want; the VM's lock
 *   vm_config.c    pure: which values of a configuration go together, which modules must exist
 *   vm_boot.c      what a VM starts from: checked at creation, loaded at power-on
 *   vm_loop.c      the loop of a vCPU's thread
 *   request.c      requests to a VM about its memory; any thread posts, vCPU 0's thread serves
 *   memory_wait.c  a VM that waits for memory; the vCPUs' threads, the VM's lock
 *   notice.c       what happened, as a line for people and one for programs; no lock held
 *
 * A VM runs while nothing holds it. `hold` is a set of reasons, one bit each. The vCPUs' threads
 * look at it at their safe points, and stay in vm_hold_wait() while it is not empty. A job
 * changes the VM as a whole. It is posted together with VM_HOLD_JOB, and vCPU 0's thread does it
 * once every vCPU is held, so it never races with a running guest.
 *
 *   hold       set by                    cleared by                    while set, and JOB is not
 *   CREATED    vm_create()               POWER_ON, STOP                never powered on, memory
 *                                                                      untouched
 *   STOPPED    STOP; POWER_ON or LOAD    POWER_ON that does not fail   memory and guarantee were
 *              that fails                                              given back
 *   OPERATOR   vm_pause()                vm_resume(), whatever sets    the guest stands still
 *                                        STOPPED
 *   MEMORY     memory_wait_start(),      memory_wait_cancel_locked()   `wait.vcpu` tries for memory
 *              memory_wait_start_load()                                while OPERATOR is not set
 *   JOB        whatever posts a job      the job's end, unless         (`job` waits, or a job is
 *                                        another was posted            being done)
 *
 *   job        posted by                 what is set after its end, besides JOB
 *   POWER_ON   vm_start(), vm_reset()    kernel loaded: nothing, or OPERATOR as before
 *                                        no memory for it: MEMORY, and OPERATOR as before
 *                                        it cannot be loaded: STOPPED
 *   LOAD       memory_wait_turn()        the same
 *   STOP       vm_stop_post()            STOPPED
 *
 * vm_stop_post() serves vm_stop(), the guest's power switch and VCPU_WISH_STOP. POWER_ON and STOP
 * end a wait for memory. A posted STOP replaces a job that has not begun. Until it is done,
 * nothing replaces it or its reason.
 */
#ifndef VM_VM_INTERNAL_H
#define VM_VM_INTERNAL_H

#include <quire/bits.h>
#include <quire/list.h>
#include <quire/lock.h>

#include "lib/request_queue.h"
#include "vm/machine/vcpu.h"
#include "vm/vm.h"
#include "vm/vm_config.h"

struct error_text;

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
	struct vcpu *vcpu;   /* its thread tries; NULL: the VM does not wait */
	uint64_t page_count; /* how many pages it needs to go on */
	bool is_for_load;    /* for its kernel, which needs that many at most */
};

struct vm {
	/* What the guest sees. Its fields have their own rules, see machine.h. */
	struct machine machine;

	/* Guarded by the table's lock. */
	struct list_node node;
	unsigned reference_count;
	struct thread *destroyer; /* waits for the last reference, or NULL */

	/* Fixed by vm_create(). */
	uint64_t number;
	struct vm_config config;
	const struct module_table *modules;

	struct spinlock lock; /* LOCK_RANK_VM */
	/* Guarded by lock. `hold` is also read without it where a stale value costs only a turn. */
	uint32_t hold;           /* enum vm_hold */
	unsigned held_count;     /* vCPU threads in vm_hold_wait() */
	enum vm_job job;         /* wanted, not yet begun; STOP also while it is being done */
	struct vm_ending ending; /* of the STOP job, and of the last run */
	struct memory_wait wait; /* has a vCPU exactly while VM_HOLD_MEMORY is set */
	struct thread *watcher;  /* see vm_watcher_set() */

	struct request_queue requests; /* atomic, see vm/request.h */
};

/* Returns the VM that a vCPU belongs to. */
static inline struct vm *vm_of(const struct vcpu *vcpu)
{
	return container_of(vcpu->machine, struct vm, machine);
}

/* --- vm_life.c -------------------------------------------------------------------------------- */

/*
 * Waits while the VM is held; meanwhile does its jobs, serves requests and tries for memory.
 * Returns early at VCPU_REQUEST_END. In the vCPU's thread.
 */
void vm_hold_wait(struct vcpu *vcpu);
/* Posts the job STOP: the run ends as soon as every vCPU is out of the guest. */
void vm_stop_post(struct vm *vm, const struct vm_ending *ending);
/* Posts the job LOAD, unless another job waits. For when there is memory for the kernel. */
void vm_job_load_post_locked(struct vm *vm) Q_REQUIRES(vm->lock);
/* Makes every vCPU look at `hold` again. */
void vm_kick(struct vm *vm);
/* Carries out what the guest last asked of the power switch, if anything. */
void vm_power_request_handle(struct vm *vm);

/* --- vm_loop.c -------------------------------------------------------------------------------- */

/* The body of a vCPU's thread. */
void vm_loop(void *vcpu);

/* --- vm_table.c ------------------------------------------------------------------------------- */

/* Numbers the VM and adds it to the table. Q_EXISTS: the name is taken. */
q_status_t vm_table_add(struct vm *vm) Q_MUST_USE;
/* After this no thread can get a new reference; vm_references_wait() waits for the old ones. */
void vm_table_remove(struct vm *vm);
void vm_references_wait(struct vm *vm);
/* To be called around a walk with vm_next(), except in the operator's thread. */
void vm_table_enter(void);
void vm_table_leave(void);

#endif
