/* SPDX-License-Identifier: MIT */
#include "cpuid_policy.h"

#include <quire/bits.h>
#include <quire/x86_state.h>

#include "lib/string.h"

/* Leaf numbers, as in the manuals that cpuid_policy.h cites. */
#define LEAF_FEATURES   0x1u
#define LEAF_CACHES     0x4u
#define LEAF_POWER      0x6u
#define LEAF_STRUCTURED 0x7u
#define LEAF_TOPOLOGY   0xbu
#define LEAF_XSAVE      0xdu
#define EXT_MAX         0x0u
#define EXT_FEATURES    0x1u
#define EXT_POWER       0x7u
#define EXT_SIZES       0x8u
#define LAST_BASIC      LEAF_XSAVE
#define LAST_EXTENDED   EXT_SIZES

#define FEATURE_C_X2APIC       BIT32(21)
#define FEATURE_C_TSC_DEADLINE BIT32(24)
#define FEATURE_C_XSAVE        BIT32(26)
#define FEATURE_C_AVX          (BIT32(12) | BIT32(28) | BIT32(29)) /* FMA, AVX, F16C */
#define FEATURE_C_HYPERVISOR   BIT32(31)
#define FEATURE_D_APIC         BIT32(9)
#define FEATURE_D_HTT          BIT32(28)
#define STRUCTURED_B_AVX2      BIT32(5)
/* AVX512 F DQ, IFMA, PF ER CD, BW VL */
#define STRUCTURED_B_AVX512 (MASK64(17, 16) | BIT32(21) | MASK64(28, 26) | MASK64(31, 30))
#define STRUCTURED_C_AVX512 (BIT32(1) | BIT32(11) | BIT32(12) | BIT32(14))
#define STRUCTURED_C_AVX    (BIT32(9) | BIT32(10))  /* VAES, VPCLMULQDQ */
#define EXT_C_AVX           (BIT32(11) | BIT32(16)) /* XOP, FMA4 */
#define EXT_D_INVARIANT_TSC BIT32(8)
#define POWER_A_ARAT        BIT32(2) /* the local APIC timer never stops */

#define XSAVE_A_FORMS      (BIT32(0) | BIT32(2)) /* XSAVEOPT, XGETBV with ECX = 1; no compaction */
#define XSAVE_HEADER_BYTES (512u + 64u)

/*
 * Feature bits that pass from the CPU to the guest. These are left out, because Quire does not
 * virtualise them: VMX and SVM, MONITOR, performance counters, thermal and power control,
 * machine-check extensions, protection keys, TSX, memory protection extensions, 5-level paging,
 * speculation controls (their registers are not switched), RDTSCP and RDPID (TSC_AUX is not
 * switched), XSAVES. TSC_ADJUST works but is not announced: guests that see it keep reading it.
 */
#define B BIT32
/* SSE3 PCLMUL, SSSE3 FMA CX16 PCID, SSE4 x2APIC MOVBE POPCNT deadline AES XSAVE, AVX F16C RDRAND */
#define FEATURES_C_KEPT                                                                       \
	(B(0) | B(1) | B(9) | B(12) | B(13) | B(17) | B(19) | B(20) | B(21) | B(22) | B(23) | \
	 B(24) | B(25) | B(26) | B(28) | B(29) | B(30))
/*
 * FPU VME DE PSE TSC MSR PAE MCE CX8 APIC, SEP MTRR PGE MCA CMOV PAT PSE36, CLFSH,
 * MMX FXSR SSE SSE2
 */
#define FEATURES_D_KEPT (MASK64(9, 0) | MASK64(17, 11) | B(19) | MASK64(26, 23))
/* FSGSBASE, BMI1, AVX2, SMEP BMI2 ERMS INVPCID, RDSEED ADX SMAP, CLFLUSHOPT CLWB, SHA, AVX512 */
#define STRUCTURED_B_KEPT                                                                     \
	(B(0) | B(3) | B(5) | MASK64(10, 7) | B(18) | B(19) | B(20) | B(23) | B(24) | B(29) | \
	 STRUCTURED_B_AVX512)
/* UMIP, GFNI, and vector extensions */
#define STRUCTURED_C_KEPT (B(2) | B(8) | STRUCTURED_C_AVX | STRUCTURED_C_AVX512)
/* Fast short REP MOV, VERW clears buffers */
#define STRUCTURED_D_KEPT (B(4) | B(10))
/* LAHF, CR8 by LOCK, ABM SSE4A misaligned SSE PREFETCHW, XOP, FMA4, TBM */
#define EXT_C_KEPT (B(0) | MASK64(8, 4) | B(11) | B(16) | B(21))
/* As leaf 1, with SYSCALL, NX, MMX extensions, 1 GiB pages, long mode, 3DNow! */
#define EXT_D_KEPT \
	(MASK64(9, 0) | MASK64(17, 11) | B(20) | B(22) | B(23) | B(24) | B(26) | MASK64(31, 29))

