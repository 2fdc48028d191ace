/* SPDX-License-Identifier: MIT */
/*
 * Detects VMX on a CPU, turns it on and off.
 *
 * A CPU with VMX on has one page, which it uses itself (the VMXON region; its format is
 * unknown but for the revision in its first word).
 */
#include <quire/assert.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/msr.h"
#include "kernel/heap.h"
#include "lib/string.h"

#include "vmx_internal.h"

/* SDM vol. 3, appendix "VMX Capability Reporting Facility". */
#define MSR_VMX_BASIC        0x480u
#define MSR_VMX_PIN          0x481u
#define MSR_VMX_PRIMARY      0x482u
#define MSR_VMX_EXIT         0x483u
#define MSR_VMX_ENTRY        0x484u
#define MSR_VMX_MISC         0x485u
#define MSR_VMX_CR0_FIXED0   0x486u
#define MSR_VMX_CR0_FIXED1   0x487u
#define MSR_VMX_CR4_FIXED0   0x488u
#define MSR_VMX_CR4_FIXED1   0x489u
#define MSR_VMX_SECONDARY    0x48bu
#define MSR_VMX_EPT_VPID     0x48cu
#define MSR_VMX_TRUE_PIN     0x48du
#define MSR_VMX_TRUE_PRIMARY 0x48eu
#define MSR_VMX_TRUE_EXIT    0x48fu
#define MSR_VMX_TRUE_ENTRY   0x490u

#define BASIC_TRUE_CONTROLS BIT64(55)

#define EXTENDED_LEAF_BASE  0x80000000u
#define EXTENDED_LEAF_SIZES 0x80000008u

struct vmx_cpu vmx_cpus[PHYSMEM_CPU_MAX];

static void cpuid_collect(struct vmx_words *words)
{
	struct cpuid_regs regs;
	cpu_cpuid(1, 0, &regs);
	words->leaf_1_ecx = regs.ecx;
	cpu_cpuid(EXTENDED_LEAF_BASE, 0, &regs);
	if (regs.eax >= EXTENDED_LEAF_SIZES) {
		cpu_cpuid(0x80000001, 0, &regs);
		words->leaf_80000001_edx = regs.edx;
		cpu_cpuid(EXTENDED_LEAF_SIZES, 0, &regs);
		words->leaf_80000008_eax = regs.eax;
	}
	cpu_cpuid(0, 0, &regs);
	if (regs.eax < 7)
		return;
	cpu_cpuid(7, 0, &regs);
	words->leaf_7_ebx = regs.ebx;
	words->leaf_7_ecx = regs.ecx;
}

/* Reading an MSR that does not exist raises #GP: each is read only if others say it exists. */
static void msrs_collect(struct vmx_words *words)
{
	words->feature_control = msr_read(MSR_FEATURE_CONTROL);
	words->basic = msr_read(MSR_VMX_BASIC);
	bool has_true = words->basic & BASIC_TRUE_CONTROLS;
	words->pin = msr_read(has_true ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN);
	words->primary = msr_read(has_true ? MSR_VMX_TRUE_PRIMARY : MSR_VMX_PRIMARY);
	words->exit = msr_read(has_true ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT);
	words->entry = msr_read(has_true ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY);
	words->misc = msr_read(MSR_VMX_MISC);
	words->cr0_fixed0 = msr_read(MSR_VMX_CR0_FIXED0);
	words->cr0_fixed1 = msr_read(MSR_VMX_CR0_FIXED1);
	words->cr4_fixed0 = msr_read(MSR_VMX_CR4_FIXED0);
	words->cr4_fixed1 = msr_read(MSR_VMX_CR4_FIXED1);
	if (!(words->primary >> 32 & PRIMARY_SECONDARY))
		return;
	words->secondary = msr_read(MSR_VMX_SECONDARY);
	if (words->secondary >> 32 & (SECONDARY_EPT | SECONDARY_VPID))
		words->ept_vpid = msr_read(MSR_VMX_EPT_VPID);
}

const char *vmx_cpu_detect(void)
{
	struct vmx_words words = { 0 };
	cpuid_collect(&words);
	if (words.leaf_1_ecx & CPUID_1_ECX_VMX)
		msrs_collect(&words);
	return vmx_features_decode(&words, &vmx_features);
}

/* Firmware that knows nothing of VMX leaves the MSR unlocked; VMXON demands that it is locked. */
static void feature_control_lock(void)
{
	uint64_t control = msr_read(MSR_FEATURE_CONTROL);
	if (!(control & FEATURE_CONTROL_LOCKED))
		msr_write(MSR_FEATURE_CONTROL,
			  control | FEATURE_CONTROL_LOCKED | FEATURE_CONTROL_OUTSIDE_SMX);
}

q_status_t vmx_cpu_enable(void)
{
	unsigned index = physmem_cpu();
	struct vmx_cpu *cpu = &vmx_cpus[index];

	void *page = heap_alloc(PAGE_SIZE);
	if (!page)
		return Q_NO_MEMORY;
	memcpy(page, &vmx_features.revision, sizeof(vmx_features.revision));

	feature_control_lock();
	cpu_write_cr0(cpu_read_cr0() | vmx_features.cr0_fixed);
	cpu_write_cr4(cpu_read_cr4() | vmx_features.cr4_fixed);
	if (!vmx_insn_vmxon(heap_hpa(page))) {
		cpu_write_cr4(cpu_read_cr4() & ~CR4_VMXE);
		heap_free(page, PAGE_SIZE);
		return Q_UNSUPPORTED;
	}
	cpu->vmxon_page = page;
	cpu->current = NULL;
	cpu->live_owner = NULL;
	vmx_vpid_cpu_init(cpu, index);
	return Q_OK;
}

void vmx_cpu_disable(void)
{
	struct vmx_cpu *cpu = &vmx_cpus[physmem_cpu()];

	/* vmx_vcpu_destroy() clears each VMCS. */
	Q_ASSERT(!cpu->current);
	vmx_insn_vmxoff();
	cpu_write_cr4(cpu_read_cr4() & ~CR4_VMXE);
	heap_free(cpu->vmxon_page, PAGE_SIZE);
	cpu->vmxon_page = NULL;
}
