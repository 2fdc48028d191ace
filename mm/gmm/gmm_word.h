/* SPDX-License-Identifier: MIT */
/*
 * The tracking word: what GMM knows about one page. There are two layouts with the
 * same functions; GMM_WORD_BITS says which one a build has. This is pure encoding
 * and decoding; nothing here looks at a chunk.
 *
 *   bits   cost a page   guest frame            VMs
 *   32     4 bytes       24 bits, 64 GiB a VM    255
 *   64     8 bytes       32 bits, 16 TiB a VM   1023
 *
 * What a word says in each state of its page. gmm.c says what a state guarantees,
 * and which functions lead out of it.
 *
 *   FREE      the next free page of its chunk (GMM_INDEX_NIL ends the chain), and
 *             whether the page is known to be all zero
 *   PRIVATE   the VM that owns the page, and the guest frame that the page backs
 *   KERNEL    the owner and its account: GMM_SHADOW or GMM_FIXED
 *   SHARED    the numbers of references of VMs and of holds of Quire; one of the
 *             two is not 0
 *
 * The word alone tells whether a page is free. What a used word means depends on
 * the kind of its chunk.
 */
#ifndef MM_GMM_GMM_WORD_H
#define MM_GMM_GMM_WORD_H

#include "mm/gmm/gmm.h"

#if GMM_WORD_BITS == 32
#include "gmm_word32.h"
#elif GMM_WORD_BITS == 64
#include "gmm_word64.h"
#else
#error "GMM_WORD_BITS is 32 or 64"
#endif

#define GMM_INDEX_NIL 0xffffu

_Static_assert(8 * sizeof(gmm_word_t) == GMM_WORD_BITS, "the word is as wide as it says");
_Static_assert(GMM_PAGES_PER_CHUNK <= GMM_INDEX_NIL, "an index and the end of a chain fit 16 bits");
_Static_assert(GMM_VM_LAST <= GMM_WORD_OWNER_MAX, "a VM handle fits the owner field");
_Static_assert(GMM_GFN_LAST < GMM_WORD_GFN_UNKNOWN, "no guest frame looks like an unknown one");
_Static_assert(GMM_ACCOUNT_COUNT <= 4, "an account fits two bits");

#endif
