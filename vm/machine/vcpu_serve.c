/* SPDX-License-Identifier: MIT */
/* Serves what is requested of a vCPU, in its thread, between two runs of the guest. */
#include "halt.h"
#include "inject.h"
#include "machine_internal.h"
#include "vcpu.h"

void vcpu_requests_serve(struct vcpu *vcpu, uint32_t requests)
{
	if (requests & VCPU_REQUEST_RESET)
		vcpu_power_on(vcpu);
	if (requests & VCPU_REQUEST_TIMER)
		machine_devices_advance(vcpu);
	if (requests & VCPU_REQUEST_EVENT)
		vcpu->injection_is_due = true;
	if (requests & (VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP))
		vcpu_start_up(vcpu, requests);
	if (requests & (VCPU_REQUEST_TIMER | VCPU_REQUEST_EVENT))
		halt_step_if_due(vcpu);
	/* A failure does no harm here: a fault that finds the stock empty waits for memory. */
	if (requests & VCPU_REQUEST_REFILL)
		(void)!pgm_handy_refill(vcpu->machine->pgm);
}

bool vcpu_is_awake(struct vcpu *vcpu)
{
	if (vcpu->activity == VCPU_HALTED && inject_ends_halt(vcpu))
		vcpu->activity = VCPU_RUNNABLE;
	return vcpu->activity == VCPU_RUNNABLE;
}
