/* SPDX-License-Identifier: MIT */
/*
 * The end when Quire's own state cannot be trusted: says what, where, the
 * registers, how it came there, and stops as exit= says with status 3.
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <quire/compiler.h>

struct trap_frame;

Q_NORETURN void panic(const char *format, ...) Q_PRINTF(1, 2);
Q_NORETURN void panic_trap(const struct trap_frame *frame);

/* The function that `address` lies in, and the offset in it; NULL if unknown. */
const char *symbol_find(uint64_t address, uint64_t *out_offset);

#endif
