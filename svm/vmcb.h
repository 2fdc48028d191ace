/* SPDX-License-Identifier: MIT */
/*
 * The virtual machine control block, byte for byte: APM vol. 2, "Layout of VMCB". The CPU
 * reads and writes it at VMRUN and #VMEXIT; Quire does not touch it while the guest runs.
 *
 * A CPU may keep parts of the VMCB between two runs. Bits in `clean` say which parts
 * software has not changed: APM vol. 2, "VMCB State Caching". The names of cached control
 * fields start with an underscore; vmcb_set_*() writes such a field and clears its bit.
 * svm_state.c writes the save area as a whole and clears all bits. RAX, RSP, RIP, RFLAGS,
 * the interrupt shadow, the TLB control and the event to inject are never cached.
 */
#ifndef SVM_VMCB_H
#define SVM_VMCB_H

#include <quire/bits.h>

/* First word of instruction intercepts, at 00Ch. */
#define INTERCEPT_INTR     BIT32(0)
#define INTERCEPT_NMI      BIT32(1)
#define INTERCEPT_VINTR    BIT32(4)
#define INTERCEPT_RDPMC    BIT32(15)
#define INTERCEPT_CPUID    BIT32(18)
#define INTERCEPT_IRET     BIT32(20)
#define INTERCEPT_INVD     BIT32(22)
#define INTERCEPT_HLT      BIT32(24)
#define INTERCEPT_INVLPGA  BIT32(26)
#define INTERCEPT_IOIO     BIT32(27)
#define INTERCEPT_MSR      BIT32(28)
#define INTERCEPT_SHUTDOWN BIT32(31)

/* Second word, at 010h. */
#define INTERCEPT_VMRUN             BIT32(0)
#define INTERCEPT_VMMCALL           BIT32(1)
#define INTERCEPT_VMLOAD            BIT32(2)
#define INTERCEPT_VMSAVE            BIT32(3)
#define INTERCEPT_STGI              BIT32(4)
#define INTERCEPT_CLGI              BIT32(5)
#define INTERCEPT_SKINIT            BIT32(6)
#define INTERCEPT_WBINVD            BIT32(9)
#define INTERCEPT_MONITOR           BIT32(10)
#define INTERCEPT_MWAIT             BIT32(11)
#define INTERCEPT_MWAIT_CONDITIONAL BIT32(12)
#define INTERCEPT_RDPRU             BIT32(14)

#define VMCB_TLB_KEEP       0u
#define VMCB_TLB_FLUSH_ALL  1u
#define VMCB_TLB_FLUSH_ASID 3u

/* Bytes of the virtual interrupt control at 060h. */
#define VMCB_V_TPR_MASK     0x0fu /* of v_tpr */
#define VMCB_V_IRQ          0x01u /* of v_irq */
#define VMCB_V_PRIORITY_MAX 0x0fu /* of v_priority */
#define VMCB_V_IGN_TPR      0x10u /* of v_priority */
#define VMCB_V_INTR_MASKING 0x01u /* of v_masking */

#define VMCB_INTERRUPT_SHADOW BIT64(0)
#define VMCB_NP_ENABLE        BIT64(0)

/* EVENTINJ and EXITINTINFO have one format: APM vol. 2, "Event Injection". */
#define VMCB_EVENT_VECTOR         MASK64(7, 0)
#define VMCB_EVENT_TYPE           MASK64(10, 8)
#define VMCB_EVENT_HAS_ERROR_CODE BIT64(11)
#define VMCB_EVENT_RESERVED       MASK64(30, 12)
#define VMCB_EVENT_VALID          BIT64(31)
#define VMCB_EVENT_ERROR_CODE     MASK64(63, 32)

enum vmcb_event_type {
	VMCB_EVENT_INTERRUPT = 0,
	VMCB_EVENT_NMI = 2,
	VMCB_EVENT_EXCEPTION = 3,
	VMCB_EVENT_SOFT_INTERRUPT = 4,
};

#define VMCB_CLEAN_INTERCEPTS BIT32(0) /* intercepts, TSC offset, pause filter */
#define VMCB_CLEAN_IOPM       BIT32(1) /* bases of both permission maps */
#define VMCB_CLEAN_ASID       BIT32(2)
#define VMCB_CLEAN_TPR        BIT32(3) /* virtual interrupt control */
#define VMCB_CLEAN_NP         BIT32(4) /* nested paging, PAT */
#define VMCB_CLEAN_CRX        BIT32(5) /* CR0, CR3, CR4, EFER */
#define VMCB_CLEAN_DRX        BIT32(6)
#define VMCB_CLEAN_DT         BIT32(7) /* GDTR, IDTR */
#define VMCB_CLEAN_SEG        BIT32(8) /* CS, DS, SS, ES, CPL */
#define VMCB_CLEAN_CR2        BIT32(9)

