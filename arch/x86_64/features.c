/* SPDX-License-Identifier: MIT */
/* Reads what CPUID says about the boot CPU. */
#include "features.h"

#include <quire/bits.h>

#include "lib/string.h"

#include "cpu.h"

static struct cpu_features features;

static void detect_basic(void)
{
	struct cpuid_regs regs;
	cpu_cpuid(0, 0, &regs);
	uint32_t max_leaf = regs.eax;
	memcpy(features.vendor, &regs.ebx, 4);
	memcpy(features.vendor + 4, &regs.edx, 4);
	memcpy(features.vendor + 8, &regs.ecx, 4);

	cpu_cpuid(1, 0, &regs);
	features.has_vmx = regs.ecx & BIT32(5);
	features.has_x2apic = regs.ecx & BIT32(21);
	features.has_tsc_deadline = regs.ecx & BIT32(24);
	features.has_xsave = regs.ecx & BIT32(26);
	features.is_emulated = regs.ecx & BIT32(31);
	features.has_pge = regs.edx & BIT32(13);

	if (max_leaf >= 7) {
		cpu_cpuid(7, 0, &regs);
		features.has_smep = regs.ebx & BIT32(7);
		features.has_smap = regs.ebx & BIT32(20);
		features.has_umip = regs.ecx & BIT32(2);
	}
}

static void detect_extended(void)
{
	struct cpuid_regs regs;
	cpu_cpuid(0x80000000, 0, &regs);
	uint32_t max_leaf = regs.eax;
	features.physical_address_bits = 36;
	if (max_leaf >= 0x80000001) {
		cpu_cpuid(0x80000001, 0, &regs);
		features.has_svm = regs.ecx & BIT32(2);
		features.has_nx = regs.edx & BIT32(20);
		features.has_large_1g = regs.edx & BIT32(26);
		features.has_rdtscp = regs.edx & BIT32(27);
	}
	if (max_leaf >= 0x80000007) {
		cpu_cpuid(0x80000007, 0, &regs);
		features.has_invariant_tsc = regs.edx & BIT32(8);
	}
	if (max_leaf >= 0x80000008) {
		cpu_cpuid(0x80000008, 0, &regs);
		features.physical_address_bits = regs.eax & 0xff;
	}
}

void cpu_features_detect(void)
{
	detect_basic();
	detect_extended();
}

const struct cpu_features *cpu_features(void)
{
	return &features;
}
