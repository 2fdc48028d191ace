/* SPDX-License-Identifier: MIT */
/*
 * Facts of the x86 architecture that several modules need: which values a register
 * may have, and which it has after reset. Intel and AMD agree on all of them.
 * <quire/guest_state.h> names the bits of CR0, CR4, EFER and RFLAGS. Pure.
 */
#ifndef INCLUDE_QUIRE_X86_STATE_H
#define INCLUDE_QUIRE_X86_STATE_H

#include <quire/event.h>
#include <quire/guest_state.h>

/* A longer instruction raises #GP: Intel SDM vol. 3, "General Protection Exception (#GP)". */
#define INSN_MAX_BYTES 15u

/* --- linear addresses ------------------------------------------------------------------ */

/* Bits of a linear address that are translated, with 4-level and with 5-level paging. */
#define LINEAR_BITS_4_LEVEL 48u
#define LINEAR_BITS_5_LEVEL 57u

/* CPUID offers no guest 5-level paging. */
#define GUEST_LINEAR_BITS LINEAR_BITS_4_LEVEL

/*
 * True if all bits above the translated ones equal the highest translated one: Intel
 * SDM vol. 1, "Canonical Addressing"; APM vol. 2, "Canonical Address Form".
 */
static inline bool x86_is_canonical(uint64_t address, unsigned linear_bits)
{
	int64_t high = (int64_t)address >> (linear_bits - 1);
	return high == 0 || high == -1;
}

/* --- control registers ----------------------------------------------------------------- */

/*
 * Every CPU with SVM or VMX has VME, PVI, TSD, DE, PSE, PAE, MCE, PGE, PCE, OSFXSR and
 * OSXMMEXCPT.
 */
#define CR4_ALWAYS MASK64(10, 0)

/* CPUID flags. Each says that the CPU has the bit of CR4 or EFER named behind it. */
#define CPUID_1_ECX_PCID           BIT32(17) /* CR4.PCIDE */
#define CPUID_1_ECX_XSAVE          BIT32(26) /* CR4.OSXSAVE */
#define CPUID_7_EBX_FSGSBASE       BIT32(0)  /* CR4.FSGSBASE */
#define CPUID_7_EBX_SMEP           BIT32(7)  /* CR4.SMEP */
#define CPUID_7_EBX_SMAP           BIT32(20) /* CR4.SMAP */
#define CPUID_7_ECX_UMIP           BIT32(2)  /* CR4.UMIP */
#define CPUID_7_ECX_PKU            BIT32(3)  /* CR4.PKE */
#define CPUID_7_ECX_LA57           BIT32(16) /* CR4.LA57 */
#define CPUID_80000001_EDX_SYSCALL BIT32(11) /* EFER.SCE */
#define CPUID_80000001_EDX_NX      BIT32(20) /* EFER.NXE */
#define CPUID_80000001_EDX_LM      BIT32(29) /* EFER.LME and EFER.LMA */

/* NW without CD is the one combination of the two that MOV to CR0 refuses. */
static inline bool x86_cr0_caching_is_valid(uint64_t cr0)
{
	return !(cr0 & CR0_NW) || (cr0 & CR0_CD);
}

/* Must be 0: Intel SDM vol. 1, "EFLAGS Register". RFLAGS_FIXED must be 1. */
#define RFLAGS_RESERVED (MASK64(63, 22) | BIT64(15) | BIT64(5) | BIT64(3))

/* --- XCR0 ------------------------------------------------------------------------------ */

#define XCR0_X87    BIT64(0)
#define XCR0_SSE    BIT64(1)
#define XCR0_AVX    BIT64(2)
#define XCR0_AVX512 MASK64(7, 5) /* three components */
#define XCR0_PKRU   BIT64(9)

/*
 * True if XSETBV may write `xcr0` on a CPU that has the components in `offered`, all of
 * them named above. Intel SDM vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled
 * Features": x87 is always on, AVX needs SSE, AVX-512 needs AVX and comes as a whole.
 */
static inline bool x86_xcr0_is_valid(uint64_t xcr0, uint64_t offered)
{
	uint64_t avx512 = xcr0 & XCR0_AVX512;
	if ((xcr0 & ~offered) || !(xcr0 & XCR0_X87))
		return false;
	if ((xcr0 & XCR0_AVX) && !(xcr0 & XCR0_SSE))
		return false;
	return !avx512 || (avx512 == XCR0_AVX512 && (xcr0 & XCR0_AVX));
}

