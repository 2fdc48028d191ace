/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: its registers, what is requested of it, and its thread. The vCPU's thread owns
 * all fields whose group does not say otherwise.
 */
#ifndef VM_MACHINE_VCPU_H
#define VM_MACHINE_VCPU_H

#include <quire/atomic.h>
#include <quire/virt_ops.h>

#include "arch/x86_64/lazy.h"
#include "vm/machine/machine.h"

#include "insn_length.h"

/*
 * What the vCPU's thread must look at before its next entry: no entry while a bit is set. The
 * loop of the layer above (vm/vm_loop.c) takes all bits at once. It serves the first group itself,
 * and then waits in vm_hold_wait() while the VM is held. That function also serves SERVE, and
 * returns at END. The second group is about a guest that runs: vcpu_requests_serve() serves it once
 * the VM is not held.
 *
 *   bit        set by                                    served by
 *   HOLD       vcpu_create(); vm_kick() when `hold`      the loop: looks at `hold`, as it does
 *              may have changed                          after any bit; vm_hold_wait()
 *   END        vcpu_destroy()                            the loop: the thread returns
 *   POWER      a device, at the power switch; for all    the loop: vm_power_request_handle()
 *   SERVE      vm_request_post(), for vCPU 0             the loop: vm_requests_serve()
 *   WISH       an exit handler, for its own vCPU         the loop: wish_grant()
 *
 *   RESET      machine_power_on(), for all but vCPU 0    vcpu_power_on()
 *   TIMER      the devices' timer                        machine_devices_advance()
 *   EVENT      a device with an interrupt, in a thread   inject_prepare(), at the next entry
 *              that is not the vCPU's
 *   INIT       a local APIC                              vcpu_start_up()
 *   START_UP   a local APIC, after start_up_entry        vcpu_start_up()
 *   REFILL     vcpu_memory_used(), for its own vCPU      pgm_handy_refill()
 *   SLEEP      activity_set(), exit_hlt(), for its own   the loop: vcpu_is_awake(), as after any
 *              vCPU                                      bit; see `activity`
 */
enum vcpu_request {
	VCPU_REQUEST_HOLD = BIT32(0),
	VCPU_REQUEST_END = BIT32(1),
	VCPU_REQUEST_POWER = BIT32(2),
	VCPU_REQUEST_RESET = BIT32(3),
	VCPU_REQUEST_TIMER = BIT32(4),
	VCPU_REQUEST_EVENT = BIT32(5),
	VCPU_REQUEST_INIT = BIT32(6),
	VCPU_REQUEST_START_UP = BIT32(7),
	VCPU_REQUEST_REFILL = BIT32(8),
	VCPU_REQUEST_SLEEP = BIT32(9),
	VCPU_REQUEST_SERVE = BIT32(10),
	VCPU_REQUEST_WISH = BIT32(11),
};

/*
 * An exit handler can neither wait nor end the run. It leaves a wish instead, which the loop
 * grants before the next entry.
 */
enum vcpu_wish_kind {
	VCPU_WISH_NOTHING,
	VCPU_WISH_MEMORY, /* to wait for `page_count` pages; the guest then tries again */
	VCPU_WISH_STOP,   /* to end the run, as failed: the guest cannot go on, for `reason` */
};

struct vcpu_wish {
	enum vcpu_wish_kind kind;
	uint64_t page_count;
	const char *reason; /* static text */
};

enum vcpu_activity {
	VCPU_RUNNABLE,
	VCPU_HALTED,         /* HLT: until an interrupt or NMI */
	VCPU_WAITS_START_UP, /* until a start-up IPI */
};

struct vcpu {
	struct guest_regs regs;
	struct vmexit exit; /* the last one */

	/* Fixed by vcpu_create(). */
	struct machine *machine;
	const struct virt_ops *ops;
	struct virt_vcpu *virt;
	struct thread *thread;
	unsigned index;

	/* Atomic: bits of enum vcpu_request; the address that the last start-up IPI named. */
	uint32_t requests;
	uint32_t start_up_entry;

	enum vcpu_activity activity;
	bool can_interrupt;        /* RFLAGS.IF and no interrupt shadow, at the last exit or skip */
	bool injection_is_due;     /* the next entry must call inject_prepare() */
	bool nmi_pending;          /* taken from the devices, still to be delivered */
	bool window_is_set;        /* the last argument of interrupt_window_set() */
	struct guest_event queued; /* exception or interrupted event for the next entry */
	struct vcpu_wish wish;     /* of the last exit's handler */

	uint64_t halt_rip;        /* of the last HLT, see halt.h */
	uint64_t slat_generation; /* of the nested translations that the CPU may have cached */
	uint64_t exit_tsc;        /* host TSC at the last exit */
	uint64_t cr8;             /* as the devices know it */
	uint32_t devices_seen;    /* vpc_changes() at the last look at the devices; 0: never */
	uint64_t tsc_adjust;      /* guest TSC is machine_now() plus this */
	uint64_t mtrr_default;    /* IA32_MTRR_DEF_TYPE: kept, without effect */
	uint64_t system_time_msr; /* the paravirtual clock's address, see pvclock.h */
	uint64_t wall_clock_msr;
	struct lazy_state lazy;
	struct insn_lengths lengths;
	const struct msr_row *last_msr;                 /* the row of the last MSR exit, or NULL */
	struct exit_figures figures[VMEXIT_KIND_COUNT]; /* other threads read them unlocked */
};

