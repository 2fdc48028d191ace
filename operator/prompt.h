/* SPDX-License-Identifier: MIT */
/*
 * Quire's console: a prompt for commands, or the serial console of one VM. One
 * thread, the operator's, is its only reader.
 */
#ifndef OPERATOR_PROMPT_H
#define OPERATOR_PROMPT_H

#include <quire/compiler.h>

struct vm;

/* The thread's life from here on. `attach`: whose console to begin with, or NULL. */
Q_NORETURN void prompt_run(struct vm *attach);

/* For commands: connects the terminal to the VM until Ctrl-] or its end. */
void prompt_attach(struct vm *vm);

#endif
