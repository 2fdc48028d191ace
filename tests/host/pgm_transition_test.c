/* SPDX-License-Identifier: MIT */
/* Legal transitions: all of the table, and that PGM refuses what it does not list. */
#include "mm/pgm/pgm_transition.h"

#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"

#include "pgm_fixture.h"

/* --- the table ------------------------------------------------------------------------------ */

/*
 * One row for each type and state that a page can have. Columns: write, zero,
 * share, monitor, unmonitor, move, balloon, deflate, handle, ROM mode. A letter is
 * the next state: Zero, Normal, Monitored, Shared, Ballooned; '.' means illegal.
 */
static const struct {
	enum pgm_type type;
	enum pgm_state state;
	char next[PGM_OP_COUNT + 1];
} rows[] = {
	{ PGM_TYPE_RAM, PGM_STATE_ZERO, "NZ....B.Z." },
	{ PGM_TYPE_RAM, PGM_STATE_NORMAL, "NZ.M.NB.N." },
	{ PGM_TYPE_RAM, PGM_STATE_MONITORED, "NZS.NMB.M." },
	{ PGM_TYPE_RAM, PGM_STATE_SHARED, "NZ....B.S." },
	{ PGM_TYPE_RAM, PGM_STATE_BALLOONED, "NZ.....ZB." },
	{ PGM_TYPE_ROM, PGM_STATE_ZERO, "........Z." },
	{ PGM_TYPE_ROM, PGM_STATE_NORMAL, "........N." },
	{ PGM_TYPE_ROM_SHADOWED, PGM_STATE_ZERO, "N.......ZZ" },
	{ PGM_TYPE_ROM_SHADOWED, PGM_STATE_NORMAL, "N.......NN" },
	{ PGM_TYPE_DEVICE, PGM_STATE_NORMAL, "N..MN...N." },
	{ PGM_TYPE_DEVICE, PGM_STATE_MONITORED, "N..MN...M." },
};

static const char *expected_row(enum pgm_type type, enum pgm_state state)
{
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++)
		if (rows[i].type == type && rows[i].state == state)
			return rows[i].next;
	return "..........";
}

static void row_check(enum pgm_type type, enum pgm_state from)
{
	struct pgm_record record = pgm_record_make(type, from, hfn(1), (page_id_t){ 1 });
	const char *row = expected_row(type, from);

	for (unsigned op = 0; op < PGM_OP_COUNT; op++) {
		EXPECT(pgm_transition_is_legal(record, op) == (row[op] != '.'));
		if (row[op] != '.')
			EXPECT("ZNMSB"[pgm_transition_state(record, op)] == row[op]);
	}
}

TEST(pgm_transition, every_one_is_as_the_rows_say)
{
	for (unsigned type = PGM_TYPE_RESERVED; type <= PGM_TYPE_RAM; type++)
		for (unsigned from = PGM_STATE_ZERO; from <= PGM_STATE_BALLOONED; from++)
			row_check(type, from);
}

/* --- each kind of page, each operation ------------------------------------------------------------ */

#define ROM      0xc0000ull
#define SHADOWED 0xd0000ull
#define DEVICE   0xe0000ull
#define MMIO     0xf0000ull
#define NOTHING  0xf8000ull

/* Pages of every type, in the states that kinds_set_up() can bring them into. */
static const uint64_t pages[] = {
	0x1000,              /* RAM, zero */
	0x2000,              /* RAM, normal */
	ROM,                 /* normal */
	ROM + PAGES(1),      /* zero */
	SHADOWED,            /* virgin normal, shadow zero */
	SHADOWED + PAGES(1), /* both normal, writes reach the shadow */
	SHADOWED + PAGES(2), /* shadow normal, read and written */
	DEVICE,              /* monitored */
	DEVICE + PAGES(1),   /* normal: it was written */
	MMIO,
	NOTHING,
};

static struct pgm_device *device;

