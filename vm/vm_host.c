/* SPDX-License-Identifier: MIT */
/*
 * What devices ask of their VM. All of it comes with the devices lock held, in
 * a vCPU's thread or the operator's, so nothing here does more than leave word
 * where the threads look before they enter the guest.
 */
#include "kernel/thread.h"

#include "vcpu.h"
#include "vm_internal.h"

/* A vCPU looks at its own interrupts when it leaves the devices, see vm_devices_leave(). */
static void host_interrupt(void *argument, unsigned index)
{
	struct vm *vm = argument;
	struct vcpu *vcpu = vm->vcpus[index];
	if (vcpu->thread != thread_self())
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

static void host_serial_output(void *argument, const uint8_t *bytes, unsigned count)
{
	struct vm *vm = argument;
	serial_append(&vm->serial, bytes, count);
}

/* The last request counts; every vCPU stops at its next safe point. */
static void host_power(void *argument, enum vpc_power what, uint32_t value)
{
	struct vm *vm = argument;
	atomic_store_release(&vm->power_request, vm_power_request_make(what, value));
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_request(vm->vcpus[i], VCPU_REQUEST_POWER);
}

static void host_start_up(void *argument, unsigned index, bool is_init, uint32_t entry)
{
	struct vm *vm = argument;
	struct vcpu *vcpu = vm->vcpus[index];
	if (is_init) /* a start-up IPI that came before it is void */
		atomic_and_acq_rel(&vcpu->requests, ~(uint32_t)VCPU_REQUEST_START_UP);
	else
		atomic_store_release(&vcpu->start_up_entry, entry);
	vcpu_request(vcpu, is_init ? VCPU_REQUEST_INIT : VCPU_REQUEST_START_UP);
}

const struct vpc_host vm_host = {
	.interrupt = host_interrupt,
	.serial_output = host_serial_output,
	.power = host_power,
	.start_up = host_start_up,
};
