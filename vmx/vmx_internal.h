/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of vmx/. Files marked pure touch memory only; files marked mixed
 * also have functions that execute VMX instructions. The host tests link both, and
 * call what is pure.
 *
 *   vmx.c              the operations table, probe
 *   vmx_features.c     pure: capability MSRs to struct vmx_features
 *   vmx_cpu.c          turns VMX on and off on a CPU
 *   vmx_vcpu.c         creates, resets and destroys a vCPU; what exits
 *   vmx_run.c          enters the guest, before and after vmx_entry.S
 *   vmx_entry.S        the world switch, with a table of what saves which register
 *   vmx_exit.c         pure: VMCS words to struct vmexit
 *   vmx_event.c        mixed: struct guest_event to VM-entry information and back;
 *                      interrupt window
 *   vmx_msr.c          pure: the permission map
 *   vmx_vpid.c         mixed: virtual-processor identifiers, TLB flushes
 *   vmx_state.c        mixed: struct guest_state to VMCS fields and back
 *   vmx_check.c        pure: the manual's rules for controls, host state, events
 *   vmx_check_guest.c  pure: its rules for guest state
 *   vmx_dump.c         prints a VMCS
 *   vmcs.h             the encodings of VMCS fields and the names of their bits
 *   asm_offsets.c      offsets of struct members for vmx_entry.S
 *
 * and, without a twin in svm/:
 *
 *   vmx_insn.h         the VMX instructions
 *   vmx_fields.c       makes a VMCS current; groups of its fields to plain structs and back
 *   vmx_live.c         guest registers that VT-x does not switch
 *   vmx_cr.c           mixed: guests' writes to CR0 and CR4 that the CPU may not carry
 *                      out alone
 *
 * Locks: none. A vCPU belongs to its thread, a struct vmx_cpu to its CPU. A VMCS is
 * active on one CPU until it is cleared there; threads stay on their CPU.
 */
#ifndef VMX_VMX_INTERNAL_H
#define VMX_VMX_INTERNAL_H

#include <quire/addr.h>
#include <quire/event.h>
#include <quire/guest_state.h>
#include <quire/log.h>
#include <quire/physmem.h>
#include <quire/status.h>
#include <quire/vmexit.h>

#include "vmcs.h"
#include "vmx_insn.h"

struct vmx_cpu;

/* Guest registers that stay in the CPU across exits; see vmx_live.c. */
struct vmx_live {
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t cr2, dr6;
};

/* Sums for one kind of exit: VMREADs and VMWRITEs from each such exit to the next entry. */
struct vmx_figures {
	uint64_t exits, reads, writes;
};

struct virt_vcpu {
	/* Fixed by vcpu_create. */
	struct guest_regs *regs;
	void *vmcs;
	hpa_t vmcs_addr;
	uint8_t *virtual_apic; /* one page, for the task priority */

	/* Owned by the vCPU's thread. */
	struct vmx_cpu *home; /* on which the VMCS is active; NULL: on none */
	uint64_t vpid_stamp;  /* see vmx_vpid.c */
	uint32_t vpid;
	uint32_t flush; /* enum vmx_flush, due before the next entry */
	bool is_launched;
	uint32_t entry_error; /* VM-instruction error of the last entry; 0: it succeeded */
	struct vmx_live live; /* stale while a CPU holds them */

	/* Copies of VMCS fields, which save VMREADs and VMWRITEs. */
	uint64_t eptp;
	uint64_t rip, rsp, rflags;
	uint64_t host_rsp; /* written by vmx_entry.S */
	uint32_t primary_controls;
	uint32_t interruptibility;

	/* VMREADs and VMWRITEs since the last entry, and their sums for each kind of exit. */
	uint32_t reads, writes;
	enum vmexit_kind last_exit;
	struct vmx_figures figures[VMEXIT_KIND_COUNT];
};

/* The VMCS of `vcpu` must be current for both. */
static inline uint64_t vmcs_read(struct virt_vcpu *vcpu, enum vmcs_field field)
{
	vcpu->reads++;
	return vmx_insn_vmread(field);
}

static inline void vmcs_write(struct virt_vcpu *vcpu, enum vmcs_field field, uint64_t value)
{
	vcpu->writes++;
	vmx_insn_vmwrite(field, value);
}

/* --- vmx_features.c ------------------------------------------------------------ */

#define CPUID_1_ECX_VMX BIT32(5)

