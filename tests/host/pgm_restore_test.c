/* SPDX-License-Identifier: MIT */
/* Restoring memory from a saved state. */
#include "pgm_fixture.h"

#define ADDR 0x3000ull

static q_status_t checked(q_status_t status)
{
	check();
	return status;
}

TEST(pgm_restore, fills_pages_that_were_set_aside)
{
	static uint8_t content[PAGE_SIZE];
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 7);
	memset(content, 0x5a, sizeof(content));

	EXPECT(pgm_restore_begin(pgm, 2) == Q_OK);
	check();
	EXPECT(stats().zero == stats().pages);
	hog_create(0);
	EXPECT(checked(pgm_restore_page(pgm, gfn(4), content)) == Q_OK);
	EXPECT(checked(pgm_restore_page(pgm, gfn(4), content)) == Q_STATE);
	EXPECT(checked(pgm_restore_page(pgm, gfn(0xb0), content)) == Q_RANGE);
	EXPECT(checked(pgm_restore_page(pgm, gfn(5), content)) == Q_OK);
	pgm_restore_end(pgm);
	check();
	EXPECT(read_byte(PAGES(4)) == 0x5a && read_byte(ADDR) == 0 && stats().private_pages == 2);
}

TEST(pgm_restore, is_refused_before_anything_is_lost)
{
	set_up(&slat_npt, MIB(4));
	write_byte(ADDR, 7);
	hog_create(10);
	struct gmm_vm_stats before = accounts();

	EXPECT(checked(pgm_restore_begin(pgm, 500)) == Q_NO_MEMORY);
	EXPECT(checked(pgm_restore_begin(pgm, stats().pages + 1)) == Q_LIMIT);
	struct gmm_vm_stats after = accounts();
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0 && read_byte(ADDR) == 7);
}

/* The VM's pages are freed first, so a full machine can restore as many. */
TEST(pgm_restore, uses_what_the_vm_has)
{
	static const uint8_t content[PAGE_SIZE] = { 1 };
	set_up(&slat_npt, MIB(4));
	for (unsigned i = 0; i < 50; i++)
		write_byte(MIB(1) + PAGES(i), 7);
	hog_create(0);
	EXPECT(pgm_restore_begin(pgm, 50) == Q_OK);
	for (unsigned i = 0; i < 50; i++)
		EXPECT(pgm_restore_page(pgm, gfn(i), content) == Q_OK);
	pgm_restore_end(pgm);
	check();
}

/* A saved state may fill fewer pages than it announced. */
TEST(pgm_restore, returns_what_was_not_used)
{
	static const uint8_t content[PAGE_SIZE] = { 1 };

	set_up(&slat_npt, MIB(4));
	EXPECT(pgm_restore_begin(pgm, 50) == Q_OK);
	EXPECT(pgm_restore_page(pgm, gfn(0), content) == Q_OK);
	EXPECT(accounts().set_aside_pages >= 49);
	pgm_restore_end(pgm);
	check();
	EXPECT(accounts().set_aside_pages == 0);
}

/* Pages in the balloon count as room; they stay in it if the answer is no. */
TEST(pgm_restore, counts_what_the_balloon_has)
{
	set_up(&slat_npt, MIB(4));
	unsigned done;
	for (uint64_t i = 0; i < 512; i++) {
		gfn_t gfn_of_page = gfn((MIB(1) >> PAGE_SHIFT) + i);
		pgm_balloon_inflate(pgm, &gfn_of_page, 1, &done);
		EXPECT(done == 1);
	}
	gmm_vm_t hog = hog_create(10);
	EXPECT(checked(pgm_restore_begin(pgm, 600)) == Q_NO_MEMORY);
	EXPECT(stats().ballooned == 512 && accounts().ballooned_pages == 512);
	gmm_vm_destroy(hog);
	EXPECT(checked(pgm_restore_begin(pgm, stats().pages)) == Q_OK);
	EXPECT(stats().ballooned == 0 && accounts().ballooned_pages == 0);
	pgm_restore_end(pgm);
	check();
}
