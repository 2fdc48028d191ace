/* SPDX-License-Identifier: MIT */
/*
 * Do frequent operations cost the same on a large machine as on a small one? The
 * machine is fake and sparse: only metadata, records and tables are in memory. Three
 * quarters of its chunks are in use, and every second one has a hole, so that trees
 * are high and lists are long.
 *
 * The test counts instructions: with the trap flag set, the CPU traps after each one.
 * So figures do not depend on what else this computer does. They are printed. This
 * program is built with SANITIZE=none, so they are those of the code itself.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"

#include "seam/seam.h"
#include "test.h"

#define P           GMM_PAGES_PER_CHUNK
#define ROUNDS      16u
#define SAMPLES_MAX 4096u
#define LIMIT       1.3 /* cost on the largest machine, at most, if it is 1 on the smallest */

static const uint64_t machine_gib[] = { 1, 16, 64 };
#define MACHINES (sizeof(machine_gib) / sizeof(machine_gib[0]))

static void *metadata;
static uint64_t metadata_bytes;
static gmm_vm_t filler;
static page_id_t samples[SAMPLES_MAX]; /* used pages all over the machine */
static unsigned sample_count;
static page_id_t shared[SAMPLES_MAX];
static struct pgm *pgm;
static uint64_t window_start; /* the VM is touched from here to the end of its RAM */
static uint32_t random_state;

/* --- counting instructions -------------------------------------------------------------- */

static volatile uint64_t traps;

static void on_trap(int signal_number)
{
	(void)signal_number;
	traps++;
}

/* The stack pointer skips the red zone, which pushf would overwrite. */
static inline void count_start(void)
{
	traps = 0;
	__asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq;"
			 "leaq 128(%%rsp), %%rsp" ::
				 : "memory", "cc");
}

static inline uint64_t count_stop(void)
{
	__asm__ volatile("leaq -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq;"
			 "leaq 128(%%rsp), %%rsp" ::
				 : "memory", "cc");
	return traps;
}

/* True if this computer counts right: emulators may ignore the trap flag. */
static bool can_count(void)
{
	signal(SIGTRAP, on_trap);
	count_start();
	for (unsigned i = 0; i < 100; i++)
		__asm__ volatile("nop; nop");
	uint64_t count = count_stop();
	return count >= 400 && count < 2000;
}

/* --- a machine ---------------------------------------------------------------------------- */

static unsigned below(unsigned limit)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % limit;
}

static void machine_make(uint64_t bytes)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + bytes) };

	if (metadata)
		munmap(metadata, metadata_bytes);
	fake_ram_create_sparse(bytes);
	metadata_bytes = gmm_metadata_size(&all, 1);
	metadata = mmap(NULL, metadata_bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	EXPECT(metadata != MAP_FAILED);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
	random_state = 1;
}

static void page_free(page_id_t id)
{
	unsigned done;
	EXPECT(gmm_pages_free(filler, &id, 1, &done) == Q_OK);
}

/* Takes `chunks` chunks and makes a hole in every second one. */
static void machine_fill(uint64_t chunks)
{
	struct gmm_vm_config config = { .pages = { chunks * P, 64, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	uint64_t step = chunks / SAMPLES_MAX + 1;

	EXPECT(gmm_vm_create(&config, &filler) == Q_OK);
	sample_count = 0;
	for (uint64_t i = 0; i < chunks; i++) {
		struct gmm_page first;
		EXPECT(gmm_chunk_alloc(filler, gfn(0), &first) == Q_OK);
		if (i % 2 == 0)
			page_free((page_id_t){ first.id.raw + below(P - 1) });
		/* The last page of a chunk is always used. */
		if (i % step == 0)
			samples[sample_count++] = (page_id_t){ first.id.raw + P - 1 };
	}
}

static void shared_make(void)
{
	for (unsigned i = 0; i < SAMPLES_MAX; i++) {
		struct gmm_page page;
		EXPECT(gmm_shared_alloc(&page) == Q_OK);
		shared[i] = page.id;
	}
}

#define WINDOW_PAGES 2048u

/* Makes a VM and, by reading, the nested tables of the window in which it is touched. */
static void vm_make(uint64_t ram_bytes)
{
	struct pgm_config config = {
		.format = &slat_npt,
		.ram_bytes = ram_bytes,
		.overcommit = GMM_OVERCOMMIT_FULL,
	};
	uint64_t end = ram_bytes > PGM_RAM_HOLE_START
			       ? ram_bytes - PGM_RAM_HOLE_START + (4ull << 30)
			       : ram_bytes;

	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	window_start = end - WINDOW_PAGES * PAGE_SIZE;
	for (unsigned i = 0; i < WINDOW_PAGES; i++) {
		struct pgm_fault read = { .addr = gpa(window_start + i * PAGE_SIZE),
					  .access = MEM_READ };
		EXPECT(pgm_fault_handle(pgm, &read) == PGM_RESOLVED);
	}
}

static void set_up(uint64_t gib)
{
	uint64_t bytes = gib << 30;

	machine_make(bytes);
	vm_make(bytes / 8);
	machine_fill((bytes >> GMM_CHUNK_SHIFT) * 3 / 4);
	shared_make();
}

/* --- what is measured: each returns the instructions of ROUNDS calls -------------------------- */

static uint64_t alloc_and_free(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct gmm_page page;
		unsigned done;
		count_start();
		q_status_t status = gmm_pages_alloc(filler, &page, 1);
		sum += count_stop();
		EXPECT(status == Q_OK);
		/* Another page, from anywhere, so that chunks move between lists. */
		page_id_t *sample = &samples[below(sample_count)];
		count_start();
		status = gmm_pages_free(filler, sample, 1, &done);
		sum += count_stop();
		EXPECT(status == Q_OK);
		*sample = page.id;
	}
	return sum;
}

static uint64_t look_up(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct gmm_page_info info;
		page_id_t id = samples[below(sample_count)];
		count_start();
		q_status_t status = gmm_page_info(id, &info);
		sum += count_stop();
		EXPECT(status == Q_OK);
	}
	return sum;
}

