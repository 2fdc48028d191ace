/* SPDX-License-Identifier: MIT */
/*
 * Guest registers that VT-x does not switch and Quire itself never uses: those of system
 * calls, KERNEL_GS_BASE, CR2 and DR6. They stay in the CPU until another vCPU runs there,
 * so they add nothing to the cost of an exit. Lists of MSRs to load and store would be
 * processed at every exit.
 *
 * A page fault or debug exception of Quire's own ends in a panic, so Quire never changes
 * CR2 and DR6 under a guest that goes on.
 *
 * Invariant: a vCPU's `live` is valid exactly if no CPU's live_owner is that vCPU.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/msr.h"
#include "arch/x86_64/percpu.h"

#include "vmx_internal.h"

static void save(struct vmx_live *live)
{
	live->star = msr_read(MSR_STAR);
	live->lstar = msr_read(MSR_LSTAR);
	live->cstar = msr_read(MSR_CSTAR);
	live->sfmask = msr_read(MSR_SFMASK);
	live->kernel_gs_base = msr_read(MSR_KERNEL_GS_BASE);
	live->cr2 = cpu_read_cr2();
	live->dr6 = cpu_read_dr6();
}

static void restore(const struct vmx_live *live)
{
	msr_write(MSR_STAR, live->star);
	msr_write(MSR_LSTAR, live->lstar);
	msr_write(MSR_CSTAR, live->cstar);
	msr_write(MSR_SFMASK, live->sfmask);
	msr_write(MSR_KERNEL_GS_BASE, live->kernel_gs_base);
	cpu_write_cr2(live->cr2);
	cpu_write_dr6(live->dr6);
}

/* Threads stay on their CPU, so only this CPU can hold the registers of the thread's vCPU. */
static struct vmx_cpu *this_cpu(void)
{
	return &vmx_cpus[percpu()->index];
}

void vmx_live_switch(struct virt_vcpu *vcpu, struct vmx_cpu *cpu)
{
	if (cpu->live_owner)
		save(&cpu->live_owner->live);
	restore(&vcpu->live);
	cpu->live_owner = vcpu;
}

void vmx_live_get(struct virt_vcpu *vcpu, struct vmx_live *out_live)
{
	if (this_cpu()->live_owner == vcpu)
		save(out_live);
	else
		*out_live = vcpu->live;
}

void vmx_live_set(struct virt_vcpu *vcpu, const struct vmx_live *live)
{
	if (this_cpu()->live_owner == vcpu)
		restore(live);
	else
		vcpu->live = *live;
}

void vmx_live_drop(struct virt_vcpu *vcpu)
{
	if (this_cpu()->live_owner == vcpu)
		this_cpu()->live_owner = NULL;
}
