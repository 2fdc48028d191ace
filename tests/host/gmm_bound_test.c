/* SPDX-License-Identifier: MIT */
/* Bound VMs: chunks of their own, from a range, apart from the memory of other VMs. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

/* The region of the machine's chunks [first, end). */
static struct gmm_region chunks(unsigned first, unsigned end)
{
	return (struct gmm_region){ hpa(FAKE_RAM_BASE + first * GMM_CHUNK_SIZE),
				    hpa(FAKE_RAM_BASE + end * GMM_CHUNK_SIZE) };
}

static struct gmm_vm_config bound_config(uint64_t base, uint64_t kernel, struct gmm_region range)
{
	struct gmm_vm_config config = config_of(base, 0, kernel);
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.is_bound = true;
	config.bound_range = range;
	return config;
}

static q_status_t try_bind(uint64_t base, uint64_t kernel, struct gmm_region range,
			   gmm_vm_t *out_vm)
{
	struct gmm_vm_config config = bound_config(base, kernel, range);
	q_status_t status = gmm_vm_create(&config, out_vm);
	gmm_check();
	return status;
}

static gmm_vm_t bind(uint64_t base, uint64_t kernel, struct gmm_region range)
{
	gmm_vm_t vm = 0;
	EXPECT(try_bind(base, kernel, range, &vm) == Q_OK);
	return vm;
}

static bool is_in(hfn_t frame, struct gmm_region range)
{
	hpa_t addr = hfn_to_hpa(frame);
	return addr.raw >= range.start.raw && addr.raw < range.end.raw;
}

/* The VM's whole promise is in the range, and no other VM's page is. */
TEST(gmm_bound, all_pages_come_from_the_range)
{
	struct gmm_vm_stats stats;
	struct gmm_region range = chunks(3, 5);

	set_up(8);
	gmm_vm_t other = create(8 * P, 0, 0);
	EXPECT(alloc(other, 2) == Q_OK);
	gmm_vm_t vm = bind(P + 1, 4, range);
	gmm_vm_stats(vm, &stats);
	EXPECT(stats.bound_pages == 2 * P && stats.guaranteed_base == P + 1);
	EXPECT(stats_now().bound_pages == 2 * P && stats_now().claimed_pages == P + 1 + 4);
	EXPECT(gmm_pages_available(vm, 9 * P) == P + 1);
	EXPECT(alloc(vm, P + 2) == Q_LIMIT);
	EXPECT(alloc(vm, P + 1) == Q_OK);
	for (unsigned i = 0; i <= P; i++)
		EXPECT(is_in(pages[i].frame, range));
	EXPECT(alloc(vm, 1) == Q_LIMIT);
	EXPECT(stats_now().claimed_pages == 4 && stats_now().private_pages == P + 3);
	/* Other VMs have the rest of the machine: 8 chunks less 2 BOUND and 1 KERNEL. */
	EXPECT(gmm_pages_available(other, 9 * P) == 5 * P - 2);
	EXPECT(alloc(other, 5 * P - 2) == Q_OK);
	for (unsigned i = 0; i < 5 * P - 2; i++)
		EXPECT(!is_in(pages[i].frame, range));
	EXPECT(alloc(other, 1) == Q_NO_MEMORY);
	EXPECT(stats_now().mixed_chunks == 0);
}

/* Pages that a bound VM frees stay its own, and so do wholly free chunks. */
TEST(gmm_bound, freed_pages_stay_bound)
{
	set_up(4);
	gmm_vm_t vm = bind(2 * P, 0, chunks(0, 4)), other = create(4 * P, 0, 0);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
	EXPECT(free_some(vm, ids, 2 * P) == Q_OK);
	EXPECT(stats_now().chunks_free == 2 && stats_now().free_pages == 2 * P);
	EXPECT(gmm_pages_available(other, 9 * P) == 2 * P);
	EXPECT(alloc(other, 2 * P) == Q_OK);
	EXPECT(alloc(other, 1) == Q_NO_MEMORY);
	struct gmm_page page;
	EXPECT(gmm_shared_alloc(&page) == Q_NO_MEMORY);
	hpa_t kernel;
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
	gmm_check();
}

