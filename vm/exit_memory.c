/* SPDX-License-Identifier: MIT */
/*
 * The guest touched memory that its nested tables do not give it. Row 6 of the
 * fault path: hands the fault to PGM, and turns the outcome into what the loop
 * does next.
 */
#include "exit.h"

#include "emulate.h"
#include "vcpu.h"

void exit_memory(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	struct pgm_fault fault = { .addr = exit->memory.addr, .access = exit->memory.access };

	switch (pgm_fault_handle(vcpu->vm->pgm, &fault)) {
	case PGM_RESOLVED: vcpu_memory_used(vcpu); return;
	case PGM_MMIO:
	case PGM_DENIED:
	case PGM_EMULATE:
	case PGM_HANDLER: emulate_memory_access(vcpu); return;
	case PGM_NO_MEMORY: vcpu_out_of_memory(vcpu, 1); return;
	}
}
