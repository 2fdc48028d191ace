/* SPDX-License-Identifier: MIT */
/*
 * Guest state that Quire itself never uses, and that therefore stays in the
 * CPU until another vCPU needs the place: x87/SSE/AVX registers, XCR0 and the
 * debug address registers DR0 to DR3.
 *
 * Quire is compiled without floating-point and vector instructions, so a guest
 * may exit and re-enter any number of times without a save. A CPU's owner changes
 * only in lazy_load() and lazy_drop(). Threads do not move between CPUs: a thread
 * that did would have to be saved on its old CPU first.
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

/* Enables the FPU and XSAVE on this CPU with everything that it supports. */
void lazy_cpu_init(void);

/* Bytes of an area, for everything that XCR0 can enable here; at most a page. */
size_t lazy_area_size(void);
/* The XCR0 bits that the CPU supports and Quire switches; 0: no XSAVE. */
uint64_t lazy_xcr0_supported(void);

/* Power-on state into `area`, which is zeroed and stays the caller's. */
void lazy_init(struct lazy_state *state, void *area);

void lazy_switch(struct lazy_state *state);

/* Makes `state` live on this CPU, saving what was. */
static inline void lazy_load(struct lazy_state *state)
{
	if (Q_UNLIKELY(percpu()->lazy_owner != state))
		lazy_switch(state);
}

/* Before `state` is freed or reset: what is live of it is thrown away. */
void lazy_drop(struct lazy_state *state);

#endif
