/* SPDX-License-Identifier: MIT */
/* First accesses: the guest's faults, the hypervisor's reads and writes, and what TLBs may keep. */
#include "pgm_fixture.h"

/* --- reading and first writes ---------------------------------------------------------------- */

TEST(pgm_fault, reads_never_allocate)
{
	static uint8_t buffer[MIB(3)];

	bare_set_up(&slat_npt, MIB(4));
	uint64_t before = base_pages();
	for (uint64_t addr = MIB(1); addr < MIB(4); addr += PAGE_SIZE) {
		struct pgm_fault fault = { .addr = gpa(addr),
					   .access = addr % 3 ? MEM_READ : MEM_EXEC };
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
		struct nested_result result = nested(addr);
		EXPECT(result.is_present && !result.can_write && result.can_execute);
		EXPECT(result.machine == pgm->zero_frame.raw << PAGE_SHIFT);
	}
	memset(buffer, 0xee, sizeof(buffer));
	EXPECT(pgm_read(pgm, gpa(MIB(1)), buffer, sizeof(buffer), NULL) == Q_OK);
	for (unsigned i = 0; i < sizeof(buffer); i++)
		EXPECT(buffer[i] == 0);
	EXPECT(base_pages() == before && stats().zero == PAGES_4M);
	EXPECT(stats().handy == 0 && stats().private_pages == 0);
	EXPECT(stats().counters.faults_read == 768);
	check();
}

