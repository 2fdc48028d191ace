/* SPDX-License-Identifier: MIT */
/*
 * Guest state that Quire itself never uses: x87/SSE/AVX registers, XCR0 and the
 * debug address registers DR0 to DR3. It stays in the CPU until another vCPU
 * needs these registers.
 *
 * Quire is compiled without floating-point and vector instructions, so a guest
 * may exit and re-enter any number of times without a save. percpu()->lazy_owner is
 * the state that the CPU holds; only lazy_load() and lazy_drop() change it. Threads do
 * not move between CPUs. If they did, the old CPU would have to save the state first.
 */
#ifndef ARCH_X86_64_LAZY_H
#define ARCH_X86_64_LAZY_H

#include <quire/compiler.h>

#include "percpu.h"

struct lazy_state {
	void *area; /* XSAVE or FXSAVE image, 64-byte aligned */
	uint64_t xcr0;
	uint64_t dr[4];
};

/* Enables the FPU and XSAVE on this CPU, with all components that lazy_xcr0_supported() names. */
void lazy_cpu_init(void);

/* The bytes that an area needs for all components that can be enabled; at most a page. */
size_t lazy_area_size(void);
/* The XCR0 bits that the CPU supports and Quire switches; 0: no XSAVE. */
uint64_t lazy_xcr0_supported(void);

/* Sets `state` to the power-on state. The caller goes on owning `area`, which is overwritten. */
void lazy_init(struct lazy_state *state, void *area);

/* The part of lazy_load() that is seldom needed. */
void lazy_switch(struct lazy_state *state);

/* Makes `state` live on this CPU, and saves the state that was live before. */
static inline void lazy_load(struct lazy_state *state)
{
	if (Q_UNLIKELY(percpu()->lazy_owner != state))
		lazy_switch(state);
}

/* Discards what this CPU holds of `state`. Call it before `state` is freed or reset. */
void lazy_drop(struct lazy_state *state);

#endif