/* SDM vol. 3, "Enabling and Entering VMX Operation": IA32_FEATURE_CONTROL. */
#define FEATURE_CONTROL_LOCKED      BIT64(0)
#define FEATURE_CONTROL_OUTSIDE_SMX BIT64(2)

/*
 * The capability MSRs and CPUID words that matter, as the CPU gave them; zero where it
 * has none. A word about controls has in its lower half the bits that must be 1, in its
 * upper half the bits that may be 1.
 */
struct vmx_words {
	uint64_t feature_control, basic, misc, ept_vpid;
	uint64_t pin, primary, secondary, exit, entry;
	uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
	uint32_t leaf_1_ecx;
	uint32_t leaf_7_ebx, leaf_7_ecx;
	uint32_t leaf_80000001_edx;
	uint32_t leaf_80000008_eax;
};

struct vmx_features {
	uint32_t revision; /* first word of each VMXON region and VMCS */
	bool has_vpid, has_preemption_timer, has_ept_accessed_dirty;
	unsigned preemption_timer_shift; /* the timer counts TSC >> shift */
	enum invept_type invept;
	enum invvpid_type invvpid; /* 0: the CPU has no INVVPID */

	/* The controls of every vCPU; and the words that say what the CPU allows, as above. */
	uint32_t pin, primary, secondary, exit, entry;
	uint64_t pin_allowed, primary_allowed, secondary_allowed, exit_allowed, entry_allowed;

	/* Bits that VMX fixes at 1; bits that the guest sees in the read shadow only. */
	uint64_t cr0_fixed, cr0_owned, cr4_fixed, cr4_owned;
	/* Bits that a guest may have. */
	uint64_t cr4_allowed, efer_allowed;
	unsigned physical_address_bits, linear_address_bits;
};

/* Describes the boot CPU; constant after vmx_probe(). */
extern struct vmx_features vmx_features;

/*
 * Makes a control word with all bits of `required`, those of `optional` that the CPU has,
 * and those that it demands. False if the CPU lacks a bit of `required`, demands one of
 * `refused`, or contradicts itself.
 */
bool vmx_control_adjust(uint64_t allowed, uint32_t required, uint32_t optional, uint32_t refused,
			uint32_t *out_control);
/* Returns NULL if the machine can run guests, else one sentence that says why not. */
const char *vmx_features_decode(const struct vmx_words *words, struct vmx_features *out_features);

/* --- vmx_cpu.c ------------------------------------------------------------------- */

/* State of one CPU; no other CPU touches it. */
struct Q_ALIGNED(64) vmx_cpu {
	struct virt_vcpu *current;    /* its VMCS is the current one */
	struct virt_vcpu *live_owner; /* see vmx_live.c */
	uint64_t vpid_stamp;
	uint32_t vpid_next;
	void *vmxon_page;
};

extern struct vmx_cpu vmx_cpus[PHYSMEM_CPU_MAX];

/* Fills vmx_features. Returns what vmx_features_decode() says about them. */
const char *vmx_cpu_detect(void);
q_status_t vmx_cpu_enable(void) Q_MUST_USE;
void vmx_cpu_disable(void);

/* --- vmx_vcpu.c ------------------------------------------------------------------ */

q_status_t vmx_vcpu_create(struct guest_regs *regs, struct virt_vcpu **out_vcpu) Q_MUST_USE;
void vmx_vcpu_destroy(struct virt_vcpu *vcpu);
void vmx_vcpu_reset(struct virt_vcpu *vcpu);

/* --- vmx_run.c and vmx_entry.S --------------------------------------------------- */

void vmx_run(struct virt_vcpu *vcpu, struct vmexit *out_exit);

enum vmx_failure { VMX_ENTERED, VMX_FAIL_VALID, VMX_FAIL_INVALID };

/*
 * The world switch. Interrupts are disabled on call and on return. After VMX_FAIL_VALID
 * and VMX_FAIL_INVALID the guest was not entered and nothing has changed.
 */
enum vmx_failure vmx_world_switch(struct guest_regs *regs, uint64_t *host_rsp, bool is_launched);
/* The address where exits arrive; not a function. */
extern const char vmx_exit_arrival[];
/* Enter Quire's own machine-check and NMI handlers. */
void vmx_machine_check_raise(void);
void vmx_nmi_raise(void);

/* --- vmx_exit.c ------------------------------------------------------------------ */

