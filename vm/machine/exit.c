/* SPDX-License-Identifier: MIT */
#include "exit.h"

#include <quire/assert.h>
#include <quire/log.h>

#include "halt.h"
#include "inject.h"
#include "vcpu.h"

/* Nothing to do: the CPU took the interrupt when enter() enabled interrupts again. */
void exit_host_interrupt(struct vcpu *vcpu)
{
	(void)vcpu;
}

void exit_interrupt_window(struct vcpu *vcpu)
{
	vcpu->injection_is_due = true;
	halt_step_if_due(vcpu);
}

void exit_hlt(struct vcpu *vcpu)
{
	vcpu->halt_rip = vcpu->regs.rip;
	vcpu_skip_insn(vcpu);
	vcpu->activity = VCPU_HALTED;
	vcpu_request_self(vcpu, VCPU_REQUEST_SLEEP);
}

void exit_invalid_opcode(struct vcpu *vcpu)
{
	inject_exception(vcpu, VECTOR_UD);
}

/* Nothing to do: all guest memory is cached write-back, and no device bypasses the cache. */
void exit_wbinvd(struct vcpu *vcpu)
{
	vcpu_skip_insn(vcpu);
}

/* The backend intercepts exceptions for reasons of its own; this one belongs to the guest. */
void exit_exception(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	if (exit->exception.vector == VECTOR_PF)
		inject_page_fault(vcpu, exit->exception.address, exit->exception.error_code);
	else if (exit->exception.has_error_code)
		inject_exception_code(vcpu, exit->exception.vector, exit->exception.error_code);
	else
		inject_exception(vcpu, exit->exception.vector);
}

void exit_shutdown(struct vcpu *vcpu)
{
	vcpu_wish_stop(vcpu, "triple fault");
}

void exit_fatal(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	log_error("vm %s: vCPU %u cannot go on: exit %#llx, info %#llx %#llx %#llx",
		  vcpu->machine->name, vcpu->index, (unsigned long long)exit->fatal.reason,
		  (unsigned long long)exit->fatal.info[0], (unsigned long long)exit->fatal.info[1],
		  (unsigned long long)exit->fatal.info[2]);
	(void)vcpu->ops->check(vcpu->virt);
	vcpu->ops->dump(vcpu->virt);
	vcpu_wish_stop(vcpu, "refused entry or unexpected exit");
}

static void (*const handlers[VMEXIT_KIND_COUNT])(struct vcpu *) = {
#define VMEXIT_HANDLER(kind, handler, name, opcode, length) [VMEXIT_##kind] = exit_##handler,
	VMEXIT_KINDS(VMEXIT_HANDLER)
};

void exit_dispatch(struct vcpu *vcpu)
{
	Q_DEBUG_ASSERT(vcpu->exit.kind < VMEXIT_KIND_COUNT);
	handlers[vcpu->exit.kind](vcpu);
}
