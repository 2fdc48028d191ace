/* SPDX-License-Identifier: MIT */
/* The states of a page: monitored, shared, zeroed, moved, ballooned; and what is refused. */
#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define ADDR 0x3000ull
#define GFN  gfn(ADDR >> PAGE_SHIFT)

/* --- helpers -------------------------------------------------------------------------- */

static page_id_t id_of(struct pgm *of, gfn_t gfn)
{
	return pgm_record_id(*pgm_record_find(of, gfn));
}

static enum pgm_state state_of(struct pgm *of, gfn_t gfn)
{
	return pgm_record_state(*pgm_record_find(of, gfn));
}

static q_status_t checked(q_status_t status)
{
	check();
	return status;
}

/* A second VM beside `pgm`. */
static struct pgm *second_create(const struct slat_format *format)
{
	struct pgm_config config = config_of(format, MIB(4));
	struct pgm *second;

	EXPECT(pgm_create(&config, &second) == Q_OK);
	EXPECT(pgm_handy_refill(second) == Q_OK);
	return second;
}

static void byte_put(struct pgm *of, uint64_t addr, uint8_t byte)
{
	EXPECT(pgm_write(of, gpa(addr), &byte, 1, NULL) == Q_OK);
}

static uint8_t byte_get(struct pgm *of, uint64_t addr)
{
	uint8_t byte = 0xee;

	EXPECT(pgm_read(of, gpa(addr), &byte, 1, NULL) == Q_OK);
	return byte;
}

/* Makes a shared page with the content of a page of `of`; Quire has the only reference. */
static page_id_t shared_from(struct pgm *of, gfn_t gfn)
{
	struct gmm_page page;

	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_page_copy(page.id, id_of(of, gfn));
	return page.id;
}

static void share(struct pgm *of, gfn_t gfn, page_id_t shared)
{
	page_id_t id = id_of(of, gfn);

	EXPECT(pgm_page_monitor(of, gfn, id) == Q_OK);
	EXPECT(pgm_page_share(of, gfn, id, shared) == Q_OK);
	pgm_check(of);
	gmm_check();
}

static void hold_drop(page_id_t shared)
{
	unsigned done;

	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &shared, 1, &done) == Q_OK);
}

static uint32_t references(page_id_t shared)
{
	struct gmm_page_info info;

	EXPECT(gmm_page_info(shared, &info) == Q_OK && info.kind == GMM_PAGE_SHARED);
	return info.references;
}

static struct gmm_stats machine(void)
{
	struct gmm_stats figures;

	gmm_stats(&figures);
	return figures;
}

/* --- monitoring ------------------------------------------------------------------------- */

static void a_write_is_noticed(const struct slat_format *format)
{
	set_up(format, MIB(4));
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	uint64_t pages = accounts().allocated[GMM_BASE];

	EXPECT(checked(pgm_page_monitor(pgm, GFN, id_of(pgm, GFN))) == Q_OK);
	EXPECT(!nested(ADDR).is_present && pgm_slat_generation(pgm) != generation);
	EXPECT(stats().monitored == 1 && stats().private_pages == 1);
	/* Reading maps the page again, but read-only. */
	EXPECT(touch(ADDR, MEM_READ) == PGM_RESOLVED && !nested(ADDR).can_write);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_MONITORED);
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED && nested(ADDR).can_write);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_NORMAL && stats().monitored == 0);
	EXPECT(pgm_record_find(pgm, GFN)->d2 & PGM_RECORD_WRITTEN_TO);
	EXPECT(accounts().allocated[GMM_BASE] == pages && stats().counters.monitor_hits == 1);
}

TEST(pgm_monitor, a_write_is_noticed_and_costs_no_page)
{
	BOTH(a_write_is_noticed);
}

TEST(pgm_monitor, a_write_by_the_hypervisor_is_noticed)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 1);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id_of(pgm, GFN))) == Q_OK);
	EXPECT(read_byte(ADDR) == 1 && state_of(pgm, GFN) == PGM_STATE_MONITORED);
	write_byte(ADDR, 2);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_NORMAL);
	EXPECT(pgm_record_find(pgm, GFN)->d2 & PGM_RECORD_WRITTEN_TO);
}

