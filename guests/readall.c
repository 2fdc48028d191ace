/* SPDX-License-Identifier: MIT */
/*
 * Reads each page of its RAM, most of which it never wrote, and then waits for
 * ever. The reads must not cost the machine a page.
 */

#include "guest.h"

uint32_t guest_main(void)
{
	uint64_t page_count = 0;
	uint64_t seen = 0;

	for (uint64_t page = 0; page < ram_end(); page += GUEST_PAGE_SIZE) {
		seen |= *word_at(page);
		page_count++;
	}
	/* Printed so that no read can be left out. */
	print_result("readall: words or-ed together", seen);
	print_result("readall: pages", page_count);
	for (;;)
		__asm__ volatile("pause");
}
