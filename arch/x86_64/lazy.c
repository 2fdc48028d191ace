/* SPDX-License-Identifier: MIT */
/* Saves and restores a guest's lazy state, with XSAVE where the CPU has it, else with FXSAVE. */
#include "lazy.h"

#include <quire/assert.h>
#include <quire/addr.h>
#include <quire/guest_state.h>
#include <quire/x86_state.h>

#include "lib/string.h"

#include "cpu.h"
#include "features.h"

/* Intel SDM vol. 1, "FXSAVE Area" and "XSAVE Header". */
#define FXSAVE_BYTES      512u
#define FCW_OFFSET        0u
#define MXCSR_OFFSET      24u
#define XSTATE_BV_OFFSET  512u
#define FCW_AFTER_RESET   0x0040u
#define MXCSR_AFTER_RESET 0x1f80u

static uint64_t xcr0_supported;
static size_t area_bytes = FXSAVE_BYTES;

void lazy_cpu_init(void)
{
	uint64_t cr0 = cpu_read_cr0();
	cpu_write_cr0((cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	cpu_write_cr4(cpu_read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	if (!cpu_features()->has_xsave)
		return;

	cpu_write_cr4(cpu_read_cr4() | CR4_OSXSAVE);
	struct cpuid_regs regs;
	cpu_cpuid(0xd, 0, &regs);
	uint64_t offered = (uint64_t)regs.edx << 32 | regs.eax;
	xcr0_supported = offered & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 | XCR0_PKRU);
	cpu_xsetbv(0, xcr0_supported);
	cpu_cpuid(0xd, 0, &regs);
	area_bytes = regs.ebx;
	Q_ASSERT(area_bytes <= PAGE_SIZE);
}

size_t lazy_area_size(void)
{
	return area_bytes;
}

uint64_t lazy_xcr0_supported(void)
{
	return xcr0_supported;
}

void lazy_init(struct lazy_state *state, void *area)
{
	lazy_drop(state);
	uint8_t *bytes = area;
	memset(bytes, 0, area_bytes);
	uint16_t fcw = FCW_AFTER_RESET;
	uint32_t mxcsr = MXCSR_AFTER_RESET;
	memcpy(bytes + FCW_OFFSET, &fcw, sizeof(fcw));
	memcpy(bytes + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
	uint64_t present = XCR0_X87 | XCR0_SSE;
	if (xcr0_supported)
		memcpy(bytes + XSTATE_BV_OFFSET, &present, sizeof(present));
	*state = (struct lazy_state){ .area = area, .xcr0 = XCR0_X87 };
}

/* Saves all components, also those that the guest has disabled in XCR0. */
static void save(struct lazy_state *state)
{
	if (xcr0_supported) {
		state->xcr0 = cpu_xgetbv(0);
		cpu_xsetbv(0, xcr0_supported);
		cpu_xsave(state->area, xcr0_supported);
	} else {
		cpu_fxsave(state->area);
	}
	state->dr[0] = cpu_read_dr0();
	state->dr[1] = cpu_read_dr1();
	state->dr[2] = cpu_read_dr2();
	state->dr[3] = cpu_read_dr3();
}

static void restore(const struct lazy_state *state)
{
	if (xcr0_supported)
		cpu_xsetbv(0, xcr0_supported);
	/* On AMD CPUs a restore may leave the other guest's x87 instruction addresses in place. */
	cpu_x87_pointers_clear();
	if (xcr0_supported) {
		cpu_xrstor(state->area, xcr0_supported);
		cpu_xsetbv(0, state->xcr0);
	} else {
		cpu_fxrstor(state->area);
	}
	cpu_write_dr0(state->dr[0]);
	cpu_write_dr1(state->dr[1]);
	cpu_write_dr2(state->dr[2]);
	cpu_write_dr3(state->dr[3]);
}

void lazy_switch(struct lazy_state *state)
{
	struct percpu *cpu = percpu();
	if (cpu->lazy_owner)
		save(cpu->lazy_owner);
	restore(state);
	cpu->lazy_owner = state;
}

void lazy_drop(struct lazy_state *state)
{
	if (percpu()->lazy_owner == state)
		percpu()->lazy_owner = NULL;
}
