/* SPDX-License-Identifier: MIT */
/*
 * The tracking word in 64 bits; see gmm_word.h.
 *
 *    63 62 61 60     48 47      32 31        16 15          0
 *   +-----+--+---------+----------+------------+-------------+
 *   |  3  | Z|    0    |    0     |     0      |  next index |   FREE
 *   +-----+--+---------+----------+------------+-------------+
 *   |  0  |     0      | VM 1-1023|        guest frame       |   PRIVATE
 *   +-----+------------+----------+-----------------+--------+
 *   |  1  |     0      | VM 0-1023|        0        | account|   KERNEL
 *   +-----+------------+----------+-----------------+--------+
 *   |  2  |     0      |   holds  |        references        |   SHARED
 *   +-----+------------+----------+--------------------------+
 *
 *   guest frame  0xfffffff1: not known; the values above that are reserved
 *   VM           the field has 16 bits, so that more handles only need larger tables
 */
#ifndef MM_GMM_GMM_WORD64_H
#define MM_GMM_GMM_WORD64_H

#include <quire/bits.h>

#include "mm/gmm/gmm.h"

typedef uint64_t gmm_word_t;

#define GMM_WORD_STATE      MASK64(63, 62)
#define GMM_WORD_OWNER      MASK64(47, 32)
#define GMM_WORD_GFN        MASK64(31, 0)
#define GMM_WORD_ACCOUNT    MASK64(1, 0)
#define GMM_WORD_HOLDS      MASK64(47, 32)
#define GMM_WORD_REFERENCES MASK64(31, 0)
#define GMM_WORD_ZEROED     BIT64(61)
#define GMM_WORD_NEXT       MASK64(15, 0)

#define GMM_WORD_PRIVATE (0ull << 62)
#define GMM_WORD_KERNEL  (1ull << 62)
#define GMM_WORD_SHARED  (2ull << 62)
#define GMM_WORD_FREE    (3ull << 62)

#define GMM_WORD_OWNER_MAX     0xffffu
#define GMM_WORD_GFN_UNKNOWN   0xfffffff1u
#define GMM_WORD_REFERENCE_MAX 0xffffffffu
#define GMM_WORD_HOLD_MAX      0xffffu

_Static_assert((GMM_WORD_STATE & (GMM_WORD_OWNER | GMM_WORD_GFN | GMM_WORD_ZEROED)) == 0 &&
		       (GMM_WORD_OWNER & GMM_WORD_GFN) == 0 &&
		       (GMM_WORD_ZEROED & GMM_WORD_NEXT) == 0,
	       "fields do not overlap");

static inline bool gmm_word_is_free(gmm_word_t word)
{
	return (word & GMM_WORD_STATE) == GMM_WORD_FREE;
}

/* --- FREE ----------------------------------------------------------------------- */

static inline gmm_word_t gmm_word_free(uint32_t next_index, bool is_zeroed)
{
	return GMM_WORD_FREE | next_index | (is_zeroed ? GMM_WORD_ZEROED : 0);
}

static inline uint32_t gmm_word_next(gmm_word_t word)
{
	return (uint32_t)field_get(word, GMM_WORD_NEXT);
}

static inline bool gmm_word_is_zeroed(gmm_word_t word)
{
	return (word & GMM_WORD_ZEROED) != 0;
}

/* --- PRIVATE and KERNEL ------------------------------------------------------------ */

static inline gmm_vm_t gmm_word_owner(gmm_word_t word)
{
	return (gmm_vm_t)field_get(word, GMM_WORD_OWNER);
}

/* `owner` is a VM; `frame` is at most GMM_GFN_LAST, or GFN_UNKNOWN. */
static inline gmm_word_t gmm_word_private(gmm_vm_t owner, gfn_t frame)
{
	uint64_t field = frame.raw == GFN_UNKNOWN.raw ? GMM_WORD_GFN_UNKNOWN : frame.raw;
	return field_set(GMM_WORD_PRIVATE | field, GMM_WORD_OWNER, owner);
}

static inline gfn_t gmm_word_gfn(gmm_word_t word)
{
	uint64_t field = field_get(word, GMM_WORD_GFN);
	return field == GMM_WORD_GFN_UNKNOWN ? GFN_UNKNOWN : gfn(field);
}

static inline gmm_word_t gmm_word_kernel(gmm_vm_t owner, enum gmm_account account)
{
	return field_set(GMM_WORD_KERNEL | (uint32_t)account, GMM_WORD_OWNER, owner);
}

static inline enum gmm_account gmm_word_account(gmm_word_t word)
{
	return (enum gmm_account)field_get(word, GMM_WORD_ACCOUNT);
}

/* --- SHARED ------------------------------------------------------------------------- */

/* At most GMM_WORD_REFERENCE_MAX and GMM_WORD_HOLD_MAX. Both 0: the page is freed next. */
static inline gmm_word_t gmm_word_shared(uint32_t references, uint32_t holds)
{
	return field_set(GMM_WORD_SHARED | references, GMM_WORD_HOLDS, holds);
}

static inline uint32_t gmm_word_references(gmm_word_t word)
{
	return (uint32_t)field_get(word, GMM_WORD_REFERENCES);
}

static inline uint32_t gmm_word_holds(gmm_word_t word)
{
	return (uint32_t)field_get(word, GMM_WORD_HOLDS);
}

#endif
