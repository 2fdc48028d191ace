/* SPDX-License-Identifier: MIT */
/*
 * Carries out, for the guest, an instruction whose memory access exited and cannot be mapped. It
 * accesses device memory or memory with a handler, writes to ROM, or goes to where nothing is.
 */
#ifndef VM_MACHINE_EMULATE_H
#define VM_MACHINE_EMULATE_H

struct vcpu;

/*
 * Handles the memory exit in vcpu->exit. Raises #UD where the decoder does not know the
 * instruction, and #GP where the CPU made the access itself (page walk, delivery of an event).
 * The first such case after each power-on is logged.
 */
void emulate_memory_access(struct vcpu *vcpu);

#endif
