/* SPDX-License-Identifier: MIT */
/* What this CPU can do, detected once. */
#ifndef ARCH_X86_64_FEATURES_H
#define ARCH_X86_64_FEATURES_H

#include <quire/compiler.h>

struct cpu_features {
	char vendor[13];
	bool has_nx, has_smep, has_smap, has_umip, has_pge, has_large_1g;
	bool has_xsave, has_x2apic, has_tsc_deadline, has_invariant_tsc, has_rdtscp;
	bool has_svm, has_vmx;
	bool is_emulated; /* the machine is virtual: CPUID's hypervisor bit is set */
	unsigned physical_address_bits;
};

/* Call once on the boot CPU, before any other function of arch/. */
void cpu_features_detect(void);
const struct cpu_features *cpu_features(void);

#endif
