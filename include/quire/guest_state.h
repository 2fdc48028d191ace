/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's registers as all code but the backends sees them, vendor-neutral.
 *
 * guest_regs is synchronised on every exit and entry: nearly every handler needs
 * it, and it is cheap. guest_state is fetched and stored on request.
 */
#ifndef INCLUDE_QUIRE_GUEST_STATE_H
#define INCLUDE_QUIRE_GUEST_STATE_H

#include <quire/bits.h>

/* Instruction encoding order: Intel SDM vol. 2, "Instruction Format". */
enum gpr {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	GPR_COUNT,
};

struct guest_regs {
	uint64_t gpr[GPR_COUNT]; /* offset 0; assembly relies on it */
	uint64_t rip;
	uint64_t rflags;
	uint64_t cr8; /* task priority, 0..15 */
};

#define RFLAGS_FIXED BIT64(1)
#define RFLAGS_CF    BIT64(0)
#define RFLAGS_PF    BIT64(2)
#define RFLAGS_AF    BIT64(4)
#define RFLAGS_ZF    BIT64(6)
#define RFLAGS_SF    BIT64(7)
#define RFLAGS_TF    BIT64(8)
#define RFLAGS_IF    BIT64(9)
#define RFLAGS_DF    BIT64(10)
#define RFLAGS_OF    BIT64(11)
#define RFLAGS_RF    BIT64(16)
#define RFLAGS_VM    BIT64(17)

enum guest_segment_name {
	SEG_ES,
	SEG_CS,
	SEG_SS,
	SEG_DS,
	SEG_FS,
	SEG_GS,
	SEG_LDTR,
	SEG_TR,
	SEG_COUNT,
};

/*
 * Attributes in VMX access-rights form: type 3:0, S 4, DPL 6:5, P 7, AVL 12,
 * L 13, D/B 14, G 15, unusable 16 (Intel SDM vol. 3, "Guest Register State").
 */
#define SEG_ATTR_TYPE     MASK64(3, 0)
#define SEG_ATTR_S        BIT32(4)
#define SEG_ATTR_DPL      MASK64(6, 5)
#define SEG_ATTR_P        BIT32(7)
#define SEG_ATTR_L        BIT32(13)
#define SEG_ATTR_DB       BIT32(14)
#define SEG_ATTR_G        BIT32(15)
#define SEG_ATTR_UNUSABLE BIT32(16)

struct guest_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, whatever SEG_ATTR_G says */
	uint32_t attributes;
	uint16_t selector;
};

struct guest_table {
	uint64_t base;
	uint32_t limit;
};

struct guest_state {
	struct guest_segment segment[SEG_COUNT];
	struct guest_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4;
	uint64_t efer, pat;
	uint64_t dr6, dr7;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint8_t cpl;
	bool interrupt_shadow; /* by STI or MOV SS */
	bool nmi_blocked;
};

/*
 * The part of guest_state that fetching an instruction and translating its addresses
 * need. It is small and needed often, so it has an operation of its own.
 */
struct guest_code_state {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t dr7;
	uint64_t cs_base;
	uint32_t cs_attributes;
	uint8_t cpl;
};

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_PSE        BIT64(4)
#define CR4_PAE        BIT64(5)
#define CR4_MCE        BIT64(6)
#define CR4_PGE        BIT64(7)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_LA57       BIT64(12)
#define CR4_VMXE       BIT64(13)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_PCIDE      BIT64(17)
#define CR4_OSXSAVE    BIT64(18)
#define CR4_SMEP       BIT64(20)
#define CR4_SMAP       BIT64(21)
#define CR4_PKE        BIT64(22)

#define DR7_BREAKPOINTS MASK64(7, 0) /* not zero: some breakpoint is enabled */

#define EFER_SCE  BIT64(0)
#define EFER_LME  BIT64(8)
#define EFER_LMA  BIT64(10)
#define EFER_NXE  BIT64(11)
#define EFER_SVME BIT64(12)

#endif
