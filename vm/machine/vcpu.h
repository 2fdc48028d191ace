/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: registers, what waits for it, and its thread. All fields belong to the
 * thread unless a group says otherwise.
 */
#ifndef VM_MACHINE_VCPU_H
#define VM_MACHINE_VCPU_H

#include <quire/atomic.h>
#include <quire/virt_ops.h>

#include "arch/x86_64/lazy.h"
#include "vm/machine/machine.h"

#include "insn_length.h"

/*
 * What the vCPU's thread is to look at before its next entry. The loop of the layer above
 * (vm/vm_loop.c) takes all bits at once and serves the first group itself, also while the VM
 * is held; vcpu_requests_serve() serves the second, which only a guest that runs needs.
 *
 *   bit        set by                                    served by
 *   HOLD       vm_kick(): the VM's `hold` has changed    the loop: vm_hold_wait()
 *   END        vcpu_destroy()                            the loop: the thread returns
 *   POWER      a device, at the power switch             the loop: vm_power_request_handle()
 *   SERVE      vm_request_post(), of vCPU 0              the loop: vm_requests_serve()
 *   WISH       an exit handler, of its own vCPU          the loop: wish_grant()
 *
 *   RESET      machine_power_on(), of all but vCPU 0     vcpu_power_on()
 *   TIMER      the devices' timer                        machine_devices_advance()
 *   EVENT      a device with an interrupt                the next entry looks for it
 *   INIT       a local APIC                              vcpu_start_up()
 *   START_UP   a local APIC, after start_up_entry        vcpu_start_up()
 *   REFILL     vcpu_memory_used(), of its own vCPU       pgm_handy_refill()
 *   SLEEP      activity_set(), exit_hlt(), of its own    vcpu_is_awake(): see `activity`
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
 * An exit handler can neither wait nor end the run. It leaves a wish, and the loop grants it
 * before the next entry.
 */
enum vcpu_wish_kind {
	VCPU_WISH_NOTHING,
	VCPU_WISH_MEMORY, /* the exit needs `page_count` pages; the guest then tries again */
	VCPU_WISH_STOP,   /* the guest cannot go on: the run has failed, for `reason` */
};

struct vcpu_wish {
	enum vcpu_wish_kind kind;
	uint64_t page_count;
	const char *reason; /* static text */
};

enum vcpu_activity {
	VCPU_RUNNABLE,
	VCPU_HALTED,         /* HLT: until an interrupt */
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

	/* Atomic: enum vcpu_request, and the page of a start-up IPI. */
	uint32_t requests;
	uint32_t start_up_entry;

	enum vcpu_activity activity;
	bool can_interrupt;        /* RFLAGS.IF without interrupt shadow, after the last exit */
	bool injection_is_due;     /* inject_prepare() has something to look at */
	bool nmi_pending;          /* taken from the devices, not yet delivered */
	bool window_is_set;        /* what was last asked of the backend */
	struct guest_event queued; /* exception or interrupted event for the next entry */
	struct vcpu_wish wish;     /* of the last exit's handler */

	uint64_t slat_generation; /* of the translations that may be cached */
	uint64_t exit_tsc;        /* host TSC at the last exit */
	uint64_t cr8;             /* as the devices know it */
	uint32_t devices_seen;    /* vpc_changes() when they were last looked at; 0: never */
	uint64_t tsc_adjust;      /* guest TSC is machine_now() plus this */
	uint64_t mtrr_default;    /* MTRRdefType, kept and without effect */
	uint64_t system_time_msr; /* the paravirtual clock's address, see pvclock.h */
	uint64_t wall_clock_msr;
	struct lazy_state lazy;
	struct insn_lengths lengths;
	const struct msr_row *last_msr; /* the row that the last MSR exit was about, or NULL */
	struct exit_figures figures[VMEXIT_KIND_COUNT];
};

/* `body` is the thread's, and gets the vCPU. Q_NO_MEMORY. */
q_status_t vcpu_create(struct machine *machine, unsigned index, void (*body)(void *vcpu),
		       struct vcpu **out_vcpu) Q_MUST_USE;
/* Ends and joins the thread. NULL is ignored. */
void vcpu_destroy(struct vcpu *vcpu);
/* In its own thread: the state after power-on; all but vCPU 0 wait for a start-up IPI. */
void vcpu_power_on(struct vcpu *vcpu);
/* In its own thread: carries out the INIT and start-up IPIs among `requests`. */
void vcpu_start_up(struct vcpu *vcpu, uint32_t requests);
/* Any thread, and interrupt handlers. */
void vcpu_request(struct vcpu *vcpu, uint32_t requests);
/* In its own thread, which looks before its next entry. */
static inline void vcpu_request_self(struct vcpu *vcpu, uint32_t requests)
{
	atomic_or_acq_rel(&vcpu->requests, requests);
}

/* --- for the loop, in the vCPU's thread ------------------------------------------------- */

/*
 * Runs the guest and handles its exits until something is requested or another thread wants
 * the CPU; then the loop is to attend to it. No lock is held across an entry.
 */
void vcpu_run(struct vcpu *vcpu); /* vcpu_enter.c */
/* Serves the requests of the second group above. */
void vcpu_requests_serve(struct vcpu *vcpu, uint32_t requests); /* vcpu_serve.c */
/* True if the vCPU executes instructions. HLT ends here if something wakes it. */
bool vcpu_is_awake(struct vcpu *vcpu); /* vcpu_serve.c */

/* Takes the wish that the last exit's handler left. */
static inline struct vcpu_wish vcpu_wish_take(struct vcpu *vcpu)
{
	struct vcpu_wish wish = vcpu->wish;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_NOTHING };
	return wish;
}

/* --- for exit handlers ------------------------------------------------------------------- */

static inline void vcpu_wish_memory(struct vcpu *vcpu, uint64_t page_count)
{
	/* A wish to stop stays. */
	if (vcpu->wish.kind == VCPU_WISH_STOP)
		return;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_MEMORY, .page_count = page_count };
	vcpu_request_self(vcpu, VCPU_REQUEST_WISH);
}

/* `reason` is static text. The first reason is the cause, and stays. */
static inline void vcpu_wish_stop(struct vcpu *vcpu, const char *reason)
{
	if (vcpu->wish.kind == VCPU_WISH_STOP)
		return;
	vcpu->wish = (struct vcpu_wish){ .kind = VCPU_WISH_STOP, .reason = reason };
	vcpu_request_self(vcpu, VCPU_REQUEST_WISH);
}

/* What vcpu_skip_to() leaves to do where RFLAGS.TF is set or EIP may have wrapped. */
void vcpu_skip_special(struct vcpu *vcpu, uint64_t from);

/* Moves RIP to `rip`, behind an instruction that was carried out for the guest. */
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

/* The length of the instruction that exited, at RIP, where the CPU did not say. */
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

/* After a write to the guest's memory: asks for a refill of the handy pages if they are low. */
static inline void vcpu_memory_used(struct vcpu *vcpu)
{
	if (pgm_handy_is_low(vcpu->machine->pgm))
		vcpu_request_self(vcpu, VCPU_REQUEST_REFILL);
}

static inline uint64_t vcpu_tsc(const struct vcpu *vcpu)
{
	return machine_now(vcpu->machine) + vcpu->tsc_adjust;
}

/* The 64-bit operand of WRMSR, XSETBV and others, in two halves. */
static inline uint64_t vcpu_edx_eax(const struct vcpu *vcpu)
{
	return vcpu->regs.gpr[GPR_RDX] << 32 | (uint32_t)vcpu->regs.gpr[GPR_RAX];
}

#endif
