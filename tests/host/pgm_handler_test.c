/* SPDX-License-Identifier: MIT */
/* Physical handlers: ranges that split and join, what they stop, and what stays mapped. */
#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define TAG 7u

static void handler_add(uint64_t start, uint64_t pages, enum pgm_handler_kind kind, uint32_t tag)
{
	EXPECT(pgm_handler_add(pgm, gpa(start), PAGES(pages), kind, tag) == Q_OK);
	check();
}

static void handler_remove(uint64_t start, uint64_t pages)
{
	EXPECT(pgm_handler_remove(pgm, gpa(start), PAGES(pages)) == Q_OK);
	check();
}

static q_status_t behind_write(uint64_t addr, uint8_t byte)
{
	q_status_t status = pgm_handler_write(pgm, gpa(addr), &byte, 1, NULL);
	check();
	return status;
}

static uint8_t behind_read(uint64_t addr)
{
	uint8_t byte = 0xee;
	EXPECT(pgm_handler_read(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	return byte;
}

/* --- what a handler stops -------------------------------------------------------------- */

static void writes_are_stopped(const struct slat_format *format)
{
	set_up(format, MIB(4));
	write_byte(0x3000, 1);
	EXPECT(touch(0x3000, MEM_WRITE) == PGM_RESOLVED && nested(0x3000).can_write);
	EXPECT(touch(0x4000, MEM_READ) == PGM_RESOLVED);
	handler_add(0x3000, 2, PGM_HANDLER_WRITE, TAG);
	/* Reads cause no fault. */
	EXPECT(nested(0x3000).is_present && !nested(0x3000).can_write);
	EXPECT(*nested_byte(0x3000) == 1 && read_byte(0x3000) == 1 && read_byte(0x4000) == 0);
	EXPECT(touch(0x3123, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == TAG);
	EXPECT(touch(0x4fff, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == TAG);
	EXPECT(touch(0x3123, MEM_READ) == PGM_RESOLVED && !nested(0x3000).can_write);
	EXPECT(touch(0x4123, MEM_EXEC) == PGM_RESOLVED && !nested(0x4000).can_write);
	EXPECT(try_write(0x3000, 2) == Q_HANDLER && try_write(0x4fff, 2) == Q_HANDLER);
	EXPECT(read_byte(0x3000) == 1 && read_byte(0x4fff) == 0);
	/* Behind the handler is memory as before, also where it was the zero page. */
	EXPECT(behind_write(0x3000, 3) == Q_OK && behind_write(0x4fff, 4) == Q_OK);
	EXPECT(read_byte(0x3000) == 3 && read_byte(0x4fff) == 4);
	EXPECT(touch(0x4fff, MEM_READ) == PGM_RESOLVED && *nested_byte(0x4fff) == 4);
	EXPECT(!nested(0x4fff).can_write);
	/* The handler does not affect neighbouring pages. */
	EXPECT(touch(0x2fff, MEM_WRITE) == PGM_RESOLVED &&
	       touch(0x5000, MEM_WRITE) == PGM_RESOLVED);
	handler_remove(0x3000, 2);
	EXPECT(touch(0x3000, MEM_WRITE) == PGM_RESOLVED && nested(0x3000).can_write);
	EXPECT(*nested_byte(0x3000) == 3);
	write_byte(0x4fff, 5);
}

TEST(pgm_handler, writes_are_stopped_and_reads_are_not)
{
	BOTH(writes_are_stopped);
}

static void all_accesses_are_stopped(const struct slat_format *format)
{
	uint8_t byte;

	set_up(format, MIB(4));
	write_byte(0x3000, 1);
	EXPECT(touch(0x3000, MEM_WRITE) == PGM_RESOLVED);
	handler_add(0x3000, 1, PGM_HANDLER_ALL, TAG);
	EXPECT(!nested(0x3000).is_present);
	for (int access = MEM_READ; access <= MEM_EXEC; access++) {
		EXPECT(touch(0x3008, access) == PGM_HANDLER && last_fault.handler_tag == TAG);
		EXPECT(!nested(0x3000).is_present);
	}
	EXPECT(pgm_read(pgm, gpa(0x3000), &byte, 1, NULL) == Q_HANDLER);
	EXPECT(try_write(0x3000, 2) == Q_HANDLER);
	EXPECT(behind_read(0x3000) == 1);
	EXPECT(behind_write(0x3000, 9) == Q_OK && behind_read(0x3000) == 9);
	handler_remove(0x3000, 1);
	EXPECT(touch(0x3000, MEM_READ) == PGM_RESOLVED && *nested_byte(0x3000) == 9);
}

TEST(pgm_handler, all_accesses_are_stopped)
{
	BOTH(all_accesses_are_stopped);
}

TEST(pgm_handler, the_generation_rises_when_a_present_entry_changes)
{
	set_up(&slat_npt, MIB(4));
	uint64_t generation = pgm_slat_generation(pgm);
	handler_add(0x1000, 1, PGM_HANDLER_WRITE, 0); /* not mapped */
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(touch(0x2000, MEM_READ) == PGM_RESOLVED);
	handler_add(0x2000, 1, PGM_HANDLER_WRITE, 0); /* mapped read-only already */
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(touch(0x3000, MEM_WRITE) == PGM_RESOLVED);
	handler_add(0x3000, 1, PGM_HANDLER_WRITE, 0);
	EXPECT(pgm_slat_generation(pgm) == ++generation);
	EXPECT(touch(0x4000, MEM_READ) == PGM_RESOLVED);
	handler_add(0x4000, 1, PGM_HANDLER_ALL, 0);
	EXPECT(pgm_slat_generation(pgm) == ++generation);
	handler_remove(0x1000, 4); /* allows more: no CPU needs to flush */
	EXPECT(pgm_slat_generation(pgm) == generation);
}

/* A copy that meets a handler has copied the bytes before it. */
TEST(pgm_handler, a_range_ends_where_a_handler_begins)
{
	static uint8_t out[PAGES(4)], in[PAGES(4)];
	uint64_t done = 99;

	set_up(&slat_npt, MIB(4));
	memset(out, 0x5a, sizeof(out));
	handler_add(0x6000, 1, PGM_HANDLER_ALL, 0);
	EXPECT(pgm_write(pgm, gpa(0x4800), out, sizeof(out), &done) == Q_HANDLER);
	EXPECT(done == 0x1800);
	EXPECT(pgm_read(pgm, gpa(0x4800), in, sizeof(in), &done) == Q_HANDLER && done == 0x1800);
	EXPECT(memcmp(in, out, 0x1800) == 0);
	EXPECT(pgm_handler_write(pgm, gpa(0x4800), out, sizeof(out), &done) == Q_OK);
	EXPECT(pgm_handler_read(pgm, gpa(0x4800), in, sizeof(in), &done) == Q_OK);
	EXPECT(memcmp(in, out, sizeof(in)) == 0 && done == sizeof(in));
	check();
}

/* The emulator finds the page backed, so that its write behind the handler cannot fail. */
TEST(pgm_handler, a_write_fault_backs_the_page_first)
{
	set_up(&slat_npt, MIB(4));
	handler_add(0x1000, 2, PGM_HANDLER_ALL, TAG);
	EXPECT(touch(0x1000, MEM_READ) == PGM_HANDLER && stats().private_pages == 0);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_HANDLER && stats().private_pages == 1);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_HANDLER && stats().private_pages == 1);
	for (uint64_t addr = MIB(1); stats().handy > 0; addr += PAGE_SIZE)
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(0x2000, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_HANDLER);
	EXPECT(behind_write(0x1000, 1) == Q_OK);
}

TEST(pgm_handler, rom_can_have_one)
{
	static uint8_t image[PAGES(2)];

	memset(image, 0x77, sizeof(image));
	set_up(&slat_ept, MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), image, sizeof(image)) == Q_OK);
	handler_add(0xe0000, 1, PGM_HANDLER_WRITE, TAG);
	EXPECT(touch(0xe0000, MEM_READ) == PGM_RESOLVED && *nested_byte(0xe0000) == 0x77);
	EXPECT(touch(0xe0000, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == TAG);
	EXPECT(touch(0xe1000, MEM_WRITE) == PGM_DENIED);
	EXPECT(try_write(0xe0000, 1) == Q_HANDLER && try_write(0xe1000, 1) == Q_RANGE);
	/* ROM takes no writes behind the handler either. */
	EXPECT(behind_write(0xe0000, 1) == Q_RANGE && read_byte(0xe0000) == 0x77);
}

TEST(pgm_handler, outlives_a_reset)
{
	set_up(&slat_npt, MIB(4));
	write_byte(0x1000, 1);
	handler_add(0x1000, 1, PGM_HANDLER_WRITE, TAG);
	pgm_reset(pgm);
	check();
	EXPECT(read_byte(0x1000) == 0 && stats().private_pages == 0);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_HANDLER && last_fault.handler_tag == TAG);
	EXPECT(touch(0x2000, MEM_WRITE) == PGM_RESOLVED);
}

