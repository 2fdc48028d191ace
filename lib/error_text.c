/* SPDX-License-Identifier: MIT */
/* Formats the reason of a refusal. */
#include "lib/error_text.h"

#include <stdarg.h>

#include "lib/format.h"

q_status_t refuse(struct error_text *error, q_status_t status, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	format_text_va(error->text, sizeof(error->text), format, args);
	va_end(args);
	return status;
}
