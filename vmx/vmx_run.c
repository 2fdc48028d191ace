/* SPDX-License-Identifier: MIT */
/*
 * Enters the guest and reports why it came back. Everything here runs once per exit, so
 * it moves only what every exit needs: RSP, RIP and RFLAGS, which are in the VMCS and are
 * written back only if they changed, and the task priority (CR8), which is in the
 * virtual-APIC page. vmx_entry.S moves all other registers.
 *
 * VMREAD and VMWRITE are most of what an exit costs, so they are counted: all from one
 * entry to the next are charged to the kind of the exit in between. CPUID takes six reads
 * (reason, RSP, RIP, RFLAGS, interruptibility, length) and one write (RIP).
 *
 * When the CPU refuses the VMCS, struct guest_regs and the VMCS keep the values with which
 * the guest was to start.
 */
#include <quire/assert.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"

#include "vmx_internal.h"

/* Reported in place of an exit reason when VMLAUNCH or VMRESUME failed. */
#define REASON_NOT_ENTERED 0xffffffffu
#define ERROR_NO_VMCS      ~0u
#define DR7_GENERAL_DETECT BIT64(13)
#define DR6_BREAKPOINTS    MASK64(3, 0)
#define DEBUG_CAUSES \
	(DEBUG_QUALIFICATION_BREAKPOINTS | DEBUG_QUALIFICATION_ACCESS | DEBUG_QUALIFICATION_STEP)

static uint32_t *task_priority(struct virt_vcpu *vcpu)
{
	return (uint32_t *)(void *)(vcpu->virtual_apic + VIRTUAL_APIC_TPR);
}

static void regs_to_vmcs(struct virt_vcpu *vcpu)
{
	const struct guest_regs *regs = vcpu->regs;
	if (regs->rip != vcpu->rip)
		vmcs_write(vcpu, VMCS_GUEST_RIP, regs->rip);
	if (regs->gpr[GPR_RSP] != vcpu->rsp)
		vmcs_write(vcpu, VMCS_GUEST_RSP, regs->gpr[GPR_RSP]);
	if (regs->rflags != vcpu->rflags)
		vmcs_write(vcpu, VMCS_GUEST_RFLAGS, regs->rflags);
	vcpu->rip = regs->rip;
	vcpu->rsp = regs->gpr[GPR_RSP];
	vcpu->rflags = regs->rflags;
	*task_priority(vcpu) = (uint32_t)regs->cr8 << VIRTUAL_APIC_TPR_SHIFT;
}

static void regs_from_vmcs(struct virt_vcpu *vcpu)
{
	struct guest_regs *regs = vcpu->regs;
	vcpu->rip = vmcs_read(vcpu, VMCS_GUEST_RIP);
	vcpu->rsp = vmcs_read(vcpu, VMCS_GUEST_RSP);
	vcpu->rflags = vmcs_read(vcpu, VMCS_GUEST_RFLAGS);
	regs->rip = vcpu->rip;
	regs->gpr[GPR_RSP] = vcpu->rsp;
	regs->rflags = vcpu->rflags;
	regs->cr8 = *task_priority(vcpu) >> VIRTUAL_APIC_TPR_SHIFT;
}

static void vectoring_read(struct virt_vcpu *vcpu, struct vmx_exit_words *words)
{
	words->vectoring = (uint32_t)vmcs_read(vcpu, VMCS_VECTORING_EVENT);
	if (!(words->vectoring & VMCS_EVENT_VALID))
		return;
	words->vectoring_error_code = (uint32_t)vmcs_read(vcpu, VMCS_VECTORING_ERROR_CODE);
	words->insn_length = (uint32_t)vmcs_read(vcpu, VMCS_EXIT_INSN_LENGTH);
}

static void words_read(struct virt_vcpu *vcpu, struct vmx_exit_words *words)
{
	words->reason = (uint32_t)vmcs_read(vcpu, VMCS_EXIT_REASON);
	words->rflags = vcpu->rflags;
	vcpu->interruptibility = (uint32_t)vmcs_read(vcpu, VMCS_GUEST_INTERRUPTIBILITY);
	words->interruptibility = vcpu->interruptibility;

	uint32_t needs = vmx_exit_needs(words->reason);
	if (needs & VMX_NEEDS_LENGTH)
		words->insn_length = (uint32_t)vmcs_read(vcpu, VMCS_EXIT_INSN_LENGTH);
	if (needs & VMX_NEEDS_QUALIFICATION)
		words->qualification = vmcs_read(vcpu, VMCS_QUALIFICATION);
	if (needs & VMX_NEEDS_ADDRESS)
		words->address = vmcs_read(vcpu, VMCS_GUEST_PHYSICAL_ADDRESS);
	if (needs & VMX_NEEDS_EVENT) {
		words->event = (uint32_t)vmcs_read(vcpu, VMCS_EXIT_EVENT);
		words->event_error_code = (uint32_t)vmcs_read(vcpu, VMCS_EXIT_ERROR_CODE);
	}
	if (needs & VMX_NEEDS_VECTORING)
		vectoring_read(vcpu, words);
}

