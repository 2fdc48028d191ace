/* SPDX-License-Identifier: MIT */
/*
 * How Quire ends when it cannot trust its own state: it prints the reason, the
 * place, the registers and a backtrace, and powers off or halts, as exit= on the
 * command line says, with status 3.
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <quire/compiler.h>

struct trap_frame;

/* Sets the function that returns the current thread's name, which a panic prints. */
void panic_thread_name_set(const char *(*name)(void));

Q_NORETURN void panic(const char *format, ...) Q_PRINTF(1, 2);
Q_NORETURN void panic_trap(const struct trap_frame *frame);

/* Returns the name of the function at `address`, and the offset in it. NULL: unknown. */
const char *symbol_find(uint64_t address, uint64_t *out_offset);

#endif
