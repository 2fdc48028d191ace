/* SPDX-License-Identifier: MIT */
/*
 * The devices' lock, their time and their one timer.
 *
 * The timer stands for the earliest deadline of all devices. A thread that leaves the devices
 * arms the timer if that deadline has moved. The timer then wakes the vCPU of that thread, or
 * vCPU 0 if it was not a vCPU's thread.
 */
#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/time.h"

#include "machine_internal.h"
#include "vcpu.h"

_Static_assert(TIME_TSC_HZ_MIN >= VPC_TSC_HZ_MIN && TIME_TSC_HZ_MAX <= VPC_TSC_HZ_MAX,
	       "a guest's TSC has the rate of the machine's");

void machine_devices_timer_fired(struct timer *timer)
{
	struct machine *machine = container_of(timer, struct machine, timer);
	vcpu_request(machine->timer_vcpu, VCPU_REQUEST_TIMER);
}

static void timer_update_locked(struct machine *machine, struct vcpu *vcpu, uint64_t deadline)
{
	machine->armed_deadline = deadline;
	if (deadline == VPC_DEADLINE_NONE) {
		timer_cancel(&machine->timer);
		return;
	}
	machine->timer_vcpu = vcpu ? vcpu : machine->vcpus[0];
	/* A deadline beyond the end of the host's TSC never fires. */
	uint64_t host_deadline = deadline + machine->start_tsc;
	timer_arm(&machine->timer, host_deadline < deadline ? ~0ull : host_deadline);
}

void machine_devices_enter(struct machine *machine) Q_NO_ANALYSIS
{
	spin_lock(&machine->devices_lock);
}

/* Arms the timer for the next deadline, and notes in `vcpu` what the devices want of it. */
static void settle_locked(struct machine *machine, struct vcpu *vcpu)
{
	uint64_t deadline = vpc_next_deadline(machine->vpc);
	if (deadline != machine->armed_deadline)
		timer_update_locked(machine, vcpu, deadline);
	if (!vcpu)
		return;
	vcpu->devices_seen = vpc_changes(machine->vpc);
	/* The access may have changed its task priority or its interrupts. */
	vcpu->cr8 = vpc_cr8_get(machine->vpc, vcpu->index);
	vcpu->regs.cr8 = vcpu->cr8;
	vcpu->nmi_pending |= vpc_nmi_take(machine->vpc, vcpu->index);
	vcpu->injection_is_due |=
		vcpu->nmi_pending || vpc_interrupt_pending(machine->vpc, vcpu->index);
}

void machine_devices_leave(struct machine *machine, struct vcpu *vcpu) Q_NO_ANALYSIS
{
	/* Most accesses change nothing that matters outside the device. */
	if (!vcpu || Q_UNLIKELY(vcpu->devices_seen != vpc_changes(machine->vpc)))
		settle_locked(machine, vcpu);
	spin_unlock(&machine->devices_lock);
	if (Q_UNLIKELY(serial_has_new(&machine->serial)))
		serial_drain(&machine->serial);
}

void machine_devices_advance(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	machine_devices_enter(machine);
	/* The timer has fired, so even an unchanged deadline must be armed again. */
	machine->armed_deadline = VPC_DEADLINE_NONE;
	(void)vpc_advance(machine->vpc, machine_now(machine));
	settle_locked(machine, vcpu);
	machine_devices_leave(machine, vcpu);
}

void machine_devices_init(struct machine *machine)
{
	unsigned vcpu_count = machine->vcpu_count;
	const struct vpc_config config = {
		.host = &machine_host,
		.vm = machine,
		.vcpu_count = vcpu_count,
		.tsc_hz = time_tsc_hz(),
		.epoch_seconds = time_epoch_seconds() + machine->start_tsc / time_tsc_hz(),
		.ram_bytes = machine->memory_bytes,
		.has_debug_exit = machine->has_debug_exit,
		.has_debug_console = machine->has_debug_console,
	};
	spin_lock(&machine->devices_lock);
	memset(machine->vpc, 0, vpc_size_bytes(vcpu_count));
	machine->vpc = vpc_init(machine->vpc, &config);
	machine->armed_deadline = VPC_DEADLINE_NONE;
	atomic_store_release(&machine->power_request, 0);
	spin_unlock(&machine->devices_lock);
}

void machine_devices_power_on(struct machine *machine)
{
	timer_cancel(&machine->timer);
	machine_devices_init(machine);
	machine_devices_enter(machine);
	machine_devices_leave(machine, NULL);
}

void machine_devices_power_off(struct machine *machine)
{
	spin_lock(&machine->devices_lock);
	timer_update_locked(machine, NULL, VPC_DEADLINE_NONE);
	spin_unlock(&machine->devices_lock);
}
