/* SPDX-License-Identifier: MIT */
/* Creates, resets and destroys a vCPU, and says what is intercepted. */
#include <quire/assert.h>
#include <quire/x86_state.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "kernel/heap.h"

#include "svm_internal.h"

/*
 * A guest can make the delivery of #DB or #AC raise the same exception again, for ever,
 * and the CPU takes no interrupt in between. Therefore both exit (CVE-2015-8104,
 * CVE-2015-5307). #MC belongs to the machine.
 */
#define EXCEPTIONS (BIT32(VECTOR_DB) | BIT32(VECTOR_AC) | BIT32(VECTOR_MC))

/*
 * Deliberately not intercepted: CR and DR accesses, task switches and INVLPG, which nested
 * paging makes harmless; XSETBV, because XCR0 is switched with the vector registers; SMI
 * and INIT, which the machine handles as if there were no guest; FERR_FREEZE, because a
 * frozen CPU still takes the interrupt that ends the guest's run.
 */
#define INTERCEPTS_1                                                                           \
	(INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_RDPMC | INTERCEPT_CPUID | INTERCEPT_INVD | \
	 INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO | INTERCEPT_MSR | INTERCEPT_SHUTDOWN)

#define INTERCEPTS_2                                                                 \
	(INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | \
	 INTERCEPT_STGI | INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD |     \
	 INTERCEPT_MONITOR | INTERCEPT_MWAIT | INTERCEPT_MWAIT_CONDITIONAL | INTERCEPT_RDPRU)

/* Returns the machine address of a static object in Quire's image. */
static uint64_t image_hpa(const void *object)
{
	return (uintptr_t)object - PAGING_IMAGE_BASE;
}

static void controls_init(struct vmcb *vmcb)
{
	vmcb_set_intercept_exceptions(vmcb, EXCEPTIONS);
	vmcb_set_intercept_1(vmcb, INTERCEPTS_1);
	vmcb_set_intercept_2(vmcb, INTERCEPTS_2);
	vmcb_set_iopm_base(vmcb, image_hpa(svm_iopm));
	vmcb_set_msrpm_base(vmcb, image_hpa(svm_msrpm));
	/* Quire's RFLAGS.IF, not the guest's, decides whether the machine may interrupt. */
	vmcb->control.v_masking = VMCB_V_INTR_MASKING;
	vmcb->control.nested_control = VMCB_NP_ENABLE;
}

q_status_t svm_vcpu_create(struct guest_regs *regs, struct virt_vcpu **out_vcpu)
{
	struct virt_vcpu *vcpu = heap_alloc(sizeof(*vcpu));
	struct vmcb *vmcb = heap_alloc(sizeof(*vmcb));
	if (!vcpu || !vmcb) {
		heap_free(vcpu, sizeof(*vcpu));
		heap_free(vmcb, sizeof(*vmcb));
		return Q_NO_MEMORY;
	}

	vcpu->regs = regs;
	vcpu->vmcb = vmcb;
	vcpu->vmcb_addr = heap_hpa(vmcb);
	vcpu->asid_stamp = SVM_ASID_STAMP_NONE;
	controls_init(vmcb);
	svm_vcpu_reset(vcpu);
	*out_vcpu = vcpu;
	return Q_OK;
}

void svm_vcpu_destroy(struct virt_vcpu *vcpu)
{
	heap_free(vcpu->vmcb, sizeof(*vcpu->vmcb));
	heap_free(vcpu, sizeof(*vcpu));
}

void svm_vcpu_reset(struct virt_vcpu *vcpu)
{
	struct cpuid_regs signature;
	cpu_cpuid(1, 0, &signature);

	memset(vcpu->regs, 0, sizeof(*vcpu->regs));
	vcpu->regs->gpr[GPR_RDX] = signature.eax;
	vcpu->regs->rip = RESET_RIP;
	vcpu->regs->rflags = RFLAGS_FIXED;

	svm_event_inject(vcpu, &(struct guest_event){ .type = GUEST_EVENT_NONE });
	svm_interrupt_window_set(vcpu, false);
	q_status_t status = svm_state_set(vcpu, &x86_reset_state);
	Q_ASSERT(status == Q_OK);
}
