/* SPDX-License-Identifier: MIT */
/* Pages that were merged and written again: how long they are left alone. */
#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "share_machine.h"
#include "seam/seam.h"
#include "test.h"

/* A page that is merged and broken is left alone for 2 passes, then for 4, 8, 16, 32, 32. */
TEST(share, broken_pages_are_left_alone_for_longer_and_longer)
{
	set_up();
	const unsigned waits[] = { 2, 4, 8, 16, 32, 32 };
	struct share_page a = plain_page(one, 5, 1);

	for (unsigned i = 0; i < ARRAY_COUNT(waits); i++) {
		share_merged(&a);
		for (unsigned pass = 0; pass < waits[i]; pass++) {
			uint64_t before = stats().left_alone;
			EXPECT(look(&a) == SHARE_NOTHING);
			EXPECT(stats().left_alone == before + 1);
			share_pass_begin();
		}
		uint64_t before = stats().left_alone;
		EXPECT(look(&a) == SHARE_NOTHING);
		EXPECT(stats().left_alone == before);
	}
	EXPECT(stats().broken == ARRAY_COUNT(waits));
}

static bool is_left_alone(const struct share_page *page)
{
	uint64_t before = stats().left_alone;

	(void)look(page);
	return stats().left_alone > before;
}

/* The history's count of passes goes round at 128. */
TEST(share, waiting_ends_in_every_pass)
{
	struct share_page a;

	set_up();
	a = plain_page(one, 5, 1);
	for (unsigned start = 0; start < 260; start++) {
		share_history_clear();
		share_merged(&a);
		EXPECT(is_left_alone(&a));
		share_pass_begin();
		EXPECT(is_left_alone(&a));
		share_pass_begin();
		EXPECT(!is_left_alone(&a));
	}
}

TEST(share, who_waited_is_free_for_a_long_time)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1);

	share_merged(&a);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(is_left_alone(&a));
		share_pass_begin();
	}
	for (unsigned i = 0; i < 64; i++) {
		EXPECT(!is_left_alone(&a));
		share_pass_begin();
	}
}

TEST(share, only_the_page_that_was_broken_waits)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 5, 2);
	struct share_page c = plain_page(one, 6, 3);

	share_merged(&a);
	EXPECT(!is_left_alone(&b) && !is_left_alone(&c) && is_left_alone(&a));
	share_clear();
	EXPECT(!is_left_alone(&a));
}

/* Whichever other page has its slot in the history. */
TEST(share, a_page_that_was_never_merged_does_not_wait)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), other = a;

	share_merged(&a);
	for (uint64_t i = 6; i < 8 * share.history_count; i++) {
		other.gfn = gfn(i);
		(void)share_look(&other);
	}
	EXPECT(stats().left_alone == 0 && is_left_alone(&a));
}
