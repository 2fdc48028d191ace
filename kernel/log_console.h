/* SPDX-License-Identifier: MIT */
/* The log's level, its last lines, and when it begins to print them. */
#ifndef KERNEL_LOG_CONSOLE_H
#define KERNEL_LOG_CONSOLE_H

#include <quire/log.h>

void log_level_set(enum log_level level);
enum log_level log_level_get(void);
/* Prints the part of the log that the ring still holds. */
void log_show(void);
/* Prints what was logged before, and from here on each line at once. */
void log_console_start(void);

#endif