/* Noting a write takes no page, so the write succeeds where there is none. */
TEST(pgm_monitor, a_write_by_the_hypervisor_needs_no_memory)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 1);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id_of(pgm, GFN))) == Q_OK);
	for (uint64_t addr = MIB(1); stats().handy > 0; addr += PAGE_SIZE)
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
	hog_create(0);
	EXPECT(try_write(ADDR + PAGE_SIZE, 2) == Q_NO_MEMORY);
	write_byte(ADDR, 2);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_NORMAL && stats().counters.monitor_hits == 1);
}

TEST(pgm_monitor, ends_without_a_write)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 1);
	page_id_t id = id_of(pgm, GFN);

	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_OK);
	EXPECT(checked(pgm_page_unmonitor(pgm, GFN, id)) == Q_OK);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_NORMAL && stats().monitored == 0);
	EXPECT(!(pgm_record_find(pgm, GFN)->d2 & PGM_RECORD_WRITTEN_TO));
	EXPECT(checked(pgm_page_unmonitor(pgm, GFN, id)) == Q_STATE);
}

/* --- what is refused, and has no effect -------------------------------------------------- */

TEST(pgm_page, requests_about_another_page_have_no_effect)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 1);
	page_id_t id = id_of(pgm, GFN), other = { id.raw + 1 };
	page_id_t shared = shared_from(pgm, GFN);
	struct pgm_record before = *pgm_record_find(pgm, GFN);

	EXPECT(checked(pgm_page_monitor(pgm, GFN, other)) == Q_STATE);
	EXPECT(checked(pgm_page_unmonitor(pgm, GFN, id)) == Q_STATE); /* it is NORMAL */
	EXPECT(checked(pgm_page_zero(pgm, GFN, other)) == Q_STATE);
	EXPECT(checked(pgm_page_move(pgm, GFN, other)) == Q_STATE);
	EXPECT(checked(pgm_page_share(pgm, GFN, id, shared)) == Q_STATE); /* not monitored */
	EXPECT(checked(pgm_page_monitor(pgm, gfn(100), PAGE_ID_NIL)) == Q_STATE); /* ZERO */
	EXPECT(checked(pgm_page_monitor(pgm, gfn(0xb0), id)) == Q_STATE);         /* no RAM */
	EXPECT(checked(pgm_page_monitor(pgm, gfn(~0ull), id)) == Q_STATE);
	EXPECT(memcmp(&before, pgm_record_find(pgm, GFN), sizeof(before)) == 0);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_OK);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_STATE); /* twice */
	EXPECT(checked(pgm_page_share(pgm, GFN, other, shared)) == Q_STATE);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_MONITORED);
	hold_drop(shared);
}

/* A private page that was freed may have left its id to a shared one, which is not meant. */
TEST(pgm_page, requests_about_a_private_page_do_not_reach_a_shared_one)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 0);
	page_id_t shared = shared_from(pgm, GFN);
	share(pgm, GFN, shared);
	EXPECT(checked(pgm_page_zero(pgm, GFN, shared)) == Q_STATE);
	EXPECT(checked(pgm_page_move(pgm, GFN, shared)) == Q_STATE);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, shared)) == Q_STATE);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_SHARED && references(shared) == 2);
	hold_drop(shared);
}

/* --- sharing ---------------------------------------------------------------------------------- */

