/* SPDX-License-Identifier: MIT */
/*
 * Why a guest stopped running, vendor-neutral. The backend decodes each exit into
 * this once; no code above it sees a VMCB or VMCS.
 */
#ifndef INCLUDE_QUIRE_VMEXIT_H
#define INCLUDE_QUIRE_VMEXIT_H

#include <quire/addr.h>
#include <quire/event.h>

/*
 * Every kind of exit, a row each: the kind, its handler exit_NAME() of vm/machine/, its name for
 * people. Where one instruction causes the exit, the row has its opcode as struct insn does, and
 * its length in bytes without prefixes; else 0.
 */
#define VMEXIT_KINDS(KIND)                                                 \
	/* the machine's interrupt, for Quire */                           \
	KIND(HOST_INTERRUPT, host_interrupt, "host-interrupt", 0, 0)       \
	/* the guest can take an interrupt now */                          \
	KIND(INTERRUPT_WINDOW, interrupt_window, "interrupt-window", 0, 0) \
	KIND(CPUID, cpuid, "cpuid", 0x0fa2, 2)                             \
	KIND(HLT, hlt, "hlt", 0xf4, 1)                                     \
	KIND(PIO, pio, "pio", 0, 0)                                        \
	KIND(RDMSR, rdmsr, "rdmsr", 0x0f32, 2)                             \
	KIND(WRMSR, wrmsr, "wrmsr", 0x0f30, 2)                             \
	/* nested page fault or EPT violation */                           \
	KIND(MEMORY, memory, "memory", 0, 0)                               \
	/* VMMCALL, VMCALL */                                              \
	KIND(HYPERCALL, hypercall, "hypercall", 0x0f01, 3)                 \
	KIND(XSETBV, xsetbv, "xsetbv", 0x0f01, 3)                          \
	/* the guest's CPU does not have the instruction: #UD */           \
	KIND(INVALID_OPCODE, invalid_opcode, "invalid-opcode", 0, 0)       \
	KIND(WBINVD, wbinvd, "wbinvd", 0x0f09, 2)                          \
	/* intercepted guest exception */                                  \
	KIND(EXCEPTION, exception, "exception", 0, 0)                      \
	/* triple fault */                                                 \
	KIND(SHUTDOWN, shutdown, "shutdown", 0, 0)                         \
	/* the CPU refused the entry, or the exit is an unexpected one */  \
	KIND(FATAL, fatal, "fatal", 0, 0)

enum vmexit_kind {
#define VMEXIT_ENUMERATOR(kind, handler, name, opcode, length) VMEXIT_##kind,
	VMEXIT_KINDS(VMEXIT_ENUMERATOR) VMEXIT_KIND_COUNT,
#undef VMEXIT_ENUMERATOR
};

enum mem_access { MEM_READ, MEM_WRITE, MEM_EXEC };

struct vmexit {
	enum vmexit_kind kind;
	uint8_t insn_length; /* of the instruction that exited; 0: not reported, decode it */
	bool can_interrupt;  /* RFLAGS.IF set and no interrupt shadow */
	bool has_vectoring;  /* `vectoring` was being delivered when the exit came */
	struct guest_event vectoring;
	union {
		struct {
			uint16_t port;
			uint8_t size; /* 1, 2 or 4 bytes */
			bool is_in;
			bool is_string;
			bool is_rep;
			uint64_t next_rip; /* 0: add insn_length */
		} pio;
		struct {
			gpa_t addr;
			enum mem_access access;
			bool is_present;   /* the entry was present: a permission fault */
			bool is_page_walk; /* by the CPU, on its walk of the guest's own tables */
		} memory;
		struct {
			uint8_t vector;
			bool has_error_code;
			uint32_t error_code;
			uint64_t address; /* #PF */
		} exception;
		struct {
			uint64_t reason; /* the vendor's exit code, for messages */
			uint64_t info[3];
		} fatal;
	};
};

/* For people: "host-interrupt" and so on. */
const char *vmexit_kind_name(enum vmexit_kind kind);

#endif
