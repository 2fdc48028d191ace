/* SPDX-License-Identifier: MIT */
/*
 * Writes memory and checks that it keeps what was written. Words of its command
 * line:
 *
 *   mib=N       how much memory (default 8)
 *   mode=fill   writes it page by page, then verifies it (default)
 *   mode=sweep  writes it again and again: each pass verifies what the last one wrote
 *   mode=thrash writes pages in random order, some of them more often than others
 *   mode=zero   fills, clears every other page, verifies, fills those again
 *   mode=race   fills on two CPUs at once: one writes the even words from the
 *               first page on, the other the odd ones from the last page back
 *   passes=N    of sweep and thrash (default 3)
 *   hold=1      before the last check waits for a key, with the prompt "fill# "
 *
 * The content of a page follows from its number and a generation, so a lost page,
 * or the content of another page, is noticed. The last check also computes a sum of
 * all words, which depends on their order; the test that started the guest can
 * compute the same sum. sweep and thrash also check that a page is zero before its
 * first write, and stays zero beside that write. If there is an initrd, its sum is
 * computed in the same way.
 */

#include "guest.h"

#define WORDS_A_PAGE (GUEST_PAGE_SIZE / sizeof(uint64_t))
#define PAGES_A_MIB  (1048576 / GUEST_PAGE_SIZE)
#define STEP         0x9e3779b97f4a7c15ull
#define SUM_FACTOR   31

enum mode { MODE_FILL, MODE_SWEEP, MODE_THRASH, MODE_ZERO, MODE_RACE };

static uint64_t area_start;
static uint64_t page_count;
static uint64_t passes;

static volatile uint64_t *page_at(uint64_t page)
{
	return word_at(area_start + page * GUEST_PAGE_SIZE);
}

/* splitmix64's finish: every bit of page and generation counts. */
static uint64_t first_word(uint64_t page, uint64_t generation)
{
	uint64_t z = (generation << 40) + page + 1;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void page_write(uint64_t page, uint64_t generation)
{
	volatile uint64_t *words = page_at(page);
	uint64_t word = first_word(page, generation);

	for (unsigned i = 0; i < WORDS_A_PAGE; i++, word += STEP)
		words[i] = word;
}

static void page_clear(uint64_t page)
{
	volatile uint64_t *words = page_at(page);

	for (unsigned i = 0; i < WORDS_A_PAGE; i++)
		words[i] = 0;
}

/* Adds the page's words to *sum. False: some word is wrong. */
static bool page_verify(uint64_t page, uint64_t generation, uint64_t *sum)
{
	volatile uint64_t *words = page_at(page);
	uint64_t expected = first_word(page, generation);
	uint64_t wrong = 0, total = 0;

	for (unsigned i = 0; i < WORDS_A_PAGE; i++, expected += STEP) {
		uint64_t word = words[i];

		wrong |= word ^ expected;
		total += word;
	}
	*sum = *sum * SUM_FACTOR + total;
	return wrong == 0;
}

static bool page_is_zero(uint64_t page)
{
	volatile uint64_t *words = page_at(page);
	uint64_t any = 0;

	for (unsigned i = 0; i < WORDS_A_PAGE; i++)
		any |= words[i];
	return any == 0;
}

/* For a page never written: true if it is zero, and stays zero beside the first write. */
static bool page_is_fresh(uint64_t page)
{
	bool was_zero = page_is_zero(page);

	page_at(page)[0] = 1;
	page_at(page)[0] = 0;
	return was_zero && page_is_zero(page);
}

/* --- modes: each leaves a generation for every page -------------------------------------- */

static void fill(void)
{
	for (uint64_t page = 0; page < page_count; page++)
		page_write(page, 1);
}

static void sweep(void)
{
	bool is_kept = true;
	uint64_t sum = 0;

	for (uint64_t pass = 1; pass <= passes; pass++) {
		for (uint64_t page = 0; page < page_count; page++) {
			if (pass == 1)
				is_kept = is_kept && page_is_fresh(page);
			else
				is_kept = is_kept && page_verify(page, pass - 1, &sum);
			page_write(page, pass);
		}
	}
	expect(is_kept, "fill.sweep");
}

/* Knuth's MMIX generator. Its high bits are the random ones. */
static uint64_t random_state;
static uint64_t random_page(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (random_state >> 33) % page_count;
}

/* How often each page was written; kept outside the area. */
#define PAGES_MAX 262144
static uint8_t times[PAGES_MAX];

static void thrash(void)
{
	bool is_kept = true;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < page_count * passes; i++) {
		uint64_t page = random_page();

		if (times[page] == 0)
			is_kept = is_kept && page_is_fresh(page);
		else
			is_kept = is_kept && page_verify(page, times[page], &sum);
		page_write(page, ++times[page]);
	}
	for (uint64_t page = 0; page < page_count; page++) {
		if (times[page] != 0)
			continue;
		is_kept = is_kept && page_is_fresh(page);
		page_write(page, 0);
	}
	expect(is_kept, "fill.thrash");
}