/* The VMCS fields that describe an exit; vmx_exit_needs() says which have to be read. */
struct vmx_exit_words {
	uint32_t reason;
	uint32_t insn_length;
	uint32_t event, event_error_code;         /* the exception or NMI that exits */
	uint32_t vectoring, vectoring_error_code; /* the event that was being delivered */
	uint32_t interruptibility;
	uint64_t rflags;
	uint64_t qualification;
	uint64_t address; /* guest-physical */
};

enum vmx_exit_need {
	VMX_NEEDS_LENGTH = BIT32(0),
	VMX_NEEDS_QUALIFICATION = BIT32(1),
	VMX_NEEDS_ADDRESS = BIT32(2),
	VMX_NEEDS_EVENT = BIT32(3),
	VMX_NEEDS_VECTORING = BIT32(4),
};

/* Returns a set of enum vmx_exit_need. Reason, RFLAGS and interruptibility are always read. */
uint32_t vmx_exit_needs(uint32_t reason);

/*
 * Fills the fields that all exits have and the union member of its kind, and nothing
 * else. False if the backend has to act on the exit before it reports it; see vmx_run.c.
 */
bool vmx_exit_decode(const struct vmx_exit_words *words, struct vmexit *out_exit);

/* --- vmx_event.c ----------------------------------------------------------------- */

/* Outside of protected mode no exception pushes an error code. */
uint32_t vmx_event_encode(const struct guest_event *event, bool is_protected);
/* False, and nothing written, if `word` holds no event. */
bool vmx_event_decode(uint32_t word, uint32_t error_code, uint32_t insn_length,
		      struct guest_event *out_event);
/* Returns the length of the INT instruction that caused a soft event; 0 for other events. */
uint32_t vmx_event_insn_length(const struct guest_event *event);

void vmx_event_inject(struct virt_vcpu *vcpu, const struct guest_event *event);
void vmx_interrupt_window_set(struct virt_vcpu *vcpu, bool is_wanted);
void vmx_insn_skipped(struct virt_vcpu *vcpu);

/* Sets what blocks interrupts and NMIs: a set of BLOCKING_... */
void vmx_interruptibility_set(struct virt_vcpu *vcpu, uint32_t blocking);

/* --- vmx_msr.c ------------------------------------------------------------------- */

#define VMX_MSR_BITMAP_BYTES 0x1000u

/* The same for every vCPU; constant after vmx_permissions_init(). */
extern uint8_t vmx_msr_bitmap[VMX_MSR_BITMAP_BYTES];

void vmx_permissions_init(void);

/* --- vmx_vpid.c ------------------------------------------------------------------ */

#define VMX_VPID_STAMP_NONE 0ull
#define VMX_VPID_END        0x10000u

enum vmx_flush {
	VMX_FLUSH_LINEAR = BIT32(0), /* translations that depend on the guest's own tables */
	VMX_FLUSH_SLAT = BIT32(1),   /* translations that depend on the nested tables: all */
};

void vmx_vpid_cpu_init(struct vmx_cpu *cpu, unsigned index);
/*
 * Gives the vCPU a VPID of this CPU. Called before an entry if their stamps differ. True
 * if the translations of all VPIDs must be flushed before the entry.
 */
bool vmx_vpid_assign(struct virt_vcpu *vcpu, struct vmx_cpu *cpu);
/* Flushes all translations of the vCPU before its next entry. */
void vmx_tlb_flush(struct virt_vcpu *vcpu);
/* Assigns a VPID and flushes, as far as either is due. The VMCS is current. */
void vmx_tlb_update(struct virt_vcpu *vcpu, struct vmx_cpu *cpu);

/* --- vmx_fields.c ---------------------------------------------------------------- */

/* Makes the vCPU's VMCS the current one of this CPU; cheap if it already is. */
void vmx_vmcs_load(struct virt_vcpu *vcpu);

/*  Guest state besides the segments that is written as well as read. */
#define VMX_GUEST_FIELDS(X)                              \
	X(cr0, VMCS_GUEST_CR0)                           \
	X(cr0_shadow, VMCS_CR0_SHADOW)                   \
	X(cr3, VMCS_GUEST_CR3)                           \
	X(cr4, VMCS_GUEST_CR4)                           \
	X(cr4_shadow, VMCS_CR4_SHADOW)                   \
	X(dr7, VMCS_GUEST_DR7)                           \
	X(efer, VMCS_GUEST_EFER)                         \
	X(pat, VMCS_GUEST_PAT)                           \
	X(sysenter_cs, VMCS_GUEST_SYSENTER_CS)           \
	X(sysenter_esp, VMCS_GUEST_SYSENTER_ESP)         \
	X(sysenter_eip, VMCS_GUEST_SYSENTER_EIP)         \
	X(pending_debug, VMCS_GUEST_PENDING_DEBUG)       \
	X(interruptibility, VMCS_GUEST_INTERRUPTIBILITY) \
	X(entry_controls, VMCS_ENTRY_CONTROLS)