/* A VM that needs pages of another one's chunk gets none of a bound VM's, however many are free. */
TEST(gmm_bound, others_draw_from_each_other)
{
	set_up(4);
	gmm_vm_t vm = bind(2 * P, 0, chunks(0, 4)), a = create(2 * P, 0, 0),
		 b = create(2 * P, 0, 0);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(alloc(a, 10) == Q_OK);
	uint32_t chunk_of_a = chunk_id(ids[0]);
	EXPECT(alloc(b, P - 10) == Q_OK);
	for (unsigned i = 0; i < P - 10; i++)
		EXPECT(chunk_id(ids[i]) == chunk_of_a);
	EXPECT(stats_now().mixed_chunks == 1 && alloc(b, 1) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
}

TEST(gmm_bound, end_gives_the_chunks_back)
{
	set_up(4);
	struct gmm_stats before = stats_now();
	gmm_vm_t vm = bind(3 * P, P, chunks(0, 4));
	EXPECT(stats_now().chunks_free == 0);
	EXPECT(alloc(vm, P + 5) == Q_OK);
	gmm_vm_destroy(vm);
	gmm_check();
	EXPECT(stats_are(&before));
	/* Also if no page was ever allocated. */
	gmm_vm_destroy(bind(4 * P, 0, chunks(0, 0)));
	gmm_check();
	EXPECT(stats_are(&before));
}

/* All or nothing: too small a range, edges that cut chunks, chunks in use, claims, tables. */
TEST(gmm_bound, declined_as_a_whole)
{
	gmm_vm_t vm;
	struct gmm_region cut = { hpa(FAKE_RAM_BASE + 1),
				  hpa(FAKE_RAM_BASE + 3 * GMM_CHUNK_SIZE - 1) };
	struct gmm_region whole = { hpa(FAKE_RAM_BASE + 1),
				    hpa(FAKE_RAM_BASE + 3 * GMM_CHUNK_SIZE) };

	set_up(6);
	struct gmm_stats before = stats_now();
	EXPECT(try_bind(P + 1, 0, chunks(2, 3), &vm) == Q_DECLINED);
	EXPECT(try_bind(2 * P, 0, cut, &vm) == Q_DECLINED);
	EXPECT(try_bind(1, 0, (struct gmm_region){ hpa(0), hpa(FAKE_RAM_BASE) }, &vm) ==
	       Q_DECLINED);
	EXPECT(try_bind(6 * P, 1, chunks(0, 6), &vm) == Q_DECLINED);
	EXPECT(try_bind(7 * P, 0, chunks(0, 0), &vm) == Q_DECLINED);
	EXPECT(try_bind(~0ull, 0, chunks(0, 0), &vm) == Q_DECLINED);
	fake_kernel_map_fail_at(1);
	EXPECT(try_bind(P, 1, chunks(0, 1), &vm) == Q_NO_MEMORY);
	EXPECT(stats_are(&before));
	gmm_vm_destroy(bind(2 * P, 0, whole));

	/* A bound VM in the middle chunk is enough. */
	gmm_vm_t other = bind(P, 0, chunks(1, 2));
	EXPECT(try_bind(3 * P, 0, chunks(0, 3), &vm) == Q_DECLINED);
	vm = bind(2 * P, 0, chunks(0, 3));
	gmm_vm_destroy(vm);
	gmm_vm_destroy(other);

	/* Promises of other VMs come first, at both sides of the edge. */
	other = create(6 * P, 3 * P + 1, 0);
	EXPECT(try_bind(3 * P, 0, chunks(0, 0), &vm) == Q_DECLINED);
	vm = bind(2 * P, 0, chunks(0, 0));
	EXPECT(alloc(other, 3 * P + 1) == Q_OK);
}

/* Chunks that GMM only keeps count as free. */
TEST(gmm_bound, kept_chunks_are_taken)
{
	hpa_t kernel;

	set_up(3);
	gmm_vm_t other = create(3 * P, 0, 0);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	EXPECT(alloc(other, 2 * P) == Q_OK);
	EXPECT(free_some(other, ids, 2 * P) == Q_OK);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel);
	EXPECT(stats_now().chunks_free == 0);
	gmm_vm_t vm = bind(3 * P, 0, chunks(0, 3));
	EXPECT(alloc(vm, 3 * P) == Q_OK);
}

TEST(gmm_bound, figures_without_sense_are_refused)
{
	gmm_vm_t vm;
	struct gmm_vm_config config = bound_config(P, 0, chunks(0, 2));

	set_up(4);
	config.overcommit = GMM_OVERCOMMIT_FULL;
	EXPECT(gmm_vm_create(&config, &vm) == Q_INVALID);
	config = bound_config(P, 0, chunks(2, 0));
	EXPECT(gmm_vm_create(&config, &vm) == Q_INVALID);
	/* The range of a VM that is not bound is ignored. */
	config.is_bound = false;
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	EXPECT(stats_now().bound_pages == 0);
}

