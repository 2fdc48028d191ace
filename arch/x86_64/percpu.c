/* SPDX-License-Identifier: MIT */
/* Gives a CPU its per-CPU data. */
#include "percpu.h"

#include "msr.h"

void percpu_install(struct percpu *cpu, uint32_t index)
{
	cpu->self = cpu;
	cpu->index = index;
	msr_write(MSR_GS_BASE, (uintptr_t)cpu);
}
