/* SPDX-License-Identifier: MIT */
/*
 * Model-based fuzzer for GMM alone. VMs come and go on a small machine, some of
 * them bound, and use everything that GMM's interface offers. After each operation
 * GMM is compared with the model (gmm_model.h).
 *
 *     gmm_fuzz [operations] [seed]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <quire/compiler.h>
#include <quire/physmem.h>

#include "mm/gmm/gmm.h"

#include "gmm_model.h"
#include "seam/seam.h"

#define BATCH_MAX 200u
#define QUIRE_MAX (3 * P)

static hpa_t quire_pages[QUIRE_MAX];
static uint64_t seed, operation;

static void on_abort(int signal_number)
{
	char line[128];
	int length =
		snprintf(line, sizeof(line), "gmm_fuzz: signal %d in operation %llu, seed %llu\n",
			 signal_number, (unsigned long long)operation, (unsigned long long)seed);
	if (write(STDERR_FILENO, line, (size_t)length) != length)
		_exit(2);
}

/* --- private pages --------------------------------------------------------------------------- */

static void alloc(struct vm *vm)
{
	struct gmm_page fresh[BATCH_MAX];
	unsigned count = 1 + (unsigned)below(BATCH_MAX);
	uint64_t can = available(vm, count);

	q_status_t status = gmm_pages_alloc(vm->handle, fresh, count);
	if (count > room(vm) + vm->set_aside) {
		CHECK(status == Q_LIMIT);
		return;
	}
	CHECK(status == (can == count ? Q_OK : Q_NO_MEMORY));
	if (status != Q_OK)
		return;
	for (unsigned i = 0; i < count; i++)
		page_note(vm, &fresh[i], GFN_UNKNOWN);
	count_down(vm, count);
}

static void free_some(struct vm *vm)
{
	page_id_t batch[BATCH_MAX];
	unsigned count = (unsigned)lesser(vm->count, 1 + below(BATCH_MAX)), done;

	for (unsigned i = 0; i < count; i++)
		batch[i] = page_forget(vm, (unsigned)below(vm->count)).id;
	CHECK(gmm_pages_free(vm->handle, batch, count, &done) == Q_OK && done == count);
	freed(vm, count);
	if (count > 0)
		CHECK(gmm_pages_free(vm->handle, batch, 1, &done) != Q_OK && done == 0);
}

/* Frees all pages whose chunk ids have two bits in common, so that chunks get empty. */
static void free_chunks(struct vm *vm)
{
	uint32_t bits = (uint32_t)below(4);
	unsigned done;

	for (unsigned i = vm->count; i-- > 0;) {
		if (((vm->pages[i].id.raw >> GMM_CHUNK_ID_SHIFT) & 3) != bits)
			continue;
		page_id_t id = page_forget(vm, i).id;
		CHECK(gmm_pages_free(vm->handle, &id, 1, &done) == Q_OK);
		freed(vm, 1);
	}
}

static void report(struct vm *vm)
{
	if (vm->count == 0)
		return;
	struct page *page = &vm->pages[below(vm->count)];
	gfn_t frame = below(4) ? gfn(below(GMM_GFN_LAST + 1ull)) : GFN_UNKNOWN;
	CHECK(gmm_page_set_gfn(vm->handle, page->id, frame) == Q_OK);
	page->gfn = frame;
}

static void chunk_alloc(struct vm *vm)
{
	struct gmm_page first;
	uint64_t first_frame = below(64) * P;
	uint64_t can = available(vm, P);

	q_status_t status = gmm_chunk_alloc(vm->handle, gfn(first_frame), &first);
	if (P > room(vm) + vm->set_aside) {
		CHECK(status == Q_LIMIT);
		return;
	}
	/* Enough pages may be free, but not in one chunk. */
	CHECK(can == P ? status == Q_OK || status == Q_NO_MEMORY : status == Q_NO_MEMORY);
	if (status != Q_OK)
		return;
	for (unsigned i = 0; i < P; i++) {
		struct gmm_page page = { .frame = hfn(first.frame.raw + i),
					 .id = { first.id.raw + i },
					 .is_zeroed = first.is_zeroed };
		page_note(vm, &page, gfn(first_frame + i));
	}
	count_down(vm, P);
}

