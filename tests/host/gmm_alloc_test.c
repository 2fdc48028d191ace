/* SPDX-License-Identifier: MIT */
/* Private pages: allocate, free, report, look up, zero ahead; the sets that they come from. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

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

/* So chunks with few used pages can run empty. */
TEST(gmm_alloc, fullest_chunk_comes_first)
{
	set_up(3);
	gmm_vm_t vm = create(3 * P, 0, 0);
	EXPECT(alloc(vm, 3 * P) == Q_OK);
	/* A quarter of chunk 1 gets free, three pages of chunk 2, half of chunk 3. */
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

/* Other VMs' chunks come last. When its VM ends, a mixed chunk goes to another owner in it. */
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

/* Unknown, free, foreign and kernel pages change nothing; pages before them in a list are freed. */
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

/* GMM keeps a few wholly free chunks for the next allocation; the end of a VM gives all back. */
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
	/* Freed last, and yet not the first to go: it is stale. */
	EXPECT(free_some(vm, &ids[4], 1) == Q_OK);
	for (unsigned i = 0; i < 4; i++) {
		struct gmm_page page = alloc_one(vm);
		EXPECT(page.is_zeroed == (i < 3));
		EXPECT(gmm_page_is_zero(page.id) == page.is_zeroed);
	}
}

/* A page counts as zeroed only after it was cleared; pages that a VM's end frees are stale. */
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
