/* SPDX-License-Identifier: MIT */
/*
 * Remembers guest pages that were merged, to find those that are written again. A
 * page that is private although it was merged has been broken. It is left alone for
 * two passes, after the next time for four, and so on up to 32. Slots are few, and
 * now and then another page takes one; then a page is merged once more than it
 * should be.
 *
 * The states of a slot. Each says what is guaranteed, then what ends it:
 *
 *   unused   Its tag is 0. share_merged() takes it.
 *   merged   The page has been a shared one; it is broken if it is private now.
 *            share_history_says_wait() ends it when it is asked, because the
 *            scanner asks about private pages only.
 *   waiting  The page is left alone until pass `next`, which ends it.
 *   over     The page may be merged; `failures` still counts. share_merged() ends it.
 *            So do 96 passes, because PASS_MASK tells only 128 passes apart: the page
 *            then waits for 32 passes once more.
 *
 * share_merged() gives a slot in any state to another page.
 */
#include <quire/addr.h>

#include "lib/string.h"

#include "share_internal.h"

#define MERGED       0x80u
#define PASS_MASK    0x7fu
#define FAILURES_MAX 5u /* 32 passes: less than half of what PASS_MASK can tell apart */

/* Any good mixer will do: it only has to spread slots and tags. */
static uint64_t place_hash(const struct share_page *page)
{
	uint64_t z = (page->gfn.raw << 16 | page->vm) * 0x9e3779b97f4a7c15;
	return z ^ z >> 32;
}

static struct share_history *slot_of(uint64_t hash)
{
	return &share.history[(uint32_t)hash * share.history_count >> 32];
}

static uint16_t tag_of(uint64_t hash)
{
	/* Never 0, which marks an unused slot. */
	return (uint16_t)(hash >> 48 | 1);
}

void share_history_init(void *memory, uint64_t size_bytes)
{
	share.history = memory;
	share.history_count = size_bytes / sizeof(struct share_history);
}

void share_history_clear(void)
{
	memset(share.history, 0, share.history_count * sizeof(struct share_history));
}

static void broken_note(struct share_history *slot)
{
	if (slot->failures < FAILURES_MAX)
		slot->failures++;
	slot->next = (share.stats.pass + (1u << slot->failures)) & PASS_MASK;
	share.stats.broken++;
}

bool share_history_says_wait(const struct share_page *page)
{
	uint64_t hash = place_hash(page);
	struct share_history *slot = slot_of(hash);

	if (slot->tag != tag_of(hash))
		return false;
	if (slot->next & MERGED)
		broken_note(slot);
	unsigned left = (slot->next - share.stats.pass) & PASS_MASK;
	return left > 0 && left <= 1u << FAILURES_MAX;
}

void share_merged(const struct share_page *page)
{
	uint64_t hash = place_hash(page);
	struct share_history *slot = slot_of(hash);

	if (slot->tag != tag_of(hash))
		*slot = (struct share_history){ .tag = tag_of(hash) };
	slot->next = MERGED;
}
