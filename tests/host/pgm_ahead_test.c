/* SPDX-License-Identifier: MIT */
/* Working ahead: what a run is given, what is taken back, and when the mark must go. */
#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

static void vm_make(const struct slat_format *format, uint64_t ram_bytes,
		    enum gmm_overcommit overcommit)
{
	struct pgm_config config = config_of(format, ram_bytes);

	config.overcommit = overcommit;
	config.has_dirty_bits = true;
	config.works_ahead = true;
	machine_set_up(MIB(64));
	vm_create(config);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
}

static void ahead_set_up(const struct slat_format *format)
{
	vm_make(format, MIB(4), GMM_OVERCOMMIT_FULL);
}

static void rest(void)
{
	pgm_ahead_rest(pgm);
	check();
}

static struct pgm_record *record_of(uint64_t addr)
{
	return pgm_record_find(pgm, gpa_to_gfn(gpa(addr)));
}

static bool is_marked(uint64_t addr)
{
	return record_of(addr)->d2 & PGM_RECORD_AHEAD;
}

static page_id_t id_of(uint64_t addr)
{
	return pgm_record_id(*record_of(addr));
}

/* Writes like a CPU, through the nested tables. */
static void cpu_write(uint64_t addr)
{
	*nested_byte(addr) = 1;
	nested_dirty_set(pgm_slat_root(pgm).raw, addr, pgm->slat.format == &slat_ept);
	check();
}

/* The guest writes, with an exit if its tables do not allow it. True: there was an exit. */
static bool guest_write(uint64_t addr)
{
	bool is_exit = !nested(addr).can_write;

	if (is_exit)
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
	cpu_write(addr);
	return is_exit;
}

static unsigned run_exits(uint64_t first, int step, unsigned page_count)
{
	unsigned exits = 0;

	for (unsigned i = 0; i < page_count; i++)
		exits += guest_write(first + (uint64_t)(step * (int)i) * PAGE_SIZE);
	return exits;
}

/* Ten pages from RUN on are used; AHEAD and the pages after it are not. */
#define RUN        0x200000ull
#define RUN_PAGES  10u
#define AHEAD      0x20c000ull
#define AHEAD_NEXT 0x20d000ull

static void run_set_up(const struct slat_format *format)
{
	ahead_set_up(format);
	EXPECT(run_exits(RUN, 1, RUN_PAGES) == 4);
	EXPECT(is_marked(AHEAD) && is_marked(AHEAD_NEXT) && nested(AHEAD).can_write);
}

/* --- handing out ----------------------------------------------------------------------------- */

static void runs_cost_few_exits(const struct slat_format *format)
{
	/* Faults at pages 0 and 1, then 4 (after 2 ahead), 9 (4), 18 (8), 35 (16), ... */
	ahead_set_up(format);
	EXPECT(run_exits(0x200000, 1, 36) == 6);
	refill();
	EXPECT(run_exits(0x180000, -1, 36) == 6);
}

TEST(pgm_ahead, runs_cost_few_exits_up_and_down)
{
	BOTH(runs_cost_few_exits);
}

TEST(pgm_ahead, nothing_is_handed_out_where_nobody_says_what_is_used)
{
	struct pgm_config config = config_of(&slat_ept, MIB(4));

	config.works_ahead = true;
	machine_set_up(MIB(64));
	vm_create(config);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(run_exits(RUN, 1, 36) == 36 && stats().counters.ahead_given == 0);
}

/* It gets whole chunks, or single pages where a block is not whole, but none ahead. */
TEST(pgm_ahead, who_owns_all_memory_is_given_nothing_ahead)
{
	vm_make(&slat_npt, MIB(4), GMM_OVERCOMMIT_NONE);
	(void)run_exits(MIB(1), 1, 36);
	EXPECT(stats().private_pages == 36 && stats().counters.ahead_given == 0);
	(void)run_exits(RUN, 1, 36);
	EXPECT(stats().counters.ahead_given == 0 && stats().large == (GMM_CHUNK_SHIFT == 21));
}

