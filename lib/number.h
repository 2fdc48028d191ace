/* SPDX-License-Identifier: MIT */
/* Numbers from text, as configuration files and consoles write them. */
#ifndef LIB_NUMBER_H
#define LIB_NUMBER_H

#include <quire/status.h>

/* Decimal digits only, whole text; Q_INVALID, or Q_RANGE above `max`. */
q_status_t number_parse(const char *text, uint64_t max, uint64_t *out_value) Q_MUST_USE;

/* A number with K, M or G (powers of 1024) or none; the result in bytes. */
q_status_t size_parse(const char *text, uint64_t *out_bytes) Q_MUST_USE;

#endif
