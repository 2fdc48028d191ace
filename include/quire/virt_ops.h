/* SPDX-License-Identifier: MIT */
/*
 * The vendor interface: all that the rest of the system may ask of AMD-V or
 * VT-x. At most 20 operations; a new one needs a decision record. A backend
 * translates; it does not decide.
 *
 * A vCPU's operations are called by its own thread only. The thread may move
 * between CPUs, but never between `run` and the use of what it returned.
 */
#ifndef INCLUDE_QUIRE_VIRT_OPS_H
#define INCLUDE_QUIRE_VIRT_OPS_H

#include <quire/guest_state.h>
#include <quire/status.h>
#include <quire/vmexit.h>

/* The format of nested tables that the CPU walks; vm/ picks the slat_format. */
enum slat_kind { SLAT_NPT, SLAT_EPT };

struct virt_vcpu; /* each backend defines its own */

struct virt_ops {
	const char *name; /* "AMD-V", "VT-x" */
	enum slat_kind slat_kind;

	/* On each CPU, before any other operation there. */
	q_status_t (*cpu_enable)(void);
	void (*cpu_disable)(void);

	/* `regs` is the caller's and outlives the vCPU. State is as after reset. */
	q_status_t (*vcpu_create)(struct guest_regs *regs, struct virt_vcpu **out_vcpu);
	void (*vcpu_destroy)(struct virt_vcpu *vcpu);
	/* Power-on state: Intel SDM vol. 3, "Processor State After Reset". */
	void (*vcpu_reset)(struct virt_vcpu *vcpu);

	/*
	 * Enters the guest with `regs` and returns at the next exit. Interrupts
	 * are disabled on call and on return; one that ended the guest's run is
	 * still pending and is taken when the caller enables interrupts.
	 */
	void (*run)(struct virt_vcpu *vcpu, struct vmexit *out_exit);

	void (*state_get)(struct virt_vcpu *vcpu, struct guest_state *out_state);
	void (*code_state_get)(struct virt_vcpu *vcpu, struct guest_code_state *out_state);
	/* Returns Q_INVALID, and changes nothing, if the CPU would refuse the state. */
	q_status_t (*state_set)(struct virt_vcpu *vcpu, const struct guest_state *state);

	/* Delivered by the next run; replaces what was to be delivered. */
	void (*event_inject)(struct virt_vcpu *vcpu, const struct guest_event *event);
	/* Exit with VMEXIT_INTERRUPT_WINDOW as soon as the guest can take an interrupt. */
	void (*interrupt_window_set)(struct virt_vcpu *vcpu, bool is_wanted);
	/* After an emulated instruction: clears the interrupt shadow. */
	void (*insn_skipped)(struct virt_vcpu *vcpu);

	void (*slat_root_set)(struct virt_vcpu *vcpu, hpa_t root);
	/* Before the next entry, forget every cached guest-physical translation. */
	void (*slat_flush)(struct virt_vcpu *vcpu);

	/* Guest TSC = host TSC + offset. */
	void (*tsc_offset_set)(struct virt_vcpu *vcpu, uint64_t offset);

	/* Does the CPU set accessed and dirty bits in nested tables? */
	bool (*slat_notes_dirty)(void);

	/* Prints each rule of the manual that the state violates; true when valid. */
	bool (*check)(struct virt_vcpu *vcpu);
	void (*dump)(struct virt_vcpu *vcpu);
};

#endif
