/* SPDX-License-Identifier: MIT */
/* The end of Quire's run, as `exit=` on the command line says. */
#ifndef KERNEL_POWER_H
#define KERNEL_POWER_H

#include <quire/compiler.h>
#include <quire/exit_status.h>

/* Prints "quire: exit status N", tells the emulator if there is one, and powers off. */
Q_NORETURN void power_off(enum exit_status status);
Q_NORETURN void power_reboot(void);
/* For exit=halt and for what cannot go on: stops this CPU for good, console flushed. */
Q_NORETURN void power_halt(enum exit_status status);

#endif
