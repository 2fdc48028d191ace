/* SPDX-License-Identifier: MIT */
/* Promises, guarantees, admission, and the end of a VM. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

TEST(gmm_account, guarantees_hold_on_both_sides)
{
	set_up(4);
	gmm_vm_t a = create(4 * P, 2 * P, 0);
	gmm_vm_t b = create(4 * P, P, 0);
	EXPECT(stats_now().reserved_pages == 3 * P && stats_now().claimed_pages == 3 * P);
	EXPECT(gmm_pages_available(a, 10 * P) == 3 * P);
	EXPECT(gmm_pages_available(b, 10 * P) == 2 * P);
	EXPECT(gmm_pages_available(b, 7) == 7);
	EXPECT(alloc(a, 3 * P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(a, 3 * P) == Q_OK);
	EXPECT(stats_now().claimed_pages == P);
	EXPECT(gmm_pages_available(a, 1) == 0);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	EXPECT(gmm_pages_available(b, 10 * P) == P);
	page_id_t last = pages[3 * P - 1].id;
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(stats_now().claimed_pages == 0);
	/* Any VM can get a page that A had beyond its guarantee, once A frees it. */
	EXPECT(free_some(a, &last, 1) == Q_OK);
	EXPECT(alloc(b, 1) == Q_OK);
	EXPECT(stats_now().mixed_chunks == 1);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
}

/* Pages that a VM frees inside its guarantee are claimed again. */
TEST(gmm_account, freed_guarantee_stays_the_vms)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, P, 0);
	gmm_vm_t b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK);
	EXPECT(free_some(a, ids, P / 2) == Q_OK);
	EXPECT(stats_now().claimed_pages == P / 2);
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(alloc(a, P / 2) == Q_OK);
}

TEST(gmm_account, limit_of_the_vm_is_not_lack_of_memory)
{
	set_up(1);
	gmm_vm_t a = create(10, 0, 0);
	gmm_vm_t b = create(2 * P, P, 0);
	EXPECT(alloc(a, 11) == Q_LIMIT);
	EXPECT(alloc(a, 10) == Q_NO_MEMORY);
	EXPECT(alloc(b, 2 * P + 1) == Q_LIMIT);
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(b, P) == Q_OK);
}

TEST(gmm_account, admission_at_both_sides_of_the_edge)
{
	gmm_vm_t vm;

	set_up(4);
	struct gmm_stats before = stats_now();
	EXPECT(try_create(5 * P, 4 * P + 1, 0, &vm) == Q_DECLINED);
	/* One kernel page takes a chunk. */
	EXPECT(try_create(5 * P, 3 * P + 1, 1, &vm) == Q_DECLINED);
	EXPECT(try_create(5 * P, 2 * P + 1, P + 1, &vm) == Q_DECLINED);
	EXPECT(try_create(P, 0, 4 * P + 1, &vm) == Q_DECLINED);
	EXPECT(stats_are(&before));
	gmm_vm_destroy(create(P, 0, 4 * P));
	gmm_vm_destroy(create(5 * P, 4 * P, 0));
	vm = create(5 * P, 3 * P, P);
	EXPECT(alloc(vm, 3 * P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 3 * P) == Q_OK);
	gmm_vm_destroy(vm);
	EXPECT(stats_are(&before));
}

TEST(gmm_account, figures_without_sense_are_refused)
{
	gmm_vm_t vm;
	struct gmm_vm_config config = config_of(P, P + 1, 0);

	set_up(2);
	EXPECT(gmm_vm_create(&config, &vm) == Q_INVALID);
	config = config_of(P, 0, 0);
	config.overcommit = (enum gmm_overcommit)3;
	EXPECT(gmm_vm_create(&config, &vm) == Q_INVALID);
	config = config_of(~0ull, ~0ull, 0);
	EXPECT(gmm_vm_create(&config, &vm) == Q_DECLINED);
	config = config_of(P, 0, ~0ull);
	EXPECT(gmm_vm_create(&config, &vm) == Q_DECLINED);
	config.pages[GMM_SHADOW] = ~0ull;
	config.pages[GMM_FIXED] = 2;
	EXPECT(gmm_vm_create(&config, &vm) == Q_DECLINED);
	/* The promise itself may be larger than any machine. */
	config = config_of(~0ull, 0, 0);
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	EXPECT(gmm_pages_available(vm, ~0ull) == 2 * P);
}

TEST(gmm_account, without_overcommit_all_is_guaranteed)
{
	gmm_vm_t vm;
	struct gmm_vm_config config = config_of(2 * P + 1, 0, 0);
	struct gmm_vm_stats stats;

	set_up(2);
	config.overcommit = GMM_OVERCOMMIT_NONE;
	EXPECT(gmm_vm_create(&config, &vm) == Q_DECLINED);
	config.pages[GMM_BASE] = 2 * P;
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	gmm_vm_stats(vm, &stats);
	EXPECT(stats.guaranteed_base == 2 * P && stats.promised[GMM_BASE] == 2 * P);
}

