/* SPDX-License-Identifier: MIT */
/* The log's level, and the last lines of it. */
#ifndef KERNEL_LOG_CONSOLE_H
#define KERNEL_LOG_CONSOLE_H

#include <quire/log.h>

void log_level_set(enum log_level level);
enum log_level log_level_get(void);
/* Prints what the ring still holds of the log to the console. */
void log_show(void);
/* From here on lines go to the console at once; before, they are only kept. */
void log_console_start(void);

#endif
