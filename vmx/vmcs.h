/* SPDX-License-Identifier: MIT */
/*
 * The virtual-machine control structure: names for the encodings of its fields and for the
 * bits in them. Its layout in memory is not documented; only VMREAD and VMWRITE reach the
 * fields.
 *
 * Field encodings: Intel SDM vol. 3, "Field Encoding in VMCS". In each group the segment
 * fields stand in the order of enum guest_segment_name, two apart.
 */
#ifndef VMX_VMCS_H
#define VMX_VMCS_H

#include <quire/bits.h>

enum vmcs_field {
	/* 16 bits: control, guest state, host state */
	VMCS_VPID = 0x0000,
	VMCS_GUEST_SELECTOR = 0x0800, /* + 2 * enum guest_segment_name */
	VMCS_HOST_ES_SELECTOR = 0x0c00,
	VMCS_HOST_CS_SELECTOR = 0x0c02,
	VMCS_HOST_SS_SELECTOR = 0x0c04,
	VMCS_HOST_DS_SELECTOR = 0x0c06,
	VMCS_HOST_FS_SELECTOR = 0x0c08,
	VMCS_HOST_GS_SELECTOR = 0x0c0a,
	VMCS_HOST_TR_SELECTOR = 0x0c0c,

	/* 64 bits: control, exit information, guest state, host state */
	VMCS_MSR_BITMAP = 0x2004,
	VMCS_TSC_OFFSET = 0x2010,
	VMCS_VIRTUAL_APIC = 0x2012,
	VMCS_EPTP = 0x201a,
	VMCS_GUEST_PHYSICAL_ADDRESS = 0x2400,
	VMCS_GUEST_LINK_POINTER = 0x2800,
	VMCS_GUEST_DEBUGCTL = 0x2802,
	VMCS_GUEST_PAT = 0x2804,
	VMCS_GUEST_EFER = 0x2806,
	VMCS_HOST_PAT = 0x2c00,
	VMCS_HOST_EFER = 0x2c02,

	/* 32 bits: control, exit information, guest state, host state */
	VMCS_PIN_CONTROLS = 0x4000,
	VMCS_PRIMARY_CONTROLS = 0x4002,
	VMCS_EXCEPTION_BITMAP = 0x4004,
	VMCS_PF_ERROR_MASK = 0x4006,
	VMCS_PF_ERROR_MATCH = 0x4008,
	VMCS_CR3_TARGET_COUNT = 0x400a,
	VMCS_EXIT_CONTROLS = 0x400c,
	VMCS_EXIT_MSR_STORE_COUNT = 0x400e,
	VMCS_EXIT_MSR_LOAD_COUNT = 0x4010,
	VMCS_ENTRY_CONTROLS = 0x4012,
	VMCS_ENTRY_MSR_LOAD_COUNT = 0x4014,
	VMCS_ENTRY_EVENT = 0x4016,
	VMCS_ENTRY_ERROR_CODE = 0x4018,
	VMCS_ENTRY_INSN_LENGTH = 0x401a,
	VMCS_TPR_THRESHOLD = 0x401c,
	VMCS_SECONDARY_CONTROLS = 0x401e,
	VMCS_INSTRUCTION_ERROR = 0x4400,
	VMCS_EXIT_REASON = 0x4402,
	VMCS_EXIT_EVENT = 0x4404,
	VMCS_EXIT_ERROR_CODE = 0x4406,
	VMCS_VECTORING_EVENT = 0x4408,
	VMCS_VECTORING_ERROR_CODE = 0x440a,
	VMCS_EXIT_INSN_LENGTH = 0x440c,
	VMCS_GUEST_LIMIT = 0x4800, /* + 2 * enum guest_segment_name */
	VMCS_GUEST_GDTR_LIMIT = 0x4810,
	VMCS_GUEST_IDTR_LIMIT = 0x4812,
	VMCS_GUEST_ATTRIBUTES = 0x4814, /* + 2 * enum guest_segment_name */
	VMCS_GUEST_INTERRUPTIBILITY = 0x4824,
	VMCS_GUEST_ACTIVITY = 0x4826,
	VMCS_GUEST_SYSENTER_CS = 0x482a,
	VMCS_GUEST_PREEMPTION_TIMER = 0x482e,
	VMCS_HOST_SYSENTER_CS = 0x4c00,

