/* SPDX-License-Identifier: MIT */
/* The handy stock: when it is low, what a refill gets, and that its pages are clear. */
#include "pgm_fixture.h"

TEST(pgm_handy, stock_is_low_at_its_threshold)
{
	bare_set_up(&slat_npt, MIB(4));
	EXPECT(pgm_handy_is_low(pgm));
	EXPECT(touch(0, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(stats().private_pages == 0);
	refill();
	EXPECT(stats().handy == PGM_HANDY_MAX && stats().counters.refills == 1);
	for (unsigned left = PGM_HANDY_MAX; left > 0; left--) {
		EXPECT(stats().handy == left);
		EXPECT(pgm_handy_is_low(pgm) == (left <= PGM_HANDY_LOW));
		EXPECT(touch(MIB(1) + left * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
		EXPECT(page_is_all(nested_byte(MIB(1) + left * PAGE_SIZE), 0));
	}
	EXPECT(touch(0, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(touch(0, MEM_READ) == PGM_RESOLVED);
	refill();
	refill(); /* a full stock is no failure */
	EXPECT(stats().handy == PGM_HANDY_MAX && stats().counters.refills == 2);
	EXPECT(touch(0, MEM_WRITE) == PGM_RESOLVED);
}

TEST(pgm_handy, gmm_learns_the_guest_frame_at_the_next_refill)
{
	struct gmm_page_info info;

	set_up(&slat_npt, MIB(4));
	EXPECT(touch(0x7000, MEM_WRITE) == PGM_RESOLVED);
	page_id_t id = pgm_record_id(*pgm_record_find(pgm, gfn(7)));
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GFN_UNKNOWN.raw);
	refill();
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == 7);
	EXPECT(info.kind == GMM_PAGE_PRIVATE && info.owner == pgm_vm(pgm));
}

/* A guest finds pages that another VM used before all zero. */
TEST(pgm_handy, pages_are_cleared)
{
	machine_set_up(MIB(16));
	vm_create(config_of(&slat_npt, MIB(8)));
	static uint8_t junk[MIB(7)];
	memset(junk, 0x5a, sizeof(junk));
	EXPECT(pgm_write(pgm, gpa(MIB(1)), junk, sizeof(junk), NULL) == Q_OK);
	pgm_destroy(pgm);
	vm_create(config_of(&slat_npt, MIB(8)));
	for (uint64_t addr = MIB(1); addr < MIB(8); addr += PAGE_SIZE) {
		if (pgm_handy_is_low(pgm))
			EXPECT(pgm_handy_refill(pgm) == Q_OK);
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_WRITE };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		EXPECT(page_is_all(nested_byte(addr), 0));
	}
	check();
}

TEST(pgm_handy, takes_what_can_be_had)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));

	machine_set_up(MIB(16));
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	/* The guarantee covers one full stock: use it up, then let another VM take the rest. */
	refill();
	for (unsigned i = 0; i < PGM_HANDY_MAX; i++)
		EXPECT(touch(MIB(1) + i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	gmm_vm_t hog = hog_create(5);
	refill();
	EXPECT(stats().handy == 5);
	for (unsigned i = 0; i < 5; i++)
		EXPECT(touch(i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(5 * PAGE_SIZE, MEM_WRITE) == PGM_NO_MEMORY);
	EXPECT(pgm_handy_refill(pgm) == Q_NO_MEMORY);
	check();
	uint64_t done = 99;
	EXPECT(pgm_write(pgm, gpa(5 * PAGE_SIZE), "x", 1, &done) == Q_NO_MEMORY && done == 0);
	check();
	/* Reading still works, and so does writing to pages that the VM has. */
	EXPECT(touch(5 * PAGE_SIZE, MEM_READ) == PGM_RESOLVED);
	write_byte(4 * PAGE_SIZE, 7);
	gmm_vm_destroy(hog);
	refill();
	EXPECT(touch(5 * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(read_byte(4 * PAGE_SIZE) == 7 && read_byte(5 * PAGE_SIZE) == 0);
}

TEST(pgm_handy, all_of_ram_and_the_stock_fit_the_promise)
{
	struct pgm_config config = config_of(&slat_npt, MIB(2));

	machine_set_up(MIB(16));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	gmm_vm_t hog = hog_create(0);
	for (uint64_t addr = 0; addr < MIB(2); addr += PAGE_SIZE) {
		if (pgm_handy_is_low(pgm))
			refill();
		struct pgm_fault fault = { .addr = gpa(addr), .access = MEM_WRITE };
		if (addr < 0xa0000 || addr >= MIB(1))
			EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	}
	refill();
	EXPECT(stats().zero == 0 && stats().handy == PGM_HANDY_MAX);
	gmm_vm_destroy(hog);
	check();
}
