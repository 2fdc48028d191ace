/* SPDX-License-Identifier: MIT */
/*
 * What the operator sees: a prompt for commands, or the serial console of one VM. The operator's
 * thread is the only reader of Quire's console.
 */
#ifndef OPERATOR_PROMPT_H
#define OPERATOR_PROMPT_H

#include <quire/compiler.h>

struct vm;

/* Serves the console for ever. `attach`: the VM whose console comes first, or NULL. */
Q_NORETURN void prompt_run(struct vm *attach);

/* For commands: connects the terminal to the VM after the command, until Ctrl-] or the VM's end. */
void prompt_attach(struct vm *vm);

#endif
