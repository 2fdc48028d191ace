/* SPDX-License-Identifier: MIT */
/*
 * What CPUID tells a guest: the machine's own leaves, masked to what Quire can
 * virtualise, with topology, address width and clock of the VM.
 *
 * All of it is computed once per VM into a flat table, so that the exit is an
 * index and four loads. The few leaves that depend on the moment or on the
 * subleaf are marked and finished by exit_cpuid.c. Pure: the machine's answers
 * are passed in.
 */
#ifndef VM_MACHINE_CPUID_POLICY_H
#define VM_MACHINE_CPUID_POLICY_H

#include <quire/compiler.h>

#include "arch/x86_64/cpu.h"

#define CPUID_BASIC_COUNT    0x20u
#define CPUID_EXTENDED       0x80000000u
#define CPUID_EXTENDED_COUNT 0x20u
#define CPUID_KVM            0x40000000u
#define CPUID_KVM_COUNT      0x11u
#define CPUID_CACHE_COUNT    8u  /* subleaves of leaf 4 */
#define CPUID_XSAVE_COUNT    64u /* subleaves of leaf 0xd: one per XCR0 bit */

/* How a leaf is finished. */
enum cpuid_kind {
	CPUID_FIXED,
	CPUID_FEATURES,     /* leaf 1: APIC id, APIC enabled, OSXSAVE */
	CPUID_CACHES,       /* leaf 4, by subleaf */
	CPUID_ZERO_SUBLEAF, /* leaf 7: nothing but subleaf 0 */
	CPUID_TOPOLOGY,     /* leaf 0xb, by subleaf; APIC id */
	CPUID_XSAVE,        /* leaf 0xd, by subleaf; the size for the present XCR0 */
};

struct cpuid_leaf {
	struct cpuid_regs regs;
	uint32_t kind; /* enum cpuid_kind */
};

/* The machine's raw answers go in, cpuid_policy_apply() turns them into the guest's. */
struct cpuid_table {
	struct cpuid_leaf basic[CPUID_BASIC_COUNT];
	struct cpuid_leaf extended[CPUID_EXTENDED_COUNT];
	struct cpuid_leaf kvm[CPUID_KVM_COUNT];
	struct cpuid_regs caches[CPUID_CACHE_COUNT];
	struct cpuid_regs xsave[CPUID_XSAVE_COUNT];
	struct cpuid_regs topology[2]; /* threads, cores */
	uint64_t xcr0;                 /* what the guest may enable */
};

struct cpuid_limits {
	unsigned vcpu_count;
	unsigned physical_address_bits;
	uint64_t tsc_hz;
	uint64_t xcr0; /* what Quire switches; 0: no XSAVE */
};

void cpuid_policy_apply(struct cpuid_table *table, const struct cpuid_limits *limits);

/* NULL: no such leaf, and the guest reads zeros. */
static inline const struct cpuid_leaf *cpuid_find(const struct cpuid_table *table, uint32_t leaf)
{
	if (leaf < CPUID_BASIC_COUNT)
		return &table->basic[leaf];
	if (leaf - CPUID_EXTENDED < CPUID_EXTENDED_COUNT)
		return &table->extended[leaf - CPUID_EXTENDED];
	if (leaf - CPUID_KVM < CPUID_KVM_COUNT)
		return &table->kvm[leaf - CPUID_KVM];
	return NULL;
}

/* Bytes of an XSAVE area in standard format for these XCR0 bits. */
uint32_t cpuid_xsave_bytes(const struct cpuid_table *table, uint64_t xcr0);

#endif