static void move(struct vm *vm)
{
	struct gmm_page to;

	if (vm->count == 0)
		return;
	unsigned from = (unsigned)below(vm->count);
	gmm_shared_keep(0);
	uint64_t can = available(vm, sure(vm) + 1);
	gmm_shared_keep(kept_for_sharing);
	q_status_t status = gmm_page_move_alloc(vm->handle, vm->pages[from].id, &to);
	/* It needs an unclaimed page until the old one is freed; one kept for sharing will do. */
	CHECK((status == Q_LIMIT) <= (room(vm) + vm->set_aside == 0));
	CHECK((status == Q_NO_MEMORY) <= (can <= sure(vm)));
	if (status != Q_OK) {
		CHECK(status == Q_NOT_FOUND || status == Q_LIMIT || status == Q_NO_MEMORY);
		return;
	}
	CHECK(!vm->config.is_bound);
	CHECK(to.id.raw >> GMM_CHUNK_ID_SHIFT != vm->pages[from].id.raw >> GMM_CHUNK_ID_SHIFT);
	page_note(vm, &to, GFN_UNKNOWN);
	count_down(vm, 1);
	page_id_t old = page_forget(vm, from).id;
	unsigned done;
	CHECK(gmm_pages_free(vm->handle, &old, 1, &done) == Q_OK);
	freed(vm, 1);
}

/* --- shared pages ------------------------------------------------------------------------------ */

static void shared_alloc(void)
{
	struct shared *shared = &shared_pages[below(SHARED_MAX)];
	struct gmm_page page;

	if (is_used(shared) || gmm_shared_alloc(&page) != Q_OK)
		return;
	CHECK(!page.is_zeroed || gmm_page_is_zero(page.id));
	*shared = (struct shared){ .id = page.id, .frame = page.frame, .holds = 1 };
	*first_word(page.frame) = shared->stamp = random_next() | 1;
}

static void shared_get(unsigned index)
{
	struct shared *shared = shared_choose();
	struct vm *vm = &vms[index];

	if (!shared)
		return;
	if (below(8) == 0) {
		q_status_t status = gmm_shared_get(GMM_VM_QUIRE, shared->id);
		CHECK(status == (shared->holds < 7 ? Q_OK : status));
		shared->holds += status == Q_OK;
		return;
	}
	q_status_t status = gmm_shared_get(vm->handle, shared->id);
	CHECK(status == (vm->config.is_bound ? Q_DENIED : room(vm) > 0 ? Q_OK : Q_LIMIT));
	if (status == Q_OK) {
		shared->references[index]++;
		vm->references++;
	}
}

static void shared_replace(unsigned index)
{
	struct shared *shared = shared_choose();
	struct vm *vm = &vms[index];

	if (!shared || vm->count == 0)
		return;
	unsigned from = (unsigned)below(vm->count);
	q_status_t status = gmm_shared_replace(vm->handle, vm->pages[from].id, shared->id);
	CHECK(status == (vm->config.is_bound ? Q_DENIED : Q_OK));
	if (status != Q_OK)
		return;
	page_forget(vm, from);
	shared->references[index]++;
	vm->references++;
}

static void shared_put(unsigned index)
{
	struct shared *shared = shared_choose();
	struct vm *vm = &vms[index];
	unsigned done;

	if (!shared)
		return;
	CHECK(*first_word(shared->frame) == shared->stamp);
	if (below(4) == 0) {
		q_status_t status = gmm_shared_put(GMM_VM_QUIRE, &shared->id, 1, &done);
		CHECK(status == (shared->holds > 0 ? Q_OK : Q_NOT_OWNER));
		shared->holds -= status == Q_OK;
		return;
	}
	/* Only its own: GMM does not know which VMs have references to this page; PGM does. */
	if (shared->references[index] == 0)
		return;
	CHECK(gmm_shared_put(vm->handle, &shared->id, 1, &done) == Q_OK && done == 1);
	shared->references[index]--;
	vm->references--;
}

static void references_drop(unsigned index)
{
	unsigned done;

	for (unsigned i = 0; i < SHARED_MAX; i++) {
		struct shared *shared = &shared_pages[i];
		for (; shared->references[index] > 0; shared->references[index]--)
			CHECK(gmm_shared_put(vms[index].handle, &shared->id, 1, &done) == Q_OK);
	}
	vms[index].references = 0;
}

/* --- kernel pages ---------------------------------------------------------------------------------- */

static bool kernel_page_is_zero(hpa_t page)
{
	const uint64_t *words = physmem_kernel_ptr(page);

	for (unsigned i = 0; i < PAGE_SIZE / sizeof(*words); i++)
		if (words[i] != 0)
			return false;
	return true;
}

static void kernel_stamp(hpa_t page)
{
	CHECK(kernel_page_is_zero(page));
	memset(physmem_kernel_ptr(page), 0x5b, PAGE_SIZE);
}