	/* natural width: control, exit information, guest state, host state */
	VMCS_CR0_MASK = 0x6000,
	VMCS_CR4_MASK = 0x6002,
	VMCS_CR0_SHADOW = 0x6004,
	VMCS_CR4_SHADOW = 0x6006,
	VMCS_QUALIFICATION = 0x6400,
	VMCS_GUEST_CR0 = 0x6800,
	VMCS_GUEST_CR3 = 0x6802,
	VMCS_GUEST_CR4 = 0x6804,
	VMCS_GUEST_BASE = 0x6806, /* + 2 * enum guest_segment_name */
	VMCS_GUEST_GDTR_BASE = 0x6816,
	VMCS_GUEST_IDTR_BASE = 0x6818,
	VMCS_GUEST_DR7 = 0x681a,
	VMCS_GUEST_RSP = 0x681c,
	VMCS_GUEST_RIP = 0x681e,
	VMCS_GUEST_RFLAGS = 0x6820,
	VMCS_GUEST_PENDING_DEBUG = 0x6822,
	VMCS_GUEST_SYSENTER_ESP = 0x6824,
	VMCS_GUEST_SYSENTER_EIP = 0x6826,
	VMCS_HOST_CR0 = 0x6c00,
	VMCS_HOST_CR3 = 0x6c02,
	VMCS_HOST_CR4 = 0x6c04,
	VMCS_HOST_FS_BASE = 0x6c06,
	VMCS_HOST_GS_BASE = 0x6c08,
	VMCS_HOST_TR_BASE = 0x6c0a,
	VMCS_HOST_GDTR_BASE = 0x6c0c,
	VMCS_HOST_IDTR_BASE = 0x6c0e,
	VMCS_HOST_SYSENTER_ESP = 0x6c10,
	VMCS_HOST_SYSENTER_EIP = 0x6c12,
	VMCS_HOST_RSP = 0x6c14,
	VMCS_HOST_RIP = 0x6c16,
};

/* "Pin-Based VM-Execution Controls" */
#define PIN_EXTERNAL_INTERRUPT BIT32(0)
#define PIN_NMI                BIT32(3)
#define PIN_VIRTUAL_NMIS       BIT32(5)
#define PIN_PREEMPTION_TIMER   BIT32(6)

/* "Processor-Based VM-Execution Controls", primary */
#define PRIMARY_INTERRUPT_WINDOW BIT32(2)
#define PRIMARY_TSC_OFFSET       BIT32(3)
#define PRIMARY_HLT              BIT32(7)
#define PRIMARY_INVLPG           BIT32(9)
#define PRIMARY_MWAIT            BIT32(10)
#define PRIMARY_RDPMC            BIT32(11)
#define PRIMARY_RDTSC            BIT32(12)
#define PRIMARY_CR3_LOAD         BIT32(15)
#define PRIMARY_CR3_STORE        BIT32(16)
#define PRIMARY_CR8_LOAD         BIT32(19)
#define PRIMARY_CR8_STORE        BIT32(20)
#define PRIMARY_TPR_SHADOW       BIT32(21)
#define PRIMARY_MOV_DR           BIT32(23)
#define PRIMARY_IO               BIT32(24) /* all ports */
#define PRIMARY_MSR_BITMAP       BIT32(28)
#define PRIMARY_MONITOR          BIT32(29)
#define PRIMARY_SECONDARY        BIT32(31)

/* "Processor-Based VM-Execution Controls", secondary */
#define SECONDARY_EPT                BIT32(1)
#define SECONDARY_VPID               BIT32(5)
#define SECONDARY_WBINVD             BIT32(6)
#define SECONDARY_UNRESTRICTED_GUEST BIT32(7)
#define SECONDARY_INVPCID            BIT32(12)

