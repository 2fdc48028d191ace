/* SPDX-License-Identifier: MIT */
/*
 * Compiler attributes, and the lock annotations that `make analyze` (clang
 * -Wthread-safety) checks. For gcc the annotations are documentation only.
 */
#ifndef INCLUDE_QUIRE_COMPILER_H
#define INCLUDE_QUIRE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define Q_MUST_USE        __attribute__((warn_unused_result))
#define Q_NORETURN        __attribute__((noreturn))
#define Q_PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))
#define Q_PACKED          __attribute__((packed))
#define Q_ALIGNED(n)      __attribute__((aligned(n)))
#define Q_SECTION(name)   __attribute__((used, section(name)))
#define Q_LIKELY(x)       __builtin_expect(!!(x), 1)
#define Q_UNLIKELY(x)     __builtin_expect(!!(x), 0)
#define Q_NOINLINE        __attribute__((noinline))
#define Q_FALLTHROUGH     __attribute__((fallthrough))

#if defined(__clang__)
#define Q_CAPABILITY(name)  __attribute__((capability(name)))
#define Q_REQUIRES(...)     __attribute__((requires_capability(__VA_ARGS__)))
#define Q_EXCLUDES(...)     __attribute__((locks_excluded(__VA_ARGS__)))
#define Q_ACQUIRES(...)     __attribute__((acquire_capability(__VA_ARGS__)))
#define Q_TRY_ACQUIRES(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define Q_RELEASES(...)     __attribute__((release_capability(__VA_ARGS__)))
#define Q_NO_ANALYSIS       __attribute__((no_thread_safety_analysis))
#else
#define Q_CAPABILITY(name)
#define Q_REQUIRES(...)
#define Q_EXCLUDES(...)
#define Q_ACQUIRES(...)
#define Q_TRY_ACQUIRES(...)
#define Q_RELEASES(...)
#define Q_NO_ANALYSIS
#endif

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The struct `type` whose `member` is at `ptr`. */
#define container_of(ptr, type, member) \
	((type *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))

#endif