static void kernel(struct vm *vm)
{
	enum gmm_account account = below(2) ? GMM_SHADOW : GMM_FIXED;
	unsigned *count = &vm->kernel_count[account];

	if (below(2) && *count > 0) {
		unsigned i = (unsigned)below(*count);
		gmm_kernel_page_free(vm->handle, account, vm->kernel[account][i]);
		vm->kernel[account][i] = vm->kernel[account][--*count];
		return;
	}
	if (*count == KERNEL_MAX)
		return;
	q_status_t status =
		gmm_kernel_page_alloc(vm->handle, account, &vm->kernel[account][*count]);
	CHECK(status == (*count < vm->config.pages[account] ? Q_OK : Q_LIMIT));
	if (status == Q_OK)
		kernel_stamp(vm->kernel[account][(*count)++]);
}

static void quire_free(void)
{
	unsigned i = (unsigned)below(quire_count);

	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, quire_pages[i]);
	quire_pages[i] = quire_pages[--quire_count];
}

static bool quire_alloc(void)
{
	hpa_t page;

	if (gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) != Q_OK)
		return false;
	kernel_stamp(page);
	quire_pages[quire_count++] = page;
	return true;
}

/* One page at a time, and now and then enough for chunks to come and go. */
static void kernel_quire(void)
{
	uint64_t count = below(8) ? 1 : below(P);

	if (below(2)) {
		for (; count > 0 && quire_count > 0; count--)
			quire_free();
		return;
	}
	fake_kernel_map_fail_at(below(8) == 0);
	while (count-- > 0 && quire_count < QUIRE_MAX && quire_alloc())
		;
	fake_kernel_map_fail_at(0);
}

/* --- promises ---------------------------------------------------------------------------------------- */

static void balloon(struct vm *vm)
{
	uint64_t count = below(2 * P);

	if (below(2)) {
		q_status_t status = gmm_balloon_inflate(vm->handle, count);
		CHECK(status == (count <= room(vm) ? Q_OK : Q_LIMIT));
		vm->ballooned += status == Q_OK ? count : 0;
		return;
	}
	if (below(4) == 0) {
		gmm_balloon_reset(vm->handle);
		vm->ballooned = 0;
		return;
	}
	q_status_t status = gmm_balloon_deflate(vm->handle, count);
	CHECK(status == (count <= vm->ballooned ? Q_OK : Q_STATE));
	vm->ballooned -= status == Q_OK ? count : 0;
}

static void set_aside(struct vm *vm)
{
	uint64_t count = below(2 * P), most = room(vm) + vm->set_aside;

	if (below(4) == 0) {
		gmm_set_aside_end(vm->handle);
		vm->set_aside = 0;
		vm->keeps_freed = false;
		return;
	}
	/* Pages set aside are a promise, which comes before what is kept for sharing. */
	gmm_shared_keep(0);
	uint64_t can = available(vm, count);
	gmm_shared_keep(kept_for_sharing);
	q_status_t status = gmm_set_aside(vm->handle, count);
	if (count > most) {
		CHECK(status == Q_LIMIT);
		return;
	}
	CHECK(status == (can == count ? Q_OK : Q_NO_MEMORY));
	if (status == Q_OK) {
		vm->set_aside = count;
		vm->keeps_freed = true;
	}
}

static struct gmm_vm_config config_choose(void)
{
	uint64_t base = 1 + below(below(2) ? P : 9 * P), first = below(CHUNKS);
	struct gmm_vm_config config = {
		.pages = { base, below(KERNEL_MAX), below(4) ? below(KERNEL_MAX) : below(2 * P) },
		.guaranteed_base_pages = below(2) ? below(base + 1) : 0,
		.overcommit = (enum gmm_overcommit)below(3),
		.is_bound = below(3) == 0,
		.bound_range = { hpa(FAKE_RAM_BASE + first * GMM_CHUNK_SIZE),
				 hpa(FAKE_RAM_BASE + (first + below(6)) * GMM_CHUNK_SIZE) },
	};

	if (config.overcommit != GMM_OVERCOMMIT_NONE)
		config.is_bound = false;
	/* A range may go beyond the end of the fake RAM. */
	return config;
}

/* True if gmm_claims_left() says that the machine can keep these promises. */
static bool is_left(const struct gmm_vm_config *config)
{
	bool has_all = config->overcommit == GMM_OVERCOMMIT_NONE;
	uint64_t base = has_all ? config->pages[GMM_BASE] : config->guaranteed_base_pages;
	uint64_t kernel = config->pages[GMM_SHADOW] + config->pages[GMM_FIXED];
	struct gmm_claims left = gmm_claims_left(kernel);
	return base <= left.base && kernel <= left.kernel;
}

static void create(struct vm *vm)
{
	struct gmm_vm_config config = config_choose();
	bool can_be = config.is_bound || is_left(&config);
	gmm_vm_t handle;

	fake_kernel_map_fail_at(below(16) == 0);
	q_status_t status = gmm_vm_create(&config, &handle);
	fake_kernel_map_fail_at(0);
	CHECK(status == Q_OK || status == Q_DECLINED || status == Q_NO_MEMORY);
	CHECK(config.is_bound || (status == Q_DECLINED) == !can_be);
	if (status != Q_OK)
		return;
	memset(vm, 0, sizeof(*vm));
	vm->handle = handle;
	vm->config = config;
}

