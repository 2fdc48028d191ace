/* SPDX-License-Identifier: MIT */
/*
 * Work for the sharing scanner: many pages with few different contents, rewritten
 * again and again. A page must always read as it was written last.
 *
 * Each page has a value, which decides its content; value 0 is a page of zeros.
 * Words of its command line, all numbers:
 *
 *   pages    how many pages (default 256)
 *   values   how many values; each page has a random one (4)
 *   seed     of the random numbers: guests with the same seed write the same (1)
 *   order    1: the pages get the values in turn, instead of random ones
 *   salt     changes the content of every value but 0 (0)
 *   tail     contents differ only in the last byte of this word of 512 (0: everywhere)
 *   rest     TSC ticks to halt after each round (1,000,000)
 *   rounds   how often `writes` random pages are checked and rewritten (0)
 *   writes   pages for each round (16)
 *   time     1: after the rounds, rests and then measures a write to each page
 *   stay     1: prints "share: done" and halts for ever, else it ends
 *
 * It prints "share: filled", "ok share.data" if all pages were always right, and
 * with time=1 "share: write LEAST MEDIAN MOST", in ticks.
 */

#include "guest.h"

#define FIRST     (32ull << 20)
#define PAGES_MAX 16384u
#define WORDS     (GUEST_PAGE_SIZE / sizeof(uint64_t))
#define FOREVER   (1ull << 62)

static uint16_t values[PAGES_MAX];
static uint32_t times[PAGES_MAX];
static uint64_t page_count, value_count, random_state, salt, tail;

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t random_below(uint64_t limit)
{
	return mix(random_state += 0x9e3779b97f4a7c15) % limit;
}

static uint64_t word_of(uint64_t value, uint64_t index)
{
	if (tail != 0)
		return 0x5151515151515151 + (index == tail ? value << 56 : 0);
	return value == 0 ? 0 : mix(salt << 32 | value << 16 | index);
}

static volatile uint64_t *page_at(uint64_t page)
{
	return word_at(FIRST + page * GUEST_PAGE_SIZE);
}

static void page_write(uint64_t page, uint64_t value)
{
	values[page] = (uint16_t)value;
	for (uint64_t i = 0; i < WORDS; i++)
		page_at(page)[i] = word_of(value, i);
}

static bool page_is_right(uint64_t page)
{
	for (uint64_t i = 0; i < WORDS; i++)
		if (page_at(page)[i] != word_of(values[page], i))
			return false;
	return true;
}

static bool all_are_right(void)
{
	for (uint64_t page = 0; page < page_count; page++)
		if (!page_is_right(page))
			return false;
	return true;
}

static bool rounds_do(uint64_t round_count, uint64_t write_count, uint64_t rest_ticks)
{
	for (uint64_t round = 0; round < round_count; round++) {
		for (uint64_t i = 0; i < write_count; i++) {
			uint64_t page = random_below(page_count);

			if (!page_is_right(page))
				return false;
			page_write(page, random_below(value_count));
		}
		if (rest_ticks > 0)
			halt_for(rest_ticks);
	}
	return true;
}

/* The time at `rank` of the sorted times, found by counting: sorting by insertion takes longer. */
static uint32_t ranked(uint64_t rank)
{
	for (uint64_t i = 0; i < page_count; i++) {
		uint64_t less = 0, equal = 0;

		for (uint64_t j = 0; j < page_count; j++) {
			less += times[j] < times[i];
			equal += times[j] == times[i];
		}
		if (less <= rank && rank < less + equal)
			return times[i];
	}
	return 0;
}

/* Writes the words that the pages hold already, so the pages stay right. */
static void writes_time(void)
{
	for (uint64_t page = 0; page < page_count; page++) {
		uint64_t word = word_of(values[page], 0);
		uint64_t start = rdtsc();

		page_at(page)[0] = word;
		times[page] = (uint32_t)(rdtsc() - start);
	}
	print("share: write ");
	print_number(ranked(0));
	print(" ");
	print_number(ranked(page_count / 2));
	print_result("", ranked(page_count - 1));
}

uint32_t guest_main(void)
{
	uint64_t rest_ticks = option_number("rest", 1000000);
	bool is_right;

	page_count = option_number("pages", 256);
	value_count = option_number("values", 4);
	random_state = option_number("seed", 1);
	salt = option_number("salt", 0);
	tail = option_number("tail", 0);
	bool is_in_order = option_number("order", 0) != 0;
	if (page_count > PAGES_MAX || FIRST + page_count * GUEST_PAGE_SIZE > ram_end())
		return 1;
	for (uint64_t page = 0; page < page_count; page++) {
		times[page] = 0; /* so that the array does not fault while the clock runs */
		page_write(page, is_in_order ? page % value_count : random_below(value_count));
	}
	print("share: filled\n");
	is_right = rounds_do(option_number("rounds", 0), option_number("writes", 16), rest_ticks);
	if (option_number("time", 0) != 0) {
		halt_for(rest_ticks);
		writes_time();
	}
	expect(is_right && all_are_right(), "share.data");
	if (option_number("stay", 0) != 0) {
		print("share: done\n");
		halt_for(FOREVER);
	}
	return failures();
}
