/* SPDX-License-Identifier: MIT */
/*
 * What CPUID tells a guest: the leaves of the real CPU, masked to what Quire can virtualise, with
 * the VM's topology, address width and clock (Intel SDM vol. 2, "CPUID - CPU Identification"; APM
 * vol. 3, "Obtaining Processor Information Via the CPUID Instruction").
 *
 * All of it is computed once per VM into a flat table, so an exit costs an index and four loads.
 * A few leaves depend on the moment or on the subleaf: their `kind` says so, and exit_cpuid.c
 * finishes them. Pure: the CPU's answers are passed in.
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
	CPUID_ZERO_SUBLEAF, /* leaf 7: only subleaf 0 exists */
	CPUID_TOPOLOGY,     /* leaf 0xb, by subleaf; APIC id */
	CPUID_XSAVE,        /* leaf 0xd, by subleaf; size of the area for the current XCR0 */
};

struct cpuid_leaf {
	struct cpuid_regs regs;
	uint32_t kind; /* enum cpuid_kind */
};

/* The caller fills in the CPU's answers; cpuid_policy_apply() turns them into the guest's. */
struct cpuid_table {
	struct cpuid_leaf basic[CPUID_BASIC_COUNT];
	struct cpuid_leaf extended[CPUID_EXTENDED_COUNT];
	struct cpuid_leaf kvm[CPUID_KVM_COUNT];
	struct cpuid_regs caches[CPUID_CACHE_COUNT];
	struct cpuid_regs xsave[CPUID_XSAVE_COUNT];
	struct cpuid_regs topology[2]; /* threads, cores */
	uint64_t xcr0;                 /* the bits that the guest may enable */
};

struct cpuid_limits {
	unsigned vcpu_count;
	unsigned physical_address_bits;
	uint64_t tsc_hz;
	uint64_t xcr0; /* the state components that Quire switches; 0: no XSAVE */
};

/* Turns the CPU's answers in `table` into what a guest with these limits is told. */
void cpuid_policy_apply(struct cpuid_table *table, const struct cpuid_limits *limits);

/* NULL: there is no such leaf, and the guest reads zeros. */
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

/* Returns the bytes of an XSAVE area in standard format for these XCR0 bits. */
uint32_t cpuid_xsave_bytes(const struct cpuid_table *table, uint64_t xcr0);

#endif
