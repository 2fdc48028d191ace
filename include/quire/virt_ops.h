/* SPDX-License-Identifier: MIT */
/*
 * The vendor interface: everything that the rest of the system may ask of AMD-V
 * or VT-x. At most 20 operations; a new one needs a decision record. A backend
 * translates; it does not decide.
 *
 * Only the vCPU's own thread calls its operations. The thread may move between
 * CPUs, but not between `run` and the use of what `run` returned.
 */
#ifndef INCLUDE_QUIRE_VIRT_OPS_H
#define INCLUDE_QUIRE_VIRT_OPS_H

#include <quire/guest_state.h>
#include <quire/status.h>
#include <quire/vmexit.h>

/* The format of the nested tables that the CPU walks; vm/machine picks the slat_format for it. */
enum slat_kind { SLAT_NPT, SLAT_EPT };

struct virt_vcpu; /* each backend defines its own */

struct virt_ops {
	const char *name; /* "AMD-V", "VT-x" */
	enum slat_kind slat_kind;

	/* Called on each CPU before any other operation there. */
	q_status_t (*cpu_enable)(void);
	void (*cpu_disable)(void);

	/* The caller owns `regs`, which must outlive the vCPU. State is as after vcpu_reset. */
	q_status_t (*vcpu_create)(struct guest_regs *regs, struct virt_vcpu **out_vcpu);
	void (*vcpu_destroy)(struct virt_vcpu *vcpu);
	/* Power-on state: Intel SDM vol. 3, "Processor State After Reset". */
	void (*vcpu_reset)(struct virt_vcpu *vcpu);

	/*
	 * Enters the guest with `regs` and returns at the next exit. Interrupts are
	 * disabled on call and on return. An interrupt that ended the guest's run is
	 * still pending; the CPU takes it when the caller enables interrupts.
	 */
	void (*run)(struct virt_vcpu *vcpu, struct vmexit *out_exit);

	void (*state_get)(struct virt_vcpu *vcpu, struct guest_state *out_state);
	void (*code_state_get)(struct virt_vcpu *vcpu, struct guest_code_state *out_state);
	/* Returns Q_INVALID, and changes nothing, if the CPU would refuse the state. */
	q_status_t (*state_set)(struct virt_vcpu *vcpu, const struct guest_state *state);

	/* The next run delivers `event`, instead of any event that is still to be delivered. */
	void (*event_inject)(struct virt_vcpu *vcpu, const struct guest_event *event);
	/* While wanted: exits with VMEXIT_INTERRUPT_WINDOW once the guest can take an interrupt. */
	void (*interrupt_window_set)(struct virt_vcpu *vcpu, bool is_wanted);
	/* Called after an emulated instruction: ends the interrupt shadow. */
	void (*insn_skipped)(struct virt_vcpu *vcpu);

	void (*slat_root_set)(struct virt_vcpu *vcpu, hpa_t root);
	/* The next entry first forgets every cached guest-physical translation. */
	void (*slat_flush)(struct virt_vcpu *vcpu);

	/* Guest TSC = host TSC + offset. */
	void (*tsc_offset_set)(struct virt_vcpu *vcpu, uint64_t offset);

	/* True if the CPU sets accessed and dirty bits in nested tables. */
	bool (*slat_notes_dirty)(void);

	/* Prints each rule of the manual that the state violates. True if it violates none. */
	bool (*check)(struct virt_vcpu *vcpu);
	void (*dump)(struct virt_vcpu *vcpu);
};

#endif