static void zero(void)
{
	bool is_kept = true;
	uint64_t sum = 0;

	fill();
	for (uint64_t page = 1; page < page_count; page += 2)
		page_clear(page);
	for (uint64_t page = 0; page < page_count; page++)
		is_kept = is_kept &&
			  ((page & 1) != 0 ? page_is_zero(page) : page_verify(page, 1, &sum));
	for (uint64_t page = 1; page < page_count; page += 2)
		page_write(page, 1);
	expect(is_kept, "fill.zero");
}

/* The pages that a CPU has done, counted for both CPUs together. */
static uint64_t pages_raced;

/* Writes every other word of the page, from `first` on. */
static void race_page(uint64_t page, unsigned first)
{
	volatile uint64_t *words = page_at(page);
	uint64_t word = first_word(page, 1) + first * STEP;

	for (unsigned i = first; i < WORDS_A_PAGE; i += 2, word += 2 * STEP)
		words[i] = word;
	__atomic_fetch_add(&pages_raced, 1, __ATOMIC_RELAXED);
}

static void race_back(void *argument)
{
	(void)argument;
	for (uint64_t page = page_count; page-- > 0;)
		race_page(page, 1);
}

static void race(void)
{
	second_cpu_start(race_back, NULL);
	for (uint64_t page = 0; page < page_count; page++)
		race_page(page, 0);
	while (__atomic_load_n(&pages_raced, __ATOMIC_ACQUIRE) != 2 * page_count)
		__asm__ volatile("pause");
}

static void initrd_add_up(void)
{
	uint64_t start, size_bytes, sum = 0;

	if (!initrd_find(&start, &size_bytes))
		return;
	for (uint64_t at = start; at < start + size_bytes; at += sizeof(uint64_t))
		sum = sum * SUM_FACTOR + *word_at(at);
	print_result("fill: initrd", sum);
}

/* Not a table of names or functions: it would hold addresses, which nothing relocates. */
static enum mode mode_chosen(void)
{
	if (option_is("mode", "sweep"))
		return MODE_SWEEP;
	if (option_is("mode", "thrash"))
		return MODE_THRASH;
	if (option_is("mode", "zero"))
		return MODE_ZERO;
	return option_is("mode", "race") ? MODE_RACE : MODE_FILL;
}

static void mode_run(enum mode mode)
{
	switch (mode) {
	case MODE_FILL: fill(); break;
	case MODE_SWEEP: sweep(); break;
	case MODE_THRASH: thrash(); break;
	case MODE_ZERO: zero(); break;
	case MODE_RACE: race(); break;
	}
}

/* The generation that `mode` leaves in the page. */
static uint64_t generation_of(enum mode mode, uint64_t page)
{
	switch (mode) {
	case MODE_SWEEP: return passes;
	case MODE_THRASH: return times[page];
	case MODE_FILL:
	case MODE_ZERO:
	case MODE_RACE: break;
	}
	return 1;
}

uint32_t guest_main(void)
{
	enum mode mode = mode_chosen();
	uint64_t sum = 0;
	bool is_kept = true;

	passes = option_number("passes", 3);
	page_count = option_number("mib", 8) * PAGES_A_MIB;
	area_start = image_memory_end();
	if (page_count > PAGES_MAX || area_start + page_count * GUEST_PAGE_SIZE > ram_end()) {
		expect(false, "fill.fits");
		return failures();
	}
	print_result("fill: pages", page_count);
	initrd_add_up();
	mode_run(mode);
	print("fill: written\n");
	if (option_is("hold", "1"))
		key_wait("fill# ");
	for (uint64_t page = 0; page < page_count; page++)
		is_kept = page_verify(page, generation_of(mode, page), &sum) && is_kept;
	expect(is_kept, "fill.verified");
	print_result("fill: checksum", sum);
	return failures();
}
