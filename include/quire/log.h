/* SPDX-License-Identifier: MIT */
/*
 * One line for each event: "pgm: vm3 ...". An event that a guest caused is INFO
 * or TRACE, unless the operator must act (a VM paused or stopped). The text has
 * no '\n' at its end; the log adds it.
 */
#ifndef INCLUDE_QUIRE_LOG_H
#define INCLUDE_QUIRE_LOG_H

#include <quire/compiler.h>

enum log_level { LOG_ERROR, LOG_NOTICE, LOG_INFO, LOG_TRACE };

void log_write(enum log_level level, const char *format, ...) Q_PRINTF(2, 3);

#define log_error(...)  log_write(LOG_ERROR, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)   log_write(LOG_INFO, __VA_ARGS__)
#define log_trace(...)  log_write(LOG_TRACE, __VA_ARGS__)

#endif
