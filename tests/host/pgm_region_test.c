/* SPDX-License-Identifier: MIT */
/* The guest-physical map: records, and where RAM, MMIO and nothing are. */
#include <quire/bits.h>

#include "pgm_fixture.h"

/* --- records --------------------------------------------------------------------------------- */

TEST(pgm_record, golden_words)
{
	struct pgm_record record = pgm_record_make(PGM_TYPE_RAM, PGM_STATE_NORMAL, hfn(0xabcdef123),
						   (page_id_t){ 0x9876543 });
	/* id 0x9876543: 0x9876 above, 0x543 below; RAM is 5 at bit 1; NORMAL 1 at bit 8 */
	EXPECT(record.q0 == 0x9876abcdef123543 && record.d2 == 0x10a && record.d3 == 0);
	record = pgm_record_make(PGM_TYPE_RAM, PGM_STATE_ZERO, hfn(1), PAGE_ID_NIL);
	EXPECT(record.q0 == 0x1000 && record.d2 == 0x00b);
	record = pgm_record_make(PGM_TYPE_ROM, PGM_STATE_NORMAL, hfn(1), (page_id_t){ 1 });
	EXPECT(record.q0 == 0x1001 && record.d2 == 0x107);
}

TEST(pgm_record, fields_come_back_at_their_extremes)
{
	static const uint32_t ids[] = { 0, 1, 0xfff, 0x1000, GMM_PAGE_ID_LAST };
	static const uint64_t frames[] = { 0, 1, MASK64(35, 0) };

	for (unsigned i = 0; i < ARRAY_COUNT(ids) * ARRAY_COUNT(frames); i++) {
		uint32_t id = ids[i % ARRAY_COUNT(ids)];
		uint64_t frame = frames[i / ARRAY_COUNT(ids)];
		for (unsigned kind = PGM_STATE_ZERO; kind <= PGM_STATE_BALLOONED; kind++) {
			struct pgm_record record =
				pgm_record_make(PGM_TYPE_RAM, kind, hfn(frame), (page_id_t){ id });
			EXPECT(pgm_record_id(record).raw == id);
			EXPECT(pgm_record_frame(record).raw == frame);
			EXPECT(pgm_record_type(record) == PGM_TYPE_RAM);
			EXPECT(pgm_record_state(record) == (enum pgm_state)kind);
			EXPECT(pgm_record_is_read_only(record) == (kind != PGM_STATE_NORMAL));
		}
	}
}

/* --- the map --------------------------------------------------------------------------------- */

