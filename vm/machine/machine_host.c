/* SPDX-License-Identifier: MIT */
/*
 * What the devices ask of their machine. They call with the devices lock held, in a vCPU's thread
 * or in the operator's. So the functions here only note what is asked, and the vCPUs' threads
 * find it before they enter the guest.
 */
#include "kernel/thread.h"

#include "machine_internal.h"
#include "vcpu.h"

/* A vCPU's thread finds its own interrupts when it leaves the devices: settle_locked(). */
static void host_interrupt(void *argument, unsigned index)
{
	struct machine *machine = argument;
	struct vcpu *vcpu = machine->vcpus[index];
	if (vcpu->thread != thread_self())
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

static void host_serial_output(void *argument, const uint8_t *bytes, unsigned count)
{
	struct machine *machine = argument;
	serial_append(&machine->serial, bytes, count);
}

/* One word: `what` + 1 in the upper half, so that 0 means no request; `value` in the lower. */
static uint64_t power_request_make(enum vpc_power what, uint32_t value)
{
	return (uint64_t)(what + 1) << 32 | value;
}

/* The last request counts. Every vCPU comes to its safe point; the first one takes it. */
static void host_power(void *argument, enum vpc_power what, uint32_t value)
{
	struct machine *machine = argument;
	atomic_store_release(&machine->power_request, power_request_make(what, value));
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_request(machine->vcpus[i], VCPU_REQUEST_POWER);
}

bool machine_power_request_take(struct machine *machine, enum vpc_power *out_what,
				uint32_t *out_value)
{
	uint64_t request = atomic_exchange_acq_rel(&machine->power_request, 0);
	if (!request)
		return false;
	*out_what = (enum vpc_power)((request >> 32) - 1);
	*out_value = (uint32_t)request;
	return true;
}

static void host_start_up(void *argument, unsigned index, bool is_init, uint32_t entry)
{
	struct machine *machine = argument;
	struct vcpu *vcpu = machine->vcpus[index];
	if (is_init) /* voids a start-up IPI that came before it */
		atomic_and_acq_rel(&vcpu->requests, ~(uint32_t)VCPU_REQUEST_START_UP);
	else
		atomic_store_release(&vcpu->start_up_entry, entry);
	vcpu_request(vcpu, is_init ? VCPU_REQUEST_INIT : VCPU_REQUEST_START_UP);
}

const struct vpc_host machine_host = {
	.interrupt = host_interrupt,
	.serial_output = host_serial_output,
	.power = host_power,
	.start_up = host_start_up,
};
