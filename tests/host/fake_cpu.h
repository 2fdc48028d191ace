/* SPDX-License-Identifier: MIT */
/*
 * Comes first in the objects of files that read the TSC or the CPU's own data, by the
 * compiler's option -include (see tests.mk): both are the test's, see fake_thread.h.
 */
#ifndef TESTS_HOST_FAKE_CPU_H
#define TESTS_HOST_FAKE_CPU_H

/* The functions that the headers define get other names, so that those below take their place. */
#define cpu_rdtsc(arguments) cpu_rdtsc_by_instruction(arguments)
#define percpu(arguments)    percpu_by_segment(arguments)
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/percpu.h"
#undef cpu_rdtsc
#undef percpu

uint64_t cpu_rdtsc(void);
struct percpu *percpu(void);

#endif
