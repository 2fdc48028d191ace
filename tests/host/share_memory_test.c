/* SPDX-License-Identifier: MIT */
/* The working set's memory: what goes first, what is let go, how it degrades. */
#include <string.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "share_machine.h"
#include "seam/seam.h"
#include "test.h"

/* A key without the bits that choose the bucket: everything is in the first bucket. */
#define ONE_BUCKET 0xffffffff00000000

/* Notes a page with the content `word`, at the guest frame `word`. */
static void note(const struct share_page *page, uint64_t word)
{
	struct share_page noted = *page;

	*(uint64_t *)gmm_page_map(page->id) = word;
	noted.gfn = gfn(word);
	noted.is_settled = false;
	EXPECT(look(&noted) == SHARE_NOTHING);
}

/* True if a page of the other VM with this content would be paired. Changes nothing. */
static bool is_noted(const struct share_page *page, uint64_t word)
{
	struct share_page like = *page;
	struct share_entry kept[4];

	memcpy(kept, share.entries, sizeof(kept));
	struct share_stats figures = share.stats;
	*(uint64_t *)gmm_page_map(page->id) = word;
	like.vm = two;
	like.gfn = gfn(1000);
	bool is_paired = share_look(&like).advice == SHARE_PAIR;
	memcpy(share.entries, kept, sizeof(kept));
	share.stats = figures;
	return is_paired;
}

TEST(share, every_entry_of_a_bucket_is_used)
{
	set_up_with(SIZE_BYTES, ONE_BUCKET);
	struct share_page page = plain_page(one, 0, 0);

	for (unsigned i = 1; i <= 4; i++)
		note(&page, i);
	EXPECT(stats().candidates == 4 && stats().evicted == 0);
	for (unsigned i = 1; i <= 4; i++)
		EXPECT(is_noted(&page, i));
}

TEST(share, what_was_not_met_for_longest_goes_first)
{
	set_up_with(SIZE_BYTES, ONE_BUCKET);
	struct share_page page = plain_page(one, 0, 0);

	for (unsigned i = 1; i <= 4; i++) {
		note(&page, i);
		share_pass_begin();
	}
	note(&page, 1); /* met again */
	note(&page, 5);
	EXPECT(!is_noted(&page, 2));
	EXPECT(is_noted(&page, 1) && is_noted(&page, 3) && is_noted(&page, 4));
}

TEST(share, what_was_not_met_for_two_passes_is_no_loss)
{
	for (unsigned passes = 0; passes < 4; passes++) {
		set_up_with(SIZE_BYTES, ONE_BUCKET);
		struct share_page page = plain_page(one, 0, 0);
		for (unsigned i = 1; i <= 4; i++)
			note(&page, i);
		for (unsigned i = 0; i < passes; i++)
			share_pass_begin();
		note(&page, 5);
		EXPECT(stats().candidates == 4 && stats().evicted == (passes < 2));
	}
}

/* A shared page that is joined, and a key that is known to be ambiguous, are in use. */
TEST(share, what_is_used_does_not_grow_old)
{
	set_up_with(SIZE_BYTES, ONE_BUCKET);
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);
	struct share_page c = page_of(one, 6, 0x22, 128, 1), d = page_of(two, 10, 0x22, 128, 2);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	merge(&match, &a, &b);
	EXPECT(look(&c) == SHARE_NOTHING);
	match = share_look(&d);
	EXPECT(share_compare(&match, d.id, c.id) == SHARE_DIFFERENT);
	for (unsigned i = 0; i < 5; i++)
		share_pass_begin();
	struct share_page e = plain_page(two, 11, 1);
	EXPECT(look(&e) == SHARE_JOIN && look(&c) == SHARE_NOTHING);
	for (unsigned i = 0; i < 4; i++)
		if (share.entries[i].kind == SHARE_ENTRY_SHARED ||
		    share.entries[i].kind == SHARE_ENTRY_AMBIGUOUS)
			EXPECT(share.entries[i].pass == (uint16_t)stats().pass);
}

TEST(share, a_content_takes_half_of_a_bucket)
{
	set_up();
	struct share_page page = plain_page(one, 0, 1);

	page.is_settled = false;
	for (unsigned i = 0; i < 4; i++) {
		page.gfn = gfn(i);
		EXPECT(look(&page) == SHARE_NOTHING);
	}
	EXPECT(stats().candidates == 2);
}

/* The memory has two parts, and neither reaches into the other. */
TEST(share, entries_and_history_do_not_meet)
{
	set_up();
	uint8_t *end = (uint8_t *)memory + SIZE_BYTES;

	EXPECT((uint8_t *)(share.entries + share.entry_count) <= (uint8_t *)share.history);
	EXPECT((uint8_t *)(share.history + share.history_count) <= end);
	EXPECT(share.bucket_count * 4 <= share.entry_count);
}

