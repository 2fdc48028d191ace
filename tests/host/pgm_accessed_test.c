/* SPDX-License-Identifier: MIT */
/* Accessed and dirty bits: set where and when hardware would set them, and only once. */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <quire/bits.h>
#include <quire/guest_state.h>

#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"

#include "pgm_fixture.h"

#define A BIT64(5)
#define D BIT64(6)

#define TABLES 0x100000ull
#define VIRT   0x0000123456789000ull
#define TARGET 0x200000ull

static struct pgm_walk_regs regs;

static void poke(uint64_t addr, uint64_t value, unsigned bytes)
{
	EXPECT(pgm_write(pgm, gpa(addr), &value, bytes, NULL) == Q_OK);
}

static uint64_t peek(uint64_t addr, unsigned bytes)
{
	uint64_t value = 0;
	EXPECT(pgm_read(pgm, gpa(addr), &value, bytes, NULL) == Q_OK);
	return value;
}

static q_status_t walk(uint64_t virt, enum mem_access access)
{
	gpa_t addr;
	uint32_t error_code;

	q_status_t status = pgm_walk(pgm, &regs, virt, access, &addr, &error_code);
	check();
	return status;
}

static uint64_t index_of(uint64_t virt, unsigned level)
{
	return virt >> (12 + 9 * (level - 1)) & 511;
}

/* Long-mode tables in consecutive pages from `at` on, the root first. */
static void tables_make(uint64_t at, uint64_t virt, uint64_t leaf)
{
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG | CR0_WP,
				       .cr3 = at,
				       .cr4 = CR4_PAE,
				       .efer = EFER_LME | EFER_LMA | EFER_NXE };
	for (unsigned level = 4; level > 1; level--, at += PAGE_SIZE)
		poke(at + index_of(virt, level) * 8, (at + PAGE_SIZE) | 7, 8);
	poke(at + index_of(virt, 1) * 8, leaf, 8);
}

static uint64_t entry_at(uint64_t at, uint64_t virt, unsigned level)
{
	return peek(at + (4 - level) * PAGE_SIZE + index_of(virt, level) * 8, 8);
}

/* --- which bits ------------------------------------------------------------------------------ */

TEST(pgm_walk_bits, reading_sets_accessed_and_writing_dirty)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	EXPECT(walk(VIRT, MEM_READ) == Q_OK);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == A);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == (level == 1 ? A | D : A));
	/* Nothing else of an entry changes. */
	EXPECT(entry_at(TABLES, VIRT, 1) == (TARGET | 7 | A | D));
}

/* A CPU has fetched an emulated instruction before, and set the bits for that. */
TEST(pgm_walk_bits, fetching_sets_none)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	EXPECT(walk(VIRT, MEM_EXEC) == Q_OK);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == 0);
}

TEST(pgm_walk_bits, a_walk_that_faults_sets_none)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 5); /* read-only */
	EXPECT(walk(VIRT, MEM_WRITE) == Q_DENIED);
	EXPECT(walk(VIRT + PAGE_SIZE, MEM_READ) == Q_NOT_FOUND);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == 0);
}

TEST(pgm_walk_bits, large_pages_have_them_where_they_end)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, 0x40000000, 0);
	poke(TABLES + 2 * PAGE_SIZE, 0x80000087, 8); /* a page of 2 MiB, in the level 2 table */
	EXPECT(walk(0x40123456, MEM_WRITE) == Q_OK);
	EXPECT(peek(TABLES + 2 * PAGE_SIZE, 8) == (0x80000087 | A | D));
	EXPECT((peek(TABLES + PAGE_SIZE + 8, 8) & (A | D)) == A);
	EXPECT((peek(TABLES, 8) & (A | D)) == A);
}

TEST(pgm_walk_bits, entries_of_32_bits_leave_their_neighbours_alone)
{
	set_up(&slat_npt, MIB(4));
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG, .cr3 = TABLES };
	poke(TABLES + 3 * 4, (TABLES + PAGE_SIZE) | 7, 4);
	poke(TABLES + 4 * 4, 0x12345600, 4);
	poke(TABLES + PAGE_SIZE + 4, TARGET | 7, 4);
	poke(TABLES + PAGE_SIZE + 8, 0x12345600, 4);
	EXPECT(walk(0xc01234, MEM_WRITE) == Q_OK);
	EXPECT(peek(TABLES + 3 * 4, 4) == ((TABLES + PAGE_SIZE) | 7 | A));
	EXPECT(peek(TABLES + PAGE_SIZE + 4, 4) == (TARGET | 7 | A | D));
	EXPECT(peek(TABLES + 4 * 4, 4) == 0x12345600);
	EXPECT(peek(TABLES + PAGE_SIZE + 8, 4) == 0x12345600);
}