/* --- the page attribute table ---------------------------------------------------------- */

/*
 * True if each of the eight bytes is a memory type that exists, 0, 1 or 4 to 7: Intel SDM
 * vol. 3, "IA32_PAT MSR"; APM vol. 2, "PAT Register".
 */
static inline bool x86_pat_is_valid(uint64_t pat)
{
	uint64_t each = 0x0101010101010101ull;
	uint64_t above_7 = pat & (0xf8 * each);
	uint64_t two_or_three = (pat >> 1) & ~(pat >> 2) & each;
	return !(above_7 | two_or_three);
}

/* --- segments -------------------------------------------------------------------------- */

/* Intel SDM vol. 3, "Code- and Data-Segment Descriptor Types", "System Descriptor Types". */
#define SEG_TYPE_ACCESSED    1u
#define SEG_TYPE_WRITABLE    2u /* data; code: readable */
#define SEG_TYPE_CONFORMING  4u /* code */
#define SEG_TYPE_CODE        8u
#define SEG_TYPE_LDT         2u
#define SEG_TYPE_TSS_BUSY_16 3u
#define SEG_TYPE_TSS_BUSY    11u

/* Accessed; code is readable, data is writable. */
#define SEG_TYPE_CODE_RX (SEG_TYPE_CODE | SEG_TYPE_WRITABLE | SEG_TYPE_ACCESSED)
#define SEG_TYPE_DATA_RW (SEG_TYPE_WRITABLE | SEG_TYPE_ACCESSED)

/* --- exceptions ------------------------------------------------------------------------ */

/*
 * Vectors of the exceptions that push an error code in protected mode: Intel SDM vol. 3,
 * "Error Code". AMD and newer CPUs have further ones.
 */
#define ERROR_CODE_VECTORS                                                           \
	(BIT32(VECTOR_DF) | BIT32(VECTOR_TS) | BIT32(VECTOR_NP) | BIT32(VECTOR_SS) | \
	 BIT32(VECTOR_GP) | BIT32(VECTOR_PF) | BIT32(VECTOR_AC))

/* --- after reset ----------------------------------------------------------------------- */

/*
 * Intel SDM vol. 3, "Processor State After Reset"; APM vol. 2, "Initial Processor State".
 * RFLAGS is RFLAGS_FIXED, RDX is what CPUID returns in EAX for leaf 1; registers that are
 * not listed are 0. On a CPU, INIT leaves some registers alone; on a vCPU it does the same
 * as reset.
 */
#define RESET_RIP 0xfff0ull
#define RESET_CR0 (CR0_CD | CR0_NW | CR0_ET)
#define RESET_DR6 0xffff0ff0ull
#define RESET_DR7 0x400ull
#define RESET_PAT 0x0007040600070406ull

#define RESET_LIMIT 0xffffu
#define RESET_CODE  (SEG_ATTR_P | SEG_ATTR_S | SEG_TYPE_CODE_RX)
#define RESET_DATA  (SEG_ATTR_P | SEG_ATTR_S | SEG_TYPE_DATA_RW)
#define RESET_LDT   (SEG_ATTR_P | SEG_TYPE_LDT)
#define RESET_TSS   (SEG_ATTR_P | SEG_TYPE_TSS_BUSY)

static const struct guest_state x86_reset_state = {
	.segment = {
		[SEG_ES] = { .limit = RESET_LIMIT, .attributes = RESET_DATA },
		[SEG_CS] = {
			.selector = 0xf000,
			.base = 0xffff0000,
			.limit = RESET_LIMIT,
			.attributes = RESET_CODE,
		},
		[SEG_SS] = { .limit = RESET_LIMIT, .attributes = RESET_DATA },
		[SEG_DS] = { .limit = RESET_LIMIT, .attributes = RESET_DATA },
		[SEG_FS] = { .limit = RESET_LIMIT, .attributes = RESET_DATA },
		[SEG_GS] = { .limit = RESET_LIMIT, .attributes = RESET_DATA },
		[SEG_LDTR] = { .limit = RESET_LIMIT, .attributes = RESET_LDT },
		[SEG_TR] = { .limit = RESET_LIMIT, .attributes = RESET_TSS },
	},
	.gdtr = { .limit = RESET_LIMIT },
	.idtr = { .limit = RESET_LIMIT },
	.cr0 = RESET_CR0,
	.dr6 = RESET_DR6,
	.dr7 = RESET_DR7,
	.pat = RESET_PAT,
};

#endif
