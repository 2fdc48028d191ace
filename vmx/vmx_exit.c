/* SPDX-License-Identifier: MIT */
/*
 * Turns VMCS words into a struct vmexit. Pure; each exit is decoded once, here. The table
 * also says which words an exit needs, because each VMREAD takes time.
 *
 * The CPU reports the instruction length only for exits that an instruction causes; for
 * all others it is 0.
 */
#include "vmx_internal.h"

#define INSN     VMX_NEEDS_LENGTH
#define DELIVERY VMX_NEEDS_VECTORING

static const struct exit_row {
	uint8_t kind; /* enum vmexit_kind */
	uint8_t needs;
	bool is_expected;
} rows[VMCS_EXIT_KNOWN_END] = {
	[VMCS_EXIT_EXCEPTION_NMI] = { VMEXIT_EXCEPTION,
				      VMX_NEEDS_EVENT | VMX_NEEDS_QUALIFICATION | DELIVERY | INSN,
				      true },
	[VMCS_EXIT_EXTERNAL_INTERRUPT] = { VMEXIT_HOST_INTERRUPT, 0, true },
	[VMCS_EXIT_TRIPLE_FAULT] = { VMEXIT_SHUTDOWN, 0, true },
	[VMCS_EXIT_INTERRUPT_WINDOW] = { VMEXIT_INTERRUPT_WINDOW, 0, true },
	[VMCS_EXIT_CPUID] = { VMEXIT_CPUID, INSN, true },
	[VMCS_EXIT_GETSEC] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_HLT] = { VMEXIT_HLT, INSN, true },
	[VMCS_EXIT_INVD] = { VMEXIT_WBINVD, INSN, true },
	[VMCS_EXIT_RDPMC] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMCALL] = { VMEXIT_HYPERCALL, INSN, true },
	[VMCS_EXIT_VMCLEAR] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMLAUNCH] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMPTRLD] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMPTRST] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMREAD] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMRESUME] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMWRITE] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMXOFF] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_VMXON] = { VMEXIT_INVALID_OPCODE, 0, true },
	/* vmx_cr.c decides what is reported. */
	[VMCS_EXIT_CR_ACCESS] = { VMEXIT_HOST_INTERRUPT, VMX_NEEDS_QUALIFICATION, true },
	[VMCS_EXIT_IO] = { VMEXIT_PIO, INSN | VMX_NEEDS_QUALIFICATION, true },
	[VMCS_EXIT_RDMSR] = { VMEXIT_RDMSR, INSN, true },
	[VMCS_EXIT_WRMSR] = { VMEXIT_WRMSR, INSN, true },
	[VMCS_EXIT_MWAIT] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_MONITOR] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_EPT_VIOLATION] = { VMEXIT_MEMORY,
				      VMX_NEEDS_QUALIFICATION | VMX_NEEDS_ADDRESS | DELIVERY,
				      true },
	[VMCS_EXIT_INVEPT] = { VMEXIT_INVALID_OPCODE, 0, true },
	/* Nothing to do above the backend: the vCPU loop looks for work and enters again. */
	[VMCS_EXIT_PREEMPTION_TIMER] = { VMEXIT_HOST_INTERRUPT, 0, true },
	[VMCS_EXIT_INVVPID] = { VMEXIT_INVALID_OPCODE, 0, true },
	[VMCS_EXIT_WBINVD] = { VMEXIT_WBINVD, INSN, true },
	[VMCS_EXIT_XSETBV] = { VMEXIT_XSETBV, INSN, true },
};

/* Exits that Quire did not ask for, such as an EPT misconfiguration, and failed entries. */
static const struct exit_row unexpected = { VMEXIT_FATAL,
					    VMX_NEEDS_QUALIFICATION | VMX_NEEDS_ADDRESS | DELIVERY,
					    false };

static const struct exit_row *row_of(uint32_t reason)
{
	/* Bits above the basic reason mark failed entries, and modes that Quire does not use. */
	if (reason >= VMCS_EXIT_KNOWN_END || !rows[reason].is_expected)
		return &unexpected;
	return &rows[reason];
}

uint32_t vmx_exit_needs(uint32_t reason)
{
	return row_of(reason)->needs;
}