TEST(pgm_walk_bits, the_top_entries_of_pae_have_none)
{
	set_up(&slat_npt, MIB(4));
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG, .cr3 = TABLES, .cr4 = CR4_PAE };
	poke(TABLES + 8, (TABLES + PAGE_SIZE) | 1, 8);
	poke(TABLES + PAGE_SIZE + 8, (TABLES + 2 * PAGE_SIZE) | 7, 8);
	poke(TABLES + 2 * PAGE_SIZE + 8, TARGET | 7, 8);
	EXPECT(walk(0x40201678, MEM_WRITE) == Q_OK);
	EXPECT(peek(TABLES + 8, 8) == ((TABLES + PAGE_SIZE) | 1));
	EXPECT(peek(TABLES + PAGE_SIZE + 8, 8) == ((TABLES + 2 * PAGE_SIZE) | 7 | A));
	EXPECT(peek(TABLES + 2 * PAGE_SIZE + 8, 8) == (TARGET | 7 | A | D));
}

/* One entry serves every level of the walk: each step sees the bit that the last one set. */
TEST(pgm_walk_bits, a_table_that_points_to_itself_gets_them_once)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	poke(0x300000, 0x300007, 8);
	regs.cr3 = 0x300000;
	EXPECT(walk(0, MEM_WRITE) == Q_OK);
	EXPECT(peek(0x300000, 8) == (0x300007 | A | D));
}

/* --- what it costs ------------------------------------------------------------------------------ */

/* The tables are in device memory whose writes are tracked: that shows every write. */
TEST(pgm_walk_bits, what_is_set_is_not_written_again)
{
	struct pgm_device *device;
	uint64_t dirty;

	set_up(&slat_npt, MIB(4));
	EXPECT(pgm_device_add(pgm, PAGES(4), &device) == Q_OK);
	EXPECT(pgm_device_map(pgm, device, gpa(GIB(1))) == Q_OK);
	tables_make(GIB(1), VIRT, TARGET | 7);
	EXPECT(pgm_device_track_start(pgm, device) == Q_OK);
	/* First all four get their accessed bit, then only the last its dirty bit, then none. */
	static const struct {
		enum mem_access access;
		uint64_t written;
	} steps[] = { { MEM_READ, 0xf },
		      { MEM_READ, 0 },
		      { MEM_WRITE, 0x8 },
		      { MEM_WRITE, 0 },
		      { MEM_READ, 0 } };
	for (unsigned i = 0; i < ARRAY_COUNT(steps); i++) {
		EXPECT(walk(VIRT, steps[i].access) == Q_OK);
		EXPECT(pgm_device_dirty_take(pgm, device, 0, 4, &dirty) == Q_OK);
		EXPECT(dirty == steps[i].written);
	}
}

TEST(pgm_walk_bits, cost_no_page_where_the_guest_wrote_its_tables)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	uint64_t private_pages = stats().private_pages;
	for (unsigned i = 0; i < 3; i++)
		EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	EXPECT(stats().private_pages == private_pages);
	/* A table that was never written is all zeros: the walk sets no bit and takes no page. */
	regs.cr3 = 0x300000;
	EXPECT(walk(VIRT, MEM_WRITE) == Q_NOT_FOUND);
	EXPECT(stats().private_pages == private_pages);
}

/* --- tables that are not the guest's own ------------------------------------------------------------ */

static page_id_t table_id(unsigned level)
{
	return pgm_record_id(*pgm_record_find(pgm, gpa_to_gfn(gpa(TABLES + PAGES(4 - level)))));
}

static void table_monitor(unsigned level)
{
	gfn_t gfn = gpa_to_gfn(gpa(TABLES + PAGES(4 - level)));

	EXPECT(pgm_page_monitor(pgm, gfn, table_id(level)) == Q_OK);
}

static void table_share(unsigned level, page_id_t shared)
{
	gfn_t gfn = gpa_to_gfn(gpa(TABLES + PAGES(4 - level)));

	table_monitor(level);
	EXPECT(pgm_page_share(pgm, gfn, table_id(level), shared) == Q_OK);
	check();
}