static const struct cpuid_mask {
	uint32_t leaf;
	struct cpuid_regs keep;
} masks[] = {
	{ LEAF_FEATURES, { ~0u, 0xff00, FEATURES_C_KEPT, FEATURES_D_KEPT } },
	{ LEAF_STRUCTURED, { 0, STRUCTURED_B_KEPT, STRUCTURED_C_KEPT, STRUCTURED_D_KEPT } },
	{ CPUID_EXTENDED | EXT_FEATURES, { ~0u, ~0u, EXT_C_KEPT, EXT_D_KEPT } },
};

static struct cpuid_leaf *leaf_at(struct cpuid_table *table, uint32_t leaf)
{
	return leaf & CPUID_EXTENDED ? &table->extended[leaf & ~CPUID_EXTENDED]
				     : &table->basic[leaf];
}

static void leaf_set(struct cpuid_leaf *leaf, struct cpuid_regs regs)
{
	leaf->regs = regs;
	leaf->kind = CPUID_FIXED;
}

static void clear_leaves(struct cpuid_leaf *leaves, unsigned first, unsigned end)
{
	memset(leaves + first, 0, (end - first) * sizeof(*leaves));
}

static void masks_apply(struct cpuid_table *table)
{
	for (unsigned i = 0; i < ARRAY_COUNT(masks); i++) {
		struct cpuid_regs *regs = &leaf_at(table, masks[i].leaf)->regs;
		regs->eax &= masks[i].keep.eax;
		regs->ebx &= masks[i].keep.ebx;
		regs->ecx &= masks[i].keep.ecx;
		regs->edx &= masks[i].keep.edx;
	}
}

/* Hides whole leaves: MONITOR, performance counters and others, and all above the last one. */
static void leaves_hide(struct cpuid_table *table)
{
	static const uint8_t hidden[] = { 0x3, 0x5, 0x8, 0x9, 0xa, 0xc };
	for (unsigned i = 0; i < ARRAY_COUNT(hidden); i++)
		leaf_set(&table->basic[hidden[i]], (struct cpuid_regs){ 0 });
	clear_leaves(table->basic, LAST_BASIC + 1, CPUID_BASIC_COUNT);
	clear_leaves(table->extended, LAST_EXTENDED + 1, CPUID_EXTENDED_COUNT);
	table->basic[0].regs.eax = LAST_BASIC;
	struct cpuid_regs *last = &table->extended[EXT_MAX].regs;
	if (last->eax > (CPUID_EXTENDED | LAST_EXTENDED))
		last->eax = CPUID_EXTENDED | LAST_EXTENDED;
	unsigned ext_end = last->eax >= CPUID_EXTENDED ? (last->eax & 0xff) + 1 : 0;
	clear_leaves(table->extended, ext_end, CPUID_EXTENDED_COUNT);
}

/* Takes away vector extensions whose state Quire does not switch; adds what it emulates. */
static void features_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	struct cpuid_regs *features = &table->basic[LEAF_FEATURES].regs;
	struct cpuid_regs *structured = &table->basic[LEAF_STRUCTURED].regs;
	if (!(limits->xcr0 & XCR0_X87))
		features->ecx &= ~FEATURE_C_XSAVE;
	if (!(limits->xcr0 & XCR0_AVX)) {
		features->ecx &= ~FEATURE_C_AVX;
		structured->ebx &= ~STRUCTURED_B_AVX2;
		structured->ecx &= ~STRUCTURED_C_AVX;
		table->extended[EXT_FEATURES].regs.ecx &= ~EXT_C_AVX;
	}
	if ((limits->xcr0 & XCR0_AVX512) != XCR0_AVX512) {
		structured->ebx &= ~(uint32_t)STRUCTURED_B_AVX512;
		structured->ecx &= ~STRUCTURED_C_AVX512;
	}
	/* Emulated, so every guest has them. */
	features->ecx |= FEATURE_C_X2APIC | FEATURE_C_TSC_DEADLINE | FEATURE_C_HYPERVISOR;
	features->edx |= FEATURE_D_APIC;
	features->ebx |= limits->vcpu_count << 16;
	if (limits->vcpu_count > 1)
		features->edx |= FEATURE_D_HTT;
	table->basic[LEAF_FEATURES].kind = CPUID_FEATURES;
	table->basic[LEAF_STRUCTURED].kind = CPUID_ZERO_SUBLEAF;
}

static unsigned bits_for(unsigned count)
{
	unsigned bits = 0;
	while ((1u << bits) < count)
		bits++;
	return bits;
}

