/* SPDX-License-Identifier: MIT */
/* Device memory: where the guest sees it, what it costs, and which pages were written. */
#include "mm/pgm/pgm_device.h"

#include "mm/pgm/pgm_handler.h"

#include "pgm_fixture.h"

#define PLACE        0xf0000000ull
#define DEVICE_PAGES 300u

static struct pgm_device *device;

static void device_set_up(const struct slat_format *format)
{
	set_up(format, MIB(4));
	EXPECT(pgm_device_add(pgm, PAGES(DEVICE_PAGES), &device) == Q_OK);
	check();
}

static void map(uint64_t start)
{
	EXPECT(pgm_device_map(pgm, device, gpa(start)) == Q_OK);
	check();
}

static void unmap(void)
{
	EXPECT(pgm_device_unmap(pgm, device) == Q_OK);
	check();
}

static uint8_t *own(uint64_t index)
{
	return pgm_device_page(pgm, device, index);
}

/* --- where it is seen ---------------------------------------------------------------------- */

static void guest_and_device_share_it(const struct slat_format *format)
{
	device_set_up(format);
	EXPECT(touch(PLACE, MEM_READ) == PGM_MMIO);
	for (unsigned i = 0; i < DEVICE_PAGES; i++)
		EXPECT(page_is_all(own(i), 0));
	map(PLACE);
	own(3)[5] = 0x11;
	EXPECT(touch(PLACE + PAGES(3), MEM_READ) == PGM_RESOLVED);
	EXPECT(*nested_byte(PLACE + PAGES(3) + 5) == 0x11 &&
	       read_byte(PLACE + PAGES(3) + 5) == 0x11);
	/* The read maps it writable at once: a write would allocate nothing. */
	EXPECT(nested(PLACE + PAGES(3)).can_write && nested(PLACE + PAGES(3)).can_execute);
	*nested_byte(PLACE + PAGES(3) + 6) = 0x12;
	EXPECT(own(3)[6] == 0x12);
	write_byte(PLACE + PAGES(DEVICE_PAGES) - 1, 0x13);
	EXPECT(own(DEVICE_PAGES - 1)[PAGE_MASK] == 0x13);
	/* Both edges, from both sides. */
	EXPECT(touch(PLACE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(PLACE - 1, MEM_WRITE) == PGM_MMIO);
	EXPECT(touch(PLACE + PAGES(DEVICE_PAGES) - 1, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(PLACE + PAGES(DEVICE_PAGES), MEM_WRITE) == PGM_MMIO);
	EXPECT(try_write(PLACE + PAGES(DEVICE_PAGES), 1) == Q_RANGE);
	EXPECT(stats().handy == PGM_HANDY_MAX && stats().private_pages == 0);
}

TEST(pgm_device, guest_and_device_share_it)
{
	BOTH(guest_and_device_share_it);
}

TEST(pgm_device, moves_with_its_content)
{
	device_set_up(&slat_npt);
	map(PLACE);
	write_byte(PLACE + 7, 0x77);
	EXPECT(touch(PLACE, MEM_WRITE) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	unmap();
	EXPECT(pgm_slat_generation(pgm) != generation && !nested(PLACE).is_present);
	EXPECT(touch(PLACE, MEM_READ) == PGM_MMIO && try_write(PLACE, 1) == Q_RANGE);
	EXPECT(own(0)[7] == 0x77);
	map(GIB(5) + 0x1000);
	EXPECT(read_byte(GIB(5) + 0x1007) == 0x77 && touch(PLACE, MEM_READ) == PGM_MMIO);
	EXPECT(touch(GIB(5) + 0x1000, MEM_READ) == PGM_RESOLVED);
	EXPECT(*nested_byte(GIB(5) + 0x1007) == 0x77);
}

/* Moving it again and again uses up nothing, and there always are tables for RAM. */
TEST(pgm_device, any_number_of_moves_costs_nothing)
{
	device_set_up(&slat_ept);
	struct gmm_vm_stats before = accounts();
	for (unsigned i = 0; i < 200; i++) {
		/* Across every kind of block of records and of tables. */
		uint64_t place = GIB(4 + i % 50) - PAGES(i % 3 * 100 + 1);
		map(place);
		for (unsigned page = 0; page < DEVICE_PAGES; page += 13) {
			struct pgm_fault fault = { .addr = gpa(place + PAGES(page)),
						   .access = MEM_WRITE };
			EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		}
		for (uint64_t addr = MIB(1); addr < MIB(4); addr += MIB(1)) {
			struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_READ };
			EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		}
		check();
		unmap();
	}
	struct gmm_vm_stats after = accounts();
	EXPECT(after.allocated[GMM_FIXED] == before.allocated[GMM_FIXED]);
	EXPECT(after.allocated[GMM_SHADOW] == 1);
}

/* The allowance of plain ROM, and all RAM, beside two devices at the worst places. */
TEST(pgm_device, what_was_promised_is_enough)
{
	static uint8_t image[PAGES(2)];
	struct pgm_device *other;

	memset(image, 1, sizeof(image));
	set_up(&slat_npt, MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(GIB(12) - PAGE_SIZE), image, sizeof(image)) == Q_OK);
	EXPECT(pgm_device_add(pgm, PAGES(DEVICE_PAGES), &device) == Q_OK);
	EXPECT(pgm_device_add(pgm, PAGES(2), &other) == Q_OK);
	map(GIB(8) - PAGES(1));
	EXPECT(pgm_device_map(pgm, other, gpa(GIB(40) - PAGE_SIZE)) == Q_OK);
	check();
	static const uint64_t addrs[] = { 0,          MIB(1),
					  MIB(4) - 1, GIB(12) - 1,
					  GIB(12),    GIB(40) - 1,
					  GIB(40),    GIB(8) - 1,
					  GIB(8),     GIB(8) + PAGES(DEVICE_PAGES) - PAGES(2) };
	for (unsigned i = 0; i < ARRAY_COUNT(addrs); i++)
		EXPECT(touch(addrs[i], MEM_READ) == PGM_RESOLVED);
	for (uint64_t addr = GIB(8) - PAGES(1); addr < GIB(8) + PAGES(DEVICE_PAGES - 1);
	     addr += PAGE_SIZE) {
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_READ };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	}
	check();
	/* More ROM would use up record pages that go when the device is unmapped. */
	EXPECT(pgm_rom_add(pgm, gpa(GIB(5)), image, PAGES(1)) == Q_STATE);
	EXPECT(pgm_device_unmap(pgm, other) == Q_OK);
	unmap();
	/* Not while the device is mapped nowhere either: it may be mapped again. */
	EXPECT(pgm_rom_add(pgm, gpa(0xd0000), image, PAGES(1)) == Q_STATE);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xd0000), image, PAGES(1)) == Q_STATE);
}