static void kinds_set_up(void)
{
	static uint8_t image[PAGES(3)];

	memset(image, 0x11, sizeof(image));
	memset(image + PAGES(1), 0, PAGES(1));
	set_up(&slat_npt, MIB(4));
	write_byte(0x2000, 1);
	EXPECT(pgm_rom_add(pgm, gpa(ROM), image, PAGES(2)) == Q_OK);
	memset(image + PAGES(1), 0x11, PAGES(1));
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(SHADOWED), image, PAGES(3)) == Q_OK);
	EXPECT(pgm_rom_mode_set(pgm, gpa(SHADOWED + PAGES(1)), PAGES(2),
				PGM_ROM_READ_ROM_WRITE_RAM) == Q_OK);
	write_byte(SHADOWED + PAGES(1), 2);
	write_byte(SHADOWED + PAGES(2), 2);
	EXPECT(pgm_rom_mode_set(pgm, gpa(SHADOWED + PAGES(2)), PAGES(1),
				PGM_ROM_READ_RAM_WRITE_RAM) == Q_OK);
	EXPECT(pgm_device_add(pgm, PAGES(2), &device) == Q_OK);
	EXPECT(pgm_device_map(pgm, device, gpa(DEVICE)) == Q_OK);
	EXPECT(pgm_device_track_start(pgm, device) == Q_OK);
	write_byte(DEVICE + PAGES(1), 3);
	EXPECT(pgm_mmio_add(pgm, gpa(MMIO), PAGES(1)) == Q_OK);
	check();
}

static struct pgm_record record_at(uint64_t addr)
{
	const struct pgm_record *record = pgm_record_find(pgm, gpa_to_gfn(gpa(addr)));
	return record ? *record : (struct pgm_record){ 0 };
}

static bool is_legal(uint64_t addr, enum pgm_operation operation)
{
	return pgm_transition_is_legal(record_at(addr), operation);
}

/* Expects the record and all figures to be as before. */
static void expect_unchanged(uint64_t addr, struct pgm_record record, struct pgm_stats before)
{
	struct pgm_record now = record_at(addr);
	struct pgm_stats after = stats();

	EXPECT(memcmp(&record, &now, sizeof(now)) == 0);
	EXPECT(memcmp(&before, &after, sizeof(after)) == 0);
}

TEST(pgm_transition, writes_are_refused_where_they_are_illegal)
{
	for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
		kinds_set_up();
		struct pgm_record record = record_at(pages[i]);
		struct pgm_stats before = stats();
		bool is_ignored = pages[i] == SHADOWED; /* by its mode */
		bool is_taken = is_legal(pages[i], PGM_OP_WRITE) && !is_ignored;
		EXPECT(try_write(pages[i], 5) == (is_taken ? Q_OK : Q_RANGE));
		if (!is_taken)
			expect_unchanged(pages[i], record, before);
		else if (pages[i] != SHADOWED + PAGES(1)) /* where the other half is read */
			EXPECT(pgm_record_state(record_at(pages[i])) ==
			       pgm_transition_state(record, PGM_OP_WRITE));
	}
}

TEST(pgm_transition, handlers_are_refused_where_they_are_illegal)
{
	for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
		kinds_set_up();
		struct pgm_record record = record_at(pages[i]);
		struct pgm_stats before = stats();
		q_status_t status =
			pgm_handler_add(pgm, gpa(pages[i]), PAGES(1), PGM_HANDLER_WRITE, 1);
		check();
		if (!is_legal(pages[i], PGM_OP_HANDLE)) {
			EXPECT(status == Q_RANGE); /* no memory at all */
			expect_unchanged(pages[i], record, before);
			continue;
		}
		EXPECT(status == Q_OK);
		EXPECT(pgm_record_state(record_at(pages[i])) == pgm_record_state(record));
		EXPECT(pgm_handler_remove(pgm, gpa(pages[i]), PAGES(1)) == Q_OK);
		expect_unchanged(pages[i], record, before);
	}
}

TEST(pgm_transition, rom_modes_are_refused_where_they_are_illegal)
{
	for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
		kinds_set_up();
		struct pgm_record record = record_at(pages[i]);
		struct pgm_stats before = stats();
		bool is_allowed = is_legal(pages[i], PGM_OP_ROM_MODE);
		q_status_t status =
			pgm_rom_mode_set(pgm, gpa(pages[i]), PAGES(1), PGM_ROM_READ_RAM);
		check();
		EXPECT(status == (is_allowed ? Q_OK : Q_STATE));
		if (!is_allowed)
			expect_unchanged(pages[i], record, before);
	}
}

TEST(pgm_transition, a_reset_leaves_what_is_no_ram)
{
	kinds_set_up();
	pgm_reset(pgm);
	check();
	for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
		enum pgm_type type = pgm_record_type(record_at(pages[i]));
		if (type == PGM_TYPE_RAM)
			EXPECT(pgm_record_state(record_at(pages[i])) == PGM_STATE_ZERO);
		if (type == PGM_TYPE_ROM_SHADOWED)
			EXPECT(pgm_record_rom_mode(record_at(pages[i])) == PGM_ROM_READ_ROM);
	}
	EXPECT(read_byte(ROM) == 0x11 && read_byte(SHADOWED + PAGES(2)) == 0x11);
	EXPECT(read_byte(DEVICE + PAGES(1)) == 3);
}
