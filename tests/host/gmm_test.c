/* SPDX-License-Identifier: MIT */
/* GMM over fake RAM: ids, sets, accounts, kernel pages, the mapping cache; and its AVL tree. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <quire/assert.h>
#include <quire/physmem.h>

#include "lib/avl.h"
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

/* --- ids -------------------------------------------------------------------- */

TEST(gmm_id, extremes_of_page_ids)
{
	struct gmm_chunk chunk = { .id = GMM_CHUNK_ID_LAST };

	EXPECT(gmm_page_id(&chunk, P - 1).raw == 0x0fffffff);
	EXPECT(gmm_page_index(gmm_page_id(&chunk, P - 1)) == P - 1);
	chunk.id = 1;
	EXPECT(gmm_page_id(&chunk, 0).raw == P);
	EXPECT(gmm_page_index(gmm_page_id(&chunk, 0)) == 0);
}

TEST(gmm_id, first_chunk_is_one_and_ids_rest_before_reuse)
{
	set_up(2);
	for (uint32_t round = 0; round < 40; round++) {
		gmm_vm_t vm = create(P, 0, 0);
		uint32_t id = chunk_id(alloc_one(vm).id);
		EXPECT(id == round % (2 * GMM_IDS_PER_CHUNK) + 1);
		gmm_vm_destroy(vm);
	}
}

/* The next id is in use when the numbers have gone round. */
TEST(gmm_id, used_ids_are_passed_over)
{
	set_up(2);
	gmm_vm_t keeper = create(P, 0, 0);
	EXPECT(chunk_id(alloc_one(keeper).id) == 1);
	for (uint32_t round = 0; round < 40; round++) {
		gmm_vm_t vm = create(P, 0, 0);
		uint32_t id = chunk_id(alloc_one(vm).id);
		EXPECT(id == round % (2 * GMM_IDS_PER_CHUNK - 1) + 2);
		gmm_vm_destroy(vm);
	}
}

/* --- start-up --------------------------------------------------------------------------- */

TEST(gmm_init, no_whole_chunk_is_refused)
{
	struct gmm_region small = { hpa(FAKE_RAM_BASE + PAGE_SIZE),
				    hpa(FAKE_RAM_BASE + 2 * GMM_CHUNK_SIZE - PAGE_SIZE) };
	struct gmm_region empty = { hpa(FAKE_RAM_BASE + PAGE_SIZE),
				    hpa(FAKE_RAM_BASE + PAGE_SIZE) };

	EXPECT(gmm_init(&small, 1, NULL) == Q_NO_MEMORY);
	EXPECT(gmm_init(&empty, 1, NULL) == Q_NO_MEMORY);
	EXPECT(gmm_init(NULL, 0, NULL) == Q_NO_MEMORY);
}

/* Only aligned chunks inside regions are managed, and each is found by its address. */
TEST(gmm_init, regions_with_ragged_edges)
{
	uint64_t size = GMM_CHUNK_SIZE;
	struct gmm_region regions[] = {
		{ hpa(FAKE_RAM_BASE + PAGE_SIZE), hpa(FAKE_RAM_BASE + 2 * size) },
		{ hpa(FAKE_RAM_BASE + 2 * size + PAGE_SIZE), hpa(FAKE_RAM_BASE + 3 * size) },
		{ hpa(FAKE_RAM_BASE + 4 * size), hpa(FAKE_RAM_BASE + 7 * size - PAGE_SIZE) },
	};
	const unsigned managed[] = { 1, 4, 5 };

	fake_ram_create(8 * size);
	set_up_regions(regions, ARRAY_COUNT(regions));
	EXPECT(stats_now().machine_pages == 3 * P);
	for (unsigned i = 0; i < 8; i++) {
		hpa_t start = hpa(FAKE_RAM_BASE + i * size);
		hpa_t last = hpa(start.raw + size - 1);
		bool is_managed = i == managed[0] || i == managed[1] || i == managed[2];
		EXPECT((gmm_chunk_at(start) != NULL) == is_managed);
		EXPECT(gmm_chunk_at(start) == gmm_chunk_at(last));
		EXPECT(!is_managed || gmm_chunk_at(start)->base.raw == start.raw);
	}
	EXPECT(gmm_chunk_at(hpa(0)) == NULL);
	EXPECT(gmm_chunk_at(hpa(~0ull)) == NULL);

	gmm_vm_t vm = create(3 * P, 3 * P, 0);
	EXPECT(alloc(vm, 3 * P) == Q_OK);
	for (unsigned i = 0; i < 3 * P; i++) {
		struct gmm_chunk *chunk = gmm_chunk_at(hfn_to_hpa(pages[i].frame));
		EXPECT(chunk && chunk->id == chunk_id(pages[i].id));
		EXPECT(gmm_page_frame(pages[i].id).raw == pages[i].frame.raw);
	}
}