TEST(pgm_ahead, runs_end_where_memory_is_not_untouched_ram)
{
	static uint64_t rom[PAGE_SIZE / 8] = { 1 };

	ahead_set_up(&slat_npt);
	EXPECT(pgm_rom_add(pgm, gpa(0xa0000), rom, PAGE_SIZE) == Q_OK);
	(void)run_exits(0x90000, 1, 16); /* RAM ends at 0xa0000, where the ROM begins */
	EXPECT(stats().private_pages == 16 && !nested(0xa0000).is_present);
	(void)run_exits(0x1f8000, 1, 8); /* another nested table begins at 0x200000 */
	EXPECT(stats().private_pages == 24 && !nested(0x200000).is_present);
	(void)run_exits(0x107000, -1, 8); /* RAM above the hole begins at 0x100000 */
	EXPECT(stats().private_pages == 32);
	pgm_reset(pgm);
	check();
	EXPECT(stats().private_pages == 0 && stats().ahead == 0);
}

static void runs_end_at_handlers(const struct slat_format *format)
{
	ahead_set_up(format);
	EXPECT(pgm_handler_add(pgm, gpa(0x204000), PAGES(1), PGM_HANDLER_WRITE, 1) == Q_OK);
	(void)run_exits(RUN, 1, 4);
	EXPECT(stats().private_pages == 4 && !nested(0x204000).is_present);
	/* A page that the VM has is not mapped either if a handler wants its accesses. */
	EXPECT(pgm_handler_add(pgm, gpa(0x302000), PAGES(1), PGM_HANDLER_ALL, 1) == Q_OK);
	uint8_t byte = 7;
	EXPECT(pgm_handler_write(pgm, gpa(0x302000), &byte, 1, NULL) == Q_OK);
	(void)run_exits(0x300000, 1, 2);
	EXPECT(!nested(0x302000).is_present);
}

TEST(pgm_ahead, runs_end_where_somebody_watches)
{
	BOTH(runs_end_at_handlers);
}

TEST(pgm_ahead, reading_runs_map_what_is_there)
{
	static uint8_t image[32 * PAGE_SIZE];

	ahead_set_up(&slat_npt);
	EXPECT(pgm_write(pgm, gpa(0x200000), image, sizeof(image), NULL) == Q_OK);
	EXPECT(touch(0x200000, MEM_READ) == PGM_RESOLVED && !nested(0x201000).is_present);
	EXPECT(touch(0x201000, MEM_READ) == PGM_RESOLVED);
	EXPECT(nested(0x203000).is_present && !nested(0x204000).is_present);
	EXPECT(stats().private_pages == 32 && stats().counters.ahead_given == 0);
}

/* The zero page was mapped and may be cached: handing a page out raises the generation. */
TEST(pgm_ahead, a_page_that_was_read_is_mapped_anew)
{
	ahead_set_up(&slat_npt);
	EXPECT(touch(0x202000, MEM_READ) == PGM_RESOLVED);
	EXPECT(guest_write(0x200000));
	uint64_t generation = pgm_slat_generation(pgm);
	EXPECT(guest_write(0x201000));
	EXPECT(nested(0x202000).can_write && pgm_slat_generation(pgm) > generation);
}

/* --- taking back ----------------------------------------------------------------------------- */

static void unused_pages_come_back(const struct slat_format *format)
{
	run_set_up(format);
	struct pgm_stats before = stats();
	EXPECT(before.private_pages > RUN_PAGES &&
	       before.private_pages + before.handy == PGM_HANDY_MAX);
	uint64_t ahead = before.private_pages - RUN_PAGES, generation = pgm_slat_generation(pgm);
	refill();
	EXPECT(stats().private_pages == before.private_pages && stats().ahead == ahead);
	EXPECT(pgm_slat_generation(pgm) == generation);
	refill();
	EXPECT(stats().private_pages == RUN_PAGES && stats().ahead == 0);
	EXPECT(stats().counters.ahead_taken == ahead && stats().handy == PGM_HANDY_MAX);
	EXPECT(pgm_slat_generation(pgm) > generation);
	EXPECT(!nested(AHEAD).is_present && nested(RUN + 9 * PAGE_SIZE).can_write);
	EXPECT(base_pages() == RUN_PAGES + PGM_HANDY_MAX + 1);
	/* The guest's first write to one of them faults again. */
	EXPECT(guest_write(AHEAD) && read_byte(AHEAD) == 1);
}

