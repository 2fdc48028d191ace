/* SPDX-License-Identifier: MIT */
/*
 * Keys of page contents: XXH3 of a sample, or of all of it.
 *
 * The sample is eight cache lines spread over the page, the first and the last
 * among them. A key only says which pages are worth comparing; so a short one
 * that is right nearly always is better than a long one, which would cost as
 * much as comparing.
 */
#include <quire/addr.h>

#include "lib/string.h"

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR
#include <xxhash.h>

#include "share_internal.h"

#define LINE_BYTES   64u
#define SAMPLE_LINES 8u
#define SAMPLE_STEP  9u /* lines from one to the next */

_Static_assert((SAMPLE_LINES - 1) * SAMPLE_STEP == PAGE_SIZE / LINE_BYTES - 1,
	       "the last line is in the sample");

uint64_t share_key_sample(const void *content)
{
	const uint8_t *lines = content;
	uint8_t sample[SAMPLE_LINES * LINE_BYTES];

	for (unsigned i = 0; i < SAMPLE_LINES; i++)
		memcpy(&sample[i * LINE_BYTES], &lines[i * SAMPLE_STEP * LINE_BYTES], LINE_BYTES);
	return XXH3_64bits(sample, sizeof(sample));
}

uint64_t share_key_whole(const void *content)
{
	return XXH3_64bits(content, PAGE_SIZE);
}

#define WORDS_PER_LINE (LINE_BYTES / sizeof(uint64_t))

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
