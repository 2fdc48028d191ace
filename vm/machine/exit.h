/* SPDX-License-Identifier: MIT */
/*
 * Exit handlers, one for each kind: exit_NAME(), found by table. A handler carries out what the
 * guest asked for and moves RIP on; or queues an exception; or leaves RIP where it is, so that
 * the guest tries again. It must not wait: see enum vcpu_wish_kind.
 */
#ifndef VM_MACHINE_EXIT_H
#define VM_MACHINE_EXIT_H

#include <quire/vmexit.h>

struct vcpu;

/* Calls the handler of vcpu->exit.kind. */
void exit_dispatch(struct vcpu *vcpu);

/* Those of a few lines are in exit.c, the others in exit_NAME.c; exit_xsetbv() in exit_cpuid.c. */
#define VMEXIT_PROTOTYPE(kind, handler, name, opcode, length) \
	void exit_##handler(struct vcpu *vcpu);
VMEXIT_KINDS(VMEXIT_PROTOTYPE)
#undef VMEXIT_PROTOTYPE

#endif
