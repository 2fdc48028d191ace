/* SPDX-License-Identifier: MIT */
/*
 * The host side of kernel/power.h. When Quire's run ends, all threads stop where they are, and the
 * test goes on.
 */
#ifndef TESTS_HOST_FAKE_POWER_H
#define TESTS_HOST_FAKE_POWER_H

#include <setjmp.h>

/* Quire runs, and the test does not end it. */
void fake_power_on(void);

/* How its run ended: "off 1", "halt 0", "reboot"; "" while it runs. */
const char *fake_power(void);

/* Where the test goes on if it ends the run itself: set by setjmp(). NULL: it must not. */
extern jmp_buf *fake_power_return;

#endif