static void pio_decode(uint64_t qualification, struct vmexit *out_exit)
{
	out_exit->pio.port = (uint16_t)field_get(qualification, IO_PORT);
	out_exit->pio.size = (uint8_t)(field_get(qualification, IO_SIZE) + 1);
	out_exit->pio.is_in = qualification & IO_IN;
	out_exit->pio.is_string = qualification & IO_STRING;
	out_exit->pio.is_rep = qualification & IO_REP;
	out_exit->pio.next_rip = 0;
}

/* A read-modify-write reports a read and a write. It counts as a write. */
static enum mem_access ept_access(uint64_t qualification)
{
	if (qualification & EPT_QUALIFICATION_EXEC)
		return MEM_EXEC;
	return qualification & EPT_QUALIFICATION_WRITE ? MEM_WRITE : MEM_READ;
}

static void fatal_decode(const struct vmx_exit_words *words, struct vmexit *out_exit)
{
	out_exit->kind = VMEXIT_FATAL;
	out_exit->fatal.reason = words->reason;
	out_exit->fatal.info[0] = words->qualification;
	out_exit->fatal.info[1] = words->address;
	out_exit->fatal.info[2] = words->vectoring;
}

static bool memory_decode(const struct vmx_exit_words *words, struct vmexit *out_exit)
{
	uint64_t qualification = words->qualification;
	out_exit->memory.addr = gpa(words->address);
	out_exit->memory.access = ept_access(qualification);
	out_exit->memory.is_present = qualification & EPT_QUALIFICATION_PERMISSIONS;
	out_exit->memory.is_page_walk = (qualification & EPT_QUALIFICATION_LINEAR) &&
					!(qualification & EPT_QUALIFICATION_TRANSLATED);
	return !(qualification & EPT_QUALIFICATION_NMI_UNBLOCKED);
}

/* Only an #AC needs no act of the backend, unless an IRET unblocked NMIs before it. */
static bool exception_decode(const struct vmx_exit_words *words, struct vmexit *out_exit)
{
	if (field_get(words->event, VMCS_EVENT_TYPE) == VMCS_EVENT_NMI) {
		out_exit->kind = VMEXIT_HOST_INTERRUPT;
		return false;
	}
	uint8_t vector = (uint8_t)field_get(words->event, VMCS_EVENT_VECTOR);
	if (vector == VECTOR_MC) {
		fatal_decode(words, out_exit);
		return false;
	}
	bool has_error_code = words->event & VMCS_EVENT_HAS_ERROR_CODE;
	out_exit->exception.vector = vector;
	out_exit->exception.has_error_code = has_error_code;
	out_exit->exception.error_code = has_error_code ? words->event_error_code : 0;
	out_exit->exception.address = words->qualification;
	return vector != VECTOR_DB && !(words->event & VMCS_EVENT_NMI_UNBLOCKED);
}

/* No instruction causes an exception exit. Its length word is for INT1, see vmx_run.c. */
static uint8_t insn_length(const struct exit_row *row, const struct vmx_exit_words *words)
{
	return (row->needs & VMX_NEEDS_LENGTH) && row->kind != VMEXIT_EXCEPTION
		       ? (uint8_t)words->insn_length
		       : 0;
}

bool vmx_exit_decode(const struct vmx_exit_words *words, struct vmexit *out_exit)
{
	const struct exit_row *row = row_of(words->reason);

	out_exit->kind = (enum vmexit_kind)row->kind;
	out_exit->insn_length = insn_length(row, words);
	out_exit->can_interrupt =
		(words->rflags & RFLAGS_IF) && !(words->interruptibility & BLOCKING_SHADOW);
	out_exit->has_vectoring = false;
	if (Q_UNLIKELY(words->vectoring & VMCS_EVENT_VALID))
		out_exit->has_vectoring =
			vmx_event_decode(words->vectoring, words->vectoring_error_code,
					 words->insn_length, &out_exit->vectoring);

	switch (row->kind) {
	case VMEXIT_MEMORY: return memory_decode(words, out_exit);
	case VMEXIT_PIO: pio_decode(words->qualification, out_exit); return true;
	case VMEXIT_EXCEPTION: return exception_decode(words, out_exit);
	case VMEXIT_FATAL:
		fatal_decode(words, out_exit);
		return !(words->reason & VMCS_REASON_ENTRY_FAILED);
	default: return words->reason != VMCS_EXIT_CR_ACCESS;
	}
}
