/* SPDX-License-Identifier: MIT */
/*
 * Keys of page contents: XXH3 of a sample, or of the whole page.
 *
 * The sample is seven words of each of four cache lines that are spread over the
 * page; it begins with the page's first word and ends with its last. A key only
 * says which pages are worth comparing. So a key of a sample, which is nearly always
 * right, is better than one of the whole page, which would cost as much as the
 * comparison. Whole cache lines would make the sample longer than 240 bytes, from
 * where XXH3 works in blocks and takes twice the instructions.
 */
#include <quire/addr.h>

#include "lib/string.h"

/* In freestanding code, a memcpy() of eight bytes would be a call. */
#define XXH_FORCE_MEMORY_ACCESS 1
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_SCALAR
#include <xxhash.h>

#include "share_internal.h"

#define LINE_BYTES     64u
#define WORDS_PER_LINE (LINE_BYTES / sizeof(uint64_t))
#define WORDS_PER_PAGE (PAGE_SIZE / sizeof(uint64_t))
#define SAMPLE_PIECES  4u
#define PIECE_WORDS    7u

uint64_t share_key_sample(const void *content)
{
	const uint64_t *words = content;
	uint64_t sample[SAMPLE_PIECES * PIECE_WORDS];

	/* By words: starting a string instruction for each piece would cost more. */
	for (unsigned i = 0; i < SAMPLE_PIECES; i++) {
		unsigned first = i * (WORDS_PER_PAGE - PIECE_WORDS) / (SAMPLE_PIECES - 1);
		for (unsigned j = 0; j < PIECE_WORDS; j++)
			sample[i * PIECE_WORDS + j] = words[first + j];
	}
	return XXH3_64bits(sample, sizeof(sample));
}

uint64_t share_key_whole(const void *content)
{
	return XXH3_64bits(content, PAGE_SIZE);
}

bool share_content_is_zero(const void *content)
{
	const uint64_t *words = content;

	for (unsigned i = 0; i < WORDS_PER_PAGE; i += WORDS_PER_LINE) {
		uint64_t any = 0;
		for (unsigned j = i; j < i + WORDS_PER_LINE; j++)
			any |= words[j];
		if (any)
			return false;
	}
	return true;
}