/* Sharing and moving would take the VM's pages out of its range. */
TEST(gmm_bound, never_shared_never_moved)
{
	struct gmm_page page;

	set_up(4);
	gmm_vm_t vm = bind(2 * P, 0, chunks(0, 2));
	EXPECT(alloc(vm, P + 2) == Q_OK);
	EXPECT(free_some(vm, &ids[5], 1) == Q_OK);
	EXPECT(gmm_page_move_alloc(vm, ids[P + 1], &page) == Q_NOT_FOUND);
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	EXPECT(gmm_shared_get(vm, page.id) == Q_DENIED);
	EXPECT(gmm_shared_replace(vm, ids[0], page.id) == Q_DENIED);
	struct gmm_page_info info;
	EXPECT(gmm_page_info(ids[0], &info) == Q_OK);
	EXPECT(info.kind == GMM_PAGE_PRIVATE && info.owner == vm);
	gmm_check();
}

/* A large mapping's chunk also comes from the range, and only if it is wholly free. */
TEST(gmm_bound, whole_chunks_come_from_the_range)
{
	struct gmm_page first;

	set_up(4);
	gmm_vm_t vm = bind(2 * P, 0, chunks(2, 4));
	EXPECT(alloc(vm, 1) == Q_OK);
	EXPECT(gmm_chunk_alloc(vm, gfn(0), &first) == Q_OK);
	gmm_check();
	EXPECT(is_in(first.frame, chunks(2, 4)));
	EXPECT(gmm_chunk_alloc(vm, gfn(P), &first) == Q_LIMIT);
	/* As many free pages, but in two chunks. */
	gmm_vm_destroy(vm);
	vm = bind(2 * P, 0, chunks(2, 4));
	EXPECT(alloc(vm, P + 1) == Q_OK);
	EXPECT(free_some(vm, &ids[1], P - 1) == Q_OK);
	EXPECT(gmm_chunk_alloc(vm, gfn(0), &first) == Q_NO_MEMORY);
	EXPECT(free_some(vm, &ids[0], 1) == Q_OK);
	EXPECT(gmm_chunk_alloc(vm, gfn(0), &first) == Q_OK);
	gmm_check();
}

TEST(gmm_bound, promise_of_base_is_fixed)
{
	set_up(4);
	gmm_vm_t vm = bind(P, 2, chunks(0, 2)), other = create(P, P, 2);
	struct gmm_vm_config config = bound_config(P + 1, 2, chunks(0, 2));
	EXPECT(gmm_vm_resize(vm, &config) == Q_STATE);
	config = config_of(P, P, 2);
	EXPECT(gmm_vm_resize(vm, &config) == Q_STATE);
	config = bound_config(P, 2, chunks(0, 2));
	EXPECT(gmm_vm_resize(other, &config) == Q_STATE);
	config = bound_config(P, P, chunks(0, 2));
	EXPECT(gmm_vm_resize(vm, &config) == Q_OK);
	gmm_check();
	EXPECT(stats_now().claimed_pages == P + P + P + 2);
}

/* Both change the VM's own books only: its pages are there all the same. */
TEST(gmm_bound, balloon_and_set_aside)
{
	set_up(4);
	gmm_vm_t vm = bind(2 * P, 0, chunks(0, 2)), other = create(2 * P, 2 * P, 0);
	EXPECT(gmm_balloon_inflate(vm, P) == Q_OK);
	EXPECT(gmm_pages_available(vm, 4 * P) == P && gmm_pages_available(other, 4 * P) == 2 * P);
	EXPECT(gmm_set_aside(vm, P + 1) == Q_LIMIT && gmm_set_aside(vm, P) == Q_OK);
	gmm_check();
	EXPECT(alloc(vm, P) == Q_OK && alloc(vm, 1) == Q_LIMIT);
	gmm_balloon_reset(vm);
	EXPECT(alloc(vm, P) == Q_OK);
}

/* Free pages of a bound VM are zeroed ahead like others. */
TEST(gmm_bound, zeroed_ahead)
{
	set_up(2);
	gmm_vm_t vm = bind(P, 0, chunks(1, 2));
	EXPECT(gmm_zero_ahead(3 * P) == P);
	EXPECT(alloc(vm, P) == Q_OK);
	for (unsigned i = 0; i < P; i++)
		EXPECT(pages[i].is_zeroed && gmm_page_is_zero(pages[i].id));
}
