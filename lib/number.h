/* SPDX-License-Identifier: MIT */
/* Numbers from text, for the command line, quire.conf and the console. */
#ifndef LIB_NUMBER_H
#define LIB_NUMBER_H

#include <quire/status.h>

/* The whole text must be decimal digits, else Q_INVALID. Q_RANGE: the number is above `max`. */
q_status_t number_parse(const char *text, uint64_t max, uint64_t *out_value) Q_MUST_USE;

/*
 * A number of bytes, or a number with K, M or G (powers of 1024) at its end. Q_INVALID, or
 * Q_RANGE if it does not fit 64 bits.
 */
q_status_t size_parse(const char *text, uint64_t *out_bytes) Q_MUST_USE;

#endif