/* --- ranges --------------------------------------------------------------------------------- */

TEST(pgm_handler, only_whole_pages_of_memory_can_have_one)
{
	set_up(&slat_npt, MIB(4));
	EXPECT(pgm_handler_add(pgm, gpa(0x1000), 0, PGM_HANDLER_ALL, 0) == Q_INVALID);
	EXPECT(pgm_handler_add(pgm, gpa(0x1001), PAGES(1), PGM_HANDLER_ALL, 0) == Q_INVALID);
	EXPECT(pgm_handler_add(pgm, gpa(0x1000), 100, PGM_HANDLER_ALL, 0) == Q_INVALID);
	EXPECT(pgm_handler_add(pgm, gpa(0x1000), PAGES(1), PGM_HANDLER_NONE, 0) == Q_INVALID);
	EXPECT(pgm_handler_add(pgm, gpa(0x9f000), PAGES(2), PGM_HANDLER_ALL, 0) == Q_RANGE);
	EXPECT(pgm_handler_add(pgm, gpa(0xa0000), PAGES(1), PGM_HANDLER_ALL, 0) == Q_RANGE);
	EXPECT(pgm_handler_add(pgm, gpa(MIB(4)), PAGES(1), PGM_HANDLER_ALL, 0) == Q_RANGE);
	EXPECT(pgm_handler_add(pgm, gpa(~PAGE_MASK), PAGES(2), PGM_HANDLER_ALL, 0) == Q_RANGE);
	EXPECT(pgm_handler_add(pgm, gpa(PGM_GPA_LIMIT), PAGES(1), PGM_HANDLER_ALL, 0) == Q_RANGE);
	EXPECT(pgm_handler_remove(pgm, gpa(0x1001), PAGES(1)) == Q_INVALID);
	EXPECT(pgm_handler_remove(pgm, gpa(0x1000), 0) == Q_INVALID);
	EXPECT(pgm_handler_remove(pgm, gpa(PGM_GPA_LIMIT), PAGES(1)) == Q_RANGE);
	EXPECT(pgm_handler_remove(pgm, gpa(0), MIB(4)) == Q_NOT_FOUND);
	EXPECT(pgm->handler_count == 0);
	check();
}

