/* SPDX-License-Identifier: MIT */
/* Bits and fields of words; hardware words never use C bit-fields. */
#ifndef INCLUDE_QUIRE_BITS_H
#define INCLUDE_QUIRE_BITS_H

#include <quire/compiler.h>

#define BIT32(n) (1u << (n))
#define BIT64(n) (1ull << (n))

/* Bits high..low inclusive, both 0..63. */
#define MASK64(high, low) ((~0ull >> (63 - (high))) & (~0ull << (low)))

/* The field of `word` that `mask` (contiguous, not zero) covers, shifted down. */
static inline uint64_t field_get(uint64_t word, uint64_t mask)
{
	return (word & mask) >> __builtin_ctzll(mask);
}

/* `word` with the field that `mask` covers replaced by `value`'s low bits. */
static inline uint64_t field_set(uint64_t word, uint64_t mask, uint64_t value)
{
	return (word & ~mask) | ((value << __builtin_ctzll(mask)) & mask);
}

static inline uint64_t uint64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t alignment)
{
	return (value & (alignment - 1)) == 0;
}

static inline bool is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

#endif
