/* SPDX-License-Identifier: MIT */
/*
 * Address space identifiers. Each CPU tags the translations that it caches with the ASID
 * of the guest, so a vCPU needs an ASID of its own on the CPU where it runs.
 *
 * A CPU hands out ASIDs in order. When they are used up, it flushes its whole TLB and
 * starts a new generation, in which each vCPU gets a new ASID when it enters. A stamp names
 * a generation of one CPU: generation << 8 | CPU index, never SVM_ASID_STAMP_NONE. The ASID
 * of a vCPU is valid on a CPU exactly if their stamps are equal. This one comparison also
 * notices a vCPU that moved to another CPU, or came back from one.
 */
#include "svm_internal.h"

#define STAMP_GENERATION_ONE BIT64(8)
_Static_assert(PHYSMEM_CPU_MAX <= STAMP_GENERATION_ONE, "a stamp has 8 bits for the CPU");

void svm_asid_cpu_init(struct svm_cpu *cpu, unsigned index, uint32_t asid_count)
{
	/* A CPU that was off goes on after its last generation, so no old stamp becomes valid. */
	if (cpu->asid_stamp == SVM_ASID_STAMP_NONE)
		cpu->asid_stamp = STAMP_GENERATION_ONE | index;
	cpu->asid_count = asid_count;
	/* The content of the TLB is unknown, so the first entry starts a generation. */
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
	/* This CPU may have cached an older state of this VMCB, or another VMCB at its address. */
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
	else /* The next entry assigns a new ASID, under which nothing is cached. */
		vcpu->asid_stamp = SVM_ASID_STAMP_NONE;
}
