/* SPDX-License-Identifier: MIT */
/*
 * Finds pages that look alike.
 *
 * The working set is one piece of memory of a fixed size. Seven eighths of it
 * are entries of 16 bytes, found by the key of a page's content. A candidate
 * names a guest page that had this content, a shared entry names a shared page
 * that has it. The last eighth remembers guest pages that were merged
 * (share_history.c), so that pages that are written again soon are left alone
 * for longer and longer.
 *
 * The first page that is met with a content becomes a candidate. A page is settled
 * when the CPU says that it was not written since the last pass, or, on CPUs that
 * do not say, when it has the same key as in an earlier pass. A settled page that
 * meets a candidate of another page is proposed as a pair with it. When the two
 * are merged, a shared entry replaces the candidate, and all further settled
 * pages with this content join the shared page.
 *
 * The key is a hash of a sample of the page (share_key.c). Once two pages with
 * one key turn out to differ, the entry only says so (AMBIGUOUS), and pages with
 * that key are looked up by a hash of the whole page. So most pages cost a short
 * hash, and pages that differ in a few bytes are still told apart.
 *
 * A shared entry has a hold of Quire on its page. Without it, the page could be
 * freed, and its id could come to name a page of another sharing group.
 *
 *   S1  An entry is unused, a candidate (of a VM), shared (of a page id), or
 *       AMBIGUOUS (of neither).
 *   S2  A bucket has at most SHARE_TWINS entries of one key and group, of which at
 *       most one is shared or AMBIGUOUS.
 *   S3  The counts of candidates and shared entries are what a recount finds.
 *   S4  The page of a shared entry is a shared page.
 */
#include "mm/share/share.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "share_internal.h"

struct share share;

#define BUCKET_WAYS 4u /* entries in a cache line */
#define SHARE_TWINS 2u
/* An entry that was not met for this many passes is no loss, and does not count as evicted. */
#define LOSS_PASSES 2u

_Static_assert(BUCKET_WAYS * sizeof(struct share_entry) == 64, "a bucket is a cache line");

/* --- entries ------------------------------------------------------------------------------ */

static struct share_entry *bucket_of(uint64_t key)
{
	/* The lower half of the key chooses the bucket, the upper half is compared. */
	return &share.entries[((uint32_t)key * share.bucket_count >> 32) * BUCKET_WAYS];
}

static bool is_of(const struct share_entry *entry, uint64_t key, share_group_t group)
{
	return entry->kind != SHARE_ENTRY_UNUSED && entry->key == key >> 32 &&
	       entry->group == group;
}

static void entry_drop(struct share_entry *entry)
{
	unsigned done;

	if (entry->kind == SHARE_ENTRY_SHARED) {
		page_id_t id = { entry->where };
		q_status_t status = gmm_shared_put(GMM_VM_QUIRE, &id, 1, &done);
		Q_ASSERT(status == Q_OK);
		share.stats.shared_pages--;
	}
	share.stats.candidates -= entry->kind == SHARE_ENTRY_CANDIDATE;
	*entry = (struct share_entry){ .kind = SHARE_ENTRY_UNUSED };
}

/* Returns how much an entry is worth: unused ones least, then candidates, then others, by age. */
static unsigned worth(const struct share_entry *entry)
{
	uint16_t age = (uint16_t)(share.stats.pass - entry->pass);
	unsigned freshness = age < 255 ? 255u - age : 0;

	switch (entry->kind) {
	case SHARE_ENTRY_UNUSED: return 0;
	case SHARE_ENTRY_CANDIDATE: return 1 + freshness;
	case SHARE_ENTRY_AMBIGUOUS:
	case SHARE_ENTRY_SHARED: return 257 + freshness;
	}
	Q_ASSERT(!"an entry's kind is one of these");
	return 0;
}

/* Returns an empty entry of the key's bucket, for which it drops the one that is worth least. */
static struct share_entry *entry_make(uint64_t key)
{
	struct share_entry *bucket = bucket_of(key), *least = bucket;

	for (unsigned i = 1; i < BUCKET_WAYS; i++)
		if (worth(&bucket[i]) < worth(least))
			least = &bucket[i];
	share.stats.evicted += least->kind != SHARE_ENTRY_UNUSED &&
			       (uint16_t)(share.stats.pass - least->pass) < LOSS_PASSES;
	entry_drop(least);
	return least;
}

/* What a bucket has under a key and group. */
struct found {
	struct share_entry *decided; /* shared or AMBIGUOUS */
	struct share_entry *own;     /* a candidate: this very page */
	struct share_entry *other;   /* a candidate: another page */
	unsigned count;
};

static struct found bucket_search(const struct share_page *page, uint64_t key)
{
	struct share_entry *bucket = bucket_of(key);
	struct found found = { .count = 0 };

