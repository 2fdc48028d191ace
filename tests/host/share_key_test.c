/* SPDX-License-Identifier: MIT */
/* Keys of page contents, and pages that differ under one key. */
#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "share_machine.h"
#include "seam/seam.h"
#include "test.h"

/* Pages that differ outside of the sample are told apart after one try. */
TEST(share, pages_with_one_key_are_hashed_as_a_whole)
{
	set_up();
	struct share_page a = page_of(one, 5, 0x11, 128, 1), b = page_of(two, 9, 0x11, 128, 2);
	struct share_page c = page_of(two, 10, 0x11, 128, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(match.advice == SHARE_PAIR && share_compare(&match, b.id, a.id) == SHARE_DIFFERENT);
	share_check();
	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&b) == SHARE_NOTHING);
	EXPECT(look(&c) == SHARE_PAIR); /* with a, which it equals */
	EXPECT(stats().hashed_whole == 3 && stats().differed == 1);
}

/* A candidate that was found by a hash of the whole page is also forgotten by such a hash. */
TEST(share, a_candidate_found_by_its_whole_content_is_forgotten)
{
	set_up();
	struct share_page a = page_of(one, 5, 0x11, 128, 1), b = page_of(two, 9, 0x11, 128, 2);
	struct share_page c = page_of(two, 10, 0x11, 128, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(share_compare(&match, b.id, a.id) == SHARE_DIFFERENT);
	EXPECT(look(&a) == SHARE_NOTHING);
	match = share_look(&c);
	EXPECT(match.advice == SHARE_PAIR && match.is_whole);
	((uint8_t *)gmm_page_map(a.id))[256] ^= 1;
	EXPECT(share_compare(&match, c.id, a.id) == SHARE_CHANGED);
	/* It is the first of its kind now. */
	EXPECT(look(&c) == SHARE_NOTHING);
}

/* As if two different pages had the same hash of all their bytes. */
TEST(share, pages_with_one_whole_key_are_given_up)
{
	set_up_with(SIZE_BYTES, 0);
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 2);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(match.advice == SHARE_PAIR && share_compare(&match, b.id, a.id) == SHARE_DIFFERENT);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(look(&a) == SHARE_NOTHING && look(&b) == SHARE_NOTHING);
	EXPECT(stats().candidates == 0);
}

/* One bit anywhere in a page counts, also outside of the sample. */
TEST(share, each_word_of_a_page_counts)
{
	set_up();
	struct share_page page = page_of(one, 5, 0, 0, 0);
	uint64_t *words = gmm_page_map(page.id), key = share_key_whole(words);

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
		words[i] = 1ull << i % 64;
		EXPECT(!share_content_is_zero(words) && share_key_whole(words) != key);
		EXPECT(look(&page) == SHARE_NOTHING);
		words[i] = 0;
	}
	EXPECT(share_content_is_zero(words) && look(&page) == SHARE_ZERO);
}

TEST(share, the_sample_has_the_ends_of_the_page)
{
	uint8_t page[PAGE_SIZE] = { 0 };
	uint64_t key = share_key_sample(page), whole = share_key_whole(page);

	page[0] = 1;
	EXPECT(share_key_sample(page) != key);
	page[0] = 0;
	page[PAGE_SIZE - 1] = 1;
	EXPECT(share_key_sample(page) != key);
	page[PAGE_SIZE - 1] = 0;
	page[PAGE_SIZE / 2 - 1] = 1;
	EXPECT(share_key_sample(page) == key && share_key_whole(page) != whole);
}

/* The XXH3 of 64 bits, with seed 0, that the shared library of xxHash computes for this page. */
TEST(share, keys_are_xxh3)
{
	uint8_t page[PAGE_SIZE];

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		page[i] = (uint8_t)i;
	EXPECT(share_key_whole(page) == 0xeb4b7c3707879151);
	page[1234] ^= 0x10;
	EXPECT(share_key_whole(page) != 0xeb4b7c3707879151);
}