/* The metadata comes out of the memory that it was sized for, and cuts a region in two. */
TEST(gmm_init, metadata_out_of_the_middle_of_a_region)
{
	for (unsigned count = 1; count < 400; count++) {
		hpa_t end = hpa(FAKE_RAM_BASE + (count + 1) * GMM_CHUNK_SIZE);
		hpa_t hole = hpa(FAKE_RAM_BASE + GMM_CHUNK_SIZE - 2 * PAGE_SIZE);
		struct gmm_region whole = { hpa(FAKE_RAM_BASE + PAGE_SIZE), end };
		struct gmm_region parts[] = {
			{ whole.start, hole },
			{ hpa(hole.raw + PAGE_SIZE), end },
		};
		uint64_t size = gmm_metadata_size(&whole, 1);
		void *exact = aligned_alloc(PAGE_SIZE, size);
		memset(exact, 0, size);
		EXPECT(gmm_init(parts, 2, exact) == Q_OK);
		EXPECT(stats_now().machine_pages == count * P);
		gmm_check();
		free(exact);
	}
	set_up(1);
}

/* --- allocate and free -------------------------------------------------------------------- */

TEST(gmm_alloc, new_chunks_are_handed_out_in_order)
{
	set_up(2);
	gmm_vm_t vm = create(2 * P, 0, 0);
	EXPECT(alloc(vm, P + 1) == Q_OK);
	for (unsigned i = 0; i < P; i++) {
		EXPECT(pages[i].id.raw == P + i);
		EXPECT(pages[i].frame.raw == (FAKE_RAM_BASE >> PAGE_SHIFT) + i);
		EXPECT(!pages[i].is_zeroed);
	}
	EXPECT(pages[P].id.raw == 2 * P);
}

TEST(gmm_alloc, last_freed_page_comes_first)
{
	set_up(1);
	gmm_vm_t vm = create(P, 0, 0);
	EXPECT(alloc(vm, 5) == Q_OK);
	EXPECT(free_some(vm, ids, 3) == Q_OK);
	page_id_t freed[3] = { ids[0], ids[1], ids[2] };
	EXPECT(alloc(vm, 3) == Q_OK);
	EXPECT(ids[0].raw == freed[2].raw && ids[1].raw == freed[1].raw);
	EXPECT(ids[2].raw == freed[0].raw);
}

TEST(gmm_alloc, no_pages_is_no_work)
{
	set_up(1);
	gmm_vm_t vm = create(0, 0, 0);
	struct gmm_stats before = stats_now();
	EXPECT(alloc(vm, 0) == Q_OK);
	EXPECT(free_some(vm, ids, 0) == Q_OK);
	EXPECT(stats_are(&before));
}

/* So that chunks with few pages can run empty. */
TEST(gmm_alloc, fullest_chunk_comes_first)
{
	set_up(3);
	gmm_vm_t vm = create(3 * P, 0, 0);
	EXPECT(alloc(vm, 3 * P) == Q_OK);
	/* Chunk 1 gets a quarter free, chunk 2 a few, chunk 3 half of it. */
	EXPECT(free_some(vm, &ids[0], P / 4) == Q_OK);
	EXPECT(free_some(vm, &ids[P], 3) == Q_OK);
	EXPECT(free_some(vm, &ids[2 * P], P / 2) == Q_OK);
	EXPECT(alloc(vm, 3 + P / 4 + 1) == Q_OK);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(chunk_id(ids[i]) == 2);
	for (unsigned i = 3; i < 3 + P / 4; i++)
		EXPECT(chunk_id(ids[i]) == 1);
	EXPECT(chunk_id(ids[3 + P / 4]) == 3);
}

/* A chunk moves between lists at each border of a class, in both directions. */
TEST(gmm_set, every_number_of_free_pages)
{
	set_up(1);
	gmm_vm_t vm = create(P, 0, 0);
	const struct gmm_chunk *chunk = gmm_chunk_at(hpa(FAKE_RAM_BASE));

	for (unsigned i = 0; i < P; i++) {
		ids[i] = alloc_one(vm).id;
		EXPECT(chunk->free_count == P - 1 - i);
		EXPECT(chunk->free_count == 0 || !list_is_empty(&chunk->link));
	}
	EXPECT(list_is_empty(&chunk->link));
	for (unsigned i = 0; i < P; i++) {
		EXPECT(free_some(vm, &ids[i], 1) == Q_OK);
		EXPECT(chunk->free_count == i + 1);
	}
	EXPECT(GMM_CLASS_COUNT == 9 && gmm_class_of(chunk) == 8);
	EXPECT(gmm.private_sets[GMM_VM_QUIRE].whole_count == 1);
}

TEST(gmm_alloc, two_vms_in_turn_do_not_mix)
{
	set_up(4);
	gmm_vm_t a = create(2 * P, 0, 0);
	gmm_vm_t b = create(2 * P, 0, 0);
	for (unsigned i = 0; i < P; i++) {
		EXPECT(chunk_id(alloc_one(a).id) == 1);
		EXPECT(chunk_id(alloc_one(b).id) == 2);
	}
	EXPECT(stats_now().mixed_chunks == 0);
	gmm_vm_destroy(a);
	gmm_check();
	EXPECT(stats_now().chunk_count == 1);
}