/* Both edges of a half-open range, from both sides. */
static void expect_ram(uint64_t start, uint64_t end)
{
	EXPECT(touch(start, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(end - 1, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(end, MEM_READ) == PGM_MMIO);
	EXPECT(touch(end, MEM_WRITE) == PGM_MMIO);
	if (start > 0)
		EXPECT(touch(start - 1, MEM_READ) == PGM_MMIO);
}

TEST(pgm_map, ram_of_a_small_vm)
{
	bare_set_up(&slat_npt, MIB(4));
	EXPECT(stats().pages == PAGES_4M);
	expect_ram(0, 0xa0000);
	expect_ram(MIB(1), MIB(4));
	EXPECT(touch(GIB(4), MEM_READ) == PGM_MMIO);
	EXPECT(touch(PGM_GPA_LIMIT, MEM_READ) == PGM_MMIO);
	EXPECT(touch(~0ull, MEM_WRITE) == PGM_MMIO);
}

TEST(pgm_map, ram_below_1_mib)
{
	bare_set_up(&slat_npt, PAGE_SIZE);
	expect_ram(0, PAGE_SIZE);
	bare_set_up(&slat_npt, 0xa0000);
	expect_ram(0, 0xa0000);
	bare_set_up(&slat_npt, MIB(1));
	expect_ram(0, 0xa0000);
	EXPECT(touch(MIB(1), MEM_READ) == PGM_MMIO);
	bare_set_up(&slat_npt, MIB(1) + PAGE_SIZE);
	expect_ram(MIB(1), MIB(1) + PAGE_SIZE);
}

TEST(pgm_map, ram_around_the_hole)
{
	bare_set_up(&slat_npt, GIB(3));
	EXPECT(touch(0xbfffffff, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0xc0000000, MEM_READ) == PGM_MMIO);
	EXPECT(touch(GIB(4), MEM_READ) == PGM_MMIO);
	bare_set_up(&slat_npt, GIB(3) + MIB(9));
	EXPECT(touch(0xbffff000, MEM_READ) == PGM_RESOLVED);
	expect_ram(GIB(4), GIB(4) + MIB(9));
	EXPECT(stats().pages == (GIB(3) + MIB(9)) / PAGE_SIZE - 96);
}

TEST(pgm_map, impossible_sizes_are_refused)
{
	static const uint64_t sizes[] = { 0,
					  1,
					  PAGE_SIZE - 1,
					  MIB(1) + 1,
					  PGM_RAM_BYTES_MAX + PAGE_SIZE,
					  ~0ull,
					  ~0ull & ~PAGE_MASK };
	struct pgm *none = NULL;

	machine_set_up(MIB(16));
	for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++) {
		struct pgm_config config = config_of(&slat_npt, sizes[i]);
		EXPECT(pgm_create(&config, &none) == Q_RANGE);
	}
	struct pgm_config config = config_of(&slat_npt, MIB(1));
	config.guaranteed_bytes = MIB(1) + 1;
	EXPECT(pgm_create(&config, &none) == Q_RANGE);
	/* Possible, but not on this machine. */
	config = config_of(&slat_npt, PGM_RAM_BYTES_MAX);
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config = config_of(&slat_npt, MIB(16));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config.overcommit = GMM_OVERCOMMIT_FULL;
	config.guaranteed_bytes = MIB(16);
	EXPECT(pgm_create(&config, &none) == Q_DECLINED);
	config.guaranteed_bytes = 0;
	EXPECT(pgm_create(&config, &none) == Q_OK);
	pgm_destroy(none);
	gmm_check();
}

TEST(pgm_map, claims_are_known_before_creation)
{
	static const uint64_t guarantees[] = { 0, 1, MIB(1), MIB(5) };

	machine_set_up(MIB(32));
	for (unsigned i = 0; i < 2 * ARRAY_COUNT(guarantees); i++) {
		struct pgm_config config = config_of(&slat_npt, MIB(5));
		config.guaranteed_bytes = guarantees[i / 2];
		config.overcommit = i % 2 ? GMM_OVERCOMMIT_NONE : GMM_OVERCOMMIT_FULL;
		struct gmm_claims claims = pgm_claims(&config);
		struct gmm_vm_stats vm;
		EXPECT(pgm_create(&config, &pgm) == Q_OK);
		gmm_vm_stats(pgm_vm(pgm), &vm);
		EXPECT(claims.base == vm.guaranteed_base);
		EXPECT(claims.kernel == vm.promised[GMM_SHADOW] + vm.promised[GMM_FIXED]);
		pgm_destroy(pgm);
	}
	struct pgm_config config = config_of(&slat_npt, PAGE_SIZE - 1);
	EXPECT(pgm_claims(&config).base == 0 && pgm_claims(&config).kernel == 0);
}

TEST(pgm_map, mmio_is_a_place_that_is_taken)
{
	static uint8_t image[PAGE_SIZE];

	bare_set_up(&slat_npt, MIB(4));
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_OK);
	EXPECT(touch(0xfee00000, MEM_WRITE) == PGM_MMIO);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfedff000), 2 * PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfedff000), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee01000), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_rom_add(pgm, gpa(0xfee00000), image, PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(MIB(4) - PAGE_SIZE), PAGE_SIZE) == Q_CONFLICT);
	EXPECT(pgm_mmio_add(pgm, gpa(MIB(4)), PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xa0000), 0x20000) == Q_OK);
	EXPECT(touch(0xa0000, MEM_READ) == PGM_MMIO);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), 0) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0001), PAGE_SIZE) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), 100) == Q_INVALID);
	EXPECT(pgm_mmio_add(pgm, gpa(0xd0000), PGM_GPA_LIMIT) == Q_RANGE);
	EXPECT(pgm_mmio_add(pgm, gpa(~PAGE_MASK), PAGE_SIZE) == Q_RANGE);
	uint64_t addr = GIB(5);
	while (pgm_mmio_add(pgm, gpa(addr), PAGE_SIZE) == Q_OK)
		addr += PAGE_SIZE;
	EXPECT(pgm_mmio_add(pgm, gpa(addr), PAGE_SIZE) == Q_LIMIT);
	check();
}
