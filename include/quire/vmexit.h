/* SPDX-License-Identifier: MIT */
/*
 * Why a guest stopped running, vendor-neutral. The backend decodes each exit into
 * this once; no code above it sees a VMCB or VMCS.
 */
#ifndef INCLUDE_QUIRE_VMEXIT_H
#define INCLUDE_QUIRE_VMEXIT_H

#include <quire/addr.h>
#include <quire/event.h>

enum vmexit_kind {
	VMEXIT_HOST_INTERRUPT,   /* the machine's interrupt, for Quire */
	VMEXIT_INTERRUPT_WINDOW, /* the guest can take an interrupt now */
	VMEXIT_CPUID,
	VMEXIT_HLT,
	VMEXIT_PIO,
	VMEXIT_RDMSR,
	VMEXIT_WRMSR,
	VMEXIT_MEMORY,    /* nested page fault or EPT violation */
	VMEXIT_HYPERCALL, /* VMMCALL, VMCALL */
	VMEXIT_XSETBV,
	VMEXIT_INVALID_OPCODE, /* an instruction that the guest's CPU does not have: #UD */
	VMEXIT_WBINVD,
	VMEXIT_EXCEPTION, /* intercepted guest exception */
	VMEXIT_SHUTDOWN,  /* triple fault */
	VMEXIT_FATAL,     /* the CPU refused the entry, or the exit is an unexpected one */
	VMEXIT_KIND_COUNT,
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

const char *vmexit_kind_name(enum vmexit_kind kind);

#endif
