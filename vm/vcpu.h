/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: registers, what waits for it, and its thread. All fields
 * belong to the thread unless a group says otherwise.
 */
#ifndef VM_VCPU_H
#define VM_VCPU_H

#include <quire/atomic.h>
#include <quire/virt_ops.h>

#include "arch/x86_64/lazy.h"

#include "insn_length.h"
#include "vm_internal.h"

/* What others, or interrupt handlers, ask of the thread: it looks before each entry. */
enum vcpu_request {
	VCPU_REQUEST_HOLD = BIT32(0),     /* look at the VM's `hold` */
	VCPU_REQUEST_END = BIT32(1),      /* the thread must return */
	VCPU_REQUEST_POWER = BIT32(2),    /* look at the VM's `power_request` */
	VCPU_REQUEST_RESET = BIT32(3),    /* power-on state */
	VCPU_REQUEST_TIMER = BIT32(4),    /* the devices' timer went off */
	VCPU_REQUEST_EVENT = BIT32(5),    /* an interrupt may be pending */
	VCPU_REQUEST_INIT = BIT32(6),     /* from a local APIC */
	VCPU_REQUEST_START_UP = BIT32(7), /* likewise; see start_up_entry */
	VCPU_REQUEST_REFILL = BIT32(8),   /* handy pages are low */
	VCPU_REQUEST_SLEEP = BIT32(9),    /* not RUNNABLE: see `activity` */
	VCPU_REQUEST_SERVE = BIT32(10),   /* vCPU 0: look at the VM's request queue */
	VCPU_REQUEST_WISH = BIT32(11),    /* carry out `wish` */
};

/* An exit handler can neither wait nor stop the VM: it leaves a wish, and the loop carries it out. */
enum vcpu_wish_kind {
	VCPU_WISH_NOTHING,
	VCPU_WISH_MEMORY, /* the exit needs `page_count` pages; the guest then tries again */
	VCPU_WISH_STOP,   /* the VM cannot go on and stops as failed, for `reason` */
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
	struct vm *vm;
	const struct virt_ops *ops;
	struct virt_vcpu *virt;
	struct thread *thread;
	unsigned index;

	/* Atomic: enum vcpu_request, and the page of a start-up IPI. */
	uint32_t requests;
	uint32_t start_up_entry;

	enum vcpu_activity activity;
	bool can_interrupt;        /* RFLAGS.IF without interrupt shadow, after the last exit */
	bool event_due;            /* event_prepare() has something to look at */
	bool nmi_pending;          /* taken from the devices, not yet delivered */
	bool window_is_set;        /* what was last asked of the backend */
	struct guest_event queued; /* exception or interrupted event for the next entry */
	struct vcpu_wish wish;     /* of the last exit's handler */

	uint64_t slat_generation; /* of the translations that may be cached */
	uint64_t exit_tsc;        /* host TSC at the last exit */
	uint64_t cr8;             /* as the devices know it */
	uint32_t devices_seen;    /* vpc_changes() when they were last looked at; 0: never */
	uint64_t tsc_adjust;      /* guest TSC is vm_now() plus this */
	uint64_t mtrr_default;    /* MTRRdefType, kept and without effect */
	uint64_t system_time_msr; /* the paravirtual clock's address, see pvclock.h */
	uint64_t wall_clock_msr;
	struct lazy_state lazy;
	struct insn_lengths lengths;
	const struct msr_row *last_msr; /* the row that the last MSR exit was about, or NULL */
	struct vm_exit_figures figures[VMEXIT_KIND_COUNT];
};

/* The thread begins in vm_hold_wait(). `*out_vcpu` is set on success only. */
q_status_t vcpu_create(struct vm *vm, unsigned index, struct vcpu **out_vcpu) Q_MUST_USE;
/* Ends and joins the thread. NULL is ignored. */
void vcpu_destroy(struct vcpu *vcpu);
/* In its own thread: the state after power-on; all but vCPU 0 wait for a start-up IPI. */
void vcpu_power_on(struct vcpu *vcpu);
/* Carries out INIT and start-up IPIs that were requested. */
void vcpu_start_up(struct vcpu *vcpu, uint32_t requests);

/* From anywhere, interrupt handlers included. */
void vcpu_request(struct vcpu *vcpu, uint32_t requests);
/* From its own thread: seen before the next entry. */
static inline void vcpu_request_self(struct vcpu *vcpu, uint32_t requests)
{
	atomic_or_acq_rel(&vcpu->requests, requests);
}

/* The thread's body: the loop of vcpu_run.c. */
void vcpu_run(void *vcpu);

/* Puts RIP behind an instruction that was carried out for the guest. */
void vcpu_skip_special(struct vcpu *vcpu, uint64_t from);
static inline void vcpu_skip_to(struct vcpu *vcpu, uint64_t rip)
{
	uint64_t from = vcpu->regs.rip;
	vcpu->regs.rip = rip;
	vcpu->ops->insn_skipped(vcpu->virt);
	vcpu->can_interrupt = vcpu->regs.rflags & RFLAGS_IF;
	/* Single-stepping, or EIP may have passed 4 GiB: rare, so elsewhere. */
	if (Q_UNLIKELY((vcpu->regs.rflags & RFLAGS_TF) || (from ^ rip) >> 32))
		vcpu_skip_special(vcpu, from);
}

static inline void vcpu_skip(struct vcpu *vcpu, unsigned length)
{
	vcpu_skip_to(vcpu, vcpu->regs.rip + length);
}

/* Of the instruction that exited, at RIP. */
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

/* The guest's memory was written on its behalf: is it time to refill? */
static inline void vcpu_memory_used(struct vcpu *vcpu)
{
	if (pgm_handy_is_low(vcpu->vm->pgm))
		vcpu_request_self(vcpu, VCPU_REQUEST_REFILL);
}

/* From a handler: see enum vcpu_wish_kind. The first wish to stop prevails. */
void vcpu_wish_memory(struct vcpu *vcpu, uint64_t page_count);
void vcpu_wish_stop(struct vcpu *vcpu, const char *reason);

static inline uint64_t vcpu_tsc(const struct vcpu *vcpu)
{
	return vm_now(vcpu->vm) + vcpu->tsc_adjust;
}

/* 32-bit halves in EDX:EAX, as many instructions want them. */
static inline uint64_t vcpu_edx_eax(const struct vcpu *vcpu)
{
	return vcpu->regs.gpr[GPR_RDX] << 32 | (uint32_t)vcpu->regs.gpr[GPR_RAX];
}

#endif
