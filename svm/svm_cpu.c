/* SPDX-License-Identifier: MIT */
/*
 * Detects SVM on a CPU, turns it on and off.
 *
 * A CPU with SVM on has two pages. The CPU uses the first one itself while a guest runs
 * (VM_HSAVE_PA; its format is unknown). The second one holds those registers of Quire
 * that VMRUN does not save. They never change once the CPU is up, so VMSAVE puts them
 * there once, in this file, and after each exit they are only loaded.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/msr.h"
#include "kernel/heap.h"

#include "svm_internal.h"

#define EXTENDED_LEAF_BASE 0x80000000u
#define EXTENDED_LEAF_SVM  0x8000000au

#define HYPERVISOR_LEAF_BASE   0x40000000u
#define CPUID_1_ECX_HYPERVISOR BIT32(31)

struct svm_cpu svm_cpus[PHYSMEM_CPU_MAX];

static void cpuid_collect(struct svm_cpuid *out_words)
{
	struct cpuid_regs regs;
	*out_words = (struct svm_cpuid){ 0 };

	cpu_cpuid(EXTENDED_LEAF_BASE, 0, &regs);
	if (regs.eax < EXTENDED_LEAF_SVM || regs.eax > (EXTENDED_LEAF_BASE | 0xffff))
		return;
	cpu_cpuid(0x80000001, 0, &regs);
	out_words->leaf_80000001_ecx = regs.ecx;
	out_words->leaf_80000001_edx = regs.edx;
	cpu_cpuid(0x80000008, 0, &regs);
	out_words->leaf_80000008_eax = regs.eax;
	cpu_cpuid(EXTENDED_LEAF_SVM, 0, &regs);
	out_words->leaf_8000000a_ebx = regs.ebx;
	out_words->leaf_8000000a_edx = regs.edx;

	cpu_cpuid(1, 0, &regs);
	out_words->leaf_1_ecx = regs.ecx;
	if (regs.ecx & CPUID_1_ECX_HYPERVISOR) {
		cpu_cpuid(HYPERVISOR_LEAF_BASE, 0, &regs);
		out_words->leaf_40000000_ebx = regs.ebx;
		out_words->leaf_40000000_ecx = regs.ecx;
		out_words->leaf_40000000_edx = regs.edx;
	}
	cpu_cpuid(0, 0, &regs);
	if (regs.eax < 7)
		return;
	cpu_cpuid(7, 0, &regs);
	out_words->leaf_7_ebx = regs.ebx;
	out_words->leaf_7_ecx = regs.ecx;
}

const char *svm_cpu_detect(void)
{
	struct svm_cpuid words;
	cpuid_collect(&words);
	svm_features_decode(&words, &svm_features);

	/* VM_CR exists wherever CPUID reports SVM. */
	uint64_t vm_cr = svm_features.has_svm ? msr_read(MSR_VM_CR) : 0;
	return svm_features_refuse(&svm_features, vm_cr);
}

q_status_t svm_cpu_enable(void)
{
	unsigned index = physmem_cpu();
	struct svm_cpu *cpu = &svm_cpus[index];

	void *host_page = heap_alloc(PAGE_SIZE);
	void *save_page = heap_alloc(PAGE_SIZE);
	if (!host_page || !save_page) {
		heap_free(host_page, PAGE_SIZE);
		heap_free(save_page, PAGE_SIZE);
		return Q_NO_MEMORY;
	}

	cpu->host_page = host_page;
	cpu->save_page = save_page;
	cpu->host_area = heap_hpa(host_page);
	svm_asid_cpu_init(cpu, index, svm_features.asid_count);

	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, heap_hpa(save_page).raw);
	svm_host_save(cpu->host_area);
	return Q_OK;
}

void svm_cpu_disable(void)
{
	struct svm_cpu *cpu = &svm_cpus[physmem_cpu()];

	msr_write(MSR_VM_HSAVE_PA, 0);
	msr_write(MSR_EFER, msr_read(MSR_EFER) & ~EFER_SVME);
	heap_free(cpu->host_page, PAGE_SIZE);
	heap_free(cpu->save_page, PAGE_SIZE);
	cpu->host_page = NULL;
	cpu->save_page = NULL;
}
