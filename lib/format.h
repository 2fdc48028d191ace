/* SPDX-License-Identifier: MIT */
/*
 * printf-style formatting: %d %i %u %x %X %p %s %c %% with flags '-' '0' '#',
 * width and precision (also '*'), and the lengths hh h l ll z. No floats.
 */
#ifndef LIB_FORMAT_H
#define LIB_FORMAT_H

#include <stdarg.h>

#include <quire/compiler.h>

/* Like snprintf: returns the length of the whole text, and always terminates. */
size_t format_text(char *to, size_t size_bytes, const char *format, ...) Q_PRINTF(3, 4);
size_t format_text_va(char *to, size_t size_bytes, const char *format, va_list args);

#endif
