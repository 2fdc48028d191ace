/* SPDX-License-Identifier: MIT */
/*
 * What the files of vm/machine share. The files, in the order of an exit:
 *
 *   machine.c          birth, power, end; the parts put together
 *   vcpu.c             a vCPU: birth, power-on state, INIT and start-up IPIs, end
 *   vcpu_enter.c       the entry and the exit; the vCPU's thread, interrupts off at the entry
 *   vcpu_serve.c       serves what is requested of a vCPU, between two runs
 *   inject.c           what the next entry delivers; devices lock
 *   exit.c             exit kind -> handler, by table; handlers of a few lines
 *   exit_cpuid.c       CPUID and XSETBV; no lock
 *   exit_hypercall.c   VMCALL and VMMCALL
 *   exit_io.c          port I/O; devices lock
 *   exit_memory.c      nested page faults
 *   exit_msr.c         RDMSR and WRMSR; devices lock for MSRs of the local APIC
 *   emulate.c          an instruction that accesses device memory
 *   guest_memory.c     memory as an instruction sees it; devices lock where there is no RAM
 *   insn_length.c      the length of the instruction that exited
 *   zero_fill.c        pure: which REP STOS clears pages, and what that does to registers
 *   cpuid_policy.c     pure: what CPUID tells the guest
 *   msr_policy.c       pure: which MSRs the guest has
 *   pvclock.c          pure: the paravirtual clock's words
 *   machine_devices.c  the devices' lock, time and timer
 *   machine_host.c     what the devices ask of the machine; called with the devices lock held
 *   serial.c           keeps what the serial port wrote and passes it on; its own lock
 *
 * Unless a line says otherwise, the functions of a file run in the thread of the vCPU that they
 * are about, and are called with no lock held. A lock that a line names is taken inside.
 */
#ifndef VM_MACHINE_MACHINE_INTERNAL_H
#define VM_MACHINE_MACHINE_INTERNAL_H

#include "vm/machine/machine.h"

/* --- machine_devices.c ------------------------------------------------------------------------ */

/*
 * Take and drop the lock that calls of devices/pc/vpc.h need. Leaving first arms the timer for the
 * devices' next deadline, and notes in `vcpu` what the devices want of it. `vcpu` is the one whose
 * thread this is, or NULL in any other thread.
 */
void machine_devices_enter(struct machine *machine) Q_ACQUIRES(machine->devices_lock);
void machine_devices_leave(struct machine *machine, struct vcpu *vcpu)
	Q_RELEASES(machine->devices_lock);

/* Puts the devices, in storage that exists, into their state after power-on. Arms no timer. */
void machine_devices_init(struct machine *machine);
/* The same, and arms the timer for their first deadline. */
void machine_devices_power_on(struct machine *machine);
/* Stops the timer. */
void machine_devices_power_off(struct machine *machine);
/* The timer's callback, in an interrupt handler. */
void machine_devices_timer_fired(struct timer *timer);
/* In the vCPU's thread, after the timer fired: runs every device timer that is due. */
void machine_devices_advance(struct vcpu *vcpu);

/* --- machine_host.c --------------------------------------------------------------------------- */

extern const struct vpc_host machine_host;

#endif