TEST(pgm_device, bad_places_are_refused)
{
	device_set_up(&slat_npt);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGES(1)) == Q_OK);
	EXPECT(pgm_device_unmap(pgm, device) == Q_STATE);
	EXPECT(pgm_device_map(pgm, device, gpa(PLACE + 1)) == Q_INVALID);
	/* Its last page is the first that no record can have. */
	EXPECT(pgm_device_map(pgm, device, gpa(PAGES(PGM_GFN_END + 1 - DEVICE_PAGES))) == Q_RANGE);
	EXPECT(pgm_device_map(pgm, device, gpa(~PAGE_MASK)) == Q_RANGE);
	EXPECT(pgm_device_map(pgm, device, gpa(MIB(4) - PAGES(1))) == Q_CONFLICT);
	EXPECT(pgm_device_map(pgm, device, gpa(0xfee00000 - PAGES(1))) == Q_CONFLICT);
	check();
	map(MIB(4));
	EXPECT(pgm_device_map(pgm, device, gpa(PLACE)) == Q_STATE);
	struct pgm_device *other;
	EXPECT(pgm_device_add(pgm, PAGES(2), &other) == Q_OK);
	EXPECT(pgm_device_map(pgm, other, gpa(MIB(4))) == Q_CONFLICT);
	EXPECT(pgm_device_map(pgm, other, gpa(MIB(4) + PAGES(DEVICE_PAGES))) == Q_OK);
	check();
	EXPECT(pgm_handler_add(pgm, gpa(MIB(4)), PAGES(1), PGM_HANDLER_WRITE, 1) == Q_OK);
	EXPECT(touch(MIB(4), MEM_WRITE) == PGM_HANDLER);
	EXPECT(pgm_device_unmap(pgm, device) == Q_STATE);
	EXPECT(pgm_handler_remove(pgm, gpa(MIB(4)), PAGES(1)) == Q_OK);
	unmap();
	EXPECT(pgm_device_unmap(pgm, other) == Q_OK);
	check();
}

/* --- what it costs -------------------------------------------------------------------------- */