/*  Guest state that is only read, for the rules. */
#define VMX_GUEST_READ_FIELDS(X)         \
	X(rip, VMCS_GUEST_RIP)           \
	X(rflags, VMCS_GUEST_RFLAGS)     \
	X(activity, VMCS_GUEST_ACTIVITY) \
	X(link_pointer, VMCS_GUEST_LINK_POINTER)

#define VMX_CONTROL_FIELDS(X)                      \
	X(pin, VMCS_PIN_CONTROLS)                  \
	X(primary, VMCS_PRIMARY_CONTROLS)          \
	X(secondary, VMCS_SECONDARY_CONTROLS)      \
	X(exit, VMCS_EXIT_CONTROLS)                \
	X(entry, VMCS_ENTRY_CONTROLS)              \
	X(msr_bitmap, VMCS_MSR_BITMAP)             \
	X(virtual_apic, VMCS_VIRTUAL_APIC)         \
	X(tpr_threshold, VMCS_TPR_THRESHOLD)       \
	X(eptp, VMCS_EPTP)                         \
	X(tsc_offset, VMCS_TSC_OFFSET)             \
	X(event, VMCS_ENTRY_EVENT)                 \
	X(event_error_code, VMCS_ENTRY_ERROR_CODE) \
	X(event_insn_length, VMCS_ENTRY_INSN_LENGTH)

#define VMX_HOST_FIELDS(X)                      \
	X(cr0, VMCS_HOST_CR0)                   \
	X(cr3, VMCS_HOST_CR3)                   \
	X(cr4, VMCS_HOST_CR4)                   \
	X(efer, VMCS_HOST_EFER)                 \
	X(pat, VMCS_HOST_PAT)                   \
	X(es, VMCS_HOST_ES_SELECTOR)            \
	X(cs, VMCS_HOST_CS_SELECTOR)            \
	X(ss, VMCS_HOST_SS_SELECTOR)            \
	X(ds, VMCS_HOST_DS_SELECTOR)            \
	X(fs, VMCS_HOST_FS_SELECTOR)            \
	X(gs, VMCS_HOST_GS_SELECTOR)            \
	X(tr, VMCS_HOST_TR_SELECTOR)            \
	X(fs_base, VMCS_HOST_FS_BASE)           \
	X(gs_base, VMCS_HOST_GS_BASE)           \
	X(tr_base, VMCS_HOST_TR_BASE)           \
	X(gdtr_base, VMCS_HOST_GDTR_BASE)       \
	X(idtr_base, VMCS_HOST_IDTR_BASE)       \
	X(sysenter_cs, VMCS_HOST_SYSENTER_CS)   \
	X(sysenter_esp, VMCS_HOST_SYSENTER_ESP) \
	X(sysenter_eip, VMCS_HOST_SYSENTER_EIP) \
	X(rip, VMCS_HOST_RIP)

#define VMX_FIELD_MEMBER(name, field) uint64_t name;
struct vmx_guest {
	struct guest_segment segment[SEG_COUNT];
	struct guest_table gdtr, idtr;
	VMX_GUEST_FIELDS(VMX_FIELD_MEMBER)
	VMX_GUEST_READ_FIELDS(VMX_FIELD_MEMBER)
};
struct vmx_controls {
	uint64_t vpid; /* 0 where the CPU has none */
	VMX_CONTROL_FIELDS(VMX_FIELD_MEMBER)
};
struct vmx_host {
	VMX_HOST_FIELDS(VMX_FIELD_MEMBER)
};
#undef VMX_FIELD_MEMBER

void vmx_guest_read(struct virt_vcpu *vcpu, struct vmx_guest *out_guest);
/* Writes the fields that differ from `old`, which is the present content of the VMCS. */
void vmx_guest_write(struct virt_vcpu *vcpu, const struct vmx_guest *guest,
		     const struct vmx_guest *old);
void vmx_controls_read(struct virt_vcpu *vcpu, struct vmx_controls *out_controls);
void vmx_host_read(struct virt_vcpu *vcpu, struct vmx_host *out_host);
/* Writes Quire's own state on this CPU, which every exit loads. */
void vmx_host_write(struct virt_vcpu *vcpu);