TEST(pgm_fault, first_write_backs_one_zeroed_page)
{
	set_up(&slat_npt, MIB(4));
	uint64_t base = base_pages(), generation = pgm_slat_generation(pgm);
	EXPECT(touch(0x1234, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(touch(0x1238, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation + 1); /* the zero page was mapped */
	struct nested_result result = nested(0x1238);
	EXPECT(result.is_present && result.can_write && result.can_execute);
	EXPECT(result.machine >> PAGE_SHIFT != pgm->zero_frame.raw);
	EXPECT(page_is_all(fake_ram_peek(hpa(result.machine)), 0));
	EXPECT(stats().private_pages == 1 && stats().zero == PAGES_4M - 1);
	EXPECT(stats().handy == PGM_HANDY_MAX - 1);
	EXPECT(base_pages() == base); /* it was the VM's already */
	/* Neighbours are as they were. */
	EXPECT(!nested(0x0fff).is_present && !nested(0x2000).is_present);
	EXPECT(touch(0x2000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation + 1); /* nothing was mapped */
	EXPECT(nested(0x2000).machine != (result.machine & ~PAGE_MASK));
}

TEST(pgm_fault, spurious_faults_resolve)
{
	set_up(&slat_npt, MIB(4));
	EXPECT(touch(0x5000, MEM_WRITE) == PGM_RESOLVED);
	struct nested_result result = nested(0x5000);
	uint64_t generation = pgm_slat_generation(pgm);
	EXPECT(touch(0x5000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(touch(0x5000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0x5000, MEM_EXEC) == PGM_RESOLVED);
	EXPECT(pgm_slat_generation(pgm) == generation);
	EXPECT(nested(0x5000).machine == result.machine && nested(0x5000).can_write);
	EXPECT(stats().private_pages == 1 && stats().counters.faults_write == 2);
}

TEST(pgm_fault, both_formats_are_served)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));

	machine_set_up(MIB(16));
	config.format = &slat_ept;
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	refill();
	EXPECT(touch(0x1000, MEM_READ) == PGM_RESOLVED);
	EXPECT(nested(0x1000).is_present && !nested(0x1000).can_write);
	EXPECT(touch(0x1000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(nested(0x1000).can_write && nested(0x1000).can_execute);
}

/* --- the hypervisor's own access ------------------------------------------------------------- */

TEST(pgm_access, write_and_read_across_pages)
{
	static uint8_t out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
	uint64_t done;

	bare_set_up(&slat_npt, MIB(4));
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 13 + 1);
	EXPECT(pgm_write(pgm, gpa(0x3ffe), out, PAGE_SIZE + 5, &done) == Q_OK);
	EXPECT(done == PAGE_SIZE + 5 && stats().private_pages == 3);
	check();
	EXPECT(pgm_read(pgm, gpa(0x3ffe), in, PAGE_SIZE + 5, &done) == Q_OK);
	EXPECT(done == PAGE_SIZE + 5 && memcmp(in, out, PAGE_SIZE + 5) == 0);
	EXPECT(read_byte(0x3ffd) == 0 && read_byte(0x3ffe + PAGE_SIZE + 5) == 0);
	EXPECT(pgm_read(pgm, gpa(~0ull), in, 0, &done) == Q_OK && done == 0);
}

TEST(pgm_access, ends_where_memory_ends)
{
	static uint8_t buffer[4 * PAGE_SIZE];
	uint64_t done = 99;

	bare_set_up(&slat_npt, MIB(4));
	EXPECT(pgm_write(pgm, gpa(MIB(4) - 10), buffer, 11, &done) == Q_RANGE && done == 10);
	EXPECT(pgm_read(pgm, gpa(MIB(4) - 10), buffer, 11, &done) == Q_RANGE && done == 10);
	EXPECT(pgm_read(pgm, gpa(MIB(4) - 10), buffer, 10, &done) == Q_OK && done == 10);
	EXPECT(pgm_read(pgm, gpa(0x9fff0), buffer, 32, &done) == Q_RANGE && done == 16);
	EXPECT(pgm_read(pgm, gpa(0xfffff), buffer, 1, &done) == Q_RANGE && done == 0);
	EXPECT(pgm_read(pgm, gpa(~0ull), buffer, 2, &done) == Q_RANGE && done == 0);
	EXPECT(pgm_write(pgm, gpa(~0ull - PAGE_SIZE), buffer, 3 * PAGE_SIZE, NULL) == Q_RANGE);
	EXPECT(pgm_read(pgm, gpa(PGM_GPA_LIMIT), buffer, 1, NULL) == Q_RANGE);
	EXPECT(pgm_read(pgm, gpa(PGM_GPA_LIMIT - 1), buffer, 1, NULL) == Q_RANGE);
	check();
}

TEST(pgm_access, write_replaces_the_mapped_zero_page)
{
	bare_set_up(&slat_npt, MIB(4));
	EXPECT(touch(0x8000, MEM_READ) == PGM_RESOLVED);
	EXPECT(touch(0x7000, MEM_READ) == PGM_RESOLVED && touch(0x9000, MEM_READ) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	write_byte(0x8001, 0x42);
	EXPECT(pgm_slat_generation(pgm) == generation + 1);
	EXPECT(!nested(0x8000).is_present);
	EXPECT(nested(0x7000).is_present && nested(0x9000).is_present);
	EXPECT(touch(0x8001, MEM_READ) == PGM_RESOLVED);
	EXPECT(*(uint8_t *)fake_ram_peek(hpa(nested(0x8001).machine)) == 0x42);
	/* The guest's writes and Quire's go to the same page. */
	*(uint8_t *)fake_ram_peek(hpa(nested(0x8002).machine)) = 0x43;
	EXPECT(read_byte(0x8001) == 0x42 && read_byte(0x8002) == 0x43);
	generation = pgm_slat_generation(pgm);
	write_byte(0x8003, 0x44);
	EXPECT(pgm_slat_generation(pgm) == generation && nested(0x8000).is_present);
}

/* --- no stale translation -------------------------------------------------------------------- */

/* A vCPU that caches every translation until the generation says that it must not. */
#define TLB_FRAMES 1024u

static struct {
	uint64_t generation;
	struct nested_result entries[TLB_FRAMES];
} tlb;

/* The byte that the access reaches. */
static uint8_t *guest_access(uint64_t addr, enum mem_access access)
{
	struct nested_result *entry = &tlb.entries[addr >> PAGE_SHIFT];

	for (;;) {
		if (tlb.generation != pgm_slat_generation(pgm)) {
			memset(&tlb, 0, sizeof(tlb));
			tlb.generation = pgm_slat_generation(pgm);
		}
		bool is_allowed = entry->is_present && (access != MEM_WRITE || entry->can_write);
		if (is_allowed) {
			struct nested_result now = nested(addr & ~PAGE_MASK);
			EXPECT(now.is_present && now.machine == entry->machine);
			EXPECT(now.can_write == entry->can_write);
			return fake_ram_peek(hpa(entry->machine | (addr & PAGE_MASK)));
		}
		*entry = nested(addr & ~PAGE_MASK);
		is_allowed = entry->is_present && (access != MEM_WRITE || entry->can_write);
		if (!is_allowed)
			EXPECT(touch(addr, access) == PGM_RESOLVED);
	}
}

TEST(pgm_tlb, no_stale_translation_is_used)
{
	set_up(&slat_npt, MIB(4));
	EXPECT(page_is_all(guest_access(0x1000, MEM_READ), 0));
	*guest_access(0x1000, MEM_WRITE) = 1;
	EXPECT(*guest_access(0x1000, MEM_READ) == 1);
	EXPECT(page_is_all(guest_access(0x2000, MEM_READ), 0));
	write_byte(0x2000, 2);
	EXPECT(*guest_access(0x2000, MEM_READ) == 2);
	pgm_reset(pgm);
	refill();
	EXPECT(page_is_all(guest_access(0x1000, MEM_READ), 0));
	EXPECT(page_is_all(guest_access(0x2000, MEM_WRITE), 0));
	EXPECT(page_is_all(guest_access(0x1000, MEM_WRITE), 0));
}

/* --- zeroing elision ------------------------------------------------------------------------- */

TEST(pgm_zero_fill, is_done_exactly_where_ram_is_the_zero_page)
{
	uint64_t rom[PAGE_SIZE / 8] = { 0 };

	bare_set_up(&slat_npt, MIB(4));
	EXPECT(pgm_rom_add(pgm, gpa(0xe0000), rom, PAGE_SIZE) == Q_OK);
	EXPECT(pgm_mmio_add(pgm, gpa(0xfee00000), PAGE_SIZE) == Q_OK);
	refill();
	uint64_t pages = base_pages();
	EXPECT(pgm_zero_fill(pgm, gfn(0x200)) && pgm_zero_fill(pgm, gfn(0)));
	EXPECT(touch(0x201000, MEM_READ) == PGM_RESOLVED);
	EXPECT(pgm_zero_fill(pgm, gfn(0x201)));
	EXPECT(base_pages() == pages && stats().private_pages == 0 && stats().counters.elided == 3);
	/* Not: a page of its own, even of zeros; ROM; MMIO; no memory; beyond all frames. */
	EXPECT(touch(0x202000, MEM_WRITE) == PGM_RESOLVED);
	EXPECT(!pgm_zero_fill(pgm, gfn(0x202)));
	EXPECT(!pgm_zero_fill(pgm, gfn(0xe0)) && !pgm_zero_fill(pgm, gfn(0xfee00)));
	EXPECT(!pgm_zero_fill(pgm, gfn(0xa0)) && !pgm_zero_fill(pgm, gfn(0x400)));
	EXPECT(!pgm_zero_fill(pgm, gfn(PGM_GFN_END)) && !pgm_zero_fill(pgm, gfn(~0ull >> 12)));
	EXPECT(stats().counters.elided == 3);
	check();
}
