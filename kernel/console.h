/* SPDX-License-Identifier: MIT */
/*
 * Quire's own console on one of the machine's serial ports, as a stream of bytes.
 * Output is queued and sent by interrupt; if the queue is full the writer waits.
 * Before console_interrupts_start() everything is polled.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <quire/compiler.h>

/* Puts the console on COM1 or COM2 (`com`: 1 or 2). The other port is for raw guest output. */
void console_init(unsigned com);
void console_interrupts_start(void);
/* For panics: sends what is queued, and polls from here on. */
void console_polled(void);

void console_write(const void *bytes, size_t count);
/* Writes "\r\n" for '\n'. */
void console_print(const char *format, ...) Q_PRINTF(1, 2);
/* Prints a whole line, '\n' included, and calls the hooks below before and after it. */
void console_print_line(const char *line);
/* Waits until the chips have taken everything that is queued. */
void console_flush(void);

/* Returns a byte that was typed, or -1. */
int console_getc(void);
/* Sets what the interrupt handler calls when a byte may have been typed. */
void console_input_hook_set(void (*hook)(void));

/* Writes raw bytes to the port that is not the console. They are lost if it does not exist. */
void console_com2_write(const void *bytes, size_t count);

/* Sets what console_print_line() calls before and after a line, to keep a prompt in one piece. */
void console_line_hook_set(void (*before)(void), void (*after)(void));

#endif