/* "VM-Exit Controls" */
#define EXIT_SAVE_DEBUG            BIT32(2)
#define EXIT_HOST_64               BIT32(9)
#define EXIT_ACKNOWLEDGE           BIT32(15)
#define EXIT_SAVE_PAT              BIT32(18)
#define EXIT_LOAD_PAT              BIT32(19)
#define EXIT_SAVE_EFER             BIT32(20)
#define EXIT_LOAD_EFER             BIT32(21)
#define EXIT_SAVE_PREEMPTION_TIMER BIT32(22)

/* "VM-Entry Controls" */
#define ENTRY_LOAD_DEBUG       BIT32(2)
#define ENTRY_IA32E            BIT32(9)
#define ENTRY_SMM              BIT32(10)
#define ENTRY_DUAL_MONITOR_OFF BIT32(11)
#define ENTRY_LOAD_PAT         BIT32(14)
#define ENTRY_LOAD_EFER        BIT32(15)

/*
 * VM-entry interruption information, VM-exit interruption information and
 * IDT-vectoring information have one format: "VM-Entry Controls for Event
 * Injection", "Information for VM Exits Due to Vectored Events".
 */
#define VMCS_EVENT_VECTOR         MASK64(7, 0)
#define VMCS_EVENT_TYPE           MASK64(10, 8)
#define VMCS_EVENT_HAS_ERROR_CODE BIT32(11)
#define VMCS_EVENT_NMI_UNBLOCKED  BIT32(12) /* in exits only */
#define VMCS_EVENT_RESERVED       MASK64(30, 12)
#define VMCS_EVENT_VALID          BIT32(31)

enum vmcs_event_type {
	VMCS_EVENT_INTERRUPT = 0,
	VMCS_EVENT_NMI = 2,
	VMCS_EVENT_EXCEPTION = 3,
	VMCS_EVENT_SOFT_INTERRUPT = 4,
	VMCS_EVENT_PRIVILEGED_EXCEPTION = 5, /* INT1 */
	VMCS_EVENT_SOFT_EXCEPTION = 6,
};

/* "Guest Non-Register State": interruptibility, activity, pending debug exceptions, link pointer */
#define BLOCKING_STI      BIT32(0)
#define BLOCKING_MOV_SS   BIT32(1)
#define BLOCKING_SHADOW   (BLOCKING_STI | BLOCKING_MOV_SS)
#define BLOCKING_NMI      BIT32(3)
#define BLOCKING_POSSIBLE (BLOCKING_SHADOW | BLOCKING_NMI)

#define ACTIVITY_ACTIVE 0u

#define PENDING_DEBUG_BREAKPOINTS MASK64(3, 0)
#define PENDING_DEBUG_ENABLED     BIT64(12)
#define PENDING_DEBUG_STEP        BIT64(14)
#define PENDING_DEBUG_RTM         BIT64(16)
#define PENDING_DEBUG_POSSIBLE \
	(PENDING_DEBUG_BREAKPOINTS | PENDING_DEBUG_ENABLED | PENDING_DEBUG_STEP | PENDING_DEBUG_RTM)

#define LINK_POINTER_NONE ~0ull

