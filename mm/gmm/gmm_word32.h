/* SPDX-License-Identifier: MIT */
/*
 * The tracking word in 32 bits; see gmm_word.h.
 *
 *    31     24 23 22     17 16 15             0
 *   +---------+--+---------+--+----------------+
 *   |    0    | 0|    0    | Z|   next index   |   FREE, in a chunk of any kind
 *   +---------+--+---------+--+----------------+
 *   | VM 1-255|          guest frame           |   used, in a PRIVATE chunk
 *   +---------+--+--------------------+--------+
 *   | VM 0-255| 1|         0          | account|   used, in a KERNEL chunk
 *   +--+------+--+--------------------+--------+
 *   | 1|holds|          references             |   used, in a SHARED chunk
 *   +--+-----+---------------------------------+
 *
 * There is no room for a state field, so bits 31:23 tell a free word from a used
 * one. They are all zero in a FREE word, and never in a used one: a PRIVATE word has
 * the handle of a VM, which is not 0 (Quire has 0, and owns KERNEL pages only), a
 * KERNEL word has bit 23, and a SHARED word has bit 31.
 *
 *   guest frame  all ones: not known; the value below that is reserved
 *   holds        bits 30:28
 */
#ifndef MM_GMM_GMM_WORD32_H
#define MM_GMM_GMM_WORD32_H

#include <quire/bits.h>

#include "mm/gmm/gmm.h"

typedef uint32_t gmm_word_t;

#define GMM_WORD_IN_USE     MASK64(31, 23) /* any of them set: the page is used */
#define GMM_WORD_OWNER      MASK64(31, 24)
#define GMM_WORD_GFN        MASK64(23, 0)
#define GMM_WORD_KERNEL     BIT32(23)
#define GMM_WORD_ACCOUNT    MASK64(1, 0)
#define GMM_WORD_SHARED     BIT32(31)
#define GMM_WORD_HOLDS      MASK64(30, 28)
#define GMM_WORD_REFERENCES MASK64(27, 0)
#define GMM_WORD_ZEROED     BIT32(16)
#define GMM_WORD_NEXT       MASK64(15, 0)

#define GMM_WORD_OWNER_MAX     0xffu
#define GMM_WORD_GFN_UNKNOWN   0xffffffu
#define GMM_WORD_REFERENCE_MAX (BIT32(28) - 1)
#define GMM_WORD_HOLD_MAX      7u

_Static_assert(((GMM_WORD_ZEROED | GMM_WORD_NEXT) & GMM_WORD_IN_USE) == 0, "free words look free");
_Static_assert((GMM_WORD_KERNEL & GMM_WORD_IN_USE) != 0, "KERNEL words look used");
_Static_assert((GMM_WORD_SHARED & GMM_WORD_IN_USE) != 0, "SHARED words look used");
_Static_assert((GMM_WORD_OWNER | GMM_WORD_GFN) == MASK64(31, 0) &&
		       (GMM_WORD_OWNER & GMM_WORD_GFN) == 0,
	       "a PRIVATE word has no bit to spare");
_Static_assert((GMM_WORD_SHARED | GMM_WORD_HOLDS | GMM_WORD_REFERENCES) == MASK64(31, 0) &&
		       (GMM_WORD_HOLDS & GMM_WORD_REFERENCES) == 0,
	       "a SHARED word has no bit to spare");

static inline bool gmm_word_is_free(gmm_word_t word)
{
	return (word & GMM_WORD_IN_USE) == 0;
}

/* --- FREE ----------------------------------------------------------------------- */

static inline gmm_word_t gmm_word_free(uint32_t next_index, bool is_zeroed)
{
	return next_index | (is_zeroed ? GMM_WORD_ZEROED : 0);
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
	return (gmm_word_t)field_set(field, GMM_WORD_OWNER, owner);
}

static inline gfn_t gmm_word_gfn(gmm_word_t word)
{
	uint64_t field = field_get(word, GMM_WORD_GFN);
	return field == GMM_WORD_GFN_UNKNOWN ? GFN_UNKNOWN : gfn(field);
}

static inline gmm_word_t gmm_word_kernel(gmm_vm_t owner, enum gmm_account account)
{
	return (gmm_word_t)field_set(GMM_WORD_KERNEL | (uint32_t)account, GMM_WORD_OWNER, owner);
}

static inline enum gmm_account gmm_word_account(gmm_word_t word)
{
	return (enum gmm_account)field_get(word, GMM_WORD_ACCOUNT);
}

/* --- SHARED ------------------------------------------------------------------------- */

/* At most GMM_WORD_REFERENCE_MAX and GMM_WORD_HOLD_MAX. Both 0: the page is freed next. */
static inline gmm_word_t gmm_word_shared(uint32_t references, uint32_t holds)
{
	return (gmm_word_t)field_set(GMM_WORD_SHARED | references, GMM_WORD_HOLDS, holds);
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
