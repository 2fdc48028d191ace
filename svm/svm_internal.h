/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of svm/. Files marked pure touch memory only; the host tests
 * link them.
 *
 *   svm.c           the operations table, probe
 *   svm_features.c  pure: CPUID words to struct svm_features
 *   svm_cpu.c       turns SVM on and off on a CPU
 *   svm_vcpu.c      creates, resets and destroys a vCPU; what is intercepted
 *   svm_run.c       enters the guest, before and after svm_entry.S
 *   svm_entry.S     the world switch, with a table of what saves which register
 *   svm_exit.c      pure: VMCB words to struct vmexit
 *   svm_event.c     pure: struct guest_event to EVENTINJ and back; interrupt window
 *   svm_msr.c       pure: the permission maps
 *   svm_asid.c      pure: address space identifiers, TLB flushes
 *   svm_state.c     pure: struct guest_state to the save area and back
 *   svm_check.c     pure: the manual's consistency rules
 *   svm_dump.c      prints a VMCB
 *   vmcb.h          the layout of a VMCB and the names of its bits
 *   asm_offsets.c   offsets of struct members for svm_entry.S
 *
 * Locks: none. A vCPU belongs to its thread, a struct svm_cpu to its CPU.
 */
#ifndef SVM_SVM_INTERNAL_H
#define SVM_SVM_INTERNAL_H

#include <quire/addr.h>
#include <quire/event.h>
#include <quire/guest_state.h>
#include <quire/physmem.h>
#include <quire/status.h>
#include <quire/vmexit.h>

#include "vmcb.h"

struct virt_vcpu {
	/* Fixed by vcpu_create. */
	struct guest_regs *regs;
	struct vmcb *vmcb;
	hpa_t vmcb_addr;

	/* Owned by the vCPU's thread; about the CPU where it last ran, see svm_asid.c. */
	uint64_t asid_stamp;
	hpa_t host_area;
};

/* --- svm_features.c ------------------------------------------------------------ */

/* The leaves that matter, as CPUID gave them; zero where the CPU has no such leaf. */
struct svm_cpuid {
	uint32_t leaf_1_ecx;
	uint32_t leaf_7_ebx, leaf_7_ecx;
	uint32_t leaf_80000001_ecx, leaf_80000001_edx;
	uint32_t leaf_80000008_eax;
	uint32_t leaf_8000000a_ebx, leaf_8000000a_edx;
	uint32_t leaf_40000000_ebx, leaf_40000000_ecx, leaf_40000000_edx;
};

struct svm_features {
	bool has_svm, has_nested_paging, has_flush_by_asid;
	bool injects_twice;  /* QEMU's defect; see svm_event.c */
	uint32_t asid_count; /* usable: 1 .. asid_count - 1 */
	uint32_t clean_bits; /* bits of `clean` that may be set at an entry */

	/* Bits that a guest may have. */
	uint64_t cr4_allowed, efer_allowed;
	unsigned physical_address_bits, linear_address_bits;
};

/* Describes the boot CPU; constant after svm_probe(). */
extern struct svm_features svm_features;

void svm_features_decode(const struct svm_cpuid *cpuid, struct svm_features *out_features);
/*
 * Returns NULL if the machine can run guests, else one sentence that says why not.
 * `vm_cr` is the MSR's value, 0 without SVM.
 */
const char *svm_features_refuse(const struct svm_features *features, uint64_t vm_cr);

/* --- svm_cpu.c ------------------------------------------------------------------- */

/* State of one CPU; no other CPU touches it. */
struct Q_ALIGNED(64) svm_cpu {
	uint64_t asid_stamp;
	uint32_t asid_next;
	uint32_t asid_count;
	hpa_t host_area; /* VMSAVE image of Quire itself */
	void *host_page;
	void *save_page; /* for MSR_VM_HSAVE_PA */
};

extern struct svm_cpu svm_cpus[PHYSMEM_CPU_MAX];

/* Fills svm_features. Returns what svm_features_refuse() says about them. */
const char *svm_cpu_detect(void);
q_status_t svm_cpu_enable(void) Q_MUST_USE;
void svm_cpu_disable(void);

/* --- svm_vcpu.c ------------------------------------------------------------------ */

q_status_t svm_vcpu_create(struct guest_regs *regs, struct virt_vcpu **out_vcpu) Q_MUST_USE;
void svm_vcpu_destroy(struct virt_vcpu *vcpu);
void svm_vcpu_reset(struct virt_vcpu *vcpu);

/* --- svm_run.c and svm_entry.S --------------------------------------------------- */

void svm_run(struct virt_vcpu *vcpu, struct vmexit *out_exit);

/* The world switch; it ends with a jump to svm_run_finish(). The caller disables interrupts. */
void svm_world_switch(struct virt_vcpu *vcpu, struct vmexit *out_exit);
void svm_run_finish(struct virt_vcpu *vcpu, struct vmexit *out_exit);
/* Saves this CPU's FS, GS, TR, LDTR and system call registers for svm_world_switch(). */
void svm_host_save(hpa_t host_area);
/* Enters Quire's own machine-check handler. */
void svm_machine_check_raise(void);

/* --- svm_exit.c ------------------------------------------------------------------ */

/* Fills the fields that all exits have and the union member of its kind, and nothing else. */
void svm_exit_decode(const struct vmcb *vmcb, struct vmexit *out_exit);

