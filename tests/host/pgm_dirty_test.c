/* SPDX-License-Identifier: MIT */
/* What the scanner sees: dirty bits in the records, the states of pages, and where to go on. */
#include <quire/bits.h>
#include <quire/physmem.h>

#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define ADDR 0x3000ull
#define GFN  gfn(ADDR >> PAGE_SHIFT)

static page_id_t id_of(struct pgm *of, gfn_t gfn)
{
	return pgm_record_id(*pgm_record_find(of, gfn));
}

/* --- dirty bits ------------------------------------------------------------------------------ */

static uint64_t *leaf_of(uint64_t addr)
{
	hpa_t table = pgm_slat_root(pgm);

	for (unsigned level = 4; level > 1; level--) {
		uint64_t *entries = physmem_kernel_ptr(table);
		table = hpa(entries[addr >> (12 + 9 * (level - 1)) & 511] & MASK64(51, 12));
	}
	return (uint64_t *)physmem_kernel_ptr(table) + (addr >> 12 & 511);
}

static void dirty_bits(const struct slat_format *format)
{
	struct pgm_page_view view;
	set_up(format, MIB(4));
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_page_look(pgm, GFN, &view) && !view.was_written_lately);
	/* As a CPU does when the guest writes. */
	*leaf_of(ADDR) |= format->dirty;
	uint64_t generation = pgm_slat_generation(pgm);
	pgm_dirty_note(pgm, gfn(0), 16);
	check();
	EXPECT(pgm_page_look(pgm, GFN, &view) && view.was_written_lately);
	EXPECT(view.kind == PGM_PAGE_NORMAL && view.id.raw == id_of(pgm, GFN).raw);
	/* A CPU that caches the entry as dirty must flush. */
	EXPECT(pgm_slat_generation(pgm) != generation && nested(ADDR).can_write);
	generation = pgm_slat_generation(pgm);
	pgm_dirty_note(pgm, gfn(0), 16);
	EXPECT(pgm_page_look(pgm, GFN, &view) && !view.was_written_lately);
	EXPECT(pgm_slat_generation(pgm) == generation);
}

TEST(pgm_dirty, bits_move_into_the_records)
{
	BOTH(dirty_bits);
}

TEST(pgm_dirty, only_of_pages_that_are_asked_for)
{
	const uint64_t dirty = slat_npt.dirty;
	struct pgm_page_view view;

	set_up(&slat_npt, MIB(4));
	for (uint64_t addr = ADDR - PAGE_SIZE; addr <= ADDR + PAGE_SIZE; addr += PAGE_SIZE) {
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
		*leaf_of(addr) |= dirty;
	}
	pgm_dirty_note(pgm, GFN, 1);
	EXPECT(pgm_page_look(pgm, GFN, &view) && view.was_written_lately);
	EXPECT(pgm_page_look(pgm, gfn(GFN.raw - 1), &view) && !view.was_written_lately);
	EXPECT(pgm_page_look(pgm, gfn_next(GFN), &view) && !view.was_written_lately);
	EXPECT((*leaf_of(ADDR - PAGE_SIZE) & dirty) && (*leaf_of(ADDR + PAGE_SIZE) & dirty));
	EXPECT(!(*leaf_of(ADDR) & dirty));
}

/* --- looking --------------------------------------------------------------------------------- */

TEST(pgm_look, says_what_there_is)
{
	struct pgm_page_view view;
	set_up(&slat_npt, MIB(4));

	EXPECT(pgm_ram_end(pgm).raw == MIB(4) >> PAGE_SHIFT);
	EXPECT(pgm_page_look(pgm, GFN, &view) && view.kind == PGM_PAGE_ZERO);
	EXPECT(page_id_is_nil(view.id) && !view.has_handler);
	EXPECT(!pgm_page_look(pgm, gfn(0xb0), &view) && !pgm_page_look(pgm, gfn(~0ull), &view));
	EXPECT(pgm_handler_add(pgm, gpa(ADDR), PAGE_SIZE, PGM_HANDLER_WRITE, 1) == Q_OK);
	EXPECT(pgm_page_look(pgm, GFN, &view) && view.has_handler);
	EXPECT(pgm_handler_add(pgm, gpa(ADDR + PAGE_SIZE), PAGE_SIZE, PGM_HANDLER_ALL, 1) == Q_OK);
	EXPECT(pgm_page_look(pgm, gfn_next(GFN), &view) && view.has_handler);
}

TEST(pgm_look, finds_the_next_private_page)
{
	gfn_t end = gfn(MIB(4) >> PAGE_SHIFT), last = gfn(end.raw - 1);
	set_up(&slat_npt, MIB(4));

	EXPECT(pgm_page_next_private(pgm, gfn(0), end).raw == end.raw);
	EXPECT(touch(ADDR, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(last.raw << PAGE_SHIFT, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_page_next_private(pgm, gfn(0), end).raw == GFN.raw);
	EXPECT(pgm_page_next_private(pgm, GFN, end).raw == GFN.raw);
	EXPECT(pgm_page_next_private(pgm, gfn(0), GFN).raw == GFN.raw);
	EXPECT(pgm_page_next_private(pgm, gfn_next(GFN), end).raw == last.raw);
	EXPECT(pgm_page_next_private(pgm, gfn_next(last), end).raw == end.raw);
	/* A page that is monitored already is skipped. */
	EXPECT(pgm_page_monitor(pgm, GFN, id_of(pgm, GFN)) == Q_OK);
	EXPECT(pgm_page_next_private(pgm, gfn(0), end).raw == last.raw);
	/* A range without records. */
	EXPECT(pgm_page_next_private(pgm, gfn(0x90000), gfn(0x90010)).raw == 0x90010);
}

/* A search that begins anywhere in a hole finds the page after it. */
TEST(pgm_look, finds_private_pages_behind_a_hole)
{
	const uint64_t high = GIB(4) + 0x5000;
	gfn_t end = gfn((GIB(4) + MIB(1)) >> PAGE_SHIFT);

	set_up(&slat_npt, PGM_RAM_HOLE_START + MIB(1));
	EXPECT(touch(high, MEM_WRITE) == PGM_RESOLVED);
	for (uint64_t from = 0xc0000; from < 0x100000; from += 0x3ff1)
		EXPECT(pgm_page_next_private(pgm, gfn(from), end).raw == high >> PAGE_SHIFT);
}
