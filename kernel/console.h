/* SPDX-License-Identifier: MIT */
/*
 * The byte stream of Quire's own console, one of the machine's serial ports.
 * Output is queued and sent by interrupt; when the queue is full the writer
 * waits for the line. Before console_interrupts_start() everything is polled.
 */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <quire/compiler.h>

struct thread;

/* Takes COM1 or COM2 (1 or 2); the other port is for raw guest output. */
void console_init(unsigned port);
void console_interrupts_start(void);
/* For panics: from here on polled again, with what was queued sent first. */
void console_polled(void);

void console_write(const void *bytes, size_t count);
/* '\n' becomes "\r\n". */
void console_print(const char *format, ...) Q_PRINTF(1, 2);
/* A whole line, '\n' included, between the hooks below. */
void console_print_line(const char *line);
/* Waits until everything is sent. */
void console_flush(void);

/* A byte that was typed, or -1. */
int console_getc(void);
/* The thread to unpark when something was typed. */
void console_reader_set(struct thread *thread);

/* Raw bytes to the machine's other serial port; lost if there is none. */
void console_com2_write(const void *bytes, size_t count);

/* Called before and after each line of console_print_line(), so that it does not break a prompt. */
void console_line_hook_set(void (*before)(void), void (*after)(void));

#endif