	for (unsigned i = 0; i < BUCKET_WAYS; i++) {
		struct share_entry *entry = &bucket[i];
		if (!is_of(entry, key, page->group))
			continue;
		found.count++;
		if (entry->kind != SHARE_ENTRY_CANDIDATE)
			found.decided = entry;
		else if (entry->vm == page->vm && entry->where == page->gfn.raw)
			found.own = entry;
		else
			found.other = entry;
	}
	return found;
}

static void candidate_add(const struct share_page *page, uint64_t key)
{
	*entry_make(key) = (struct share_entry){
		.key = (uint32_t)(key >> 32),
		.where = (uint32_t)page->gfn.raw,
		.vm = page->vm,
		.group = page->group,
		.pass = (uint16_t)share.stats.pass,
		.kind = SHARE_ENTRY_CANDIDATE,
	};
	share.stats.candidates++;
}

/* --- looking --------------------------------------------------------------------------------- */

static uint64_t key_of(const void *content, bool is_whole)
{
	uint64_t key = is_whole ? share_key_whole(content) : share_key_sample(content);
	return key & share.key_mask;
}

static struct share_match match_shared(struct share_entry *entry, uint64_t key)
{
	entry->pass = (uint16_t)share.stats.pass;
	share.stats.joins++;
	return (struct share_match){
		.advice = SHARE_JOIN, .group = entry->group, .key = key, .shared = { entry->where }
	};
}

static struct share_match match_pair(const struct share_entry *entry, uint64_t key)
{
	share.stats.pairs++;
	return (struct share_match){ .advice = SHARE_PAIR,
				     .group = entry->group,
				     .key = key,
				     .other_vm = entry->vm,
				     .other_gfn = gfn(entry->where) };
}

/* Matches a page by a key that is not AMBIGUOUS. */
static struct share_match match_by(const struct share_page *page, const struct found *found,
				   uint64_t key)
{
	bool is_settled =
		page->is_settled || (found->own && found->own->pass != (uint16_t)share.stats.pass);

	if (found->own)
		found->own->pass = (uint16_t)share.stats.pass;
	if (is_settled && found->decided)
		return match_shared(found->decided, key);
	if (is_settled && found->other)
		return match_pair(found->other, key);
	if (!found->own && found->count < SHARE_TWINS)
		candidate_add(page, key);
	return (struct share_match){ .advice = SHARE_NOTHING };
}

static struct share_match match_page(const struct share_page *page, const void *content,
				     uint64_t key)
{
	struct found found = bucket_search(page, key);

	if (!found.decided || found.decided->kind != SHARE_ENTRY_AMBIGUOUS)
		return match_by(page, &found, key);
	found.decided->pass = (uint16_t)share.stats.pass;
	share.stats.hashed_whole++;
	key = key_of(content, true);
	found = bucket_search(page, key);
	if (found.decided && found.decided->kind == SHARE_ENTRY_AMBIGUOUS)
		return (struct share_match){ .advice = SHARE_NOTHING };
	struct share_match match = match_by(page, &found, key);
	match.is_whole = true;
	return match;
}

struct share_match share_look(const struct share_page *page)
{
	const struct share_match nothing = { .advice = SHARE_NOTHING };

	share.stats.looked++;
	if (share_history_says_wait(page)) {
		share.stats.left_alone++;
		return nothing;
	}
	const void *content = gmm_page_peek(page->id);
	if (!content)
		return nothing;
	uint64_t key = key_of(content, false);
	/* The key first: most pages begin with some zeros, and scanning these would cost more. */
	if (key == share.zero_key && share_content_is_zero(content)) {
		share.stats.zero++;
		return (struct share_match){ .advice = SHARE_ZERO };
	}
	return page->group == SHARE_GROUP_NONE ? nothing : match_page(page, content, key);
}

/* --- what became of a match ------------------------------------------------------------------ */

/* Drops all entries of a key and group; the caller makes one that replaces them. */
static void key_drop(uint64_t key, share_group_t group)
{
	struct share_entry *bucket = bucket_of(key);

	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		if (is_of(&bucket[i], key, group))
			entry_drop(&bucket[i]);
}

void share_forget(const struct share_match *match)
{
	struct share_entry *bucket = bucket_of(match->key);

	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		if (is_of(&bucket[i], match->key, match->group) &&
		    bucket[i].kind == SHARE_ENTRY_CANDIDATE && bucket[i].vm == match->other_vm &&
		    bucket[i].where == match->other_gfn.raw)
			entry_drop(&bucket[i]);
}

static void differ(const struct share_match *match)
{
	share.stats.differed++;
	key_drop(match->key, match->group);
	*entry_make(match->key) = (struct share_entry){
		.key = (uint32_t)(match->key >> 32),
		.group = match->group,
		.pass = (uint16_t)share.stats.pass,
		.kind = SHARE_ENTRY_AMBIGUOUS,
	};
}

bool share_is_like(const struct share_match *match, page_id_t other)
{
	const void *content = gmm_page_peek(other);

	if (content && key_of(content, match->is_whole) == match->key)
		return true;
	if (match->advice == SHARE_PAIR)
		share_forget(match);
	return false;
}