/* Exit codes: APM vol. 2, "SVM Intercept Exit Codes". */
enum vmcb_exit {
	VMCB_EXIT_EXCEPTION_FIRST = 0x40,
	VMCB_EXIT_EXCEPTION_DB = 0x41,
	VMCB_EXIT_EXCEPTION_AC = 0x51,
	VMCB_EXIT_EXCEPTION_MC = 0x52,
	VMCB_EXIT_INTR = 0x60,
	VMCB_EXIT_NMI = 0x61,
	VMCB_EXIT_VINTR = 0x64,
	VMCB_EXIT_RDPMC = 0x6f,
	VMCB_EXIT_CPUID = 0x72,
	VMCB_EXIT_IRET = 0x74,
	VMCB_EXIT_INVD = 0x76,
	VMCB_EXIT_HLT = 0x78,
	VMCB_EXIT_INVLPGA = 0x7a,
	VMCB_EXIT_IOIO = 0x7b,
	VMCB_EXIT_MSR = 0x7c,
	VMCB_EXIT_SHUTDOWN = 0x7f,
	VMCB_EXIT_VMRUN = 0x80,
	VMCB_EXIT_VMMCALL = 0x81,
	VMCB_EXIT_VMLOAD = 0x82,
	VMCB_EXIT_VMSAVE = 0x83,
	VMCB_EXIT_STGI = 0x84,
	VMCB_EXIT_CLGI = 0x85,
	VMCB_EXIT_SKINIT = 0x86,
	VMCB_EXIT_WBINVD = 0x89,
	VMCB_EXIT_MONITOR = 0x8a,
	VMCB_EXIT_MWAIT = 0x8b,
	VMCB_EXIT_MWAIT_CONDITIONAL = 0x8c,
	VMCB_EXIT_RDPRU = 0x8e,
	VMCB_EXIT_NPF = 0x400,
};

/* The code is -1. Some emulators store only its lower half, so 32 bits are compared. */
#define VMCB_EXIT_INVALID 0xffffffffu

/* EXITINFO1 of I/O: APM vol. 2, "I/O Intercept Information". */
#define IOIO_IN     BIT64(0)
#define IOIO_STRING BIT64(2)
#define IOIO_REP    BIT64(3)
#define IOIO_SIZE   MASK64(6, 4) /* one bit each for 1, 2 and 4 bytes: the size itself */
#define IOIO_PORT   MASK64(31, 16)

#define MSR_EXIT_WRITE BIT64(0) /* EXITINFO1 of RDMSR and WRMSR */

/* EXITINFO1 of nested faults: APM vol. 2, "Nested versus Guest Page Faults, Fault Ordering". */
#define NPF_PRESENT   BIT64(0)
#define NPF_WRITE     BIT64(1)
#define NPF_RESERVED  BIT64(3)
#define NPF_EXEC      BIT64(4)
#define NPF_PAGE_WALK BIT64(33)

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes; /* svm_attributes_encode() */
	uint32_t limit;      /* bytes */
	uint64_t base;
};

struct vmcb_control {
	uint32_t _intercept_cr;         /* 000 */
	uint32_t _intercept_dr;         /* 004 */
	uint32_t _intercept_exceptions; /* 008 */
	uint32_t _intercept_1;          /* 00c */
	uint32_t _intercept_2;          /* 010 */
	uint32_t _intercept_3;          /* 014 */
	uint8_t rsvd_018[0x40 - 0x18];
	uint64_t _iopm_base;  /* 040 */
	uint64_t _msrpm_base; /* 048 */
	uint64_t _tsc_offset; /* 050 */
	uint32_t _asid;       /* 058 */
	uint8_t tlb_control;  /* 05c */
	uint8_t rsvd_05d[3];
	uint8_t v_tpr;      /* 060 */
	uint8_t v_irq;      /* 061 */
	uint8_t v_priority; /* 062 */
	uint8_t v_masking;  /* 063 */
	uint8_t v_vector;   /* 064 */
	uint8_t rsvd_065[3];
	uint64_t interrupt_shadow; /* 068 */
	uint64_t exit_code;        /* 070 */
	uint64_t exit_info_1;      /* 078 */
	uint64_t exit_info_2;      /* 080 */
	uint64_t exit_int_info;    /* 088 */
	uint64_t nested_control;   /* 090 */
	uint8_t rsvd_098[0xa8 - 0x98];
	uint64_t event_inject; /* 0a8 */
	uint64_t _nested_cr3;  /* 0b0 */
	uint64_t lbr_control;  /* 0b8 */
	uint32_t clean;        /* 0c0 */
	uint32_t rsvd_0c4;
	uint64_t next_rip; /* 0c8 */
	uint8_t rsvd_0d0[0x400 - 0xd0];
};

