/* SPDX-License-Identifier: MIT */
/*
 * Exit handlers, one for each kind: exit_NAME(), found by table. A handler carries out what the
 * guest asked for and moves RIP on; or it queues an exception; or it leaves RIP where it is, and
 * the guest tries again. It must not wait: see enum vcpu_wish_kind.
 */
#ifndef VM_MACHINE_EXIT_H
#define VM_MACHINE_EXIT_H

#include <quire/vmexit.h>

struct vcpu;

/* Calls the handler of vcpu->exit.kind. */
void exit_dispatch(struct vcpu *vcpu);

/* Handlers of a few lines are in exit.c, the others in the files exit_*.c. */
#define VMEXIT_PROTOTYPE(kind, handler, name, opcode, length) \
	void exit_##handler(struct vcpu *vcpu);
VMEXIT_KINDS(VMEXIT_PROTOTYPE)
#undef VMEXIT_PROTOTYPE

#endif
