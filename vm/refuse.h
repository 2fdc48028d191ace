/* SPDX-License-Identifier: MIT */
/* One line to refuse input: words for the operator, and the status to return. */
#ifndef VM_REFUSE_H
#define VM_REFUSE_H

#include <quire/status.h>

#include "lib/format.h"

static inline Q_PRINTF(4, 5) q_status_t
	refuse(char *error, size_t error_bytes, q_status_t status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	format_text_va(error, error_bytes, format, args);
	va_end(args);
	return status;
}

#endif