TEST(pgm_device, is_admitted_or_changes_nothing)
{
	struct pgm_device *other = NULL;

	device_set_up(&slat_npt);
	EXPECT(stats().device == DEVICE_PAGES);
	EXPECT(pgm_device_add(pgm, 0, &other) == Q_INVALID);
	EXPECT(pgm_device_add(pgm, PAGE_SIZE + 1, &other) == Q_INVALID);
	EXPECT(pgm_device_add(pgm, ~PAGE_MASK, &other) == Q_LIMIT);
	struct gmm_vm_stats before = accounts(), after;
	EXPECT(pgm_device_add(pgm, MIB(100), &other) == Q_DECLINED);
	after = accounts();
	EXPECT(memcmp(&before, &after, sizeof(after)) == 0 && !other);
	check();
	pgm_unreserve(pgm);
	EXPECT(pgm_device_add(pgm, PAGES(1), &other) == Q_STATE);
	EXPECT(pgm_reserve(pgm) == Q_OK);
	for (unsigned i = 1; i < PGM_DEVICE_MAX; i++)
		EXPECT(pgm_device_add(pgm, PAGES(1), &other) == Q_OK);
	EXPECT(pgm_device_add(pgm, PAGES(1), &other) == Q_LIMIT);
	check();
}

TEST(pgm_device, goes_with_its_vm_and_stays_at_a_reset)
{
	struct gmm_stats before, after;

	machine_set_up(MIB(64));
	gmm_stats(&before);
	vm_create(config_of(&slat_npt, MIB(4)));
	EXPECT(pgm_device_add(pgm, PAGES(DEVICE_PAGES), &device) == Q_OK);
	map(PLACE);
	write_byte(PLACE, 5);
	EXPECT(touch(PLACE, MEM_WRITE) == PGM_RESOLVED);
	pgm_reset(pgm);
	check();
	EXPECT(!nested(PLACE).is_present && touch(PLACE, MEM_READ) == PGM_RESOLVED);
	EXPECT(read_byte(PLACE) == 5);
	pgm_destroy(pgm);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

/* --- which pages were written ------------------------------------------------------------------ */

static uint64_t bitmap[(DEVICE_PAGES + 63) / 64];

static void take(void)
{
	memset(bitmap, 0xee, sizeof(bitmap));
	EXPECT(pgm_device_dirty_take(pgm, device, 0, DEVICE_PAGES, bitmap) == Q_OK);
	check();
}

/* Expects exactly these pages, and no bit beyond the last page. */
static void expect_dirty(const unsigned *pages, unsigned count)
{
	uint64_t expected[ARRAY_COUNT(bitmap)] = { 0 };

	for (unsigned i = 0; i < count; i++)
		expected[pages[i] / 64] |= BIT64(pages[i] % 64);
	EXPECT(memcmp(expected, bitmap, sizeof(bitmap)) == 0);
}

static void writes_are_tracked(const struct slat_format *format)
{
	static const unsigned by_both[] = { 0, 64, DEVICE_PAGES - 1 }, again[] = { 64 };

	device_set_up(format);
	map(PLACE);
	for (unsigned i = 0; i < DEVICE_PAGES; i++) {
		struct pgm_fault fault = { .addr = gpa(PLACE + PAGES(i)), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	}
	EXPECT(pgm_device_dirty_take(pgm, device, 0, 1, bitmap) == Q_STATE);
	EXPECT(pgm_device_track_start(pgm, device) == Q_OK);
	EXPECT(pgm_device_track_start(pgm, device) == Q_STATE);
	check();
	for (unsigned i = 0; i < DEVICE_PAGES; i++)
		EXPECT(nested(PLACE + PAGES(i)).is_present && !nested(PLACE + PAGES(i)).can_write);
	take();
	expect_dirty(NULL, 0);
	EXPECT(touch(PLACE, MEM_WRITE) == PGM_RESOLVED && nested(PLACE).can_write);
	EXPECT(touch(PLACE + PAGES(1), MEM_READ) == PGM_RESOLVED);
	EXPECT(!nested(PLACE + PAGES(1)).can_write);
	write_byte(PLACE + PAGES(64), 1);
	write_byte(PLACE + PAGES(DEVICE_PAGES - 1), 1);
	EXPECT(touch(PLACE + PAGES(64), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(nested(PLACE + PAGES(64)).can_write);
	uint64_t generation = pgm_slat_generation(pgm);
	take();
	expect_dirty(by_both, ARRAY_COUNT(by_both));
	/* Monitored again: CPUs that have cached the entries must flush. */
	EXPECT(pgm_slat_generation(pgm) != generation);
	EXPECT(!nested(PLACE).can_write && !nested(PLACE + PAGES(64)).can_write);
	EXPECT(touch(PLACE + PAGES(64), MEM_WRITE) == PGM_RESOLVED);
	take();
	expect_dirty(again, ARRAY_COUNT(again));
	take();
	expect_dirty(NULL, 0);
	EXPECT(pgm_device_track_stop(pgm, device) == Q_OK);
	EXPECT(pgm_device_track_stop(pgm, device) == Q_STATE);
	check();
	EXPECT(pgm_device_dirty_take(pgm, device, 0, 1, bitmap) == Q_STATE);
	EXPECT(touch(PLACE, MEM_READ) == PGM_RESOLVED && nested(PLACE).can_write);
}

TEST(pgm_device, writes_are_tracked)
{
	BOTH(writes_are_tracked);
}

TEST(pgm_device, a_part_of_it_can_be_asked_about)
{
	static const unsigned last[] = { 9 };

	device_set_up(&slat_npt);
	map(PLACE);
	EXPECT(pgm_device_track_start(pgm, device) == Q_OK);
	write_byte(PLACE + PAGES(4), 1);
	write_byte(PLACE + PAGES(9), 1);
	EXPECT(touch(PLACE + PAGES(9), MEM_WRITE) == PGM_RESOLVED);
	bitmap[0] = ~0ull;
	EXPECT(pgm_device_dirty_take(pgm, device, 3, 6, bitmap) == Q_OK && bitmap[0] == 2);
	check();
	EXPECT(nested(PLACE + PAGES(9)).can_write); /* not asked about */
	EXPECT(pgm_device_dirty_take(pgm, device, DEVICE_PAGES, 1, bitmap) == Q_RANGE);
	EXPECT(pgm_device_dirty_take(pgm, device, 1, DEVICE_PAGES, bitmap) == Q_RANGE);
	EXPECT(pgm_device_dirty_take(pgm, device, 1, ~0ull, bitmap) == Q_RANGE);
	take();
	expect_dirty(last, 1);
}

TEST(pgm_device, marks_move_with_the_pages)
{
	static const unsigned both[] = { 2, 5 };

	device_set_up(&slat_npt);
	map(PLACE);
	EXPECT(pgm_device_track_start(pgm, device) == Q_OK);
	write_byte(PLACE + PAGES(2), 1);
	unmap();
	map(GIB(6));
	EXPECT(touch(GIB(6) + PAGES(3), MEM_READ) == PGM_RESOLVED);
	EXPECT(!nested(GIB(6) + PAGES(3)).can_write);
	write_byte(GIB(6) + PAGES(5), 1);
	unmap();
	take();
	expect_dirty(both, ARRAY_COUNT(both));
}

/* Adding a device raises the promises, but does not change the VM's priority. */
TEST(pgm_device, leaves_a_vm_its_priority)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));

	machine_set_up(MIB(64));
	config.priority = GMM_PRIORITY_HIGH;
	vm_create(config);
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	EXPECT(pgm_device_add(pgm, PAGES(2), &device) == Q_OK);
	/* While another VM waits, only VMs of higher priority may have what is left. */
	gmm_vm_t waiter = hog_create(100);
	gmm_wait_begin(waiter);
	EXPECT(gmm_pages_available(pgm_vm(pgm), 10) == 10);
	gmm_wait_end(waiter);
	check();
}

TEST(pgm_device, leaves_a_bound_vm_its_range)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));

	machine_set_up(MIB(64));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.is_bound = true;
	config.bound_range =
		(struct gmm_region){ hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MIB(64)) };
	vm_create(config);
	struct gmm_vm_stats before = accounts();
	EXPECT(before.bound_pages > 0);
	EXPECT(pgm_device_add(pgm, PAGES(2), &device) == Q_OK);
	check();
	struct gmm_vm_stats after = accounts();
	EXPECT(after.bound_pages == before.bound_pages);
	EXPECT(after.guaranteed_base == before.guaranteed_base);
}

TEST(pgm_device, leaves_a_vm_its_guarantee)
{
	for (enum gmm_overcommit overcommit = GMM_OVERCOMMIT_NONE;
	     overcommit <= GMM_OVERCOMMIT_FULL; overcommit++) {
		struct pgm_config config = config_of(&slat_npt, MIB(4));
		machine_set_up(MIB(64));
		config.overcommit = overcommit;
		vm_create(config);
		uint64_t guaranteed = accounts().guaranteed_base;
		EXPECT(pgm_device_add(pgm, PAGES(2), &device) == Q_OK);
		EXPECT(accounts().guaranteed_base == guaranteed);
	}
}
