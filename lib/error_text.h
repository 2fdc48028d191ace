/* SPDX-License-Identifier: MIT */
/* The reason why input was refused, in words for the operator; refuse() writes it. */
#ifndef LIB_ERROR_TEXT_H
#define LIB_ERROR_TEXT_H

#include <quire/status.h>

/* Terminator included. A longer text is cut. */
#define ERROR_TEXT_BYTES 256u

struct error_text {
	char text[ERROR_TEXT_BYTES];
};

/*
 * Writes the reason into `error` and returns `status`. The text says what was wrong, where, the
 * figures on both sides, and what to do. `error` must not be among the arguments.
 */
q_status_t refuse(struct error_text *error, q_status_t status, const char *format, ...)
	Q_PRINTF(3, 4);

#endif