static uint64_t share_and_break(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned done;
		page_id_t id = shared[below(SAMPLES_MAX)];
		count_start();
		q_status_t got = gmm_shared_get(filler, id);
		q_status_t put = gmm_shared_put(filler, &id, 1, &done);
		sum += count_stop();
		EXPECT(got == Q_OK && put == Q_OK);
	}
	return sum;
}

static uint64_t kernel_page(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		hpa_t page;
		count_start();
		q_status_t status = gmm_kernel_page_alloc(filler, GMM_SHADOW, &page);
		gmm_kernel_page_free(filler, GMM_SHADOW, page);
		sum += count_stop();
		EXPECT(status == Q_OK);
	}
	return sum;
}

static uint64_t write_fault(void)
{
	static unsigned next;
	uint64_t sum = 0;

	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pgm_fault write = { .addr = gpa(window_start +
						       (next++ % WINDOW_PAGES) * PAGE_SIZE),
					   .access = MEM_WRITE };
		count_start();
		enum pgm_outcome outcome = pgm_fault_handle(pgm, &write);
		sum += count_stop();
		EXPECT(outcome == PGM_RESOLVED);
	}
	return sum;
}

static uint64_t record_look_up(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct pgm_fault read = { .addr = gpa(window_start +
						      below(WINDOW_PAGES) * PAGE_SIZE),
					  .access = MEM_READ };
		count_start();
		enum pgm_outcome outcome = pgm_fault_handle(pgm, &read);
		sum += count_stop();
		EXPECT(outcome == PGM_RESOLVED);
	}
	return sum;
}

static const struct {
	const char *name;
	uint64_t (*measure)(void);
} operations[] = {
	{ "allocate one page, free another", alloc_and_free },
	{ "look up a page by id", look_up },
	{ "refer to a shared page, drop it", share_and_break },
	{ "take a kernel page, give it back", kernel_page },
	{ "write fault on the zero page", write_fault },
	{ "fault that is resolved already", record_look_up },
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

TEST(scale, cost_does_not_grow_with_the_machine)
{
	static uint64_t cost[OPERATIONS][MACHINES];

	if (!can_count())
		skip();
	for (unsigned m = 0; m < MACHINES; m++) {
		set_up(machine_gib[m]);
		for (unsigned i = 0; i < OPERATIONS; i++) {
			cost[i][m] = operations[i].measure() / ROUNDS;
		}
	}
	gmm_check();
	fake_ram_destroy();
	printf("# instructions                        1 GiB   16 GiB   64 GiB\n");
	for (unsigned i = 0; i < OPERATIONS; i++)
		printf("# %-34s %6llu   %6llu   %6llu\n", operations[i].name,
		       (unsigned long long)cost[i][0], (unsigned long long)cost[i][1],
		       (unsigned long long)cost[i][2]);
	for (unsigned i = 0; i < OPERATIONS; i++)
		EXPECT((double)cost[i][MACHINES - 1] <= LIMIT * (double)cost[i][0]);
}
