/* SPDX-License-Identifier: MIT */
#include "exit.h"

#include <quire/assert.h>
#include <quire/log.h>

#include "inject.h"
#include "vcpu.h"

/* The interrupt itself was taken when interrupts were enabled again. */
static void exit_host_interrupt(struct vcpu *vcpu)
{
	(void)vcpu;
}

static void exit_interrupt_window(struct vcpu *vcpu)
{
	vcpu->injection_is_due = true;
}

static void exit_hlt(struct vcpu *vcpu)
{
	vcpu_skip_insn(vcpu);
	vcpu->activity = VCPU_HALTED;
	vcpu_request_self(vcpu, VCPU_REQUEST_SLEEP);
}

static void exit_invalid_opcode(struct vcpu *vcpu)
{
	inject_exception(vcpu, VECTOR_UD);
}

/* Guest memory is cached write-back throughout and no device sees it behind the cache. */
static void exit_wbinvd(struct vcpu *vcpu)
{
	vcpu_skip_insn(vcpu);
}

/* Intercepted by the backend for reasons of its own, and the guest's after all. */
static void exit_exception(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	if (exit->exception.vector == VECTOR_PF)
		inject_page_fault(vcpu, exit->exception.address, exit->exception.error_code);
	else if (exit->exception.has_error_code)
		inject_exception_code(vcpu, exit->exception.vector, exit->exception.error_code);
	else
		inject_exception(vcpu, exit->exception.vector);
}

static void exit_shutdown(struct vcpu *vcpu)
{
	vcpu_wish_stop(vcpu, "triple fault");
}

static void exit_fatal(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	log_error("vm %s: vCPU %u cannot be entered: exit %#llx, info %#llx %#llx %#llx",
		  vcpu->machine->name, vcpu->index, (unsigned long long)exit->fatal.reason,
		  (unsigned long long)exit->fatal.info[0], (unsigned long long)exit->fatal.info[1],
		  (unsigned long long)exit->fatal.info[2]);
	(void)vcpu->ops->check(vcpu->virt);
	vcpu->ops->dump(vcpu->virt);
	vcpu_wish_stop(vcpu, "the CPU refused it");
}

static void (*const handlers[VMEXIT_KIND_COUNT])(struct vcpu *) = {
	[VMEXIT_HOST_INTERRUPT] = exit_host_interrupt,
	[VMEXIT_INTERRUPT_WINDOW] = exit_interrupt_window,
	[VMEXIT_CPUID] = exit_cpuid,
	[VMEXIT_HLT] = exit_hlt,
	[VMEXIT_PIO] = exit_pio,
	[VMEXIT_RDMSR] = exit_rdmsr,
	[VMEXIT_WRMSR] = exit_wrmsr,
	[VMEXIT_MEMORY] = exit_memory,
	[VMEXIT_HYPERCALL] = exit_hypercall,
	[VMEXIT_XSETBV] = exit_xsetbv,
	[VMEXIT_INVALID_OPCODE] = exit_invalid_opcode,
	[VMEXIT_WBINVD] = exit_wbinvd,
	[VMEXIT_EXCEPTION] = exit_exception,
	[VMEXIT_SHUTDOWN] = exit_shutdown,
	[VMEXIT_FATAL] = exit_fatal,
};

static const char *const names[VMEXIT_KIND_COUNT] = {
	[VMEXIT_HOST_INTERRUPT] = "host-interrupt",
	[VMEXIT_INTERRUPT_WINDOW] = "interrupt-window",
	[VMEXIT_CPUID] = "cpuid",
	[VMEXIT_HLT] = "hlt",
	[VMEXIT_PIO] = "pio",
	[VMEXIT_RDMSR] = "rdmsr",
	[VMEXIT_WRMSR] = "wrmsr",
	[VMEXIT_MEMORY] = "memory",
	[VMEXIT_HYPERCALL] = "hypercall",
	[VMEXIT_XSETBV] = "xsetbv",
	[VMEXIT_INVALID_OPCODE] = "invalid-opcode",
	[VMEXIT_WBINVD] = "wbinvd",
	[VMEXIT_EXCEPTION] = "exception",
	[VMEXIT_SHUTDOWN] = "shutdown",
	[VMEXIT_FATAL] = "fatal",
};

const char *vmexit_kind_name(enum vmexit_kind kind)
{
	return names[kind];
}

void exit_dispatch(struct vcpu *vcpu)
{
	Q_DEBUG_ASSERT(vcpu->exit.kind < VMEXIT_KIND_COUNT);
	handlers[vcpu->exit.kind](vcpu);
}