/* Other VMs' chunks come last, and the owner who stays gets the chunk. */
TEST(gmm_alloc, chunks_mix_only_when_nothing_else_is_left)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0);
	gmm_vm_t b = create(2 * P, 0, 0);
	gmm_vm_t c = create(2 * P, 0, 0);
	EXPECT(alloc(a, 10) == Q_OK);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(stats_now().mixed_chunks == 0);
	EXPECT(chunk_id(alloc_one(b).id) == 1);
	EXPECT(chunk_id(alloc_one(c).id) == 1);
	EXPECT(stats_now().mixed_chunks == 1);
	EXPECT(gmm_chunk_at(hpa(FAKE_RAM_BASE))->tag == a);
	gmm_vm_destroy(a);
	gmm_check();
	EXPECT(gmm_chunk_at(hpa(FAKE_RAM_BASE))->tag == b);
	EXPECT(stats_now().mixed_chunks == 1);
	gmm_vm_destroy(b);
	gmm_check();
	EXPECT(gmm_chunk_at(hpa(FAKE_RAM_BASE))->tag == c);
	EXPECT(stats_now().mixed_chunks == 0 && stats_now().private_pages == 1);
}

TEST(gmm_alloc, all_or_none)
{
	set_up(3);
	gmm_vm_t vm = create(4 * P, 0, 0);
	EXPECT(alloc(vm, P / 2) == Q_OK);
	struct gmm_stats before = stats_now();
	EXPECT(alloc(vm, 3 * P) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 3 * P - P / 2 + 1) == Q_NO_MEMORY);
	EXPECT(alloc(vm, 4 * P - P / 2 + 1) == Q_LIMIT);
	EXPECT(stats_are(&before));
	EXPECT(alloc(vm, 3 * P - P / 2) == Q_OK);
	EXPECT(stats_now().free_pages == 0 && stats_now().chunks_free == 0);
}

/* Unknown, free, foreign and kernel pages; nothing changes, and what came before is freed. */
TEST(gmm_free, bad_ids_are_told_apart)
{
	set_up(3);
	gmm_vm_t a = create(P, 0, 1);
	gmm_vm_t b = create(P, 0, 0);
	EXPECT(alloc(a, 4) == Q_OK);
	page_id_t foreign = alloc_one(b).id;
	hpa_t kernel_page;
	EXPECT(gmm_kernel_page_alloc(a, GMM_FIXED, &kernel_page) == Q_OK);
	page_id_t kernel = gmm_page_id(gmm_chunk_at(kernel_page), 0);
	EXPECT(free_some(a, &ids[3], 1) == Q_OK);
	struct {
		page_id_t id;
		q_status_t status;
	} bad[] = {
		{ PAGE_ID_NIL, Q_NOT_FOUND },
		{ { P - 1 }, Q_NOT_FOUND },
		{ { 0xffffffff }, Q_NOT_FOUND },
		{ { 0x70000000 | ids[0].raw }, Q_NOT_FOUND },
		{ { GMM_PAGE_ID_LAST }, Q_NOT_FOUND },
		{ ids[3], Q_STATE },
		{ kernel, Q_STATE },
		{ foreign, Q_NOT_OWNER },
	};
	struct gmm_stats before = stats_now();
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
		EXPECT(free_some(a, &bad[i].id, 1) == bad[i].status);
		EXPECT(gmm_page_set_gfn(a, bad[i].id, gfn(1)) == bad[i].status);
		EXPECT(stats_are(&before));
	}
	page_id_t list[3] = { ids[0], ids[0], ids[1] };
	unsigned done = 99;
	EXPECT(gmm_pages_free(a, list, 3, &done) == Q_STATE);
	EXPECT(done == 1);
	EXPECT(stats_now().private_pages == before.private_pages - 1);
	gmm_check();
}

TEST(gmm_page, info_and_reported_frames)
{
	struct gmm_page_info info;
	hpa_t kernel_page;

	set_up(2);
	gmm_vm_t vm = create(P, 0, 2);
	page_id_t id = alloc_one(vm).id;
	EXPECT(gmm_page_info(id, &info) == Q_OK);
	EXPECT(info.kind == GMM_PAGE_PRIVATE && info.owner == vm);
	EXPECT(info.gfn.raw == GFN_UNKNOWN.raw);
	EXPECT(gmm_page_set_gfn(vm, id, gfn(GMM_GFN_LAST)) == Q_OK);
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GMM_GFN_LAST);
	EXPECT(gmm_page_set_gfn(vm, id, gfn(GMM_GFN_LAST + 1)) == Q_RANGE);
	EXPECT(gmm_page_set_gfn(vm, id, gfn(BIT64(32))) == Q_RANGE);
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GMM_GFN_LAST);
	EXPECT(gmm_page_set_gfn(vm, id, GFN_UNKNOWN) == Q_OK);
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GFN_UNKNOWN.raw);
	EXPECT(gmm_page_info((page_id_t){ id.raw + 1 }, &info) == Q_OK);
	EXPECT(info.kind == GMM_PAGE_FREE);
	EXPECT(gmm_kernel_page_alloc(vm, GMM_SHADOW, &kernel_page) == Q_OK);
	EXPECT(gmm_page_info(gmm_page_id(gmm_chunk_at(kernel_page), 0), &info) == Q_OK);
	EXPECT(info.kind == GMM_PAGE_KERNEL && info.owner == vm);
	EXPECT(gmm_page_info(PAGE_ID_NIL, &info) == Q_NOT_FOUND);
	EXPECT(gmm_page_info((page_id_t){ 0xffffffff }, &info) == Q_NOT_FOUND);
}

