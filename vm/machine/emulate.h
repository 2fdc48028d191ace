/* SPDX-License-Identifier: MIT */
/*
 * Carries out, for the guest, the instruction whose memory access exited and
 * that has no RAM to go to: device memory, writes to ROM, or nothing at all.
 */
#ifndef VM_MACHINE_EMULATE_H
#define VM_MACHINE_EMULATE_H

struct vcpu;

/*
 * For the memory exit in vcpu->exit. An instruction that is not ours raises
 * #UD, or #GP where no instruction is to blame; the log says so once per VM.
 */
void emulate_memory_access(struct vcpu *vcpu);

#endif