/* Makes two VMs that share the pages of equal tables. `pgm` is the second afterwards. */
static struct pgm *shared_tables_make(const struct slat_format *format, page_id_t *out_shared)
{
	unsigned done;

	set_up(format, MIB(4));
	struct pgm *first = pgm;
	tables_make(TABLES, VIRT, TARGET | 7);
	vm_create(config_of(format, MIB(4)));
	struct pgm *second = pgm;
	EXPECT(pgm_handy_refill(second) == Q_OK);
	tables_make(TABLES, VIRT, TARGET | 7);
	for (unsigned level = 1; level <= 4; level++) {
		struct gmm_page page;
		EXPECT(gmm_shared_alloc(&page) == Q_OK);
		gmm_page_copy(page.id, table_id(level));
		table_share(level, page.id);
		pgm = first;
		table_share(level, page.id);
		pgm = second;
		out_shared[level - 1] = page.id;
	}
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, out_shared, 4, &done) == Q_OK);
	return first;
}

static uint32_t references(page_id_t shared)
{
	struct gmm_page_info info;

	EXPECT(gmm_page_info(shared, &info) == Q_OK && info.kind == GMM_PAGE_SHARED);
	return info.references;
}

static void bits_of_shared_tables(const struct slat_format *format)
{
	page_id_t shared[4];
	struct pgm *first = shared_tables_make(format, shared), *second = pgm;

	/* The guest has mapped its tables also. */
	EXPECT(touch(TABLES, MEM_READ) == PGM_RESOLVED && !nested(TABLES).can_write);
	uint64_t generation = pgm_slat_generation(pgm);
	EXPECT(walk(VIRT, MEM_READ) == Q_OK);
	EXPECT(stats().counters.copies == 4 && stats().shared == 0 && stats().private_pages == 4);
	EXPECT(!nested(TABLES).is_present && pgm_slat_generation(pgm) != generation);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK && stats().counters.copies == 4);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == (level == 1 ? A | D : A));
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	check();
	/* The other guest sees no change. */
	pgm = first;
	check();
	for (unsigned level = 1; level <= 4; level++) {
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == 0);
		EXPECT(references(shared[level - 1]) == 1);
	}
	EXPECT(stats().shared == 4 && stats().counters.copies == 0);
	EXPECT(walk(VIRT, MEM_EXEC) == Q_OK && stats().counters.copies == 0);
	pgm_destroy(second);
	check();
}

TEST(pgm_walk_bits, shared_tables_are_copied_first)
{
	BOTH(bits_of_shared_tables);
}

static void stock_empty(void)
{
	for (uint64_t addr = MIB(2); stats().handy > 0; addr += PAGE_SIZE)
		EXPECT(touch(addr, MEM_WRITE) == PGM_RESOLVED);
}

/* Without a page for the copy the access fails like any write, and nothing is half done. */
TEST(pgm_walk_bits, without_a_page_for_the_copy_the_access_waits)
{
	page_id_t shared[4];

	(void)shared_tables_make(&slat_npt, shared);
	/* The VM uses up its guarantee. */
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	stock_empty();
	gmm_vm_t hog = hog_create(0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(walk(VIRT, MEM_WRITE) == Q_NO_MEMORY);
	EXPECT(stats().shared == 4 && stats().counters.copies == 0);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(TABLES, VIRT, level) & (A | D)) == 0);
	gmm_vm_destroy(hog);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK && stats().counters.copies == 4);
	EXPECT(entry_at(TABLES, VIRT, 1) == (TARGET | 7 | A | D));
}

/* Setting a bit is a write, so it is noted if the page is monitored; it takes no page. */
TEST(pgm_walk_bits, monitored_tables_are_noted_as_written)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	for (unsigned level = 1; level <= 4; level++)
		table_monitor(level);
	stock_empty();
	hog_create(0);
	EXPECT(walk(VIRT, MEM_READ) == Q_OK && stats().counters.monitor_hits == 4);
	table_monitor(4);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK && stats().monitored == 1);
	EXPECT(entry_at(TABLES, VIRT, 1) == (TARGET | 7 | A | D));
}

/* --- tables that take no writes ------------------------------------------------------------------- */

static uint8_t rom[PAGES(4)];