/* A few whole chunks are kept for the next allocation; a VM's end gives back all. */
TEST(gmm_chunk, few_empty_chunks_are_kept)
{
	set_up(5);
	struct gmm_stats before = stats_now();
	gmm_vm_t vm = create(5 * P, 0, 0);
	EXPECT(alloc(vm, 5 * P) == Q_OK);
	EXPECT(free_some(vm, ids, 5 * P) == Q_OK);
	EXPECT(stats_now().chunk_count == GMM_WHOLE_KEPT);
	EXPECT(stats_now().free_pages == GMM_WHOLE_KEPT * P);
	gmm_vm_destroy(vm);
	gmm_check();
	EXPECT(stats_are(&before));
}

/* --- promises, guarantees, admission ---------------------------------------------------------- */

TEST(gmm_account, guarantees_hold_on_both_sides)
{
	set_up(4);
	gmm_vm_t a = create(4 * P, 2 * P, 0);
	gmm_vm_t b = create(4 * P, P, 0);
	EXPECT(stats_now().reserved_pages == 3 * P && stats_now().unclaimed_pages == 3 * P);
	EXPECT(gmm_pages_available(a, 10 * P) == 3 * P);
	EXPECT(gmm_pages_available(b, 10 * P) == 2 * P);
	EXPECT(gmm_pages_available(b, 7) == 7);
	EXPECT(alloc(a, 3 * P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(a, 3 * P) == Q_OK);
	EXPECT(stats_now().unclaimed_pages == P);
	EXPECT(gmm_pages_available(a, 1) == 0);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	EXPECT(gmm_pages_available(b, 10 * P) == P);
	page_id_t last = pages[3 * P - 1].id;
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(stats_now().unclaimed_pages == 0);
	/* What A has beyond its guarantee is anybody's when A frees it. */
	EXPECT(free_some(a, &last, 1) == Q_OK);
	EXPECT(alloc(b, 1) == Q_OK);
	EXPECT(stats_now().mixed_chunks == 1);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
}

/* What a VM frees below its guarantee is claimed again. */
TEST(gmm_account, freed_guarantee_stays_the_vms)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, P, 0);
	gmm_vm_t b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK);
	EXPECT(free_some(a, ids, P / 2) == Q_OK);
	EXPECT(stats_now().unclaimed_pages == P / 2);
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

/* Pages are free, but no chunk is: guest pages can be had, kernel pages cannot. */
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
	EXPECT(stats_now().chunk_count == 3 && stats_now().unclaimed_pages == 2 * P + 1);
	EXPECT(alloc(vm, P + 1) == Q_NO_MEMORY);
	config = config_of(P, 0, 0);
	EXPECT(gmm_vm_resize(vm, &config) == Q_OK);
	gmm_check();
	EXPECT(stats_now().unclaimed_pages == 0);
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

/* --- kernel pages -------------------------------------------------------------------------------- */

static bool kernel_page_is_zero(hpa_t page)
{
	const uint8_t *bytes = physmem_kernel_ptr(page);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* However much Quire takes, what a VM was promised is there; and not a page more. */
TEST(gmm_kernel, set_aside_pages_cannot_be_taken)
{
	hpa_t page;
	uint64_t taken = 0;

	set_up(4);
	gmm_vm_t vm = create(P, P, P + 1);
	EXPECT(stats_now().chunk_count == 2);
	while (gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK)
		taken++;
	gmm_check();
	/* Two chunks are set aside for P + 1 pages; a third is the guest's guarantee. */
	EXPECT(taken == 3 * P - (P + 1));
	for (unsigned i = 0; i < P + 1; i++) {
		enum gmm_account account = i < (P + 1) / 2 ? GMM_SHADOW : GMM_FIXED;
		EXPECT(gmm_kernel_page_alloc(vm, account, &page) == Q_OK);
		EXPECT(kernel_page_is_zero(page));
	}
	EXPECT(gmm_kernel_page_alloc(vm, GMM_SHADOW, &page) == Q_LIMIT);
	EXPECT(gmm_kernel_page_alloc(vm, GMM_FIXED, &page) == Q_LIMIT);
	EXPECT(alloc(vm, P) == Q_OK);
}

TEST(gmm_kernel, pages_are_zero_again_after_use)
{
	hpa_t page, again;

	set_up(1);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
	EXPECT(kernel_page_is_zero(page));
	memset(physmem_kernel_ptr(page), 0x5a, PAGE_SIZE);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, page);
	gmm_check();
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &again) == Q_OK);
	EXPECT(again.raw == page.raw && kernel_page_is_zero(again));
}