/* Exit reasons: appendix "VMX Basic Exit Reasons". */
enum vmcs_exit {
	VMCS_EXIT_EXCEPTION_NMI = 0,
	VMCS_EXIT_EXTERNAL_INTERRUPT = 1,
	VMCS_EXIT_TRIPLE_FAULT = 2,
	VMCS_EXIT_INTERRUPT_WINDOW = 7,
	VMCS_EXIT_TASK_SWITCH = 9,
	VMCS_EXIT_CPUID = 10,
	VMCS_EXIT_GETSEC = 11,
	VMCS_EXIT_HLT = 12,
	VMCS_EXIT_INVD = 13,
	VMCS_EXIT_RDPMC = 15,
	VMCS_EXIT_VMCALL = 18,
	VMCS_EXIT_VMCLEAR = 19,
	VMCS_EXIT_VMLAUNCH = 20,
	VMCS_EXIT_VMPTRLD = 21,
	VMCS_EXIT_VMPTRST = 22,
	VMCS_EXIT_VMREAD = 23,
	VMCS_EXIT_VMRESUME = 24,
	VMCS_EXIT_VMWRITE = 25,
	VMCS_EXIT_VMXOFF = 26,
	VMCS_EXIT_VMXON = 27,
	VMCS_EXIT_CR_ACCESS = 28,
	VMCS_EXIT_IO = 30,
	VMCS_EXIT_RDMSR = 31,
	VMCS_EXIT_WRMSR = 32,
	VMCS_EXIT_BAD_GUEST_STATE = 33,
	VMCS_EXIT_MWAIT = 36,
	VMCS_EXIT_MONITOR = 39,
	VMCS_EXIT_ENTRY_MACHINE_CHECK = 41,
	VMCS_EXIT_EPT_VIOLATION = 48,
	VMCS_EXIT_EPT_MISCONFIGURATION = 49,
	VMCS_EXIT_INVEPT = 50,
	VMCS_EXIT_PREEMPTION_TIMER = 52,
	VMCS_EXIT_INVVPID = 53,
	VMCS_EXIT_WBINVD = 54,
	VMCS_EXIT_XSETBV = 55,
	VMCS_EXIT_KNOWN_END,
};
#define VMCS_REASON_BASIC        MASK64(15, 0)
#define VMCS_REASON_ENTRY_FAILED BIT32(31)

/* "Exit Qualification": of I/O instructions */
#define IO_SIZE   MASK64(2, 0) /* bytes less one */
#define IO_IN     BIT64(3)
#define IO_STRING BIT64(4)
#define IO_REP    BIT64(5)
#define IO_PORT   MASK64(31, 16)

/* of EPT violations */
#define EPT_QUALIFICATION_WRITE         BIT64(1)
#define EPT_QUALIFICATION_EXEC          BIT64(2)
#define EPT_QUALIFICATION_PERMISSIONS   MASK64(5, 3) /* what the entry allows */
#define EPT_QUALIFICATION_LINEAR        BIT64(7)     /* the next bit is valid */
#define EPT_QUALIFICATION_TRANSLATED    BIT64(8)     /* not while walking the guest's tables */
#define EPT_QUALIFICATION_NMI_UNBLOCKED BIT64(12)

/* of control-register accesses */
#define CR_QUALIFICATION_REGISTER MASK64(3, 0)
#define CR_QUALIFICATION_ACCESS   MASK64(5, 4)
#define CR_QUALIFICATION_GPR      MASK64(11, 8)
#define CR_ACCESS_WRITE           0u

/* of debug exceptions: bits as in DR6 */
#define DEBUG_QUALIFICATION_BREAKPOINTS MASK64(3, 0)
#define DEBUG_QUALIFICATION_ACCESS      BIT64(13) /* DR7.GD stopped a MOV DR */
#define DEBUG_QUALIFICATION_STEP        BIT64(14)

/* "Extended-Page-Table Pointer (EPTP)" */
#define EPTP_WRITE_BACK     6ull
#define EPTP_FOUR_LEVELS    (3ull << 3)
#define EPTP_ACCESSED_DIRTY BIT64(6)
#define EPTP_FORM           MASK64(5, 0) /* memory type and levels */
#define EPTP_RESERVED       MASK64(11, 7)

/* Quire uses only the task priority of the virtual-APIC page: "Virtualized APIC Registers". */
#define VIRTUAL_APIC_TPR       0x80u
#define VIRTUAL_APIC_TPR_SHIFT 4

enum invept_type { INVEPT_SINGLE = 1, INVEPT_ALL = 2 };
enum invvpid_type { INVVPID_NONE = 0, INVVPID_SINGLE = 1, INVVPID_ALL = 2 };

#endif
