/* SPDX-License-Identifier: MIT */
/*
 * Each CPU's own data. GS base points to it while Quire runs; the world switch
 * restores GS base. Only the CPU itself reads and writes its data.
 */
#ifndef ARCH_X86_64_PERCPU_H
#define ARCH_X86_64_PERCPU_H

#include <quire/compiler.h>

struct thread;
struct lazy_state;

struct percpu {
	struct percpu *self; /* offset 0: read through %gs */
	uint32_t index;      /* 0 .. PHYSMEM_CPU_MAX - 1 */
	uint32_t apic_id;
	bool should_yield;   /* also set by this CPU's interrupt handlers */
	unsigned held_locks; /* debug builds: how many locks it holds, and their ranks */
	uint8_t held_ranks[16];
	struct thread *current;
	struct thread *idle;
	struct lazy_state *lazy_owner; /* see lazy.h */
	uint64_t switch_tsc;           /* when `current` began to run */
};

static inline struct percpu *percpu(void)
{
	struct percpu *self;
	asm volatile("movq %%gs:0, %0" : "=r"(self));
	return self;
}

/* Makes `cpu` the data of the executing CPU, which gets the number `index`. */
void percpu_install(struct percpu *cpu, uint32_t index);

#endif
