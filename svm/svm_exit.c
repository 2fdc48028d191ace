/* SPDX-License-Identifier: MIT */
/*
 * Turns VMCB words into a struct vmexit. Pure; each exit is decoded once, here.
 *
 * The instruction length is computed from the next RIP where the CPU reports it (NRIPS),
 * and is 0 where it does not.
 */
#include <quire/x86_state.h>

#include "svm_internal.h"

#define VECTOR_CP 21
#define VECTOR_VC 29
#define VECTOR_SX 30
/* Exceptions that push an error code: those of every CPU, and these three. */
#define PUSHING_VECTORS \
	(ERROR_CODE_VECTORS | BIT32(VECTOR_CP) | BIT32(VECTOR_VC) | BIT32(VECTOR_SX))

static uint8_t insn_length(const struct vmcb *vmcb)
{
	uint64_t next_rip = vmcb->control.next_rip;
	if (next_rip == 0)
		return 0;
	/* If IP wrapped at the end of a segment, the length is not reported. */
	uint64_t length = next_rip - vmcb->save.rip;
	return length <= INSN_MAX_BYTES ? (uint8_t)length : 0;
}

/*
 * Reports the event that was being delivered. Soft events are left out: RIP still points
 * to the INT instruction, so the guest executes it again.
 */
static void vectoring_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	struct guest_event event;
	if (!svm_event_decode(control->exit_int_info, &event))
		return;
	if (event.type == GUEST_EVENT_SOFT_INTERRUPT || event.type == GUEST_EVENT_SOFT_EXCEPTION)
		return;
	out_exit->has_vectoring = true;
	out_exit->vectoring = event;
}

static void pio_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	uint64_t info = control->exit_info_1;
	out_exit->kind = VMEXIT_PIO;
	out_exit->pio.port = (uint16_t)field_get(info, IOIO_PORT);
	out_exit->pio.size = (uint8_t)field_get(info, IOIO_SIZE);
	out_exit->pio.is_in = info & IOIO_IN;
	out_exit->pio.is_string = info & IOIO_STRING;
	out_exit->pio.is_rep = info & IOIO_REP;
	out_exit->pio.next_rip = control->exit_info_2;
}

static enum mem_access npf_access(uint64_t info)
{
	if (info & NPF_EXEC)
		return MEM_EXEC;
	return info & NPF_WRITE ? MEM_WRITE : MEM_READ;
}

static void fatal_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	out_exit->kind = VMEXIT_FATAL;
	out_exit->fatal.reason = control->exit_code;
	out_exit->fatal.info[0] = control->exit_info_1;
	out_exit->fatal.info[1] = control->exit_info_2;
	out_exit->fatal.info[2] = control->exit_int_info;
}

static void memory_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	uint64_t info = control->exit_info_1;
	/* No guest can cause this: Quire's own nested tables are broken. */
	if (info & NPF_RESERVED) {
		fatal_decode(control, out_exit);
		return;
	}
	out_exit->kind = VMEXIT_MEMORY;
	out_exit->memory.addr = gpa(control->exit_info_2);
	out_exit->memory.access = npf_access(info);
	out_exit->memory.is_present = info & NPF_PRESENT;
	out_exit->memory.is_page_walk = info & NPF_PAGE_WALK;
}

static void msr_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	bool is_write = control->exit_info_1 & MSR_EXIT_WRITE;
	out_exit->kind = is_write ? VMEXIT_WRMSR : VMEXIT_RDMSR;
}

static void exception_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	uint8_t vector = (uint8_t)(control->exit_code - VMCB_EXIT_EXCEPTION_FIRST);
	out_exit->kind = VMEXIT_EXCEPTION;
	out_exit->exception.vector = vector;
	out_exit->exception.has_error_code = PUSHING_VECTORS >> vector & 1;
	out_exit->exception.error_code = (uint32_t)control->exit_info_1;
	out_exit->exception.address = control->exit_info_2;
}

/* Reports a virtual interrupt that the exit kept from being delivered, for another injection. */
static void undelivered_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	if (!svm_interrupt_is_virtual(control))
		return;
	out_exit->has_vectoring = true;
	out_exit->vectoring =
		(struct guest_event){ .type = GUEST_EVENT_INTERRUPT, .vector = control->v_vector };
}

static void kind_decode(const struct vmcb_control *control, struct vmexit *out_exit)
{
	switch ((uint32_t)control->exit_code) {
	case VMCB_EXIT_NPF: memory_decode(control, out_exit); return;
	case VMCB_EXIT_IOIO: pio_decode(control, out_exit); return;
	case VMCB_EXIT_MSR: msr_decode(control, out_exit); return;
	case VMCB_EXIT_CPUID: out_exit->kind = VMEXIT_CPUID; return;
	case VMCB_EXIT_HLT: out_exit->kind = VMEXIT_HLT; return;
	case VMCB_EXIT_VINTR: out_exit->kind = VMEXIT_INTERRUPT_WINDOW; return;
	case VMCB_EXIT_INTR:
	case VMCB_EXIT_NMI:
		out_exit->kind = VMEXIT_HOST_INTERRUPT;
		undelivered_decode(control, out_exit);
		return;
	case VMCB_EXIT_IRET: /* an NMI handler ends; nothing to do above the backend */
		out_exit->kind = VMEXIT_HOST_INTERRUPT;
		return;
	case VMCB_EXIT_VMMCALL: out_exit->kind = VMEXIT_HYPERCALL; return;
	case VMCB_EXIT_INVD:
	case VMCB_EXIT_WBINVD: out_exit->kind = VMEXIT_WBINVD; return;
	case VMCB_EXIT_SHUTDOWN: out_exit->kind = VMEXIT_SHUTDOWN; return;
	case VMCB_EXIT_EXCEPTION_DB:
	case VMCB_EXIT_EXCEPTION_AC: exception_decode(control, out_exit); return;
	case VMCB_EXIT_RDPMC:
	case VMCB_EXIT_INVLPGA:
	case VMCB_EXIT_VMRUN:
	case VMCB_EXIT_VMLOAD:
	case VMCB_EXIT_VMSAVE:
	case VMCB_EXIT_STGI:
	case VMCB_EXIT_CLGI:
	case VMCB_EXIT_SKINIT:
	case VMCB_EXIT_MONITOR:
	case VMCB_EXIT_MWAIT:
	case VMCB_EXIT_MWAIT_CONDITIONAL:
	case VMCB_EXIT_RDPRU: out_exit->kind = VMEXIT_INVALID_OPCODE; return;
	default: fatal_decode(control, out_exit); return;
	}
}

static Q_NOINLINE void kind_and_vectoring_decode(const struct vmcb_control *control,
						 struct vmexit *out_exit)
{
	vectoring_decode(control, out_exit);
	kind_decode(control, out_exit);
}

void svm_exit_decode(const struct vmcb *vmcb, struct vmexit *out_exit)
{
	const struct vmcb_control *control = &vmcb->control;

	out_exit->insn_length = insn_length(vmcb);
	out_exit->can_interrupt = (vmcb->save.rflags & RFLAGS_IF) &&
				  !(control->interrupt_shadow & VMCB_INTERRUPT_SHADOW);
	out_exit->has_vectoring = false;
	if (Q_UNLIKELY(control->exit_int_info & VMCB_EVENT_VALID))
		kind_and_vectoring_decode(control, out_exit);
	else
		kind_decode(control, out_exit);
}