static void copy_on_write(const struct slat_format *format)
{
	set_up(format, MIB(4));
	struct pgm *second = second_create(format);
	byte_put(pgm, ADDR, 7);
	byte_put(second, ADDR, 7);
	uint64_t private_before = machine().private_pages;

	page_id_t shared = shared_from(pgm, GFN);
	share(pgm, GFN, shared);
	share(second, GFN, shared);
	hold_drop(shared);
	EXPECT(references(shared) == 2 && machine().pages_saved == 1);
	EXPECT(machine().private_pages == private_before - 2);
	EXPECT(stats().shared == 1 && stats().private_pages == 0);
	EXPECT(byte_get(pgm, ADDR) == 7 && byte_get(second, ADDR) == 7);
	EXPECT(touch(ADDR, MEM_READ) == PGM_RESOLVED && !nested(ADDR).can_write);
	EXPECT(nested(ADDR).machine == hfn_to_hpa(gmm_page_frame(shared)).raw);

	/* The writer gets its own page; the other VM still sees the old content. */
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED && nested(ADDR).can_write);
	*nested_byte(ADDR) = 8;
	EXPECT(byte_get(pgm, ADDR) == 8 && byte_get(second, ADDR) == 7);
	EXPECT(stats().counters.copies == 1 && stats().shared == 0 && stats().private_pages == 1);
	/* The reference is dropped with the next report. */
	EXPECT(references(shared) == 2);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	check();
	EXPECT(references(shared) == 1);
	/* The last reference. */
	byte_put(second, ADDR, 9);
	EXPECT(pgm_handy_refill(second) == Q_OK);
	EXPECT(machine().shared_pages == 0 && machine().shared_references == 0);
	pgm_destroy(second);
	check();
}

TEST(pgm_share, a_write_copies_and_the_other_sees_nothing)
{
	BOTH(copy_on_write);
}

/* The guest wrote after the page was monitored, and the page was monitored again. */
TEST(pgm_share, only_what_is_equal_at_that_moment)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 7);
	page_id_t id = id_of(pgm, GFN), shared = shared_from(pgm, GFN);

	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_OK);
	write_byte(ADDR + PAGE_SIZE - 1, 1);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_OK);
	EXPECT(checked(pgm_page_share(pgm, GFN, id, shared)) == Q_STATE);
	EXPECT(id_of(pgm, GFN).raw == id.raw && read_byte(ADDR + PAGE_SIZE - 1) == 1);
	hold_drop(shared);
	check();
}

TEST(pgm_share, a_shared_page_that_is_gone_is_refused)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 7);
	page_id_t id = id_of(pgm, GFN), shared = shared_from(pgm, GFN);

	/* Another shared page keeps the chunk, so that the page can be compared at all. */
	page_id_t other = shared_from(pgm, GFN);
	hold_drop(shared);
	EXPECT(checked(pgm_page_monitor(pgm, GFN, id)) == Q_OK);
	q_status_t status = checked(pgm_page_share(pgm, GFN, id, shared));
	EXPECT(status == Q_STATE || status == Q_NOT_FOUND);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_MONITORED && read_byte(ADDR) == 7);
	hold_drop(other);
	check();
}

TEST(pgm_share, references_go_with_the_vm)
{
	set_up(&slat_npt, MIB(4));
	struct pgm *second = second_create(&slat_ept);
	byte_put(pgm, ADDR, 7);
	byte_put(second, ADDR, 7);
	page_id_t shared = shared_from(pgm, GFN);
	share(pgm, GFN, shared);
	share(second, GFN, shared);
	hold_drop(shared);
	/* One VM writes, and its report waits. */
	EXPECT(pgm_fault_handle(second,
				&(struct pgm_fault){ .addr = gpa(ADDR), .access = MEM_WRITE }) ==
	       PGM_RESOLVED);
	pgm_destroy(second);
	check();
	EXPECT(references(shared) == 1);
	pgm_reset(pgm);
	check();
	EXPECT(machine().shared_pages == 0 && stats().zero == stats().pages);
}

TEST(pgm_share, many_references_are_dropped_in_batches)
{
	const unsigned count = 2 * PGM_FREE_BATCH + 1;

	set_up(&slat_npt, MIB(4));
	for (unsigned i = 0; i < count; i++)
		write_byte(PAGES(i), 7);
	page_id_t shared = shared_from(pgm, gfn(0));
	for (unsigned i = 0; i < count; i++)
		share(pgm, gfn(i), shared);
	EXPECT(references(shared) == count + 1);
	pgm_reset(pgm);
	check();
	EXPECT(references(shared) == 1 && stats().shared == 0);
	hold_drop(shared);
}