/* One package; each vCPU is a core with one thread. */
static void topology_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	unsigned bits = bits_for(limits->vcpu_count);
	table->topology[0] = (struct cpuid_regs){ 0, 1, 1 << 8, 0 };
	table->topology[1] = (struct cpuid_regs){ bits, limits->vcpu_count, 2 << 8 | 1, 0 };
	table->basic[LEAF_TOPOLOGY].kind = CPUID_TOPOLOGY;

	/* No cores share a cache; EAX 31:26 is the number of cores less one. */
	for (unsigned i = 0; i < CPUID_CACHE_COUNT; i++) {
		struct cpuid_regs *cache = &table->caches[i];
		if (cache->eax & 0x1f)
			cache->eax = (cache->eax & 0x3fff) | (limits->vcpu_count - 1) << 26;
	}
	table->basic[LEAF_CACHES].kind = CPUID_CACHES;
}

static void sizes_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	struct cpuid_regs *sizes = &table->extended[EXT_SIZES].regs;
	uint32_t virtual_bits = field_get(sizes->eax, MASK64(15, 8)) ? GUEST_LINEAR_BITS : 0;
	uint32_t physical_bits = sizes->eax & 0xff;
	if (physical_bits > limits->physical_address_bits)
		physical_bits = limits->physical_address_bits;
	*sizes = (struct cpuid_regs){ virtual_bits << 8 | physical_bits, 0,
				      bits_for(limits->vcpu_count) << 12 | (limits->vcpu_count - 1),
				      0 };
}

static void xsave_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	table->xcr0 = table->basic[LEAF_FEATURES].regs.ecx & FEATURE_C_XSAVE ? limits->xcr0 : 0;
	for (unsigned i = 0; i < CPUID_XSAVE_COUNT; i++)
		if (i >= 2 && !(table->xcr0 & BIT64(i)))
			table->xsave[i] = (struct cpuid_regs){ 0 };
	if (!table->xcr0) {
		memset(table->xsave, 0, sizeof(table->xsave));
	} else {
		table->xsave[0] = (struct cpuid_regs){ (uint32_t)table->xcr0, 0,
						       cpuid_xsave_bytes(table, table->xcr0),
						       (uint32_t)(table->xcr0 >> 32) };
		table->xsave[1] =
			(struct cpuid_regs){ table->xsave[1].eax & XSAVE_A_FORMS, 0, 0, 0 };
	}
	table->basic[LEAF_XSAVE].kind = CPUID_XSAVE;
}

/*
 * Offers the paravirtual clock, and says that port I/O needs no delay: Linux's
 * "Documentation/virt/kvm/x86/cpuid.rst".
 */
static void kvm_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	enum { NOP_IO_DELAY = 1 << 1, CLOCKSOURCE2 = 1 << 3, CLOCKSOURCE_STABLE = 1 << 24 };
	clear_leaves(table->kvm, 0, CPUID_KVM_COUNT);
	leaf_set(&table->kvm[0], (struct cpuid_regs){ CPUID_KVM + CPUID_KVM_COUNT - 1, 0x4b4d564b,
						      0x564b4d56, 0x4d });
	leaf_set(&table->kvm[1],
		 (struct cpuid_regs){ NOP_IO_DELAY | CLOCKSOURCE2 | CLOCKSOURCE_STABLE, 0, 0, 0 });
	leaf_set(&table->kvm[0x10],
		 (struct cpuid_regs){ (uint32_t)(limits->tsc_hz / 1000), 0, 0, 0 });
}

void cpuid_policy_apply(struct cpuid_table *table, const struct cpuid_limits *limits)
{
	leaves_hide(table);
	masks_apply(table);
	features_apply(table, limits);
	topology_apply(table, limits);
	sizes_apply(table, limits);
	xsave_apply(table, limits);
	kvm_apply(table, limits);
	leaf_set(&table->basic[LEAF_POWER], (struct cpuid_regs){ POWER_A_ARAT, 0, 0, 0 });
	/* All clocks of the VM derive from the TSC, so to the guest the TSC is invariant. */
	leaf_set(&table->extended[EXT_POWER], (struct cpuid_regs){ 0, 0, 0, EXT_D_INVARIANT_TSC });
}

uint32_t cpuid_xsave_bytes(const struct cpuid_table *table, uint64_t xcr0)
{
	uint32_t bytes = XSAVE_HEADER_BYTES;
	for (unsigned i = 2; i < CPUID_XSAVE_COUNT; i++) {
		const struct cpuid_regs *part = &table->xsave[i];
		if ((xcr0 & BIT64(i)) && part->eax + part->ebx > bytes)
			bytes = part->eax + part->ebx;
	}
	return bytes;
}