/* A chunk that is only kept for convenience counts as available, and is given up for a VM. */
TEST(gmm_kernel, spare_chunks_go_to_guests)
{
	hpa_t page;

	set_up(2);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, page);
	gmm_check();
	EXPECT(stats_now().chunk_count == 1);
	gmm_vm_t vm = create(2 * P, 2 * P, 0);
	/* Nor may Quire take a page of it now. */
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_NO_MEMORY);
	EXPECT(gmm_pages_available(vm, 3 * P) == 2 * P);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
	EXPECT(stats_now().kernel_pages == 0 && stats_now().private_pages == 2 * P);
}

TEST(gmm_kernel, empty_chunks_go_back_when_many_are_free)
{
	static hpa_t kernel[3 * P];

	set_up(3);
	for (unsigned i = 0; i < 3 * P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	EXPECT(stats_now().chunks_free == 0 && stats_now().kernel_pages == 3 * P);
	for (unsigned i = 0; i < 3 * P; i++)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	gmm_check();
	EXPECT(stats_now().kernel_pages == 0 && stats_now().chunk_count == 1);
}

/* As many pages as a chunk has are free, but not in one chunk: guests cannot have them. */
TEST(gmm_kernel, scattered_free_pages_are_not_spare)
{
	static hpa_t kernel[2 * P];
	gmm_vm_t vm;

	set_up(3);
	for (unsigned i = 0; i < 2 * P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	for (unsigned i = 0; i < 2 * P; i += 2)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	gmm_check();
	EXPECT(try_create(3 * P, P + 1, 0, &vm) == Q_DECLINED);
	vm = create(3 * P, P, P);
	EXPECT(gmm_pages_available(vm, 3 * P) == P);
	EXPECT(stats_now().chunk_count == 2);
}

/* Chunks whose kernel address can be read; the operating system is asked, so nothing dies. */
static unsigned kernel_mapped_chunks(void)
{
	unsigned count = 0;
	int ends[2];

	EXPECT(pipe(ends) == 0);
	for (uint32_t i = 0; i < gmm.chunk_count; i++)
		count += write(ends[1], physmem_kernel_ptr(gmm.chunks[i].base), 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return count;
}

/* With chunks of the machine, and with empty ones that GMM kept. */
TEST(gmm_kernel, failed_mapping_changes_nothing)
{
	gmm_vm_t vm;

	set_up(4);
	gmm_vm_t other = create(4 * P, 0, 0);
	EXPECT(alloc(other, 4 * P) == Q_OK);
	EXPECT(free_some(other, ids, 4 * P - 1) == Q_OK);
	EXPECT(stats_now().chunks_free == 1);
	struct gmm_stats before = stats_now();
	for (unsigned k = 1; k <= 3; k++) {
		fake_kernel_map_fail_at(k);
		EXPECT(try_create(P, 0, 3 * P, &vm) == Q_NO_MEMORY);
		/* The two chunks that GMM kept are with the machine now; that is all. */
		before.chunk_count = 1;
		before.chunks_free = 3;
		before.free_pages = P - 1;
		EXPECT(stats_are(&before));
		EXPECT(kernel_mapped_chunks() == 0);
	}
	vm = create(P, 0, 3 * P);
	EXPECT(kernel_mapped_chunks() == 3);
	gmm_vm_destroy(vm);
	EXPECT(kernel_mapped_chunks() == 0);
	gmm_check();
	hpa_t page;
	fake_kernel_map_fail_at(1);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_NO_MEMORY);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
}

/* --- the mapping cache ------------------------------------------------------------------------------ */

#define MANY_CHUNKS (PHYSMEM_WINDOW_COUNT + 6)

/* The first page of each of MANY_CHUNKS chunks in ids[i * P]; chunk ids are 1, 2, ... */
static void set_up_many_chunks(void)
{
	set_up(MANY_CHUNKS);
	gmm_vm_t vm = create(MANY_CHUNKS * P, 0, 0);
	EXPECT(alloc(vm, MANY_CHUNKS * P) == Q_OK);
}

static struct gmm_map_stats map_stats_now(void)
{
	struct gmm_map_stats stats;
	gmm_map_stats(&stats);
	return stats;
}

TEST(gmm_map, more_chunks_than_windows)
{
	set_up_many_chunks();
	for (unsigned i = 0; i < MANY_CHUNKS; i++)
		*(uint32_t *)gmm_page_map(ids[i * P + 1]) = 1000 + i;
	gmm_check();
	EXPECT(map_stats_now().misses == MANY_CHUNKS);
	EXPECT(map_stats_now().evictions == MANY_CHUNKS - PHYSMEM_WINDOW_COUNT);
	for (unsigned i = 0; i < MANY_CHUNKS; i++) {
		EXPECT(*(uint32_t *)fake_ram_peek(hfn_to_hpa(pages[i * P + 1].frame)) == 1000 + i);
		EXPECT(*(uint32_t *)gmm_page_map(ids[i * P + 1]) == 1000 + i);
	}
	gmm_check();
}

TEST(gmm_map, addresses_outlive_half_the_windows)
{
	set_up_many_chunks();
	uint32_t *a = gmm_page_map(ids[0]);
	uint32_t *b = gmm_page_map(ids[P]);
	for (unsigned i = 2; i < 2 + PHYSMEM_WINDOW_COUNT / 2; i++)
		*(uint32_t *)gmm_page_map(ids[i * P]) = 0;
	*a = 1;
	*b = 2;
	EXPECT(*(uint32_t *)fake_ram_peek(hfn_to_hpa(pages[0].frame)) == 1);
	EXPECT(*(uint32_t *)fake_ram_peek(hfn_to_hpa(pages[P].frame)) == 2);
	/* They were used last once more, so they stay when all others go. */
	EXPECT(gmm_page_map(ids[0]) == (void *)a);
	EXPECT(gmm_page_map(ids[P]) == (void *)b);
	for (unsigned i = 2; i < PHYSMEM_WINDOW_COUNT; i++)
		gmm_page_map(ids[i * P]);
	EXPECT(map_stats_now().evictions == 0);
	EXPECT(gmm_page_map(ids[0]) == (void *)a);
	gmm_page_map(ids[PHYSMEM_WINDOW_COUNT * P]);
	EXPECT(map_stats_now().evictions == 1);
	EXPECT(gmm_page_map(ids[0]) == (void *)a);
	gmm_check();
}

/* Ids 1 and 65 share a place in the lookaside table; the tree finds the one pushed out. */
TEST(gmm_map, lookaside_then_tree_then_miss)
{
	set_up_many_chunks();
	gmm_page_map(ids[0]);
	gmm_page_map(ids[0]);
	gmm_page_map(ids[1]);
	EXPECT(map_stats_now().misses == 1 && map_stats_now().lookaside_hits == 2);
	gmm_page_map(ids[GMM_LOOKASIDE_COUNT * P]);
	EXPECT(map_stats_now().misses == 2 && map_stats_now().tree_hits == 0);
	gmm_page_map(ids[0]);
	EXPECT(map_stats_now().misses == 2 && map_stats_now().tree_hits == 1);
	gmm_page_map(ids[0]);
	EXPECT(map_stats_now().lookaside_hits == 3);
	EXPECT(fake_window_maps() >= 2);
}

TEST(gmm_map, each_cpu_has_its_own_windows)
{
	set_up(1);
	gmm_vm_t vm = create(P, 0, 0);
	page_id_t id = alloc_one(vm).id;
	uint32_t *on_first = gmm_page_map(id);
	fake_cpu_set(PHYSMEM_CPU_MAX - 1);
	uint32_t *on_last = gmm_page_map(id);
	EXPECT(on_first != on_last);
	*on_first = 0x1234;
	EXPECT(*on_last == 0x1234);
	EXPECT(map_stats_now().misses == 2);
	gmm_check();
	fake_cpu_set(0);
}

/* A window from before a chunk went back must not be used for another chunk with its id. */
TEST(gmm_map, id_that_names_another_chunk_is_mapped_anew)
{
	set_up(2);
	gmm_vm_t a = create(P, 0, 0);
	gmm_vm_t b = create(P, 0, 0);
	struct gmm_page old = alloc_one(a);
	alloc_one(b);
	*(uint32_t *)gmm_page_map(old.id) = 0xdead;
	gmm_vm_destroy(a);
	gmm_vm_destroy(b); /* now the chunk that was B's comes first */
	struct gmm_page page;
	for (;;) {
		gmm_vm_t vm = create(P, 0, 0);
		page = alloc_one(vm);
		if (page.id.raw == old.id.raw)
			break;
		gmm_vm_destroy(vm);
	}
	EXPECT(page.frame.raw != old.frame.raw);
	*(uint32_t *)gmm_page_map(page.id) = 0xbeef;
	EXPECT(*(uint32_t *)fake_ram_peek(hfn_to_hpa(page.frame)) == 0xbeef);
	EXPECT(*(uint32_t *)fake_ram_peek(hfn_to_hpa(old.frame)) == 0xdead);
	gmm_check();
}

TEST(gmm_map, clear_copy_compare)
{
	set_up(2);
	gmm_vm_t vm = create(2 * P, 0, 0);
	EXPECT(alloc(vm, P + 1) == Q_OK);
	page_id_t a = ids[0], b = ids[P]; /* in two chunks */
	EXPECT(!gmm_page_is_zero(a));
	gmm_page_clear(a);
	EXPECT(gmm_page_is_zero(a) && !gmm_page_is_zero(ids[1]));
	EXPECT(!gmm_page_is_equal(a, b));
	gmm_page_copy(b, a);
	EXPECT(gmm_page_is_equal(a, b) && gmm_page_is_zero(b));
	gmm_page_copy(a, a);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		uint8_t *byte = (uint8_t *)gmm_page_map(b) + i;
		*byte = 1;
		EXPECT(!gmm_page_is_zero(b) && !gmm_page_is_equal(a, b));
		*byte = 0;
	}
	EXPECT(gmm_page_is_zero(b) && gmm_page_is_equal(a, b));
}

/* --- zero ahead ----------------------------------------------------------------------------------------- */

TEST(gmm_zero, cleared_pages_come_first)
{
	set_up(2);
	EXPECT(gmm_zero_ahead(10) == 0);
	gmm_vm_t vm = create(P, 0, 0);
	EXPECT(alloc(vm, 8) == Q_OK);
	EXPECT(free_some(vm, ids, 4) == Q_OK);
	EXPECT(gmm_zero_ahead(3) == 3);
	gmm_check();
	/* Freed after that, on top of the chain, and yet not first: it is stale. */
	EXPECT(free_some(vm, &ids[4], 1) == Q_OK);
	for (unsigned i = 0; i < 4; i++) {
		struct gmm_page page = alloc_one(vm);
		EXPECT(page.is_zeroed == (i < 3));
		EXPECT(gmm_page_is_zero(page.id) == page.is_zeroed);
	}
}

/* What a VM wrote is gone before the page counts as zero, and its end forgets what was known. */
TEST(gmm_zero, all_free_pages_of_taken_chunks)
{
	set_up(3);
	gmm_vm_t vm = create(3 * P, 0, 0);
	EXPECT(alloc(vm, P + 5) == Q_OK);
	EXPECT(gmm_zero_ahead(~0u) == P - 5);
	EXPECT(gmm_zero_ahead(1) == 0);
	gmm_check();
	EXPECT(free_some(vm, ids, P + 5) == Q_OK);
	EXPECT(stats_now().free_pages == 2 * P);
	EXPECT(gmm_zero_ahead(~0u) == P + 5);
	EXPECT(alloc(vm, 2 * P + 1) == Q_OK);
	for (unsigned i = 0; i < 2 * P + 1; i++)
		EXPECT(pages[i].is_zeroed == (i < 2 * P) &&
		       gmm_page_is_zero(ids[i]) == pages[i].is_zeroed);
	gmm_vm_destroy(vm);
	vm = create(P, 0, 0);
	EXPECT(!alloc_one(vm).is_zeroed);
}

/* --- anything in any order -------------------------------------------------------------------------------- */

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(random_state >> 8) * limit >> 24);
}

