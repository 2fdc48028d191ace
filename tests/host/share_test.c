/* SPDX-License-Identifier: MIT */
/* What the sharing scanner's working set proposes, and which candidates it forgets. */
#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "share_machine.h"
#include "seam/seam.h"
#include "test.h"

TEST(share, the_second_settled_page_is_paired_with_the_first)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(match.advice == SHARE_PAIR && match.other_vm == one && match.other_gfn.raw == 5);
	EXPECT(stats().candidates == 1);
}

TEST(share, a_page_is_no_pair_with_itself)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&a) == SHARE_NOTHING);
	share_pass_begin();
	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(stats().candidates == 1);
}

TEST(share, pages_of_one_vm_are_paired_too)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(one, 6, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&b) == SHARE_PAIR);
}

TEST(share, groups_never_meet)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	b.group = GROUP + 1;
	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&b) == SHARE_NOTHING);
	struct share_page c = plain_page(two, 10, 1);
	struct share_match match = share_look(&c);
	merge(&match, &a, &c);
	/* Nor does the shared page of one group become known to the other. */
	EXPECT(look(&b) == SHARE_NOTHING);
}

TEST(share, without_a_group_only_zeros_are_found)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);
	struct share_page zero = page_of(one, 6, 0, 0, 0);

	a.group = b.group = zero.group = SHARE_GROUP_NONE;
	for (unsigned pass = 0; pass < 3; pass++) {
		EXPECT(look(&a) == SHARE_NOTHING && look(&b) == SHARE_NOTHING);
		EXPECT(look(&zero) == SHARE_ZERO);
		share_pass_begin();
	}
	EXPECT(stats().candidates == 0);
}

TEST(share, third_pages_join_the_shared_one)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	page_id_t shared = merge(&match, &a, &b);
	struct share_page c = plain_page(two, 10, 1);
	match = share_look(&c);
	EXPECT(match.advice == SHARE_JOIN && match.shared.raw == shared.raw);
	EXPECT(stats().shared_pages == 1 && stats().candidates == 0);
}

TEST(share, zero_pages_are_told_at_once)
{
	set_up();
	struct share_page zero = page_of(one, 5, 0, 0, 0);
	struct share_page nearly = page_of(one, 6, 0, PAGE_SIZE - 8, 1ull << 63);

	zero.is_settled = false;
	EXPECT(look(&zero) == SHARE_ZERO);
	EXPECT(look(&nearly) == SHARE_NOTHING);
}

/* Where the CPU keeps no dirty bits, a page has to look the same in two passes. */
TEST(share, unsettled_pages_settle_in_the_second_pass)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	a.is_settled = false;
	b.is_settled = false;
	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&b) == SHARE_NOTHING);
	EXPECT(look(&a) == SHARE_NOTHING); /* the same pass: proves nothing */
	share_pass_begin();
	EXPECT(look(&a) == SHARE_PAIR);
}

TEST(share, a_page_that_changes_between_passes_does_not_settle)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 2);

	a.is_settled = false;
	EXPECT(look(&a) == SHARE_NOTHING);
	EXPECT(look(&b) == SHARE_NOTHING);
	share_pass_begin();
	*(uint64_t *)gmm_page_map(a.id) = 2;
	EXPECT(look(&a) == SHARE_NOTHING);
}

TEST(share, a_page_that_is_gone_is_nothing)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1);

	a.id = (page_id_t){ GMM_PAGE_ID_LAST };
	EXPECT(look(&a) == SHARE_NOTHING);
}

/* Where two VMs are alike, equal pages are often at the same place. */
TEST(share, the_same_frame_of_another_vm_is_another_page)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 5, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(match.advice == SHARE_PAIR && match.other_vm == one && match.other_gfn.raw == 5);
}

/* A page written since the last pass is left alone, even if there is a shared page like it. */
TEST(share, unsettled_pages_join_nothing)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	merge(&match, &a, &b);
	struct share_page c = plain_page(two, 10, 1);
	c.is_settled = false;
	EXPECT(look(&c) == SHARE_NOTHING);
	share_pass_begin();
	EXPECT(look(&c) == SHARE_JOIN);
}

/* The candidate's content has changed, or its page is gone. */
TEST(share, a_candidate_that_changed_is_forgotten)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(share_compare(&match, b.id, a.id) == SHARE_EQUAL);
	EXPECT(share_compare(&match, b.id, (page_id_t){ GMM_PAGE_ID_LAST }) == SHARE_CHANGED);
	*(uint64_t *)gmm_page_map(a.id) = 2;
	EXPECT(share_compare(&match, b.id, a.id) == SHARE_CHANGED);
	share_check();
	/* It is the first of its kind now. */
	EXPECT(look(&b) == SHARE_NOTHING && stats().candidates == 1);
}

/* The page that was looked at has changed: the candidate stays. */
TEST(share, a_page_that_changed_is_no_pair)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	*(uint64_t *)gmm_page_map(b.id) = 2;
	EXPECT(share_compare(&match, b.id, a.id) == SHARE_CHANGED && stats().candidates == 1);
	struct share_page c = plain_page(two, 10, 1);
	EXPECT(look(&c) == SHARE_PAIR);
}

/* Of two candidates with one content, one has changed: the other one stays. */
TEST(share, only_the_candidate_that_changed_is_forgotten)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(one, 6, 1);
	struct share_page c = plain_page(one, 7, 1), d = plain_page(two, 6, 2);

	a.is_settled = b.is_settled = false;
	EXPECT(look(&a) == SHARE_NOTHING && look(&b) == SHARE_NOTHING);
	EXPECT(look(&d) == SHARE_NOTHING);
	struct share_match match = share_look(&c);
	EXPECT(match.advice == SHARE_PAIR && match.other_gfn.raw == 6);
	*(uint64_t *)gmm_page_map(b.id) = 3;
	EXPECT(share_compare(&match, c.id, b.id) == SHARE_CHANGED);
	share_check();
	match = share_look(&c);
	EXPECT(match.advice == SHARE_PAIR && match.other_gfn.raw == 5);
	EXPECT(stats().candidates == 2);
}

/* By the key alone: share_is_like() does not see a difference outside of the sample. */
TEST(share, whether_a_candidate_looks_the_same_still)
{
	set_up();
	struct share_page a = page_of(one, 5, 0x11, 128, 1), b = page_of(two, 9, 0x11, 128, 2);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	EXPECT(match.advice == SHARE_PAIR && share_is_like(&match, a.id));
	EXPECT(stats().candidates == 1 && stats().differed == 0);
	*(uint64_t *)gmm_page_map(a.id) ^= 1;
	EXPECT(!share_is_like(&match, a.id) && stats().candidates == 0);
	EXPECT(!share_is_like(&match, (page_id_t){ GMM_PAGE_ID_LAST }));
	share_check();
}

TEST(share, hashes_for_checks_from_outside)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);
	uint64_t hash_a, hash_b;

	EXPECT(share_hash(a.id, &hash_a) && share_hash(b.id, &hash_b) && hash_a == hash_b);
	*(uint64_t *)gmm_page_map(b.id) = 2;
	EXPECT(share_hash(b.id, &hash_b) && hash_a != hash_b);
	EXPECT(!share_hash(PAGE_ID_NIL, &hash_a));
	EXPECT(!share_hash((page_id_t){ GMM_PAGE_ID_LAST }, &hash_a));
}
