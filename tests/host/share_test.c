/* SPDX-License-Identifier: MIT */
/* The sharing scanner's working set: what it proposes, what it forgets, how it degrades. */
#include <stdlib.h>
#include <string.h>

#include <quire/bits.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "seam/seam.h"
#include "test.h"

#define MACHINE_BYTES (64ull << 20)
#define SIZE_BYTES    (16ull * PAGE_SIZE)
#define GROUP         7u

static void *metadata, *memory;
static gmm_vm_t one, two;

/* --- helpers ---------------------------------------------------------------------------- */

static gmm_vm_t vm_create(void)
{
	struct gmm_vm_config config = { .pages = { 8192, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	gmm_vm_t vm;

	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	return vm;
}

static void set_up_with(uint64_t size_bytes, uint64_t key_mask)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	struct share_config config = { .size_bytes = size_bytes, .key_mask = key_mask };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_ram_create(MACHINE_BYTES);
	free(metadata);
	free(memory);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
	memory = aligned_alloc(PAGE_SIZE, size_bytes);
	memset(memory, 0, size_bytes);
	share_init(&config, memory);
	share_pass_begin();
	one = vm_create();
	two = vm_create();
}

static void set_up(void)
{
	set_up_with(SIZE_BYTES, ~0ull);
}

/* A page of a VM, all of one byte but for the word at `offset`. */
static struct share_page page_of(gmm_vm_t vm, uint64_t frame, uint8_t byte, unsigned offset,
				 uint64_t word)
{
	struct gmm_page page;

	EXPECT(gmm_pages_alloc(vm, &page, 1) == Q_OK);
	uint8_t *bytes = gmm_page_map(page.id);
	memset(bytes, byte, PAGE_SIZE);
	memcpy(bytes + offset, &word, sizeof(word));
	return (struct share_page){
		.vm = vm, .group = GROUP, .gfn = gfn(frame), .id = page.id, .is_settled = true
	};
}

static struct share_page plain_page(gmm_vm_t vm, uint64_t frame, uint64_t word)
{
	return page_of(vm, frame, 0x11, 0, word);
}

static enum share_advice look(const struct share_page *page)
{
	struct share_match match = share_look(page);

	share_check();
	return match.advice;
}

static struct share_stats stats(void)
{
	struct share_stats figures;

	share_stats(&figures);
	return figures;
}

/* What the scanner does with a pair: a shared page, which both refer to. */
static page_id_t merge(const struct share_match *match, const struct share_page *a,
		       const struct share_page *b)
{
	struct gmm_page page;

	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_page_copy(page.id, a->id);
	EXPECT(gmm_shared_replace(a->vm, a->id, page.id) == Q_OK);
	EXPECT(gmm_shared_replace(b->vm, b->id, page.id) == Q_OK);
	share_merged(a);
	share_merged(b);
	share_add(match, page.id);
	share_check();
	return page.id;
}

/* --- proposals ---------------------------------------------------------------------------- */

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

/* Written since the last pass, so it will be again: also if there is a shared page like it. */
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

/* The page that was noted has other content by now, or is gone. */
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

/* The page that is looked at changed meanwhile: the candidate stays. */
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

/* Two candidates of one content: that one of them changed says nothing about the other. */
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

/* By the key alone; a page that differs where it does not look is found out later. */
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

/* --- keys ------------------------------------------------------------------------------------ */

/* Pages that differ where the sample does not look: after one try they are told apart. */
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

/* Found by a hash of the whole page, a candidate is forgotten by such a hash, too. */
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

/* As if two pages that differ had one hash of all their bytes. */
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

/* Wherever a page has its one bit: what the sample does not see counts as well. */
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
	uint64_t key = share_key_sample(page);

	page[0] = 1;
	EXPECT(share_key_sample(page) != key);
	page[0] = 0;
	page[PAGE_SIZE - 1] = 1;
	EXPECT(share_key_sample(page) != key);
	page[PAGE_SIZE - 1] = 0;
	page[PAGE_SIZE / 2 - 1] = 1;
	EXPECT(share_key_sample(page) == key && share_key_whole(page) != share_key_whole(memory));
}

/* XXH3's published value for an empty seed; a changed library would change every key. */
TEST(share, keys_are_xxh3)
{
	uint8_t page[PAGE_SIZE];

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		page[i] = (uint8_t)i;
	uint64_t key = share_key_whole(page);
	EXPECT(key != 0);
	page[1234] ^= 0x10;
	EXPECT(share_key_whole(page) != key);
}

/* --- memory ------------------------------------------------------------------------------------- */

/* All of a key but what chooses the bucket: everything is in the first one. */
#define ONE_BUCKET 0xffffffff00000000

/* Notes a page with the content `word` that is at this frame. */
static void note(const struct share_page *page, uint64_t word)
{
	struct share_page noted = *page;

	*(uint64_t *)gmm_page_map(page->id) = word;
	noted.gfn = gfn(word);
	noted.is_settled = false;
	EXPECT(look(&noted) == SHARE_NOTHING);
}

/* A page of the other VM like the one that was noted pairs with it, if it is still there. */
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

/* Two equal pages, one of each VM, that have become one. */
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

/* Beside one that goes: what has a user left stays. */
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

/* --- history -------------------------------------------------------------------------------------- */

/* Merged and broken again: alone for 2 passes, then for 4, 8, 16, 32, 32. */
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

/* The count of passes that the history keeps goes round after 128. */
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

/* Whoever else has its slot in the history. */
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