#define MODEL_VMS    4u
#define MODEL_CHUNKS 6u

/* What each VM holds, kept beside GMM's own books. */
static struct {
	gmm_vm_t vm;
	page_id_t held[MODEL_CHUNKS * P];
	unsigned count;
	hpa_t kernel[64];
	unsigned kernel_count;
} model[MODEL_VMS];

static void model_alloc(unsigned i)
{
	unsigned want = 1 + random_below(P);
	bool should_work = gmm_pages_available(model[i].vm, want) == want;

	EXPECT((gmm_pages_alloc(model[i].vm, pages, want) == Q_OK) == should_work);
	for (unsigned k = 0; should_work && k < want; k++) {
		EXPECT(gmm_page_set_gfn(model[i].vm, pages[k].id, gfn(i)) == Q_OK);
		model[i].held[model[i].count++] = pages[k].id;
	}
}

static void model_free(unsigned i)
{
	unsigned want = random_below(model[i].count + 1), done;

	for (unsigned k = 0; k < want; k++) {
		unsigned from = random_below(model[i].count);
		ids[k] = model[i].held[from];
		model[i].held[from] = model[i].held[--model[i].count];
	}
	EXPECT(gmm_pages_free(model[i].vm, ids, want, &done) == Q_OK && done == want);
}

