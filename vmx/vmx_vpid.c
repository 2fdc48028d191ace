/* SPDX-License-Identifier: MIT */
/*
 * Virtual-processor identifiers. Each CPU tags the translations that it caches with the
 * VPID and the EPT pointer of the guest, so a vCPU needs a VPID of its own on the CPU
 * where it runs.
 *
 * A CPU hands out VPIDs in order. When they are used up, it flushes its whole TLB and
 * starts a new generation, in which each vCPU gets a new VPID when it enters. A stamp names
 * a generation of one CPU: generation << 8 | CPU index, never VMX_VPID_STAMP_NONE. The VPID
 * of a vCPU is valid on a CPU exactly if their stamps are equal. This one comparison also
 * notices a vCPU that moved to another CPU, or came back from one.
 *
 * With EPT every translation depends on the nested tables, so INVEPT alone covers all
 * cases. INVVPID, where the CPU has it, keeps the translations that do not depend on the
 * guest's own tables. Without VPIDs each entry and exit flushes the translations that
 * depend on the guest's own tables, but not the others: SDM vol. 3, "Caching Translation
 * Information".
 */
#include <quire/assert.h>

#include "vmx_internal.h"

#define STAMP_GENERATION_ONE BIT64(8)
_Static_assert(PHYSMEM_CPU_MAX <= STAMP_GENERATION_ONE, "a stamp has 8 bits for the CPU");

void vmx_vpid_cpu_init(struct vmx_cpu *cpu, unsigned index)
{
	/* A CPU that was off goes on after its last generation, so no old stamp becomes valid. */
	if (cpu->vpid_stamp == VMX_VPID_STAMP_NONE)
		cpu->vpid_stamp = STAMP_GENERATION_ONE | index;
	/* The content of the TLB is unknown, so the first entry starts a generation. */
	cpu->vpid_next = VMX_VPID_END;
}

bool vmx_vpid_assign(struct virt_vcpu *vcpu, struct vmx_cpu *cpu)
{
	bool is_new_generation = cpu->vpid_next >= VMX_VPID_END;
	if (is_new_generation) {
		cpu->vpid_stamp += STAMP_GENERATION_ONE;
		cpu->vpid_next = 1; /* 0 is Quire's */
	}
	vcpu->vpid = cpu->vpid_next++;
	vcpu->vpid_stamp = cpu->vpid_stamp;
	return is_new_generation;
}

void vmx_tlb_flush(struct virt_vcpu *vcpu)
{
	vcpu->flush |= VMX_FLUSH_SLAT;
}

static void invept(enum invept_type type, uint64_t eptp)
{
	bool is_done = vmx_insn_invept(type, eptp);
	Q_ASSERT(is_done);
}

static void invvpid(enum invvpid_type type, uint32_t vpid)
{
	bool is_done = vmx_insn_invvpid(type, vpid);
	Q_ASSERT(is_done);
}

static void linear_flush(struct virt_vcpu *vcpu)
{
	if (vmx_features.invvpid == INVVPID_NONE)
		invept(vmx_features.invept, vcpu->eptp);
	else
		invvpid(vmx_features.invvpid, vcpu->vpid);
}

void vmx_tlb_update(struct virt_vcpu *vcpu, struct vmx_cpu *cpu)
{
	uint32_t flush = vcpu->flush;
	vcpu->flush = 0;
	if (vcpu->vpid_stamp != cpu->vpid_stamp) {
		bool is_new_generation = vmx_vpid_assign(vcpu, cpu);
		if (vmx_features.has_vpid)
			vmcs_write(vcpu, VMCS_VPID, vcpu->vpid);
		if (is_new_generation) {
			invept(INVEPT_ALL, 0);
			return;
		}
	}
	if (flush & VMX_FLUSH_SLAT)
		invept(vmx_features.invept, vcpu->eptp);
	else if ((flush & VMX_FLUSH_LINEAR) && vmx_features.has_vpid)
		linear_flush(vcpu);
}