TEST(pgm_handler, ranges_join_and_split)
{
	set_up(&slat_npt, MIB(4));
	handler_add(PAGES(10), 2, PGM_HANDLER_WRITE, TAG);
	handler_add(PAGES(14), 2, PGM_HANDLER_WRITE, TAG);
	EXPECT(pgm->handler_count == 2);
	handler_add(PAGES(12), 2, PGM_HANDLER_WRITE, TAG); /* fills the gap */
	EXPECT(pgm->handler_count == 1);
	handler_add(PAGES(16), 1, PGM_HANDLER_ALL, TAG);      /* another kind */
	handler_add(PAGES(9), 1, PGM_HANDLER_WRITE, TAG + 1); /* another tag */
	EXPECT(pgm->handler_count == 3);
	EXPECT(pgm_handler_add(pgm, gpa(PAGES(8)), PAGES(2), PGM_HANDLER_ALL, 0) == Q_CONFLICT);
	EXPECT(pgm_handler_add(pgm, gpa(PAGES(15)), PAGES(1), PGM_HANDLER_ALL, 0) == Q_CONFLICT);
	handler_remove(PAGES(12), 1); /* out of the middle */
	EXPECT(pgm->handler_count == 4);
	EXPECT(touch(PAGES(11), MEM_WRITE) == PGM_HANDLER);
	EXPECT(touch(PAGES(12), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(PAGES(13), MEM_WRITE) == PGM_HANDLER);
	handler_remove(PAGES(11), 3); /* the end of one, the beginning of the next */
	EXPECT(pgm->handler_count == 4);
	EXPECT(touch(PAGES(10), MEM_WRITE) == PGM_HANDLER);
	EXPECT(touch(PAGES(13), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(PAGES(14), MEM_WRITE) == PGM_HANDLER);
	handler_remove(0, 160);
	EXPECT(pgm->handler_count == 0);
}

TEST(pgm_handler, there_is_room_for_so_many)
{
	set_up(&slat_npt, MIB(4));
	for (unsigned i = 0; i < PGM_HANDLER_MAX - 1; i++)
		handler_add(PAGES(2 * i), 1, PGM_HANDLER_WRITE, 0);
	handler_add(PAGES(100), 3, PGM_HANDLER_WRITE, 0);
	EXPECT(pgm_handler_add(pgm, gpa(PAGES(90)), PAGES(1), PGM_HANDLER_WRITE, 0) == Q_LIMIT);
	EXPECT(pgm_handler_remove(pgm, gpa(PAGES(101)), PAGES(1)) == Q_LIMIT);
	check();
	EXPECT(touch(PAGES(101), MEM_WRITE) == PGM_HANDLER);
	EXPECT(touch(PAGES(90), MEM_WRITE) == PGM_RESOLVED);
	handler_add(PAGES(1), 1, PGM_HANDLER_WRITE, 0); /* joins two: one less */
	EXPECT(pgm->handler_count == PGM_HANDLER_MAX - 1);
	handler_remove(PAGES(101), 1);
	EXPECT(pgm->handler_count == PGM_HANDLER_MAX);
}

/* Random ranges, compared with a model that has a kind and a tag for each page. */
#define MODEL_PAGES 48u

struct model_page {
	enum pgm_handler_kind kind;
	uint32_t tag;
};

static unsigned model_ranges(const struct model_page *pages)
{
	unsigned count = 0;

	for (unsigned i = 0; i < MODEL_PAGES; i++)
		if (pages[i].kind != PGM_HANDLER_NONE &&
		    (i == 0 || memcmp(&pages[i], &pages[i - 1], sizeof(*pages)) != 0))
			count++;
	return count;
}

/* Sets [first, first + count) to `page` and returns what PGM must return. */
static q_status_t model_set(struct model_page *pages, unsigned first, unsigned count,
			    struct model_page page)
{
	struct model_page next[MODEL_PAGES];
	unsigned taken = 0;

	memcpy(next, pages, sizeof(next));
	for (unsigned i = first; i < first + count; i++) {
		taken += next[i].kind != PGM_HANDLER_NONE;
		next[i] = page;
	}
	if (page.kind != PGM_HANDLER_NONE && taken > 0)
		return Q_CONFLICT;
	if (page.kind == PGM_HANDLER_NONE && taken == 0)
		return Q_NOT_FOUND;
	if (model_ranges(next) > PGM_HANDLER_MAX)
		return Q_LIMIT;
	memcpy(pages, next, sizeof(next));
	return Q_OK;
}

static void expect_as_model(const struct model_page *pages)
{
	EXPECT(pgm->handler_count == model_ranges(pages));
	for (unsigned i = 0; i < MODEL_PAGES; i++) {
		struct pgm_fault fault = { .addr = gpa(PAGES(i)), .access = MEM_WRITE };
		bool is_handled = pages[i].kind != PGM_HANDLER_NONE;
		EXPECT(pgm_fault_handle(pgm, &fault) == (is_handled ? PGM_HANDLER : PGM_RESOLVED));
		EXPECT(!is_handled || fault.handler_tag == pages[i].tag);
		EXPECT(nested(PAGES(i)).can_write == !is_handled);
		fault.access = MEM_READ;
		is_handled = pages[i].kind == PGM_HANDLER_ALL;
		EXPECT(pgm_fault_handle(pgm, &fault) == (is_handled ? PGM_HANDLER : PGM_RESOLVED));
		EXPECT(nested(PAGES(i)).is_present == !is_handled);
	}
	check();
}

TEST(pgm_handler, random_ranges_are_as_the_model_says)
{
	struct model_page pages[MODEL_PAGES] = { { PGM_HANDLER_NONE, 0 } };
	unsigned by_status[Q_HANDLER + 1] = { 0 };

	set_up(&slat_npt, MIB(4));
	srand(1);
	for (unsigned i = 0; i < 1000; i++) {
		/* Mostly small ranges, so that all the room gets used; now and then most of them go. */
		unsigned first = (unsigned)rand() % MODEL_PAGES;
		unsigned room = MODEL_PAGES - first, most = i % 100 ? 2 : MODEL_PAGES;
		unsigned count = 1 + (unsigned)rand() % (room < most ? room : most);
		struct model_page page = { PGM_HANDLER_NONE, 0 };
		q_status_t expected, status;
		if (rand() % 4) {
			page.kind = rand() % 2 ? PGM_HANDLER_WRITE : PGM_HANDLER_ALL;
			page.tag = (unsigned)rand() % 2;
			expected = model_set(pages, first, count, page);
			status = pgm_handler_add(pgm, gpa(PAGES(first)), PAGES(count), page.kind,
						 page.tag);
		} else {
			expected = model_set(pages, first, count, page);
			status = pgm_handler_remove(pgm, gpa(PAGES(first)), PAGES(count));
		}
		EXPECT(status == expected);
		by_status[status]++;
		expect_as_model(pages);
	}
	EXPECT(by_status[Q_OK] > 100 && by_status[Q_CONFLICT] > 20);
	EXPECT(by_status[Q_NOT_FOUND] > 5);
}
