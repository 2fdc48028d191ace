/* SPDX-License-Identifier: MIT */
/*
 * Address space identifiers. Translations of a guest are tagged with its ASID,
 * per CPU, so a vCPU needs one of its own on the CPU where it runs.
 *
 * A CPU hands them out in order. When they are used up it starts a new generation
 * by flushing its whole TLB, and all vCPUs get new ones as they enter. A stamp
 * names a generation of one CPU: generation << 8 | CPU index, never
 * SVM_ASID_STAMP_NONE. A vCPU's ASID is good on a CPU exactly if their stamps are
 * equal; that one comparison also notices a vCPU that moved, or came back.
 */
#include "svm_internal.h"

#define STAMP_GENERATION_ONE BIT64(8)
_Static_assert(PHYSMEM_CPU_MAX <= STAMP_GENERATION_ONE, "a stamp has 8 bits for the CPU");

void svm_asid_cpu_init(struct svm_cpu *cpu, unsigned index, uint32_t asid_count)
{
	/* A CPU that was off goes on where it stopped, so that no old stamp comes again. */
	if (cpu->asid_stamp == SVM_ASID_STAMP_NONE)
		cpu->asid_stamp = STAMP_GENERATION_ONE | index;
	cpu->asid_count = asid_count;
	/* Nobody knows what the TLB holds: the first entry starts a generation. */
	svm_asid_distrust(cpu);
}

void svm_asid_assign(struct virt_vcpu *vcpu, struct svm_cpu *cpu)
{
	struct vmcb *vmcb = vcpu->vmcb;

	vmcb->control.tlb_control = VMCB_TLB_KEEP;
	if (cpu->asid_next >= cpu->asid_count) {
		cpu->asid_stamp += STAMP_GENERATION_ONE;
		cpu->asid_next = 1; /* 0 is Quire's */
		vmcb->control.tlb_control = VMCB_TLB_FLUSH_ALL;
	}
	vmcb_set_asid(vmcb, cpu->asid_next++);
	vcpu->asid_stamp = cpu->asid_stamp;
	vcpu->host_area = cpu->host_area;
	/* This CPU may hold an older state of this VMCB, or another's at this address. */
	vmcb->control.clean = 0;
}

void svm_asid_distrust(struct svm_cpu *cpu)
{
	cpu->asid_next = cpu->asid_count;
}

void svm_tlb_flush(struct virt_vcpu *vcpu)
{
	if (svm_features.has_flush_by_asid)
		vcpu->vmcb->control.tlb_control = VMCB_TLB_FLUSH_ASID;
	else /* Under a new ASID nothing is cached. */
		vcpu->asid_stamp = SVM_ASID_STAMP_NONE;
}