/* Reports that VMLAUNCH or VMRESUME failed: without an exit the VMCS holds no reason. */
static Q_NOINLINE void entry_refused(struct virt_vcpu *vcpu, enum vmx_failure failure,
				     struct vmexit *out_exit)
{
	vcpu->entry_error = ERROR_NO_VMCS;
	if (failure == VMX_FAIL_VALID)
		vcpu->entry_error = (uint32_t)vmcs_read(vcpu, VMCS_INSTRUCTION_ERROR);
	*out_exit = (struct vmexit){
		.kind = VMEXIT_FATAL,
		.fatal = { .reason = REASON_NOT_ENTERED, .info = { vcpu->entry_error } },
	};
}

/*
 * Changes DR6 and DR7 as the delivery of #DB would, which an exit prevents: SDM vol. 3,
 * "Architectural State Before a VM Exit".
 */
static void debug_exception_finish(struct virt_vcpu *vcpu, const struct vmx_exit_words *words)
{
	uint64_t causes = words->qualification & DEBUG_CAUSES;
	cpu_write_dr6((cpu_read_dr6() & ~DR6_BREAKPOINTS) | causes);
	if (causes & DEBUG_QUALIFICATION_ACCESS)
		vmcs_write(vcpu, VMCS_GUEST_DR7,
			   vmcs_read(vcpu, VMCS_GUEST_DR7) & ~DR7_GENERAL_DETECT);
	/* The #DB of INT1 comes after the instruction, but its exit leaves RIP at INT1. */
	if (field_get(words->event, VMCS_EVENT_TYPE) == VMCS_EVENT_PRIVILEGED_EXCEPTION)
		vcpu->regs->rip += words->insn_length;
}

static void exception_finish(struct virt_vcpu *vcpu, const struct vmx_exit_words *words)
{
	if (field_get(words->event, VMCS_EVENT_TYPE) == VMCS_EVENT_NMI) {
		/* The exit consumed the NMI, and blocks further ones until an IRET. */
		vmx_nmi_raise();
		return;
	}
	switch (field_get(words->event, VMCS_EVENT_VECTOR)) {
	case VECTOR_MC:
		/* The exit consumed the exception. If Quire's handler returns, the VM stops. */
		vmx_machine_check_raise();
		return;
	case VECTOR_DB: debug_exception_finish(vcpu, words); break;
	}
}

/*
 * True if an IRET unblocked NMIs and then faulted or exited. The guest has yet to execute
 * it, so NMIs must be blocked again.
 */
static bool is_nmi_unblocked(const struct vmx_exit_words *words)
{
	if (words->vectoring & VMCS_EVENT_VALID)
		return false;
	if (words->reason == VMCS_EXIT_EXCEPTION_NMI)
		return (words->event & VMCS_EVENT_NMI_UNBLOCKED) &&
		       field_get(words->event, VMCS_EVENT_VECTOR) != VECTOR_DF;
	return words->reason == VMCS_EXIT_EPT_VIOLATION &&
	       (words->qualification & EPT_QUALIFICATION_NMI_UNBLOCKED);
}

/* Acts on the exits that need the backend. `out_exit` is filled already. */
static Q_NOINLINE void exit_finish(struct virt_vcpu *vcpu, const struct vmx_exit_words *words,
				   struct vmexit *out_exit)
{
	if (is_nmi_unblocked(words))
		vmx_interruptibility_set(vcpu, vcpu->interruptibility | BLOCKING_NMI);
	if (words->reason == VMCS_EXIT_EXCEPTION_NMI)
		exception_finish(vcpu, words);
	else if (words->reason == VMCS_EXIT_CR_ACCESS)
		vmx_cr_exit_handle(vcpu, words->qualification, out_exit);
	else if (words->reason == (VMCS_REASON_ENTRY_FAILED | VMCS_EXIT_ENTRY_MACHINE_CHECK))
		vmx_machine_check_raise();
}

static void accesses_charge(struct virt_vcpu *vcpu)
{
	struct vmx_figures *figures = &vcpu->figures[vcpu->last_exit];
	figures->reads += vcpu->reads;
	figures->writes += vcpu->writes;
	vcpu->reads = 0;
	vcpu->writes = 0;
}

void vmx_run(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	struct vmx_cpu *cpu = &vmx_cpus[percpu()->index];

	vmx_vmcs_load(vcpu);
	if (Q_UNLIKELY(cpu->live_owner != vcpu))
		vmx_live_switch(vcpu, cpu);
	if (Q_UNLIKELY(vcpu->flush || vcpu->vpid_stamp != cpu->vpid_stamp))
		vmx_tlb_update(vcpu, cpu);
	regs_to_vmcs(vcpu);
	if (CONFIG_DEBUG)
		vmx_check(vcpu);
	accesses_charge(vcpu);

	enum vmx_failure failure = vmx_world_switch(vcpu->regs, &vcpu->host_rsp, vcpu->is_launched);
	if (Q_UNLIKELY(failure != VMX_ENTERED)) {
		entry_refused(vcpu, failure, out_exit);
		return;
	}

	struct vmx_exit_words words = { 0 };
	vcpu->entry_error = 0;
	regs_from_vmcs(vcpu);
	words_read(vcpu, &words);
	/* An entry that failed while guest state was loaded did not launch the VMCS. */
	vcpu->is_launched |= !(words.reason & VMCS_REASON_ENTRY_FAILED);
	if (Q_UNLIKELY(!vmx_exit_decode(&words, out_exit)))
		exit_finish(vcpu, &words, out_exit);
	vcpu->last_exit = out_exit->kind;
	vcpu->figures[out_exit->kind].exits++;
}
