/* SPDX-License-Identifier: MIT */
/*
 * The VM's devices: their lock, their time and their one timer.
 *
 * The timer stands for the earliest deadline of all devices. Who leaves the
 * devices arms it if that deadline moved, and is the one whom it wakes.
 */
#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/time.h"

#include "vcpu.h"
#include "vm_internal.h"

void vm_devices_timer_fired(struct timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, timer);
	vcpu_request(vm->timer_vcpu, VCPU_REQUEST_TIMER);
}

static void timer_update_locked(struct vm *vm, struct vcpu *vcpu, uint64_t deadline)
{
	vm->armed_deadline = deadline;
	if (deadline == VPC_DEADLINE_NONE) {
		timer_cancel(&vm->timer);
		return;
	}
	vm->timer_vcpu = vcpu ? vcpu : vm->vcpus[0];
	/* What is further away than the host's counter goes does not come. */
	uint64_t host_deadline = deadline + vm->start_tsc;
	timer_arm(&vm->timer, host_deadline < deadline ? ~0ull : host_deadline);
}

void vm_devices_enter(struct vm *vm) Q_NO_ANALYSIS
{
	spin_lock(&vm->devices_lock);
}

/* Takes over what the devices' state asks of the timer and of this vCPU. */
static void settle_locked(struct vm *vm, struct vcpu *vcpu)
{
	uint64_t deadline = vpc_next_deadline(vm->vpc);
	if (deadline != vm->armed_deadline)
		timer_update_locked(vm, vcpu, deadline);
	if (!vcpu)
		return;
	vcpu->devices_seen = vpc_changes(vm->vpc);
	/* Its task priority or its interrupts may be others now. */
	vcpu->cr8 = vpc_cr8_get(vm->vpc, vcpu->index);
	vcpu->regs.cr8 = vcpu->cr8;
	vcpu->nmi_pending |= vpc_nmi_take(vm->vpc, vcpu->index);
	vcpu->event_due |= vcpu->nmi_pending || vpc_interrupt_pending(vm->vpc, vcpu->index);
}

void vm_devices_leave(struct vm *vm, struct vcpu *vcpu) Q_NO_ANALYSIS
{
	/* Most accesses change nothing that matters outside the device. */
	if (!vcpu || Q_UNLIKELY(vcpu->devices_seen != vpc_changes(vm->vpc)))
		settle_locked(vm, vcpu);
	spin_unlock(&vm->devices_lock);
	if (Q_UNLIKELY(serial_has_new(&vm->serial)))
		serial_drain(&vm->serial);
}

void vm_devices_advance(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	vm_devices_enter(vm);
	/* The timer is spent: whatever comes next must be armed. */
	vm->armed_deadline = VPC_DEADLINE_NONE;
	(void)vpc_advance(vm->vpc, vm_now(vm));
	settle_locked(vm, vcpu);
	vm_devices_leave(vm, vcpu);
}

void vm_devices_init(struct vm *vm)
{
	unsigned vcpu_count = vm->config.vcpu_count;
	const struct vpc_config config = {
		.host = &vm_host,
		.vm = vm,
		.vcpu_count = vcpu_count,
		.tsc_hz = time_tsc_hz(),
		.epoch_seconds = time_epoch_seconds() + vm->start_tsc / time_tsc_hz(),
		.ram_bytes = vm->config.memory_bytes,
		.has_debug_exit = vm->config.debug_exit,
		.has_debug_console = vm->config.debug_console,
	};
	spin_lock(&vm->devices_lock);
	memset(vm->vpc, 0, vpc_size_bytes(vcpu_count));
	vm->vpc = vpc_init(vm->vpc, &config);
	vm->armed_deadline = VPC_DEADLINE_NONE;
	atomic_store_release(&vm->power_request, 0);
	spin_unlock(&vm->devices_lock);
}

void vm_devices_power_on(struct vm *vm)
{
	timer_cancel(&vm->timer);
	vm_devices_init(vm);
	vm_devices_enter(vm);
	vm_devices_leave(vm, NULL);
}

void vm_devices_power_off(struct vm *vm)
{
	spin_lock(&vm->devices_lock);
	timer_update_locked(vm, NULL, VPC_DEADLINE_NONE);
	spin_unlock(&vm->devices_lock);
}