/* Creates the vCPU and its thread, which begins to run body(vCPU) at once. Q_NO_MEMORY. */
q_status_t vcpu_create(struct machine *machine, unsigned index, void (*body)(void *vcpu),
		       struct vcpu **out_vcpu) Q_MUST_USE;
/* Ends the thread, waits for that, and frees the vCPU. NULL is ignored. No lock held. */
void vcpu_destroy(struct vcpu *vcpu);
/*
 * Puts the vCPU into its state after power-on. All but vCPU 0 then wait for a start-up IPI. In
 * the vCPU's own thread.
 */
void vcpu_power_on(struct vcpu *vcpu);
/* Carries out the INIT and start-up IPIs among `requests`. In the vCPU's own thread. */
void vcpu_start_up(struct vcpu *vcpu, uint32_t requests);
/*
 * Sets bits of `requests` and wakes the vCPU's thread. Any thread and interrupt handlers may call
 * this, with locks held that rank below LOCK_RANK_SCHED.
 */
void vcpu_request(struct vcpu *vcpu, uint32_t requests);
/* The same in the vCPU's own thread, which looks at `requests` before its next entry anyway. */
static inline void vcpu_request_self(struct vcpu *vcpu, uint32_t requests)
{
	atomic_or_acq_rel(&vcpu->requests, requests);
}

/* --- for the loop, in the vCPU's thread ------------------------------------------------------- */

/*
 * Runs the guest and handles its exits until something is requested or another thread wants the
 * CPU: then the loop must attend to that. No lock is held across an entry.
 */
void vcpu_run(struct vcpu *vcpu); /* vcpu_enter.c */
/* Serves the requests of the second group above. */
void vcpu_requests_serve(struct vcpu *vcpu, uint32_t requests); /* vcpu_serve.c */
/* True if the vCPU executes instructions. Ends HLT if an interrupt or NMI has come for it. */
bool vcpu_is_awake(struct vcpu *vcpu); /* vcpu_serve.c */

/* Takes the wish that the last exit's handler left. */
static inline struct vcpu_wish vcpu_wish_take(struct vcpu *vcpu)
{
	struct vcpu_wish wish = vcpu->wish;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_NOTHING };
	return wish;
}

/* --- for exit handlers ------------------------------------------------------------------------ */

/* Wishes to wait for `page_count` pages of memory. A wish to stop stays. */
static inline void vcpu_wish_memory(struct vcpu *vcpu, uint64_t page_count)
{
	if (vcpu->wish.kind == VCPU_WISH_STOP)
		return;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_MEMORY, .page_count = page_count };
	vcpu_request_self(vcpu, VCPU_REQUEST_WISH);
}

/* Wishes to end the run. `reason` is static text. The first reason is the cause, and stays. */
static inline void vcpu_wish_stop(struct vcpu *vcpu, const char *reason)
{
	if (vcpu->wish.kind == VCPU_WISH_STOP)
		return;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_STOP, .reason = reason };
	vcpu_request_self(vcpu, VCPU_REQUEST_WISH);
}

/* Does the rest of vcpu_skip_to() where RFLAGS.TF is set or EIP may have wrapped. */
void vcpu_skip_special(struct vcpu *vcpu, uint64_t from);

/* Moves RIP to `rip`, the end of an instruction that was carried out for the guest. */
static inline void vcpu_skip_to(struct vcpu *vcpu, uint64_t rip)
{
	uint64_t from = vcpu->regs.rip;
	vcpu->regs.rip = rip;
	vcpu->ops->insn_skipped(vcpu->virt);
	vcpu->can_interrupt = vcpu->regs.rflags & RFLAGS_IF;
	if (Q_UNLIKELY((vcpu->regs.rflags & RFLAGS_TF) || (from ^ rip) >> 32))
		vcpu_skip_special(vcpu, from);
}

static inline void vcpu_skip(struct vcpu *vcpu, unsigned length)
{
	vcpu_skip_to(vcpu, vcpu->regs.rip + length);
}

/* Returns the length in bytes of the instruction that exited, where the CPU did not report it. */
static inline unsigned insn_length(struct vcpu *vcpu)
{
	const struct insn_length_entry *entry = insn_length_slot(&vcpu->lengths, vcpu->regs.rip);
	if (Q_LIKELY(entry->rip == vcpu->regs.rip && entry->kind == vcpu->exit.kind &&
		     entry->epoch == insn_length_epoch(vcpu->exit_tsc)))
		return entry->length;
	return insn_length_find(vcpu);
}

/* Skips the instruction that exited. */
static inline void vcpu_skip_insn(struct vcpu *vcpu)
{
	unsigned length = vcpu->exit.insn_length;
	vcpu_skip(vcpu, length ? length : insn_length(vcpu));
}

/* Call after a write to the guest's memory: requests a refill of the handy stock if it is low. */
static inline void vcpu_memory_used(struct vcpu *vcpu)
{
	if (pgm_handy_is_low(vcpu->machine->pgm))
		vcpu_request_self(vcpu, VCPU_REQUEST_REFILL);
}

/* Returns the TSC as the guest reads it on this vCPU. */
static inline uint64_t vcpu_tsc(const struct vcpu *vcpu)
{
	return machine_now(vcpu->machine) + vcpu->tsc_adjust;
}

/* Returns EDX:EAX, the 64-bit operand of WRMSR, XSETBV and others. */
static inline uint64_t vcpu_edx_eax(const struct vcpu *vcpu)
{
	return vcpu->regs.gpr[GPR_RDX] << 32 | (uint32_t)vcpu->regs.gpr[GPR_RAX];
}

#endif
