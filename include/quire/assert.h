/* SPDX-License-Identifier: MIT */
/*
 * Assertions are for Quire's own bugs, never for what a guest, a file or an
 * operator did. Q_ASSERT stays in release builds; Q_DEBUG_ASSERT is for costly
 * checks and still type-checks in release.
 */
#ifndef INCLUDE_QUIRE_ASSERT_H
#define INCLUDE_QUIRE_ASSERT_H

#include <quire/compiler.h>

/* Prints the expression and its place, then stops: the kernel panics, host tests abort. */
Q_NORETURN void assert_failed(const char *expression, const char *file, unsigned line);

#define Q_ASSERT(expr)                                            \
	do {                                                      \
		if (Q_UNLIKELY(!(expr)))                          \
			assert_failed(#expr, __FILE__, __LINE__); \
	} while (0)

#ifndef CONFIG_DEBUG
#define CONFIG_DEBUG 0
#endif

#define Q_DEBUG_ASSERT(expr)            \
	do {                            \
		if (CONFIG_DEBUG)       \
			Q_ASSERT(expr); \
	} while (0)

#endif