/* As on a machine with tables in ROM: writes are lost, and the walk goes on. */
TEST(pgm_walk_bits, tables_in_rom_stay_as_they_are)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	EXPECT(pgm_read(pgm, gpa(TABLES), rom, sizeof(rom), NULL) == Q_OK);
	for (unsigned level = 4; level > 1; level--) {
		uint64_t table = (4 - level) * PAGE_SIZE;
		uint64_t next = (0xc0000 + table + PAGE_SIZE) | 7;
		memcpy(rom + table + index_of(VIRT, level) * 8, &next, sizeof(next));
	}
	EXPECT(pgm_rom_add(pgm, gpa(0xc0000), rom, sizeof(rom)) == Q_OK);
	regs.cr3 = 0xc0000;
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	for (unsigned level = 1; level <= 4; level++)
		EXPECT((entry_at(0xc0000, VIRT, level) & (A | D)) == 0);
}

TEST(pgm_walk_bits, neither_half_of_shadowed_rom_gets_what_is_the_others)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	EXPECT(pgm_read(pgm, gpa(TABLES), rom, sizeof(rom), NULL) == Q_OK);
	EXPECT(pgm_rom_add_shadowed(pgm, gpa(0xc0000), rom, sizeof(rom)) == Q_OK);
	regs.cr3 = 0xc0000;
	EXPECT(pgm_rom_mode_set(pgm, gpa(0xc0000), PAGES(1), PGM_ROM_READ_ROM_WRITE_RAM) == Q_OK);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	EXPECT((peek(0xc0000 + index_of(VIRT, 4) * 8, 8) & A) == 0 && stats().rom_shadow == 0);
	EXPECT(entry_at(TABLES, VIRT, 1) == (TARGET | 7 | A | D)); /* the lower tables are RAM */
}

TEST(pgm_walk_bits, watched_tables_are_left_alone)
{
	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	EXPECT(pgm_handler_add(pgm, gpa(TABLES + PAGES(3)), PAGES(1), PGM_HANDLER_WRITE, 1) ==
	       Q_OK);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	EXPECT((entry_at(TABLES, VIRT, 2) & A) == A && (entry_at(TABLES, VIRT, 1) & (A | D)) == 0);
}

/* --- another CPU at the same time ------------------------------------------------------------------ */

TEST(pgm_walk_bits, a_word_that_changed_is_not_exchanged)
{
	set_up(&slat_npt, MIB(4));
	poke(0x5000, 0x1111111122222222, 8);
	spin_lock(&pgm->lock);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(0x5000), 8, 0x22222222, 1) == Q_CONFLICT);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(0x5000), 4, 0x33333333, 1) == Q_CONFLICT);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(0x5004), 4, 0x11111111, 0x44444444) == Q_OK);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(0x5000), 8, 0x4444444422222222, 7) == Q_OK);
	EXPECT(pgm_word_exchange_locked(pgm, gpa(0xa0000), 8, 0, 1) == Q_RANGE);
	spin_unlock(&pgm->lock);
	EXPECT(peek(0x5000, 8) == 7);
}

/*
 * Another CPU of the guest, which changes a word at the worst moment: after Quire has
 * read it, just before Quire writes. The page takes no writes at the address where
 * Quire sees it, so Quire's write traps. An exchange that is one instruction traps
 * before it has compared; any other way to write traps after the comparison.
 */
static struct {
	uint8_t *page;  /* where Quire sees it */
	uint64_t *word; /* where the other CPU sees the word */
	uint64_t flips; /* bits that it changes, each time */
	unsigned times, count;
} other_cpu;

static void page_protect(int rights)
{
	EXPECT(mprotect(other_cpu.page, PAGE_SIZE, rights) == 0);
}

static void step_set(void *context, bool is_on)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	*flags &= ~(greg_t)RFLAGS_TF;
	*flags |= is_on ? (greg_t)RFLAGS_TF : 0;
}

static void on_write(int number, siginfo_t *info, void *context)
{
	(void)number;
	if (((uintptr_t)info->si_addr & ~PAGE_MASK) != (uintptr_t)other_cpu.page)
		abort();
	*other_cpu.word ^= other_cpu.flips;
	page_protect(PROT_READ | PROT_WRITE);
	step_set(context, ++other_cpu.count < other_cpu.times);
}

/* Quire's write, or its failed exchange, is done. */
static void on_step(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	page_protect(PROT_READ);
	step_set(context, false);
}