/* Offsets are from the start of the save area, as in the manual. */
struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs; /* 000 */
	struct vmcb_segment gdtr, ldtr, idtr, tr;   /* 060 */
	uint8_t rsvd_0a0[0xcb - 0xa0];
	uint8_t cpl; /* 0cb */
	uint8_t rsvd_0cc[4];
	uint64_t efer; /* 0d0 */
	uint8_t rsvd_0d8[0x148 - 0xd8];
	uint64_t cr4;    /* 148 */
	uint64_t cr3;    /* 150 */
	uint64_t cr0;    /* 158 */
	uint64_t dr7;    /* 160 */
	uint64_t dr6;    /* 168 */
	uint64_t rflags; /* 170 */
	uint64_t rip;    /* 178 */
	uint8_t rsvd_180[0x1d8 - 0x180];
	uint64_t rsp; /* 1d8 */
	uint8_t rsvd_1e0[0x1f8 - 0x1e0];
	uint64_t rax;            /* 1f8 */
	uint64_t star;           /* 200 */
	uint64_t lstar;          /* 208 */
	uint64_t cstar;          /* 210 */
	uint64_t sfmask;         /* 218 */
	uint64_t kernel_gs_base; /* 220 */
	uint64_t sysenter_cs;    /* 228 */
	uint64_t sysenter_esp;   /* 230 */
	uint64_t sysenter_eip;   /* 238 */
	uint64_t cr2;            /* 240 */
	uint8_t rsvd_248[0x268 - 0x248];
	uint64_t pat; /* 268 */
};

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
	uint8_t rsvd_670[0x1000 - 0x670];
};

#define VMCB_OFFSET_IS(part, field, offset)                             \
	_Static_assert(offsetof(struct vmcb_##part, field) == (offset), \
		       "the CPU fixes the place of " #field)
VMCB_OFFSET_IS(control, _intercept_exceptions, 0x008);
VMCB_OFFSET_IS(control, _intercept_1, 0x00c);
VMCB_OFFSET_IS(control, _iopm_base, 0x040);
VMCB_OFFSET_IS(control, _asid, 0x058);
VMCB_OFFSET_IS(control, tlb_control, 0x05c);
VMCB_OFFSET_IS(control, v_tpr, 0x060);
VMCB_OFFSET_IS(control, interrupt_shadow, 0x068);
VMCB_OFFSET_IS(control, exit_code, 0x070);
VMCB_OFFSET_IS(control, exit_int_info, 0x088);
VMCB_OFFSET_IS(control, nested_control, 0x090);
VMCB_OFFSET_IS(control, event_inject, 0x0a8);
VMCB_OFFSET_IS(control, _nested_cr3, 0x0b0);
VMCB_OFFSET_IS(control, clean, 0x0c0);
VMCB_OFFSET_IS(control, next_rip, 0x0c8);
VMCB_OFFSET_IS(save, gdtr, 0x060);
VMCB_OFFSET_IS(save, tr, 0x090);
VMCB_OFFSET_IS(save, cpl, 0x0cb);
VMCB_OFFSET_IS(save, efer, 0x0d0);
VMCB_OFFSET_IS(save, cr4, 0x148);
VMCB_OFFSET_IS(save, rip, 0x178);
VMCB_OFFSET_IS(save, rsp, 0x1d8);
VMCB_OFFSET_IS(save, rax, 0x1f8);
VMCB_OFFSET_IS(save, cr2, 0x240);
VMCB_OFFSET_IS(save, pat, 0x268);
#undef VMCB_OFFSET_IS
_Static_assert(offsetof(struct vmcb, save) == 0x400, "the CPU fixes the save area");
_Static_assert(sizeof(struct vmcb) == 0x1000, "a VMCB is a page");

/*  field                 type      clean bit cleared by a write */
#define VMCB_CACHED_FIELDS(X)                                    \
	X(intercept_exceptions, uint32_t, VMCB_CLEAN_INTERCEPTS) \
	X(intercept_1, uint32_t, VMCB_CLEAN_INTERCEPTS)          \
	X(intercept_2, uint32_t, VMCB_CLEAN_INTERCEPTS)          \
	X(tsc_offset, uint64_t, VMCB_CLEAN_INTERCEPTS)           \
	X(iopm_base, uint64_t, VMCB_CLEAN_IOPM)                  \
	X(msrpm_base, uint64_t, VMCB_CLEAN_IOPM)                 \
	X(asid, uint32_t, VMCB_CLEAN_ASID)                       \
	X(nested_cr3, uint64_t, VMCB_CLEAN_NP)

#define VMCB_SETTER(field, type, clean_bit)                                \
	static inline void vmcb_set_##field(struct vmcb *vmcb, type value) \
	{                                                                  \
		vmcb->control._##field = value;                            \
		vmcb->control.clean &= ~(clean_bit);                       \
	}
VMCB_CACHED_FIELDS(VMCB_SETTER)
#undef VMCB_SETTER

#endif