static void model_kernel(unsigned i)
{
	if (random_below(2) == 0 && model[i].kernel_count < 64) {
		hpa_t page;
		EXPECT(gmm_kernel_page_alloc(model[i].vm, GMM_SHADOW, &page) == Q_OK);
		model[i].kernel[model[i].kernel_count++] = page;
	} else if (model[i].kernel_count > 0) {
		gmm_kernel_page_free(model[i].vm, GMM_SHADOW,
				     model[i].kernel[--model[i].kernel_count]);
	}
}

static void model_restart(unsigned i)
{
	struct gmm_vm_config config = config_of(MODEL_CHUNKS * P, random_below(2 * P), 128);

	if (model[i].vm)
		gmm_vm_destroy(model[i].vm);
	model[i].count = 0;
	model[i].kernel_count = 0;
	if (gmm_vm_create(&config, &model[i].vm) != Q_OK)
		model[i].vm = 0;
}

static void model_check(void)
{
	struct gmm_page_info info;

	gmm_check();
	for (unsigned i = 0; i < MODEL_VMS; i++) {
		struct gmm_vm_stats stats;
		if (!model[i].vm)
			continue;
		gmm_vm_stats(model[i].vm, &stats);
		EXPECT(stats.private_pages == model[i].count);
		EXPECT(stats.allocated[GMM_SHADOW] == model[i].kernel_count);
		if (model[i].count == 0)
			continue;
		page_id_t some = model[i].held[random_below(model[i].count)];
		EXPECT(gmm_page_info(some, &info) == Q_OK && info.kind == GMM_PAGE_PRIVATE);
		EXPECT(info.owner == model[i].vm && info.gfn.raw == i);
	}
}