/* --- vmx_live.c ------------------------------------------------------------------ */

/* Loads the vCPU's registers into this CPU, after saving those of the vCPU that was there. */
void vmx_live_switch(struct virt_vcpu *vcpu, struct vmx_cpu *cpu);
void vmx_live_get(struct virt_vcpu *vcpu, struct vmx_live *out_live);
void vmx_live_set(struct virt_vcpu *vcpu, const struct vmx_live *live);
/* Forgets the vCPU's registers if this CPU holds them. Called before the vCPU is freed. */
void vmx_live_drop(struct virt_vcpu *vcpu);

/* --- vmx_cr.c -------------------------------------------------------------------- */

/* True if the CPU that the guest sees accepts `value` in CR0 or CR4 (`cr`). Pure. */
bool vmx_cr_value_is_legal(unsigned cr, uint64_t value, const struct vmx_features *features);
/* Acts on an exit by MOV to CR0 or CR4; `out_exit` becomes what vmx_run() reports. */
void vmx_cr_exit_handle(struct virt_vcpu *vcpu, uint64_t qualification, struct vmexit *out_exit);

/* --- vmx_state.c ----------------------------------------------------------------- */

/* `guest` holds the present state; fields that struct guest_state lacks stay as they are. */
void vmx_state_encode(const struct guest_state *state, const struct vmx_features *features,
		      struct vmx_guest *guest, struct vmx_live *out_live);
void vmx_state_decode(const struct vmx_guest *guest, const struct vmx_live *live,
		      const struct vmx_features *features, struct guest_state *out_state);

void vmx_state_get(struct virt_vcpu *vcpu, struct guest_state *out_state);
void vmx_code_state_get(struct virt_vcpu *vcpu, struct guest_code_state *out_state);
q_status_t vmx_state_set(struct virt_vcpu *vcpu, const struct guest_state *state) Q_MUST_USE;

/* --- vmx_check.c and vmx_check_guest.c ------------------------------------------- */

/*
 * SDM vol. 3, "Checks on VMX Controls and Host-State Area", "Checking and Loading Guest
 * State", and a few more; see vmx_check_guest.c.
 */