TEST(pgm_share, without_a_page_the_writer_waits)
{
	machine_set_up(MIB(64));
	vm_create(config_of(&slat_npt, MIB(4)));
	write_byte(ADDR, 7);
	page_id_t shared = shared_from(pgm, GFN);
	share(pgm, GFN, shared);
	hold_drop(shared);
	for (uint64_t addr = MIB(1); stats().handy > 0; addr += PAGE_SIZE)
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(state_of(pgm, GFN) == PGM_STATE_SHARED && references(shared) == 1);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED && *nested_byte(ADDR) == 7);
}

/* Within its guarantee a VM can copy every page that it shares, whatever others take. */
TEST(pgm_share, a_guarantee_covers_every_copy)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));
	config.guaranteed_bytes = MIB(1);
	machine_set_up(MIB(64));
	vm_create(config);
	for (unsigned i = 0; i < 100; i++)
		write_byte(PAGES(i), 7);
	page_id_t shared = shared_from(pgm, gfn(0));
	for (unsigned i = 0; i < 100; i++)
		share(pgm, gfn(i), shared);
	hold_drop(shared);
	hog_create(0);
	for (unsigned i = 0; i < 100; i++)
		write_byte(PAGES(i), 8);
	EXPECT(stats().private_pages == 100 && stats().shared == 0);
}

/* --- zero, move ----------------------------------------------------------------------------------- */

static void zero_goes_back(const struct slat_format *format)
{
	set_up(format, MIB(4));
	write_byte(ADDR, 7);
	uint64_t pages = accounts().allocated[GMM_BASE];

	EXPECT(checked(pgm_page_zero(pgm, GFN, id_of(pgm, GFN))) == Q_STATE);
	write_byte(ADDR, 0);
	EXPECT(touch(ADDR, MEM_READ) == PGM_RESOLVED && nested(ADDR).can_write);
	EXPECT(checked(pgm_page_zero(pgm, GFN, id_of(pgm, GFN))) == Q_OK);
	EXPECT(!nested(ADDR).is_present && state_of(pgm, GFN) == PGM_STATE_ZERO);
	EXPECT(accounts().allocated[GMM_BASE] == pages - 1 && read_byte(ADDR) == 0);
}

TEST(pgm_zero, a_page_of_zeros_goes_back)
{
	BOTH(zero_goes_back);
}

TEST(pgm_move, content_stays_and_the_page_is_another)
{
	set_up(&slat_npt, MIB(8));
	/* Two chunks, of which the second is emptier. */
	for (unsigned i = 0; i < GMM_PAGES_PER_CHUNK + 64; i++)
		write_byte(MIB(1) + PAGES(i), (uint8_t)(i | 1));
	for (unsigned i = 0; i < 64; i++) {
		gfn_t at = gfn((MIB(1) >> PAGE_SHIFT) + i);
		write_byte(MIB(1) + PAGES(i), 0);
		EXPECT(checked(pgm_page_zero(pgm, at, id_of(pgm, at))) == Q_OK);
	}
	gfn_t last = gfn((MIB(1) >> PAGE_SHIFT) + GMM_PAGES_PER_CHUNK + 63);
	page_id_t id = id_of(pgm, last);
	uint64_t pages = accounts().allocated[GMM_BASE];
	uint8_t byte = read_byte(last.raw << PAGE_SHIFT);
	EXPECT(touch(last.raw << PAGE_SHIFT, MEM_READ) == PGM_RESOLVED);
	EXPECT(checked(pgm_page_move(pgm, last, id)) == Q_OK);
	EXPECT(id_of(pgm, last).raw != id.raw && !nested(last.raw << PAGE_SHIFT).is_present);
	EXPECT(read_byte(last.raw << PAGE_SHIFT) == byte);
	EXPECT(accounts().allocated[GMM_BASE] == pages);
	EXPECT(checked(pgm_page_move(pgm, last, id)) == Q_STATE);
}

/* Fills two chunks: the first has room, the second is emptier. Returns the second's last page. */
static gfn_t two_chunks_make(void)
{
	set_up(&slat_npt, MIB(8));
	for (unsigned i = 0; i < GMM_PAGES_PER_CHUNK + 64; i++)
		write_byte(MIB(1) + PAGES(i), 1);
	for (unsigned i = 0; i < 64; i++) {
		gfn_t at = gfn((MIB(1) >> PAGE_SHIFT) + i);
		write_byte(MIB(1) + PAGES(i), 0);
		EXPECT(checked(pgm_page_zero(pgm, at, id_of(pgm, at))) == Q_OK);
	}
	return gfn((MIB(1) >> PAGE_SHIFT) + GMM_PAGES_PER_CHUNK + 63);
}

