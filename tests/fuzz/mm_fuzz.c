/* SPDX-License-Identifier: MIT */
/*
 * Model-based fuzzer for GMM and PGM together.
 *
 * A few small VMs run on a small machine. Guests read, write and execute memory,
 * through vCPUs that cache every translation as long as the contract allows, and
 * the hypervisor reads and writes for them. VMs get ROM with and without a shadow,
 * handlers, and device memory that moves; they are reset, restored, destroyed and
 * made again. Their pages are monitored, merged with equal ones, replaced by the zero
 * page, moved, and put into the balloon. Runs of writes are given pages ahead, and
 * unused ones are taken back. A hog takes the memory that is left, and returns it
 * dirty. A merge takes many steps, and anything may happen between two of them.
 *
 * The model knows for each guest page its state and its tag: the one word of it that
 * may be other than zero. Every so many operations all books are audited: gmm_check(),
 * pgm_check() of each VM, and each page against the model.
 *
 *     mm_fuzz [operations] [seed] [operations between audits] [bits of the key]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"

#include "tests/fuzz/mm/mm_model.h"

#define MACHINE_BYTES (24ull << 20)
#define HOG_PAGES_MAX (MACHINE_BYTES / PAGE_SIZE)
#define SHARE_BYTES   (2 * PAGE_SIZE)

static gmm_vm_t hog;
static page_id_t hog_pages[HOG_PAGES_MAX];
static unsigned hog_count;

static uint64_t seed, operation;

/* --- memory pressure -------------------------------------------------------------------------- */

static void hog_take(void)
{
	uint64_t count = gmm_pages_available(hog, below(32) ? 1 + below(64) : HOG_PAGES_MAX);

	for (; count > 0; count--) {
		struct gmm_page page;
		CHECK(gmm_pages_alloc(hog, &page, 1) == Q_OK);
		memset(fake_ram_peek(hfn_to_hpa(page.frame)), 0xd1, PAGE_SIZE);
		hog_pages[hog_count++] = page.id;
	}
}

/* Sometimes starts or stops keeping pages from VMs, for merging. */
static void sharing_keep(void)
{
	if (below(8) == 0)
		gmm_shared_keep(below(2) ? GMM_PAGES_PER_CHUNK : 0);
}

static void hog_give(void)
{
	uint64_t count = below(32) ? below(64) : hog_count;
	unsigned done;

	for (; count > 0 && hog_count > 0; count--) {
		uint64_t i = below(hog_count);
		CHECK(gmm_pages_free(hog, &hog_pages[i], 1, &done) == Q_OK && done == 1);
		hog_pages[i] = hog_pages[--hog_count];
	}
}

/* --- operations ------------------------------------------------------------------------------- */

/* Host writes touch up to three pages in a row: far frames must not reach the model's arrays. */
static uint64_t frame_for_host_write(const struct vm *vm)
{
	uint64_t frame = frame_choose(vm);
	return frame < FRAME_COUNT ? frame : FRAME_COUNT + frame % 4096;
}

static void vm_operate(struct vm *vm)
{
	uint64_t choice = below(1000);

	if (choice < 5)
		vm_destroy(vm);
	else if (choice < 12)
		vm_reset(vm);
	else if (choice < 20)
		vm_rom_add(vm);
	else if (choice < 60)
		vm_refill(vm);
	else if (choice < 80)
		handler_change(vm);
	else if (choice < 100)
		vm_rom_mode_set(vm);
	else if (choice < 130)
		device_operate(vm);
	else if (choice < 170)
		page_operate(vm, frame_choose(vm));
	else if (choice < 175)
		pgm_ahead_rest(vm->pgm);
	else if (choice < 190)
		guest_run(vm);
	else if (choice < 210)
		host_write(vm, frame_for_host_write(vm));
	else if (choice < 240)
		host_read(vm, frame_choose(vm));
	else if (choice < 600)
		guest_write(vm, frame_choose(vm));
	else
		guest_read(vm, frame_choose(vm), below(4) ? MEM_READ : MEM_EXEC);
}

/* Ages the working set; rarely drops all of it. */
static void share_age(void)
{
	if (below(2))
		share_pass_begin();
	else if (below(64))
		share_reap();
	else
		share_clear();
}

static void operate(void)
{
	struct vm *vm = &vms[below(VM_COUNT)];

	switch (below(32)) {
	case 0:
		sharing_keep();
		hog_take();
		return;
	case 1: hog_give(); return;
	case 2: gmm_zero_ahead((unsigned)below(64)); return;
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
	case 8:
	case 9: merges_advance(); return;
	case 10: share_age(); return;
	default: break;
	}
	if (vm->pgm)
		vm_operate(vm);
	else
		vm_create(vm);
}

/* --- start and end ---------------------------------------------------------------------------- */

static void on_abort(int signal_number)
{
	char line[128];
	int length =
		snprintf(line, sizeof(line), "mm_fuzz: signal %d in operation %llu, seed %llu\n",
			 signal_number, (unsigned long long)operation, (unsigned long long)seed);
	if (write(STDERR_FILENO, line, (size_t)length) != length)
		_exit(2);
}

/* Half of the key's bits choose the bucket, the other half are compared. */
static uint64_t key_mask(uint64_t key_bits)
{
	return key_bits < 64 ? ((1ull << key_bits) - 1) << (32 - key_bits / 2) : ~0ull;
}

static void set_up(uint64_t key_bits)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	struct gmm_vm_config config = { .pages = { HOG_PAGES_MAX, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);
	void *metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);

	CHECK(metadata);
	memset(metadata, 0, metadata_bytes);
	fake_ram_create(MACHINE_BYTES);
	CHECK(gmm_init(&all, 1, metadata) == Q_OK);
	CHECK(gmm_vm_create(&config, &hog) == Q_OK);
	struct share_config share = { .size_bytes = SHARE_BYTES, .key_mask = key_mask(key_bits) };
	void *memory = aligned_alloc(PAGE_SIZE, SHARE_BYTES);
	CHECK(memory);
	memset(memory, 0, SHARE_BYTES);
	share_init(&share, memory);
}

/* Destroys all VMs; nothing may be left of what they had. */
static void tear_down(void)
{
	struct gmm_stats stats;

	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			vm_destroy(&vms[i]);
	merges_end();
	share_clear();
	gmm_vm_destroy(hog);
	gmm_check();
	gmm_stats(&stats);
	CHECK(stats.private_pages == 0 && stats.kernel_pages == 0 && stats.vm_count == 0);
	CHECK(stats.shared_pages == 0 && stats.shared_references == 0);
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;

	uint64_t between = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0)
			: (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	random_seed(seed);
	signal(SIGABRT, on_abort);
	printf("mm_fuzz: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_up(argc > 4 ? strtoull(argv[4], NULL, 0) : 64);
	for (operation = 0; operation < operations; operation++) {
		operate();
		if (operation % between == 0)
			audit();
	}
	tear_down();
	printf("mm_fuzz: %llu operations, %llu audits, %llu pages proposed, %llu merged, "
	       "%llu chunks as blocks, %llu used ahead, seed %llu: ok\n",
	       (unsigned long long)operations, (unsigned long long)figures.audits,
	       (unsigned long long)figures.proposed, (unsigned long long)figures.merged,
	       (unsigned long long)figures.blocks_backed, (unsigned long long)figures.ahead_used,
	       (unsigned long long)seed);
	return 0;
}
