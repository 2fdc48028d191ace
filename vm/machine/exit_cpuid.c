/* SPDX-License-Identifier: MIT */
/*
 * CPUID, answered from the VM's table; and XSETBV, which enables what CPUID offers. XCR0 and the
 * extended registers are live in the CPU while the vCPU's thread runs.
 */
#include "exit.h"

#include <quire/x86_state.h>

#include "cpuid_policy.h"
#include "inject.h"
#include "vcpu.h"

#define FEATURE_C_OSXSAVE BIT32(27)
#define FEATURE_D_APIC    BIT32(9)

static void features_finish(struct vcpu *vcpu, struct cpuid_regs *regs)
{
	const struct cpuid_table *table = vcpu->machine->cpuid;
	regs->ebx |= vcpu->index << 24;
	/* No lock: only this thread changes the answer, or a power-on while every vCPU is held. */
	if (!vpc_apic_enabled(vcpu->machine->vpc, vcpu->index))
		regs->edx &= ~FEATURE_D_APIC;
	if (!table->xcr0)
		return;
	struct guest_code_state state;
	vcpu->ops->code_state_get(vcpu->virt, &state);
	if (state.cr4 & CR4_OSXSAVE)
		regs->ecx |= FEATURE_C_OSXSAVE;
}

static void topology_finish(struct vcpu *vcpu, uint32_t subleaf, struct cpuid_regs *regs)
{
	const struct cpuid_table *table = vcpu->machine->cpuid;
	*regs = (struct cpuid_regs){ .ecx = subleaf & 0xff };
	if (subleaf < ARRAY_COUNT(table->topology))
		*regs = table->topology[subleaf];
	regs->edx = vcpu->index;
}

static void xsave_finish(struct vcpu *vcpu, uint32_t subleaf, struct cpuid_regs *regs)
{
	const struct cpuid_table *table = vcpu->machine->cpuid;
	*regs = (struct cpuid_regs){ 0 };
	if (subleaf < CPUID_XSAVE_COUNT)
		*regs = table->xsave[subleaf];
	if (subleaf == 0 && table->xcr0)
		regs->ebx = cpuid_xsave_bytes(table, cpu_xgetbv(0));
}

static void finish(struct vcpu *vcpu, enum cpuid_kind kind, uint32_t subleaf,
		   struct cpuid_regs *regs)
{
	switch (kind) {
	case CPUID_FIXED: return;
	case CPUID_FEATURES: features_finish(vcpu, regs); return;
	case CPUID_CACHES:
		*regs = (struct cpuid_regs){ 0 };
		if (subleaf < CPUID_CACHE_COUNT)
			*regs = vcpu->machine->cpuid->caches[subleaf];
		return;
	case CPUID_ZERO_SUBLEAF:
		if (subleaf)
			*regs = (struct cpuid_regs){ 0 };
		return;
	case CPUID_TOPOLOGY: topology_finish(vcpu, subleaf, regs); return;
	case CPUID_XSAVE: xsave_finish(vcpu, subleaf, regs); return;
	}
}

void exit_cpuid(struct vcpu *vcpu)
{
	uint64_t *gpr = vcpu->regs.gpr;
	const struct cpuid_leaf *leaf = cpuid_find(vcpu->machine->cpuid, (uint32_t)gpr[GPR_RAX]);
	struct cpuid_regs regs = { 0 };
	if (Q_LIKELY(leaf != NULL)) {
		regs = leaf->regs;
		if (leaf->kind != CPUID_FIXED)
			finish(vcpu, leaf->kind, (uint32_t)gpr[GPR_RCX], &regs);
	}
	gpr[GPR_RAX] = regs.eax;
	gpr[GPR_RBX] = regs.ebx;
	gpr[GPR_RCX] = regs.ecx;
	gpr[GPR_RDX] = regs.edx;
	vcpu_skip_insn(vcpu);
}

void exit_xsetbv(struct vcpu *vcpu)
{
	struct guest_code_state state;
	uint64_t xcr0 = vcpu_edx_eax(vcpu);
	vcpu->ops->code_state_get(vcpu->virt, &state);
	if (!(state.cr4 & CR4_OSXSAVE)) {
		inject_exception(vcpu, VECTOR_UD);
		return;
	}
	if (state.cpl != 0 || (uint32_t)vcpu->regs.gpr[GPR_RCX] != 0 ||
	    !x86_xcr0_is_valid(xcr0, vcpu->machine->cpuid->xcr0)) {
		inject_exception_code(vcpu, VECTOR_GP, 0);
		return;
	}
	cpu_xsetbv(0, xcr0);
	vcpu_skip_insn(vcpu);
}
