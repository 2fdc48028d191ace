/* SPDX-License-Identifier: MIT */
/*
 * The entry into the guest, and the exit from it.
 *
 * Everything that is not an exit reaches a vCPU through `requests`, the one word that its thread
 * reads before each entry. It reads the word with interrupts disabled. An interrupt that comes
 * between that look and the entry stays pending and ends the guest's run at once; then its
 * handler runs, sets a bit if need be, and the next look finds it.
 *
 * One CPU runs all vCPUs. While this thread runs, no other vCPU is in its guest, so after a
 * change of a nested table it is enough that each vCPU flushes at its own next entry.
 */
#include "arch/x86_64/cpu.h"
#include "kernel/thread.h"

#include "exit.h"
#include "inject.h"
#include "machine_internal.h"
#include "vcpu.h"

/* Runs the guest until its next exit. False: not entered, the loop must attend to something. */
static bool enter(struct vcpu *vcpu)
{
	const struct virt_ops *ops = vcpu->ops;
	cpu_irq_disable();
	if (Q_UNLIKELY(atomic_load_relaxed(&vcpu->requests) || thread_should_yield())) {
		cpu_irq_enable();
		return false;
	}
	if (Q_UNLIKELY(vcpu->injection_is_due))
		inject_prepare(vcpu);
	uint64_t generation = pgm_slat_generation(vcpu->machine->pgm);
	if (Q_UNLIKELY(generation != vcpu->slat_generation)) {
		ops->slat_flush(vcpu->virt);
		vcpu->slat_generation = generation;
	}
	lazy_load(&vcpu->lazy);
	ops->run(vcpu->virt, &vcpu->exit);
	cpu_irq_enable();
	return true;
}

/* The guest may change its task priority without an exit; the local APIC learns it here. */
static void task_priority_update(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	vcpu->cr8 = vcpu->regs.cr8;
	machine_devices_enter(machine);
	vpc_cr8_set(machine->vpc, vcpu->index, vcpu->cr8);
	machine_devices_leave(machine, vcpu);
}

static void handle(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	vcpu->exit_tsc = cpu_rdtsc();
	vcpu->can_interrupt = exit->can_interrupt;
	if (Q_UNLIKELY(vcpu->regs.cr8 != vcpu->cr8))
		task_priority_update(vcpu);
	if (Q_UNLIKELY(exit->has_vectoring))
		inject_interrupted(vcpu);
	exit_dispatch(vcpu);

	struct exit_figures *figures = &vcpu->figures[exit->kind];
	figures->count++;
	figures->ticks += cpu_rdtsc() - vcpu->exit_tsc;
}

void vcpu_run(struct vcpu *vcpu)
{
	while (Q_LIKELY(enter(vcpu)))
		handle(vcpu);
}