enum share_comparison share_compare(const struct share_match *match, page_id_t page,
				    page_id_t other)
{
	/* Two pages are well within what stays mapped at a time. */
	const void *a = gmm_page_peek(page), *b = gmm_page_peek(other);

	if (!a || !b)
		return SHARE_CHANGED;
	if (gmm_page_is_equal(page, other))
		return SHARE_EQUAL;
	if (key_of(a, match->is_whole) != match->key || !share_is_like(match, other))
		return SHARE_CHANGED;
	differ(match);
	return SHARE_DIFFERENT;
}

void share_add(const struct share_match *match, page_id_t shared)
{
	key_drop(match->key, match->group);
	*entry_make(match->key) = (struct share_entry){
		.key = (uint32_t)(match->key >> 32),
		.where = shared.raw,
		.group = match->group,
		.pass = (uint16_t)share.stats.pass,
		.kind = SHARE_ENTRY_SHARED,
	};
	share.stats.shared_pages++;
}

/* --- age ------------------------------------------------------------------------------------------ */

void share_pass_begin(void)
{
	share.stats.pass++;
	share_reap();
}

static bool is_unused_by_vms(const struct share_entry *entry)
{
	struct gmm_page_info info;
	page_id_t id = { entry->where };

	if (entry->kind != SHARE_ENTRY_SHARED)
		return false;
	q_status_t status = gmm_page_info(id, &info);
	Q_ASSERT(status == Q_OK && info.kind == GMM_PAGE_SHARED); /* S4 */
	return info.references == 1;
}

uint64_t share_reap(void)
{
	struct gmm_stats machine;
	uint64_t count = 0;

	gmm_stats(&machine);
	/* shared_references - pages_saved pages are used by VMs. If all pages are, none can go. */
	if (machine.shared_pages + machine.pages_saved == machine.shared_references)
		return 0;
	for (uint64_t i = 0; i < share.entry_count; i++) {
		if (!is_unused_by_vms(&share.entries[i]))
			continue;
		entry_drop(&share.entries[i]);
		count++;
	}
	return count;
}

void share_clear(void)
{
	for (uint64_t i = 0; i < share.entry_count; i++)
		entry_drop(&share.entries[i]);
	share_history_clear();
}

/* --- start, figures, checks ------------------------------------------------------------------------- */

void share_init(const struct share_config *config, void *memory)
{
	uint64_t history_bytes = config->size_bytes / 8;

	Q_ASSERT(config->size_bytes > 0 && is_aligned(config->size_bytes, PAGE_SIZE));
	memset(&share, 0, sizeof(share));
	share.entry_count = (config->size_bytes - history_bytes) / sizeof(struct share_entry);
	share.bucket_count = share.entry_count / BUCKET_WAYS;
	share.entries = memory;
	share.key_mask = config->key_mask;
	share.zero_key = key_of(memory, false);
	share.stats.size_bytes = config->size_bytes;
	share.stats.entry_count = share.entry_count;
	share_history_init((uint8_t *)memory + config->size_bytes - history_bytes, history_bytes);
}

void share_stats(struct share_stats *out_stats)
{
	*out_stats = share.stats;
}

bool share_hash(page_id_t id, uint64_t *out_hash)
{
	const void *content = gmm_page_peek(id);

	if (page_id_is_nil(id) || !content)
		return false;
	*out_hash = share_key_whole(content);
	return true;
}

/* Asserts S2 for one entry of a bucket and those after it. */
static void twins_check(const struct share_entry *bucket, unsigned first)
{
	unsigned twins = 1, decided = bucket[first].kind != SHARE_ENTRY_CANDIDATE;

	for (unsigned i = first + 1; i < BUCKET_WAYS; i++) {
		if (bucket[i].kind == SHARE_ENTRY_UNUSED || bucket[i].key != bucket[first].key ||
		    bucket[i].group != bucket[first].group)
			continue;
		twins++;
		decided += bucket[i].kind != SHARE_ENTRY_CANDIDATE;
	}
	Q_ASSERT(twins <= SHARE_TWINS && decided <= 1);
}

void share_check(void)
{
	uint64_t candidates = 0, shared = 0;

	for (uint64_t i = 0; i < share.entry_count; i++) {
		const struct share_entry *entry = &share.entries[i];
		candidates += entry->kind == SHARE_ENTRY_CANDIDATE;
		shared += entry->kind == SHARE_ENTRY_SHARED;
		(void)is_unused_by_vms(entry); /* S4 */
		if (entry->kind != SHARE_ENTRY_UNUSED)
			twins_check(&share.entries[i - i % BUCKET_WAYS], i % BUCKET_WAYS);
	}
	/* S3 */
	Q_ASSERT(candidates == share.stats.candidates && shared == share.stats.shared_pages);
}