static void resize(struct vm *vm)
{
	struct gmm_vm_config config = config_choose();
	bool is_below = config.pages[GMM_BASE] < allocated(vm) + vm->ballooned + vm->set_aside ||
			config.pages[GMM_SHADOW] < vm->kernel_count[GMM_SHADOW] ||
			config.pages[GMM_FIXED] < vm->kernel_count[GMM_FIXED];
	bool is_other_kind =
		config.is_bound != vm->config.is_bound ||
		(config.is_bound && config.pages[GMM_BASE] != vm->config.pages[GMM_BASE]);

	config.bound_range = vm->config.bound_range;
	q_status_t status = gmm_vm_resize(vm->handle, &config);
	if (is_below || is_other_kind) {
		CHECK(status == Q_STATE);
		return;
	}
	CHECK(status == Q_OK || status == Q_DECLINED);
	if (status == Q_OK)
		vm->config = config;
}

static void destroy(unsigned index)
{
	references_drop(index);
	gmm_vm_destroy(vms[index].handle);
	memset(&vms[index], 0, sizeof(vms[index]));
}

/* --- operations ----------------------------------------------------------------------------------------- */

static void vm_operate(unsigned index)
{
	struct vm *vm = &vms[index];

	switch (below(40)) {
	case 0:
		if (below(4) == 0)
			destroy(index);
		return;
	case 1: resize(vm); return;
	case 2: balloon(vm); return;
	case 3: set_aside(vm); return;
	case 4: chunk_alloc(vm); return;
	case 5: free_chunks(vm); return;
	case 6:
	case 7: move(vm); return;
	case 8:
	case 9: report(vm); return;
	case 10:
	case 11:
	case 12: shared_get(index); return;
	case 13:
	case 14:
	case 15: shared_replace(index); return;
	case 16:
	case 17:
	case 18:
	case 19:
	case 20: shared_put(index); return;
	case 21:
	case 22:
	case 23: kernel(vm); return;
	case 24:
	case 25:
	case 26:
	case 27:
	case 28:
	case 29: free_some(vm); return;
	default: alloc(vm); return;
	}
}

static void operate(void)
{
	unsigned index = (unsigned)below(VM_COUNT);

	switch (below(16)) {
	case 0: gmm_zero_ahead((unsigned)below(64)); return;
	case 1: kernel_quire(); return;
	case 2: shared_alloc(); return;
	case 3:
		if (below(64) == 0)
			kept_for_sharing = below(2) ? below(2 * P) : 0;
		gmm_shared_keep(kept_for_sharing);
		return;
	default: break;
	}
	if (vms[index].handle == 0)
		create(&vms[index]);
	else
		vm_operate(index);
}

/* --- start and end ---------------------------------------------------------------------------------- */

static void set_up(void)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE),
				  hpa(FAKE_RAM_BASE + CHUNKS * GMM_CHUNK_SIZE) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);
	void *metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);

	CHECK(metadata);
	memset(metadata, 0, metadata_bytes);
	fake_ram_create(CHUNKS * GMM_CHUNK_SIZE);
	CHECK(gmm_init(&all, 1, metadata) == Q_OK);
}

/* When all VMs have ended, nothing of theirs is left. */
static void tear_down(void)
{
	struct gmm_stats stats;
	unsigned done;

	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].handle != 0)
			destroy(i);
	for (unsigned i = 0; i < SHARED_MAX; i++)
		for (; shared_pages[i].holds > 0; shared_pages[i].holds--)
			CHECK(gmm_shared_put(GMM_VM_QUIRE, &shared_pages[i].id, 1, &done) == Q_OK);
	while (quire_count > 0)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, quire_pages[--quire_count]);
	gmm_check();
	gmm_stats(&stats);
	CHECK(stats.private_pages + stats.kernel_pages + stats.shared_pages == 0);
	CHECK(stats.shared_references + stats.pages_saved + stats.bound_pages == 0);
	CHECK(stats.reserved_pages + stats.claimed_pages + stats.vm_count == 0);
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0)
			: (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	random_state = seed;
	signal(SIGABRT, on_abort);
	printf("gmm_fuzz: seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_up();
	for (operation = 0; operation < operations; operation++) {
		operate();
		audit();
	}
	tear_down();
	printf("gmm_fuzz: %llu operations, seed %llu: ok\n", (unsigned long long)operations,
	       (unsigned long long)seed);
	return 0;
}