static void other_cpu_start(uint64_t addr, uint64_t flips, unsigned times)
{
	struct sigaction write = { .sa_sigaction = on_write, .sa_flags = SA_SIGINFO };
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	struct pgm_record record = *pgm_record_find(pgm, gpa_to_gfn(gpa(addr)));
	hpa_t machine = hpa(hfn_to_hpa(pgm_record_frame(record)).raw + addr % PAGE_SIZE);

	EXPECT(sigaction(SIGSEGV, &write, NULL) == 0 && sigaction(SIGTRAP, &step, NULL) == 0);
	other_cpu.page = gmm_page_map(pgm_record_id(record));
	other_cpu.word = fake_ram_peek(machine);
	other_cpu.flips = flips;
	other_cpu.times = times;
	other_cpu.count = 0;
	page_protect(PROT_READ);
}

static void other_cpu_stop(void)
{
	page_protect(PROT_READ | PROT_WRITE);
	EXPECT(signal(SIGSEGV, SIG_DFL) != SIG_ERR && signal(SIGTRAP, SIG_DFL) != SIG_ERR);
}

#define AVAILABLE BIT64(9) /* the guest may use this bit as it likes */

TEST(pgm_walk_bits, nothing_that_another_cpu_writes_is_lost)
{
	for (unsigned level = 1; level <= 4; level++) {
		set_up(&slat_npt, MIB(4));
		tables_make(TABLES, VIRT, TARGET | 7);
		uint64_t before = entry_at(TABLES, VIRT, level);
		other_cpu_start(TABLES + PAGES(4 - level) + index_of(VIRT, level) * 8, AVAILABLE,
				1);
		EXPECT(walk(VIRT, MEM_READ) == Q_OK);
		other_cpu_stop();
		EXPECT(other_cpu.count == 1);
		EXPECT(entry_at(TABLES, VIRT, level) == (before | AVAILABLE | A));
	}
}

TEST(pgm_walk_bits, nor_in_entries_of_32_bits)
{
	set_up(&slat_npt, MIB(4));
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG, .cr3 = TABLES };
	poke(TABLES + 8, (TABLES + PAGE_SIZE) | 7, 4);
	poke(TABLES + PAGE_SIZE + 8, TARGET | 7, 4);
	other_cpu_start(TABLES + PAGE_SIZE + 8, AVAILABLE, 1);
	EXPECT(walk(0x802000, MEM_WRITE) == Q_OK);
	other_cpu_stop();
	EXPECT(other_cpu.count == 1);
	EXPECT(peek(TABLES + PAGE_SIZE + 8, 4) == (TARGET | 7 | A | D | AVAILABLE));
}

/* The walk returns the translation whose bits it set. */
TEST(pgm_walk_bits, a_walk_that_is_overtaken_starts_again)
{
	uint64_t leaf = TABLES + PAGES(3) + index_of(VIRT, 1) * 8;
	uint32_t error_code;
	gpa_t addr;

	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	other_cpu_start(leaf, PAGE_SIZE, 1); /* the next page instead */
	EXPECT(pgm_walk(pgm, &regs, VIRT | 0x123, MEM_WRITE, &addr, &error_code) == Q_OK);
	other_cpu_stop();
	EXPECT(addr.raw == (TARGET | PAGE_SIZE | 0x123));
	EXPECT(peek(leaf, 8) == (TARGET | PAGE_SIZE | 7 | A | D));
	/* The other CPU removes the translation. */
	poke(leaf, TARGET | 7, 8);
	other_cpu_start(leaf, 1, 1);
	EXPECT(pgm_walk(pgm, &regs, VIRT, MEM_WRITE, &addr, &error_code) == Q_NOT_FOUND);
	other_cpu_stop();
	EXPECT(peek(leaf, 8) == (TARGET | 6) && error_code == 2);
	check();
}

/* A guest that keeps changing its tables gets its access after the last retry. */
TEST(pgm_walk_bits, a_guest_that_never_stops_does_not_keep_quire)
{
	const unsigned patience = 100;

	set_up(&slat_npt, MIB(4));
	tables_make(TABLES, VIRT, TARGET | 7);
	other_cpu_start(TABLES + index_of(VIRT, 4) * 8, AVAILABLE, patience);
	EXPECT(walk(VIRT, MEM_WRITE) == Q_OK);
	other_cpu_stop();
	EXPECT(other_cpu.count > 1 && other_cpu.count < patience);
}
