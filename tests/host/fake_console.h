/* SPDX-License-Identifier: MIT */
/*
 * The host side of kernel/console.h: two serial ports whose output a test reads, and a keyboard.
 * The real console may wait until its port takes a byte, so here its callers must hold no lock.
 */
#ifndef TESTS_HOST_FAKE_CONSOLE_H
#define TESTS_HOST_FAKE_CONSOLE_H

#include <quire/compiler.h>

/*
 * What was written since the last clear, with '\n' for "\r\n". A '\n' without '\r' fails the test,
 * as does a text that was longer than console_print() can print.
 */
const char *fake_console_text(void);
/* What was written since then to the port that is not the console. */
const char *fake_com2_text(void);
/* True if the end of a text was cut off since the last clear. */
bool fake_console_was_cut(void);
/* Both ports have written nothing. */
void fake_console_clear(void);

/* Types bytes. The console's interrupt handler notices them. */
void fake_console_type(const void *bytes, size_t count);
/* Forgets what was typed and not read, and the hooks. */
void fake_console_unplug(void);

#endif