TEST(gmm, random_operations_keep_every_invariant)
{
	set_up(MODEL_CHUNKS);
	memset(model, 0, sizeof(model));
	random_state = 5017;
	for (unsigned step = 0; step < 3000; step++) {
		unsigned i = random_below(MODEL_VMS);
		unsigned what = random_below(16);
		if (!model[i].vm || what == 0)
			model_restart(i);
		else if (what < 7)
			model_alloc(i);
		else if (what < 11)
			model_free(i);
		else if (what < 15)
			model_kernel(i);
		else
			gmm_zero_ahead(random_below(20));
		model_check();
	}
	for (unsigned i = 0; i < MODEL_VMS; i++)
		if (model[i].vm)
			gmm_vm_destroy(model[i].vm);
	gmm_check();
	EXPECT(stats_now().chunk_count == 0 && stats_now().unclaimed_pages == 0);
}

/* --- the AVL tree --------------------------------------------------------------------------------------------- */

#define AVL_KEYS 2000u

static struct avl_node nodes[AVL_KEYS];

TEST(avl, ascending_and_descending_keys)
{
	struct avl_tree tree;

	avl_init(&tree);
	avl_check(&tree);
	for (unsigned i = 0; i < AVL_KEYS / 2; i++)
		EXPECT(avl_insert(&tree, &nodes[i], i));
	for (unsigned i = AVL_KEYS - 1; i >= AVL_KEYS / 2; i--)
		EXPECT(avl_insert(&tree, &nodes[i], i));
	avl_check(&tree);
	EXPECT(tree.count == AVL_KEYS && tree.root->height <= 15);
	for (unsigned i = 0; i < AVL_KEYS; i++)
		EXPECT(avl_find(&tree, i) == &nodes[i]);
	for (unsigned i = 0; i < AVL_KEYS; i++) {
		EXPECT(avl_remove(&tree, i) == &nodes[i]);
		avl_check(&tree);
	}
	EXPECT(tree.root == NULL && tree.count == 0);
}

TEST(avl, extreme_keys_and_second_inserts)
{
	struct avl_tree tree;
	struct avl_node low, middle, high, extra;

	avl_init(&tree);
	EXPECT(avl_insert(&tree, &high, UINT64_MAX));
	EXPECT(avl_insert(&tree, &low, 0));
	EXPECT(avl_insert(&tree, &middle, BIT64(63)));
	avl_check(&tree);
	EXPECT(!avl_insert(&tree, &extra, 0));
	EXPECT(!avl_insert(&tree, &extra, UINT64_MAX));
	EXPECT(tree.count == 3 && avl_find(&tree, 0) == &low);
	EXPECT(avl_find(&tree, UINT64_MAX) == &high);
	EXPECT(avl_find(&tree, 1) == NULL && avl_remove(&tree, 1) == NULL);
	EXPECT(avl_find_from(&tree, 0) == &low);
	EXPECT(avl_find_from(&tree, 1) == &middle);
	EXPECT(avl_find_from(&tree, BIT64(63) + 1) == &high);
	EXPECT(avl_remove(&tree, UINT64_MAX) == &high);
	EXPECT(avl_find_from(&tree, BIT64(63) + 1) == NULL);
	avl_check(&tree);
}

/* Against a plain array of what is in the tree. */
TEST(avl, random_inserts_and_removes)
{
	static bool is_in[AVL_KEYS];
	struct avl_tree tree;
	size_t count = 0;

	avl_init(&tree);
	memset(is_in, 0, sizeof(is_in));
	random_state = 1;
	for (unsigned step = 0; step < 20000; step++) {
		unsigned key = random_below(AVL_KEYS);
		/* Mostly full, then mostly empty, and back. */
		bool is_insert = random_below(8) < (step / 4000 % 2 ? 2u : 6u);
		if (is_insert)
			EXPECT(avl_insert(&tree,
					  is_in[key] ? &(struct avl_node){ .key = 0 } : &nodes[key],
					  key) == !is_in[key]);
		else
			EXPECT(avl_remove(&tree, key) == (is_in[key] ? &nodes[key] : NULL));
		count += is_insert && !is_in[key];
		count -= !is_insert && is_in[key];
		is_in[key] = is_insert;
		EXPECT(tree.count == count);
		if (step % 50 == 0)
			avl_check(&tree);
	}
	unsigned next = 0;
	for (struct avl_node *node = avl_find_from(&tree, 0); node;
	     node = avl_find_from(&tree, node->key + 1)) {
		while (!is_in[next])
			next++;
		EXPECT(node == &nodes[next]);
		next++;
		count--;
	}
	EXPECT(count == 0);
}
