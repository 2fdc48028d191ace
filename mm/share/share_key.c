/* SPDX-License-Identifier: MIT */
/*
 * Keys of page contents: XXH3 of a sample, or of all of it.
 *
 * The sample is four cache lines spread over the page, the first and the last
 * among them. A key only says which pages are worth comparing; so a short one
 * that is right nearly always is better than a long one, which would cost as
 * much as comparing.
 */
#include <quire/addr.h>

#include "lib/string.h"

/* Freestanding, a memcpy() of eight bytes would be a call. */
#define XXH_FORCE_MEMORY_ACCESS 1
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR
#include <xxhash.h>

#include "share_internal.h"

#define LINE_BYTES     64u
#define WORDS_PER_LINE (LINE_BYTES / sizeof(uint64_t))
#define SAMPLE_LINES   4u
#define SAMPLE_STEP    21u /* lines from one to the next */

_Static_assert((SAMPLE_LINES - 1) * SAMPLE_STEP == PAGE_SIZE / LINE_BYTES - 1,
	       "the last line is in the sample");

uint64_t share_key_sample(const void *content)
{
	const uint64_t *words = content;
	uint64_t sample[SAMPLE_LINES * WORDS_PER_LINE];

	/* Starting a string instruction for each line would cost more than the words do. */
	for (unsigned i = 0; i < SAMPLE_LINES; i++)
		for (unsigned j = 0; j < WORDS_PER_LINE; j++)
			sample[i * WORDS_PER_LINE + j] =
				words[i * SAMPLE_STEP * WORDS_PER_LINE + j];
	return XXH3_64bits(sample, sizeof(sample));
}

uint64_t share_key_whole(const void *content)
{
	return XXH3_64bits(content, PAGE_SIZE);
}

bool share_content_is_zero(const void *content)
{
	const uint64_t *words = content;

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(uint64_t); i += WORDS_PER_LINE) {
		uint64_t any = 0;
		for (unsigned j = i; j < i + WORDS_PER_LINE; j++)
			any |= words[j];
		if (any)
			return false;
	}
	return true;
}
