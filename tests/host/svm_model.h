/* SPDX-License-Identifier: MIT */
/*
 * A vCPU and its VMCB, for the tests of the AMD-V backend. They write words as the APM
 * draws them and at the offsets that it gives, not with the backend's own constants, so
 * that the two cannot agree on a mistake.
 */
#ifndef TESTS_HOST_SVM_MODEL_H
#define TESTS_HOST_SVM_MODEL_H

#include "test.h"

#include "svm/svm_internal.h"

extern struct vmcb vmcb;
extern struct guest_regs regs;
extern struct virt_vcpu vcpu;

/* What the test decoded last; junk after set_up(). */
extern struct vmexit vmexit;

/* Write and read `size_bytes` of the VMCB at an offset from its start. */
void poke(unsigned offset, uint64_t value, unsigned size_bytes);
uint64_t peek(unsigned offset, unsigned size_bytes);

/* An empty VMCB of a vCPU that never ran, on a CPU without features. */
void set_up(void);

/* Gives the CPU features like those of QEMU's `max`. */
void cpu_set_up(void);

/* A guest in long mode that breaks no rule on that CPU. Each field has a value of its own. */
struct guest_state long_mode_state(void);

#endif
