/* SPDX-License-Identifier: MIT */
/*
 * Touches each page of its RAM twice. The first time it must be all zeros, the
 * second time it must hold what the first left there.
 */

#include "guest.h"

/* The loader may use what lies below FIRST, and the last END_MARGIN bytes. */
#define FIRST        (32ull << 20)
#define END_MARGIN   (1ull << 20)
#define WORDS_A_PAGE (GUEST_PAGE_SIZE / sizeof(uint64_t))

static bool is_zero(uint64_t page)
{
	for (unsigned i = 0; i < WORDS_A_PAGE; i++)
		if (word_at(page)[i] != 0)
			return false;
	return true;
}

uint32_t guest_main(void)
{
	uint64_t end = ram_end() - END_MARGIN;
	uint64_t page_count = 0;
	bool is_all_zero = true;
	bool is_kept = true;

	for (uint64_t page = FIRST; page < end; page += GUEST_PAGE_SIZE) {
		/* Every other page is written without being read first. */
		if ((page & GUEST_PAGE_SIZE) != 0)
			is_all_zero = is_all_zero && is_zero(page);
		*word_at(page + GUEST_PAGE_SIZE - sizeof(uint64_t)) = page;
		is_all_zero = is_all_zero && *word_at(page) == 0;
		page_count++;
	}
	expect(is_all_zero, "touch.first_pass");
	for (uint64_t page = FIRST; page < end; page += GUEST_PAGE_SIZE)
		is_kept = is_kept && *word_at(page + GUEST_PAGE_SIZE - sizeof(uint64_t)) == page;
	expect(is_kept && page_count > 0, "touch.second_pass");
	print_result("touch: pages", page_count);
	return failures();
}