#define VMX_RULES(X)                                                                          \
	X(PIN_CONTROLS, "pin-based controls must be what the CPU allows")                     \
	X(PRIMARY_CONTROLS, "primary controls must be what the CPU allows")                   \
	X(SECONDARY_CONTROLS, "secondary controls must be what the CPU allows")               \
	X(EXIT_CONTROLS, "exit controls must be what the CPU allows")                         \
	X(ENTRY_CONTROLS, "entry controls must be what the CPU allows")                       \
	X(MSR_BITMAP, "the MSR bitmap must be a page in physical memory")                     \
	X(VIRTUAL_APIC, "the virtual-APIC page must be a page in physical memory")            \
	X(TPR_THRESHOLD, "the TPR threshold must be 0 to 15")                                 \
	X(VPID, "the VPID must not be 0")                                                     \
	X(EPTP, "the EPT pointer must be a write-back, four-level page in memory")            \
	X(UNRESTRICTED_GUEST, "unrestricted guest needs EPT")                                 \
	X(VIRTUAL_NMIS, "virtual NMIs need NMI exiting")                                      \
	X(TIMER_SAVE, "saving the preemption timer needs the timer")                          \
	X(EVENT_TYPE, "the type of an injected event must exist")                             \
	X(EVENT_VECTOR, "an injected NMI or exception must have a vector of its type")        \
	X(EVENT_ERROR_CODE, "an event must have an error code exactly if it pushes one")      \
	X(EVENT_RESERVED, "reserved bits of an injected event must be 0")                     \
	X(EVENT_LENGTH, "the INT instruction of a soft event must have 1 to 15 bytes")        \
	X(EVENT_BLOCKED, "an injected interrupt or NMI must not be blocked")                  \
	X(EVENT_IF, "an injected interrupt needs RFLAGS.IF")                                  \
	X(HOST_CR0, "host CR0 must have the bits that VMX fixes")                             \
	X(HOST_CR3, "host CR3 must have no bit beyond physical memory")                       \
	X(HOST_CR4, "host CR4 must have PAE and the bits that VMX fixes")                     \
	X(HOST_EFER, "host EFER must have LME and LMA")                                       \
	X(HOST_PAT, "the host PAT must have memory types that exist")                         \
	X(HOST_SELECTORS, "host selectors must have RPL and TI 0, CS and TR not be 0")        \
	X(HOST_CANONICAL, "host bases and entry points must be canonical")                    \
	X(CR0_FIXED, "CR0 must have the bits that VMX fixes")                                 \
	X(CR0_PAGING, "CR0.PG needs CR0.PE")                                                  \
	X(CR0_CACHE, "CR0.NW must not be set without CR0.CD")                                 \
	X(CR0_HIGH, "CR0 must fit 32 bits")                                                   \
	X(CR3_RESERVED, "CR3 must have no bit beyond physical memory")                        \
	X(CR4_FIXED, "CR4 must have the bits that VMX fixes")                                 \
	X(CR4_RESERVED, "CR4 must have no bit that a guest may not have")                     \
	X(CR4_PCIDE, "CR4.PCIDE needs long mode")                                             \
	X(DR7_HIGH, "DR7 must fit 32 bits")                                                   \
	X(EFER_RESERVED, "EFER must have no bit that the CPU does not know")                  \
	X(EFER_LMA, "EFER.LMA must equal the IA-32e control, and LME while paging")           \
	X(LONG_MODE_PAE, "long mode needs CR0.PG and CR4.PAE")                                \
	X(LONG_MODE_CS, "in long mode, CS must not have both L and D")                        \
	X(PAT, "the PAT must have memory types that exist")                                   \
	X(CANONICAL, "bases and entry points must be canonical")                              \
	X(SEGMENT_BASE, "bases of CS, SS, DS and ES must fit 32 bits")                        \
	X(SEGMENT_V8086, "in virtual-8086 mode a segment must be 64 KiB at selector * 16")    \
	X(SEGMENT_TYPE, "CS must be code, or data in real mode; SS, DS, ES, FS, GS readable") \
	X(SEGMENT_FLAGS, "usable segments must be present, S set, reserved bits 0")           \
	X(SEGMENT_DPL, "the DPLs of CS and SS must fit each other")                           \
	X(SEGMENT_LIMIT, "limits must fit their granularity")                                 \
	X(TR, "TR must be usable, present and a busy TSS in the GDT")                         \
	X(LDTR, "LDTR must be unusable or a present LDT in the GDT")                          \
	X(TABLE_LIMIT, "limits of GDTR and IDTR must fit 16 bits")                            \
	X(RIP, "RIP must be canonical, and fit 32 bits outside of 64-bit code")               \
	X(RFLAGS, "reserved bits of RFLAGS must be 0, bit 1 must be 1")                       \
	X(RFLAGS_VM, "virtual-8086 mode needs protected mode without long mode")              \
	X(ACTIVITY, "the activity state must be active")                                      \
	X(INTERRUPTIBILITY, "the interruptibility state must be one that can occur")          \
	X(PENDING_DEBUG, "pending debug exceptions must fit RFLAGS.TF, reserved bits be 0")   \
	X(LINK_POINTER, "the VMCS link pointer must be all ones")

#define VMX_RULE_ENUM(name, text) VMX_RULE_##name,
enum vmx_rule { VMX_RULES(VMX_RULE_ENUM) VMX_RULE_COUNT };
#undef VMX_RULE_ENUM
_Static_assert(VMX_RULE_COUNT <= 64, "sets of rules are 64-bit words");

static inline uint64_t vmx_violation(enum vmx_rule rule, bool is_violated)
{
	return is_violated ? BIT64(rule) : 0;
}

/* Return the set of violated rules, BIT64(VMX_RULE_...); 0: valid. */
uint64_t vmx_check_controls(const struct vmx_controls *controls,
			    const struct vmx_features *features);
uint64_t vmx_check_event(const struct vmx_controls *controls, const struct vmx_guest *guest);
uint64_t vmx_check_host(const struct vmx_host *host, const struct vmx_features *features);
uint64_t vmx_check_guest(const struct vmx_guest *guest, const struct vmx_features *features);

/* SDM vol. 3, "VM-Instruction Error Numbers". Never NULL. */
const char *vmx_error_text(uint32_t error);

/* Logs why the last entry failed and each rule that the VMCS violates; true if it violates none. */
bool vmx_check(struct virt_vcpu *vcpu);

/* --- vmx_dump.c ------------------------------------------------------------------ */

void vmx_dump(struct virt_vcpu *vcpu);
/* Logs how many VMREADs and VMWRITEs each kind of exit took. */
void vmx_figures_log(const struct virt_vcpu *vcpu, enum log_level level);

#endif
