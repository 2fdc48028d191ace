/* SPDX-License-Identifier: MIT */
/*
 * Replaces arch/x86_64/cpu.h and the function percpu() in host programs. The compiler's option
 * -include puts it first in the objects that use them (see tests.mk). Some of the instructions are
 * privileged, and a test must choose what the others return, so the functions are the test's: see
 * fake_thread.h and machine_fixture.h.
 */
#ifndef ARCH_X86_64_CPU_H
#define ARCH_X86_64_CPU_H

#include <stdint.h>

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);
uint64_t cpu_rdtsc(void);
void cpu_irq_enable(void);
void cpu_irq_disable(void);
uint64_t cpu_xgetbv(uint32_t index);
void cpu_xsetbv(uint32_t index, uint64_t value);

static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}

/* The function of the header gets another name, so that this one takes its place. */
#define percpu(arguments) percpu_by_segment(arguments)
#include "arch/x86_64/percpu.h"
#undef percpu
struct percpu *percpu(void);

#endif