TEST(pgm_ahead, unused_pages_come_back_by_the_second_refill)
{
	BOTH(unused_pages_come_back);
}

TEST(pgm_ahead, unused_pages_come_before_no_memory)
{
	run_set_up(&slat_npt);
	gmm_vm_t hog = hog_create(0);
	uint64_t ahead = stats().private_pages - RUN_PAGES, left = stats().handy + ahead;
	for (uint64_t i = 0; i < left; i++)
		EXPECT(touch(0x300000 + 2 * i * PAGE_SIZE % 0x100000 + i / 128 * PAGE_SIZE,
			     MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(0x250000, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(stats().private_pages == RUN_PAGES + left && stats().counters.ahead_taken == ahead);
	gmm_vm_destroy(hog);
}

TEST(pgm_ahead, a_refill_that_gets_nothing_takes_them_back)
{
	run_set_up(&slat_npt);
	gmm_vm_t hog = hog_create(0);
	uint64_t ahead = stats().private_pages - RUN_PAGES, handy = stats().handy;
	refill();
	EXPECT(stats().ahead == 0 && stats().handy == handy + ahead);
	EXPECT(pgm_handy_refill(pgm) == Q_NO_MEMORY);
	gmm_vm_destroy(hog);
}

/* A page that was given up and handed out again is twice in the list. */
TEST(pgm_ahead, a_page_listed_twice_is_one_page)
{
	unsigned done;
	gfn_t at = gpa_to_gfn(gpa(AHEAD));

	run_set_up(&slat_npt);
	uint64_t pages = stats().private_pages;
	pgm_balloon_inflate(pgm, &at, 1, &done);
	EXPECT(done == 1 && !is_marked(AHEAD));
	pgm_balloon_deflate(pgm, &at, 1, &done);
	check();
	EXPECT(touch(AHEAD - 2 * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(AHEAD - PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(is_marked(AHEAD));
	check();
	refill();
	EXPECT(stats().handy + stats().ahead == PGM_HANDY_MAX);
	rest();
	EXPECT(stats().private_pages == RUN_PAGES + 2 && stats().handy == PGM_HANDY_MAX);
	EXPECT(pages > stats().private_pages);
}

/* --- the mark ---------------------------------------------------------------------------------- */

static void used_by_quire(void)
{
	write_byte(AHEAD, 7);
}

static void used_by_walk(void)
{
	spin_lock(&pgm->lock);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(AHEAD), 8, 0, 7) == Q_OK);
	spin_unlock(&pgm->lock);
}

static void used_by_fault(void)
{
	EXPECT(touch(AHEAD, MEM_READ) == PGM_RESOLVED);
}

static void used_by_guest(void)
{
	cpu_write(AHEAD);
	pgm_dirty_note(pgm, gpa_to_gfn(gpa(AHEAD)), 1);
}

static void used_by_handler(void)
{
	uint8_t byte = 7;

	EXPECT(pgm_handler_add(pgm, gpa(AHEAD), PAGES(1), PGM_HANDLER_WRITE, 1) == Q_OK);
	EXPECT(pgm_handler_write(pgm, gpa(AHEAD), &byte, 1, NULL) == Q_OK);
}

static void used_by_handler_of_all(void)
{
	EXPECT(pgm_handler_add(pgm, gpa(AHEAD), PAGES(1), PGM_HANDLER_ALL, 1) == Q_OK);
}

static void used_by_monitor(void)
{
	EXPECT(pgm_page_monitor(pgm, gpa_to_gfn(gpa(AHEAD)), id_of(AHEAD)) == Q_OK);
}

static void used_by_refused_zeroing(void)
{
	cpu_write(AHEAD);
	EXPECT(pgm_page_zero(pgm, gpa_to_gfn(gpa(AHEAD)), id_of(AHEAD)) == Q_STATE);
	EXPECT(!nested(AHEAD).is_present);
}

static void used_by_sharing(void)
{
	struct gmm_page page;
	unsigned done;

	used_by_monitor();
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_page_clear(page.id);
	EXPECT(pgm_page_share(pgm, gpa_to_gfn(gpa(AHEAD)), id_of(AHEAD), page.id) == Q_OK);
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &page.id, 1, &done) == Q_OK);
}

/* Each way to change, map or write a page counts it as used, and its effect stays. */
static void each_use_removes_the_mark(const struct slat_format *format)
{
	static void (*const uses[])(void) = {
		used_by_quire,   used_by_walk,           used_by_fault,   used_by_guest,
		used_by_handler, used_by_handler_of_all, used_by_monitor, used_by_refused_zeroing,
		used_by_sharing,
	};

	for (unsigned i = 0; i < ARRAY_COUNT(uses); i++) {
		run_set_up(format);
		uses[i]();
		check();
		EXPECT(!is_marked(AHEAD) && is_marked(AHEAD_NEXT));
		struct pgm_record after = *record_of(AHEAD);
		uint64_t taken = stats().ahead;
		rest();
		EXPECT(stats().counters.ahead_taken > 0 && stats().counters.ahead_taken < taken);
		EXPECT(record_of(AHEAD)->q0 == after.q0 && record_of(AHEAD)->d2 == after.d2);
		EXPECT(pgm_record_state(*record_of(AHEAD_NEXT)) == PGM_STATE_ZERO);
	}
}

TEST(pgm_ahead, each_use_removes_the_mark)
{
	BOTH(each_use_removes_the_mark);
}

/* These operations give an unused page away. */
TEST(pgm_ahead, what_gives_the_page_away_removes_the_mark)
{
	unsigned done;
	gfn_t at = gpa_to_gfn(gpa(AHEAD));

	run_set_up(&slat_npt);
	uint64_t pages = stats().private_pages;
	EXPECT(pgm_page_zero(pgm, at, id_of(AHEAD)) == Q_OK);
	check();
	EXPECT(!is_marked(AHEAD) && stats().private_pages == pages - 1);
	at = gpa_to_gfn(gpa(AHEAD_NEXT));
	pgm_balloon_inflate(pgm, &at, 1, &done);
	check();
	EXPECT(!is_marked(AHEAD_NEXT) && stats().private_pages == pages - 2);
	rest();
	EXPECT(pgm_record_state(*record_of(AHEAD_NEXT)) == PGM_STATE_BALLOONED);
	EXPECT(stats().private_pages == RUN_PAGES);
	run_set_up(&slat_npt);
	EXPECT(pgm_restore_begin(pgm, 1) == Q_OK);
	pgm_restore_end(pgm);
	check();
	EXPECT(!is_marked(AHEAD) && stats().ahead == 0 && stats().private_pages == 0);
}

TEST(pgm_ahead, a_moved_page_counts_as_used)
{
	gfn_t at = gpa_to_gfn(gpa(AHEAD));

	vm_make(&slat_npt, MIB(8), GMM_OVERCOMMIT_FULL);
	/* Two chunks, of which the second is emptier. */
	for (unsigned i = 0; i < GMM_PAGES_PER_CHUNK; i++)
		write_byte(MIB(4) + PAGES(i), 1);
	refill();
	(void)run_exits(RUN, 1, RUN_PAGES);
	EXPECT(is_marked(AHEAD));
	for (unsigned i = 0; i < 64; i++) {
		write_byte(MIB(4) + PAGES(i), 0);
		EXPECT(pgm_page_zero(pgm, gpa_to_gfn(gpa(MIB(4) + PAGES(i))),
				     id_of(MIB(4) + PAGES(i))) == Q_OK);
	}
	page_id_t id = id_of(AHEAD);
	EXPECT(pgm_page_move(pgm, at, id) == Q_OK);
	check();
	EXPECT(!is_marked(AHEAD) && id_of(AHEAD).raw != id.raw);
	rest();
	EXPECT(pgm_record_state(*record_of(AHEAD)) == PGM_STATE_NORMAL);
}

/* Unmapping drops all tables, and with them the dirty bits. */
TEST(pgm_ahead, pages_come_back_before_device_memory_is_unmapped)
{
	struct pgm_device *device;

	run_set_up(&slat_npt);
	EXPECT(pgm_device_add(pgm, PAGES(2), &device) == Q_OK);
	EXPECT(pgm_device_map(pgm, device, gpa(GIB(1))) == Q_OK);
	cpu_write(AHEAD);
	EXPECT(pgm_device_unmap(pgm, device) == Q_OK);
	check();
	EXPECT(!is_marked(AHEAD) && !is_marked(AHEAD_NEXT) && read_byte(AHEAD) == 1);
	EXPECT(stats().private_pages == RUN_PAGES + 1 && stats().ahead == 0);
}

/* --- dirty bits and the scanner ------------------------------------------------------------------ */

static void dirty_bits_and_marks(const struct slat_format *format)
{
	gfn_t first = gpa_to_gfn(gpa(RUN));

	run_set_up(format);
	cpu_write(AHEAD);
	/* A used page loses its dirty bit and its mark; an unused one keeps its mark. */
	pgm_dirty_note(pgm, first, 64);
	check();
	EXPECT(!is_marked(AHEAD) && is_marked(AHEAD_NEXT));
	EXPECT(!is_marked(RUN + 9 * PAGE_SIZE));
	EXPECT(record_of(AHEAD)->d2 & PGM_RECORD_LATELY);
	EXPECT(!(record_of(AHEAD_NEXT)->d2 & PGM_RECORD_LATELY));
	pgm_dirty_note(pgm, first, 64);
	check();
	rest();
	EXPECT(read_byte(AHEAD) == 1 && read_byte(RUN + 9 * PAGE_SIZE) == 1);
	EXPECT(stats().private_pages == RUN_PAGES + 1);
}

TEST(pgm_ahead, no_dirty_bit_is_cleared_before_the_mark)
{
	BOTH(dirty_bits_and_marks);
}

TEST(pgm_ahead, the_scanner_passes_unused_pages_over)
{
	gfn_t first = gpa_to_gfn(gpa(RUN)), end = gpa_to_gfn(gpa(RUN + MIB(1)));

	run_set_up(&slat_npt);
	cpu_write(AHEAD_NEXT);
	pgm_dirty_note(pgm, first, 64);
	gfn_t at = pgm_page_next_private(pgm, gfn(first.raw + RUN_PAGES), end);
	EXPECT(at.raw == gpa_to_gfn(gpa(AHEAD_NEXT)).raw);
	EXPECT(pgm_page_next_private(pgm, gfn_next(at), end).raw == end.raw);
}

/* --- large mappings --------------------------------------------------------------------------------- */

/* A block whose pages all lie at their places in one chunk, one of them handed out ahead. */
TEST(pgm_ahead, no_large_mapping_is_made_over_a_mark)
{
	struct gmm_page first;

	if (GMM_CHUNK_SHIFT != 21)
		skip();
	ahead_set_up(&slat_npt);
	EXPECT(gmm_chunk_alloc(pgm_vm(pgm), gpa_to_gfn(gpa(RUN)), &first) == Q_OK);
	for (unsigned i = 0; i < PAGES_PER_LARGE; i++) {
		*record_of(RUN + PAGES(i)) =
			pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, hfn(first.frame.raw + i),
					(page_id_t){ first.id.raw + i });
		EXPECT(slat_map(&pgm->slat, gpa_to_gfn(gpa(RUN + PAGES(i))),
				hfn(first.frame.raw + i), SLAT_ALL, 1) == Q_OK);
	}
	pgm->private_pages += PAGES_PER_LARGE;
	record_of(RUN + PAGES(9))->d2 |= PGM_RECORD_AHEAD;
	pgm->ahead.gfns[pgm->ahead.count++] = (uint32_t)gpa_to_gfn(gpa(RUN + PAGES(9))).raw;
	EXPECT(!pgm_large_is_whole(pgm, gpa_to_gfn(gpa(RUN)), first.frame));
	pgm_ahead_use(record_of(RUN + PAGES(9)));
	EXPECT(pgm_large_is_whole(pgm, gpa_to_gfn(gpa(RUN)), first.frame));
}