TEST(gmm_account, handles_run_out)
{
	gmm_vm_t vm = 0;

	set_up(1);
	for (unsigned i = 1; i <= GMM_VM_LAST; i++)
		EXPECT(create(1, 0, 0) == i);
	EXPECT(try_create(1, 0, 0, &vm) == Q_LIMIT);
	EXPECT(stats_now().vm_count == GMM_VM_LAST);
	gmm_vm_destroy(77);
	EXPECT(create(1, 0, 0) == 77);
}

/* Pages are free, but no chunk is wholly free: enough for guest pages, not for kernel pages. */
TEST(gmm_account, kernel_promises_need_whole_chunks)
{
	gmm_vm_t vm;

	set_up(4);
	gmm_vm_t a = create(4 * P, 0, 0);
	EXPECT(alloc(a, 4 * P) == Q_OK);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(free_some(a, &ids[i * P], P - 1) == Q_OK);
	EXPECT(try_create(P, 0, 1, &vm) == Q_DECLINED);
	EXPECT(try_create(4 * P, 4 * (P - 1) + 1, 0, &vm) == Q_DECLINED);
	vm = create(4 * P, 4 * (P - 1), 0);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 4 * (P - 1)) == Q_OK);
	EXPECT(stats_now().mixed_chunks == 4);
}

/* A VM that claims what is left fits, and one that claims a page more does not. */
static void expect_left(uint64_t base, uint64_t kernel)
{
	uint64_t kernels[] = { 0, 1, P, kernel };
	gmm_vm_t vm;

	EXPECT(gmm_claims_left(0).base == base && gmm_claims_left(0).kernel == kernel);
	EXPECT(try_create(0, 0, kernel + 1, &vm) == Q_DECLINED);
	for (unsigned i = 0; i < ARRAY_COUNT(kernels); i++) {
		if (kernels[i] > kernel)
			continue;
		uint64_t left = gmm_claims_left(kernels[i]).base;
		EXPECT(try_create(left + 1, left + 1, kernels[i], &vm) == Q_DECLINED);
		gmm_vm_destroy(create(left, left, kernels[i]));
		EXPECT(gmm_claims_left(0).base == base && gmm_claims_left(0).kernel == kernel);
	}
}

TEST(gmm_account, what_is_left_can_be_promised)
{
	set_up(6);
	expect_left(6 * P, 6 * P);
	gmm_vm_t a = create(4 * P, 2 * P, 10);
	expect_left(3 * P, 3 * P + P - 10);
	EXPECT(gmm_claims_left(P - 10).base == 3 * P);
	EXPECT(gmm_claims_left(P - 9).base == 2 * P);
	/* Beyond the guarantee, a page in each chunk. */
	EXPECT(alloc(a, 4 * P) == Q_OK);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(free_some(a, &ids[i * P], P - 1) == Q_OK);
	expect_left(3 * P, P + P - 10);
}

TEST(gmm_account, promises_grow_and_shrink)
{
	gmm_vm_t vm;

	set_up(4);
	vm = create(P, P, 10);
	EXPECT(alloc(vm, P) == Q_OK);
	struct gmm_stats before = stats_now();
	struct gmm_vm_config config = config_of(P - 1, 0, 10);
	EXPECT(gmm_vm_resize(vm, &config) == Q_STATE);
	config = config_of(4 * P, 3 * P + 1, 10);
	EXPECT(gmm_vm_resize(vm, &config) == Q_DECLINED);
	config = config_of(4 * P, 2 * P, P + 1);
	fake_kernel_map_fail_at(1);
	EXPECT(gmm_vm_resize(vm, &config) == Q_NO_MEMORY);
	EXPECT(stats_are(&before));
	EXPECT(gmm_vm_resize(vm, &config) == Q_OK);
	gmm_check();
	EXPECT(stats_now().chunk_count == 3 && stats_now().claimed_pages == 2 * P + 1);
	EXPECT(alloc(vm, P + 1) == Q_NO_MEMORY);
	config = config_of(P, 0, 0);
	EXPECT(gmm_vm_resize(vm, &config) == Q_OK);
	gmm_check();
	EXPECT(stats_now().claimed_pages == 0);
	EXPECT(stats_now().chunk_count == 2);
	EXPECT(alloc(vm, 1) == Q_LIMIT);
}

TEST(gmm_account, destroy_gives_everything_back)
{
	hpa_t page;

	set_up(8);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
	struct gmm_stats before = stats_now();
	gmm_vm_t a = create(3 * P, P, P + 5);
	gmm_vm_t b = create(8 * P, 0, 20);
	EXPECT(alloc(a, 2 * P + 7) == Q_OK);
	EXPECT(alloc(b, P + 3) == Q_OK);
	for (unsigned i = 0; i < 10; i++) {
		EXPECT(gmm_kernel_page_alloc(a, GMM_SHADOW, &page) == Q_OK);
		EXPECT(gmm_kernel_page_alloc(b, GMM_FIXED, &page) == Q_OK);
	}
	gmm_vm_destroy(a);
	gmm_check();
	struct gmm_vm_stats stats;
	gmm_vm_stats(b, &stats);
	EXPECT(stats.private_pages == P + 3 && stats.allocated[GMM_BASE] == P + 3);
	EXPECT(stats.allocated[GMM_FIXED] == 10 && stats.allocated[GMM_SHADOW] == 0);
	gmm_vm_destroy(b);
	gmm_check();
	EXPECT(stats_are(&before));
}