/* --- svm_event.c ----------------------------------------------------------------- */

uint64_t svm_event_encode(const struct guest_event *event);
/* False, and nothing written, if `word` holds no event. */
bool svm_event_decode(uint64_t word, struct guest_event *out_event);

void svm_event_inject(struct virt_vcpu *vcpu, const struct guest_event *event);
void svm_interrupt_window_set(struct virt_vcpu *vcpu, bool is_wanted);
/* True if V_IRQ is an interrupt to be delivered: neither clear nor the interrupt window. */
bool svm_interrupt_is_virtual(const struct vmcb_control *control);
void svm_insn_skipped(struct virt_vcpu *vcpu);

/*
 * The delivery of an NMI blocks further ones until IRET. IRET is intercepted for exactly
 * as long as they are blocked.
 */
bool svm_nmi_is_blocked(const struct vmcb *vmcb);
void svm_nmi_block_set(struct vmcb *vmcb, bool is_blocked);

/* --- svm_msr.c ------------------------------------------------------------------- */

#define SVM_IOPM_BYTES  0x3000u
#define SVM_MSRPM_BYTES 0x2000u

/* The same for every vCPU; constant after svm_permissions_init(). */
extern uint8_t svm_iopm[SVM_IOPM_BYTES];
extern uint8_t svm_msrpm[SVM_MSRPM_BYTES];

void svm_permissions_init(void);

/* --- svm_asid.c ------------------------------------------------------------------ */

#define SVM_ASID_STAMP_NONE 0ull

void svm_asid_cpu_init(struct svm_cpu *cpu, unsigned index, uint32_t asid_count);
/* Gives the vCPU an ASID of this CPU. Called before an entry if their stamps differ. */
void svm_asid_assign(struct virt_vcpu *vcpu, struct svm_cpu *cpu);
/*
 * Makes the next svm_asid_assign() on this CPU flush the whole TLB. Called when a flush
 * that was requested may not have happened.
 */
void svm_asid_distrust(struct svm_cpu *cpu);
/* Flushes all translations of the vCPU before its next entry. */
void svm_tlb_flush(struct virt_vcpu *vcpu);

/* --- svm_state.c ----------------------------------------------------------------- */

/* Convert segment attributes from the neutral form to SVM's 12 bits and back. */
uint16_t svm_attributes_encode(uint32_t attributes);
uint32_t svm_attributes_decode(uint16_t attributes);

void svm_state_get(struct virt_vcpu *vcpu, struct guest_state *out_state);
void svm_code_state_get(struct virt_vcpu *vcpu, struct guest_code_state *out_state);
q_status_t svm_state_set(struct virt_vcpu *vcpu, const struct guest_state *state) Q_MUST_USE;

/* --- svm_check.c ----------------------------------------------------------------- */

/* APM vol. 2, "Canonicalization and Consistency Checks", and a few more; see svm_check.c. */
#define SVM_RULES(X)                                                             \
	X(VMRUN_INTERCEPT, "VMRUN must be intercepted")                          \
	X(ASID, "the ASID must be neither 0 nor beyond what the CPU has")        \
	X(PERMISSION_MAPS, "both permission maps must lie in physical memory")   \
	X(NESTED_CR3, "nested CR3 must be a page in physical memory")            \
	X(EVENT_TYPE, "the type of an injected event must exist")                \
	X(EVENT_VECTOR, "an injected exception must have an exception's vector") \
	X(EVENT_RESERVED, "reserved bits of an injected event must be 0")        \
	X(EFER_SVME, "EFER.SVME must be set")                                    \
	X(EFER_RESERVED, "EFER must have no bit that the CPU does not know")     \
	X(EFER_LMA, "EFER.LMA must equal EFER.LME and CR0.PG")                   \
	X(CR0_CACHE, "CR0.NW must not be set without CR0.CD")                    \
	X(CR0_HIGH, "CR0 must fit 32 bits")                                      \
	X(CR3_RESERVED, "CR3 must have no bit beyond physical memory")           \
	X(CR4_RESERVED, "CR4 must have no bit that the CPU does not know")       \
	X(DR6_HIGH, "DR6 must fit 32 bits")                                      \
	X(DR7_HIGH, "DR7 must fit 32 bits")                                      \
	X(LONG_MODE_PAE, "long mode needs CR4.PAE")                              \
	X(LONG_MODE_PE, "long mode needs CR0.PE")                                \
	X(LONG_MODE_CS, "in long mode, CS must not have both L and D")           \
	X(PAT, "the PAT must have memory types that exist")                      \
	X(CPL, "the privilege level must be 0 to 3")                             \
	X(CANONICAL, "bases and entry points must be canonical")

#define SVM_RULE_ENUM(name, text) SVM_RULE_##name,
enum svm_rule { SVM_RULES(SVM_RULE_ENUM) SVM_RULE_COUNT };
#undef SVM_RULE_ENUM

/* Return the set of violated rules, BIT64(SVM_RULE_...); 0: valid. */
uint64_t svm_check_control(const struct vmcb_control *control, const struct svm_features *features);
uint64_t svm_check_save(const struct vmcb_save *save, const struct svm_features *features);
/* Logs each rule that the VMCB violates; true if it violates none. */
bool svm_check(struct virt_vcpu *vcpu);

/* --- svm_dump.c ------------------------------------------------------------------ */

void svm_dump(struct virt_vcpu *vcpu);

#endif