/* Merges two equal pages, one of each VM. */
static page_id_t shared_by_both(void)
{
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	return merge(&match, &a, &b);
}

TEST(share, a_pass_begins_with_letting_go)
{
	set_up();
	page_id_t shared = shared_by_both();
	struct gmm_stats machine;
	unsigned done;

	EXPECT(gmm_shared_put(one, &shared, 1, &done) == Q_OK);
	EXPECT(gmm_shared_put(two, &shared, 1, &done) == Q_OK);
	share_pass_begin();
	gmm_stats(&machine);
	EXPECT(machine.shared_pages == 0 && stats().shared_pages == 0);
}

TEST(share, shared_pages_without_users_are_let_go)
{
	set_up();
	page_id_t shared = shared_by_both();
	struct gmm_stats machine;
	unsigned done;

	EXPECT(share_reap() == 0);
	EXPECT(gmm_shared_put(one, &shared, 1, &done) == Q_OK);
	EXPECT(share_reap() == 0);
	EXPECT(gmm_shared_put(two, &shared, 1, &done) == Q_OK);
	gmm_stats(&machine);
	EXPECT(machine.shared_pages == 1);
	EXPECT(share_reap() == 1);
	gmm_stats(&machine);
	EXPECT(machine.shared_pages == 0);
	share_check();
	gmm_check();
}

/* Of two shared pages, only the one without users goes. */
TEST(share, only_shared_pages_without_users_are_let_go)
{
	set_up();
	page_id_t shared[2];
	unsigned done;

	for (unsigned i = 0; i < 2; i++) {
		struct share_page a = plain_page(one, 10 * i, i + 1);
		struct share_page b = plain_page(two, 10 * i + 1, i + 1);
		EXPECT(look(&a) == SHARE_NOTHING);
		struct share_match match = share_look(&b);
		shared[i] = merge(&match, &a, &b);
	}
	EXPECT(gmm_shared_put(one, shared, 2, &done) == Q_OK);
	EXPECT(gmm_shared_put(two, &shared[0], 1, &done) == Q_OK);
	EXPECT(share_reap() == 1 && stats().shared_pages == 1);
	share_check();
	struct share_page c = plain_page(one, 30, 2);
	struct share_match match = share_look(&c);
	EXPECT(match.advice == SHARE_JOIN && match.shared.raw == shared[1].raw);
}

/* Far more contents than entries: nothing breaks, and shared entries outlive candidates. */
TEST(share, the_smallest_working_set_degrades_gently)
{
	set_up_with(PAGE_SIZE, ~0ull);
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	merge(&match, &a, &b);
	struct share_page page = plain_page(one, 0, 0);
	for (uint64_t i = 2; i < 3000; i++) {
		*(uint64_t *)gmm_page_map(page.id) = i;
		page.gfn = gfn(i);
		(void)share_look(&page);
	}
	share_check();
	EXPECT(stats().evicted > 2000 && stats().candidates <= stats().entry_count);
	struct share_page c = plain_page(two, 10, 1);
	EXPECT(look(&c) == SHARE_JOIN);
}

/* With 256 keys for all contents, advice is often wrong: it is still only advice. */
TEST(share, a_weak_key_only_costs_comparisons)
{
	set_up_with(SIZE_BYTES, 0xf0000000f0000000);
	static page_id_t pages[500];
	unsigned wrong = 0;

	for (uint64_t i = 0; i < 500; i++) {
		struct share_page page = plain_page(one, i, i);
		struct share_match match = share_look(&page);
		pages[i] = page.id;
		if (match.advice == SHARE_PAIR) {
			page_id_t other = pages[match.other_gfn.raw];
			enum share_comparison result = share_compare(&match, page.id, other);
			EXPECT(result != SHARE_EQUAL);
			wrong += result == SHARE_DIFFERENT;
		}
		share_check();
	}
	EXPECT(wrong > 20);
}

TEST(share, clearing_lets_everything_go)
{
	set_up();
	struct share_page a = plain_page(one, 5, 1), b = plain_page(two, 9, 1);
	struct gmm_stats machine;

	EXPECT(look(&a) == SHARE_NOTHING);
	struct share_match match = share_look(&b);
	page_id_t shared = merge(&match, &a, &b);
	unsigned done;
	EXPECT(gmm_shared_put(one, &shared, 1, &done) == Q_OK);
	EXPECT(gmm_shared_put(two, &shared, 1, &done) == Q_OK);
	share_clear();
	share_check();
	gmm_stats(&machine);
	EXPECT(machine.shared_pages == 0 && stats().candidates == 0);
}
