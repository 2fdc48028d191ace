/* SPDX-License-Identifier: MIT */
/*
 * What the files of vm/machine share. The files, in the order of an exit:
 *
 *   machine.c          birth, power, end; the parts put together
 *   vcpu.c             a vCPU: birth, power-on state, INIT and start-up IPIs, end
 *   vcpu_enter.c       the entry and the exit; the vCPU's thread, interrupts off at the entry
 *   vcpu_serve.c       what is requested of a vCPU, served between two runs
 *   inject.c           what the next entry delivers; devices lock
 *   exit.c             exit kind -> handler, by table; the handlers of a few lines
 *   exit_cpuid.c       CPUID and XSETBV
 *   exit_hypercall.c   VMCALL and VMMCALL
 *   exit_io.c          port I/O; devices lock
 *   exit_memory.c      nested page faults
 *   exit_msr.c         RDMSR and WRMSR; devices lock for the local APIC's
 *   emulate.c          an instruction that accesses device memory
 *   guest_memory.c     memory as an instruction sees it; devices lock where there is no RAM
 *   insn_length.c      how long the instruction is that exited
 *   zero_fill.c        pure: which REP STOS clears pages, and what that does to registers
 *   cpuid_policy.c     pure: what CPUID tells the guest
 *   msr_policy.c       pure: which MSRs the guest has
 *   pvclock.c          pure: the paravirtual clock's words
 *   machine_devices.c  the devices' lock, time and timer
 *   machine_host.c     what the devices ask of the machine; called with the devices lock held
 *   serial.c           what the serial port wrote, and where it goes; its own lock
 *
 * Unless a line says otherwise a file's functions run in the thread of the vCPU that they
 * are about, with no lock held.
 */
#ifndef VM_MACHINE_MACHINE_INTERNAL_H
#define VM_MACHINE_MACHINE_INTERNAL_H

#include "vm/machine/machine.h"

/* --- machine_devices.c ----------------------------------------------------------------- */

/*
 * The lock around calls of devices/pc/vpc.h. Leaving takes over what the devices' state asks of
 * the timer and of `vcpu`, whose thread this is; NULL: of no vCPU.
 */
void machine_devices_enter(struct machine *machine) Q_ACQUIRES(machine->devices_lock);
void machine_devices_leave(struct machine *machine, struct vcpu *vcpu)
	Q_RELEASES(machine->devices_lock);

/* The devices as after power-on, their timer not armed; the storage is there. */
void machine_devices_init(struct machine *machine);
void machine_devices_power_on(struct machine *machine);
void machine_devices_power_off(struct machine *machine);
void machine_devices_timer_fired(struct timer *timer);
/* In the vCPU's thread, after the timer went off: the devices catch up with the time. */
void machine_devices_advance(struct vcpu *vcpu);

/* --- machine_host.c -------------------------------------------------------------------- */

extern const struct vpc_host machine_host;

#endif
