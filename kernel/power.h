/* SPDX-License-Identifier: MIT */
/* The ways to end Quire's run. */
#ifndef KERNEL_POWER_H
#define KERNEL_POWER_H

#include <quire/compiler.h>
#include <quire/exit_status.h>

/* Prints "quire: exit status N", tells it to an emulator, and powers off. */
Q_NORETURN void power_off(enum exit_status status);
Q_NORETURN void power_reboot(void);
/* Prints "quire: exit status N" and halts this CPU for ever. */
Q_NORETURN void power_halt(enum exit_status status);

#endif
