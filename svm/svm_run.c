/* SPDX-License-Identifier: MIT */
/*
 * Enters the guest and reports why it came back. Everything here runs once per exit, so
 * it moves only what every exit needs: RAX, RSP, RIP and RFLAGS, which are in the VMCB, and
 * the task priority (CR8), which is in its V_TPR. svm_entry.S moves all other registers.
 * For the same reason the work is a chain of three functions, each of which ends with a
 * jump to the next: svm_run(), svm_world_switch(), svm_run_finish(). Quire's registers are
 * saved once, in the middle.
 *
 * When the CPU refuses the VMCB, struct guest_regs keeps the values with which the guest
 * was to start. In the control area only the clean bits, the TLB control and the event to
 * inject are lost, because svm_run_finish() resets them. A CPU leaves the save area as it
 * was, but QEMU 7.2 and Bochs 2.7 leave Quire's own registers in it. Debug builds therefore
 * check the VMCB before each entry. Release builds miss nothing in the save area:
 * svm_state_set() checked what it accepted, and the CPU wrote the rest.
 */
#include <quire/assert.h>

#include "arch/x86_64/percpu.h"

#include "svm_internal.h"

static void regs_to_vmcb(const struct guest_regs *regs, struct vmcb *vmcb)
{
	vmcb->save.rax = regs->gpr[GPR_RAX];
	vmcb->save.rsp = regs->gpr[GPR_RSP];
	vmcb->save.rip = regs->rip;
	vmcb->save.rflags = regs->rflags;
	vmcb->control.v_tpr = (uint8_t)regs->cr8;
}

static void regs_from_vmcb(struct guest_regs *regs, const struct vmcb *vmcb)
{
	regs->gpr[GPR_RAX] = vmcb->save.rax;
	regs->gpr[GPR_RSP] = vmcb->save.rsp;
	regs->rip = vmcb->save.rip;
	regs->rflags = vmcb->save.rflags;
	regs->cr8 = vmcb->control.v_tpr & VMCB_V_TPR_MASK;
}

/* True for exits on which the backend itself has to act. */
static bool is_special(uint32_t code)
{
	switch (code) {
	case VMCB_EXIT_EXCEPTION_MC:
	case VMCB_EXIT_IRET:
	case VMCB_EXIT_INVALID: return true;
	default: return false;
	}
}

static Q_NOINLINE void special_finish(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	struct vmcb *vmcb = vcpu->vmcb;
	uint32_t code = (uint32_t)vmcb->control.exit_code;

	svm_exit_decode(vmcb, out_exit);
	if (code == VMCB_EXIT_INVALID) {
		svm_asid_distrust(&svm_cpus[physmem_cpu()]);
		return;
	}
	regs_from_vmcb(vcpu->regs, vmcb);
	if (code == VMCB_EXIT_EXCEPTION_MC) {
		/* The intercept consumed the exception. If Quire's handler returns, the VM stops. */
		svm_machine_check_raise();
		return;
	}
	/* The guest has yet to execute IRET: the shadow holds NMIs off for this one instruction. */
	svm_nmi_block_set(vmcb, false);
	vmcb->control.interrupt_shadow = VMCB_INTERRUPT_SHADOW;
	out_exit->can_interrupt = false;
}

void svm_run_finish(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	struct vmcb *vmcb = vcpu->vmcb;

	vmcb->control.clean = svm_features.clean_bits;
	vmcb->control.tlb_control = VMCB_TLB_KEEP;
	vmcb->control.event_inject = 0;
	if (Q_UNLIKELY(is_special((uint32_t)vmcb->control.exit_code))) {
		special_finish(vcpu, out_exit);
		return;
	}
	regs_from_vmcb(vcpu->regs, vmcb);
	svm_exit_decode(vmcb, out_exit);
}

static void guest_enter(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	regs_to_vmcb(vcpu->regs, vcpu->vmcb);
	if (CONFIG_DEBUG)
		svm_check(vcpu);
	svm_world_switch(vcpu, out_exit);
}

/* A function of its own, so that the usual path needs no stack. */
static Q_NOINLINE void guest_enter_with_new_asid(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	svm_asid_assign(vcpu, &svm_cpus[physmem_cpu()]);
	guest_enter(vcpu, out_exit);
}

void svm_run(struct virt_vcpu *vcpu, struct vmexit *out_exit)
{
	if (Q_UNLIKELY(vcpu->asid_stamp != svm_cpus[percpu()->index].asid_stamp))
		guest_enter_with_new_asid(vcpu, out_exit);
	else
		guest_enter(vcpu, out_exit);
}