/* GMM does not know the page's frame before the move; the later report must name the new page. */
TEST(pgm_move, takes_a_page_that_was_just_written)
{
	gfn_t fresh = gfn_next(two_chunks_make());

	EXPECT(touch(fresh.raw << PAGE_SHIFT, MEM_WRITE) == PGM_RESOLVED);
	page_id_t id = id_of(pgm, fresh);
	struct gmm_page_info info;
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GFN_UNKNOWN.raw);
	EXPECT(checked(pgm_page_move(pgm, fresh, id)) == Q_OK);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	check();
	EXPECT(gmm_page_info(id_of(pgm, fresh), &info) == Q_OK && info.gfn.raw == fresh.raw);
}

/* A monitored page is still monitored after a move. */
TEST(pgm_move, a_watched_page_stays_watched)
{
	gfn_t last = two_chunks_make();
	page_id_t id = id_of(pgm, last);

	EXPECT(checked(pgm_page_monitor(pgm, last, id)) == Q_OK);
	EXPECT(checked(pgm_page_move(pgm, last, id)) == Q_OK);
	EXPECT(id_of(pgm, last).raw != id.raw && state_of(pgm, last) == PGM_STATE_MONITORED);
	EXPECT(touch(last.raw << PAGE_SHIFT, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(stats().counters.monitor_hits == 1);
}

/* --- the balloon -------------------------------------------------------------------------------------- */

static void balloon(const struct slat_format *format)
{
	set_up(format, MIB(4));
	write_byte(ADDR, 7);
	EXPECT(touch(ADDR, MEM_READ) == PGM_RESOLVED);
	uint64_t pages = accounts().allocated[GMM_BASE];
	/* The same page twice, untouched RAM, a hole, and no frame at all. */
	gfn_t list[] = { GFN, GFN, gfn(4), gfn(0xb0), gfn(~0ull) };
	unsigned done;

	pgm_balloon_inflate(pgm, list, ARRAY_COUNT(list), &done);
	check();
	EXPECT(done == 2 && stats().ballooned == 2 && accounts().ballooned_pages == 2);
	EXPECT(accounts().allocated[GMM_BASE] == pages - 1 && !nested(ADDR).is_present);
	EXPECT(read_byte(ADDR) == 0 && touch(ADDR, MEM_READ) == PGM_RESOLVED);
	EXPECT(!nested(ADDR).can_write && *nested_byte(ADDR) == 0);
	pgm_balloon_inflate(pgm, list, ARRAY_COUNT(list), &done);
	EXPECT(done == 0 && stats().ballooned == 2);
	/* A write takes the page out of the balloon. */
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED && stats().ballooned == 1);
	pgm_balloon_deflate(pgm, list, ARRAY_COUNT(list), &done);
	check();
	EXPECT(done == 1 && stats().ballooned == 0 && state_of(pgm, gfn(4)) == PGM_STATE_ZERO);
	pgm_balloon_inflate(pgm, list, 1, &done);
	pgm_reset(pgm);
	check();
	EXPECT(stats().ballooned == 0 && accounts().ballooned_pages == 0);
}

TEST(pgm_balloon, counts_each_page_once)
{
	BOTH(balloon);
}

TEST(pgm_balloon, takes_shared_and_watched_pages)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 7);
	write_byte(ADDR + PAGE_SIZE, 7);
	page_id_t shared = shared_from(pgm, GFN);
	share(pgm, GFN, shared);
	hold_drop(shared);
	EXPECT(pgm_page_monitor(pgm, gfn_next(GFN), id_of(pgm, gfn_next(GFN))) == Q_OK);
	gfn_t list[] = { GFN, gfn_next(GFN) };
	unsigned done;
	pgm_balloon_inflate(pgm, list, 2, &done);
	check();
	EXPECT(done == 2 && stats().shared == 0 && stats().monitored == 0);
	EXPECT(machine().shared_pages == 0);
}
