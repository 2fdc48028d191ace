/* SPDX-License-Identifier: MIT */
/* Shared pages: references, holds, the books of VMs, and SHARED chunks beside the claims. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

static page_id_t share_one(void)
{
	struct gmm_page page = { .is_zeroed = false };
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_check();
	return page.id;
}

static q_status_t get(gmm_vm_t vm, page_id_t id)
{
	q_status_t status = gmm_shared_get(vm, id);
	gmm_check();
	return status;
}

static q_status_t put(gmm_vm_t vm, page_id_t id)
{
	unsigned done = 99;
	q_status_t status = gmm_shared_put(vm, &id, 1, &done);
	EXPECT(done == (status == Q_OK));
	gmm_check();
	return status;
}

static q_status_t replace(gmm_vm_t vm, page_id_t private_page, page_id_t shared)
{
	q_status_t status = gmm_shared_replace(vm, private_page, shared);
	gmm_check();
	return status;
}

static struct gmm_page_info info_of(page_id_t id)
{
	struct gmm_page_info info;
	EXPECT(gmm_page_info(id, &info) == Q_OK);
	return info;
}

static struct gmm_vm_stats vm_stats(gmm_vm_t vm)
{
	struct gmm_vm_stats stats;
	gmm_vm_stats(vm, &stats);
	return stats;
}

/* The whole life of a page that two VMs share, every figure at each step. */
TEST(gmm_share, two_vms_share_a_page)
{
	set_up(4);
	gmm_vm_t a = create(P, 0, 0), b = create(P, 0, 0);
	struct gmm_page page_a = alloc_one(a), page_b = alloc_one(b);
	page_id_t shared = share_one();

	EXPECT(chunk_id(shared) != chunk_id(page_a.id) && chunk_id(shared) != chunk_id(page_b.id));
	EXPECT(info_of(shared).kind == GMM_PAGE_SHARED && info_of(shared).references == 1);
	EXPECT(stats_now().shared_pages == 1 && stats_now().shared_references == 0);
	EXPECT(stats_now().pages_saved == 0);

	/* One reference saves nothing, and neither does Quire's hold. */
	EXPECT(replace(a, page_a.id, shared) == Q_OK);
	EXPECT(info_of(shared).references == 2);
	EXPECT(stats_now().private_pages == 1 && stats_now().pages_saved == 0);
	EXPECT(vm_stats(a).private_pages == 0 && vm_stats(a).shared_pages == 1);
	EXPECT(vm_stats(a).allocated[GMM_BASE] == 1);

	EXPECT(replace(b, page_b.id, shared) == Q_OK);
	EXPECT(stats_now().private_pages == 0 && stats_now().shared_references == 2);
	EXPECT(stats_now().pages_saved == 1);
	EXPECT(put(GMM_VM_QUIRE, shared) == Q_OK);
	EXPECT(info_of(shared).references == 2 && stats_now().pages_saved == 1);

	/* A writes: it gets a page of its own, and drops its reference. B keeps the shared page. */
	EXPECT(alloc_one(a).id.raw != shared.raw);
	EXPECT(put(a, shared) == Q_OK);
	EXPECT(vm_stats(a).private_pages == 1 && vm_stats(a).shared_pages == 0);
	EXPECT(info_of(shared).references == 1 && stats_now().pages_saved == 0);
	EXPECT(put(b, shared) == Q_OK);
	struct gmm_page_info info;
	EXPECT(gmm_page_info(shared, &info) == Q_NOT_FOUND);
	/* A's chunk, and B's, which is kept for a while. */
	EXPECT(stats_now().shared_pages == 0 && stats_now().chunk_count == 2);
}

/* The last of the references and the hold frees the page, in whatever order they go. */
TEST(gmm_share, last_reference_frees_the_page)
{
	const unsigned orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					{ 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };

	set_up(4);
	gmm_vm_t who[3] = { GMM_VM_QUIRE, create(P, 0, 0), create(P, 0, 0) };
	struct gmm_stats before = stats_now();
	for (unsigned i = 0; i < 6; i++) {
		page_id_t shared = share_one();
		EXPECT(get(who[1], shared) == Q_OK && get(who[2], shared) == Q_OK);
		EXPECT(stats_now().pages_saved == 1);
		EXPECT(put(who[orders[i][0]], shared) == Q_OK);
		EXPECT(put(who[orders[i][1]], shared) == Q_OK);
		EXPECT(stats_now().shared_pages == 1 && stats_now().pages_saved == 0);
		EXPECT(put(who[orders[i][2]], shared) == Q_OK);
		EXPECT(stats_are(&before));
	}
}

/* A VM may back several of its guest pages with one shared page. */
TEST(gmm_share, one_vm_refers_more_than_once)
{
	set_up(4);
	gmm_vm_t a = create(3, 0, 0);
	page_id_t shared = share_one();
	for (unsigned i = 0; i < 3; i++)
		EXPECT(get(a, shared) == Q_OK);
	EXPECT(stats_now().pages_saved == 2 && vm_stats(a).shared_pages == 3);
	EXPECT(get(a, shared) == Q_LIMIT);
	EXPECT(alloc(a, 1) == Q_LIMIT);
	EXPECT(put(a, shared) == Q_OK);
	EXPECT(alloc(a, 1) == Q_OK);
	EXPECT(vm_stats(a).allocated[GMM_BASE] == 3 && vm_stats(a).private_pages == 1);
}

/* An exchange needs no room in the promise, a reference does. */
TEST(gmm_share, replace_at_the_limit)
{
	set_up(4);
	gmm_vm_t a = create(2, 0, 0);
	page_id_t shared = share_one();
	EXPECT(alloc(a, 2) == Q_OK);
	EXPECT(get(a, shared) == Q_LIMIT);
	EXPECT(replace(a, ids[0], shared) == Q_OK);
	EXPECT(replace(a, ids[1], shared) == Q_OK);
	EXPECT(vm_stats(a).allocated[GMM_BASE] == 2 && vm_stats(a).shared_pages == 2);
	EXPECT(stats_now().private_pages == 0 && stats_now().pages_saved == 1);
}

/* Unknown ids, and pages that are free, another VM's or of the other kind, change nothing. */
TEST(gmm_share, wrong_ids_change_nothing)
{
	set_up(4);
	gmm_vm_t a = create(P, 0, 0), b = create(P, 0, 0);
	EXPECT(alloc(a, 2) == Q_OK && free_some(a, &ids[1], 1) == Q_OK);
	page_id_t mine = ids[0], freed = ids[1], foreign = alloc_one(b).id;
	page_id_t shared = share_one();
	page_id_t free_shared = { shared.raw ^ 1 };
	page_id_t unknown = { GMM_PAGE_ID_LAST };
	struct gmm_stats before = stats_now();

	const page_id_t bad_private[] = { unknown, PAGE_ID_NIL, freed, foreign, shared };
	const q_status_t status_private[] = { Q_NOT_FOUND, Q_NOT_FOUND, Q_STATE, Q_NOT_OWNER,
					      Q_STATE };
	for (unsigned i = 0; i < ARRAY_COUNT(bad_private); i++)
		EXPECT(replace(a, bad_private[i], shared) == status_private[i]);

	const page_id_t bad_shared[] = { unknown, PAGE_ID_NIL, mine, free_shared };
	const q_status_t status_shared[] = { Q_NOT_FOUND, Q_NOT_FOUND, Q_STATE, Q_STATE };
	for (unsigned i = 0; i < ARRAY_COUNT(bad_shared); i++) {
		EXPECT(replace(a, mine, bad_shared[i]) == status_shared[i]);
		EXPECT(get(a, bad_shared[i]) == status_shared[i]);
		EXPECT(get(GMM_VM_QUIRE, bad_shared[i]) == status_shared[i]);
		EXPECT(put(a, bad_shared[i]) == status_shared[i]);
	}
	/* No VM has a reference. */
	EXPECT(put(a, shared) == Q_NOT_OWNER);
	/* Functions for private pages refuse a shared one. */
	EXPECT(free_some(a, &shared, 1) == Q_STATE);
	EXPECT(gmm_page_set_gfn(a, shared, gfn(0)) == Q_STATE);
	EXPECT(stats_are(&before));

	/* B has none, though the page has one. */
	EXPECT(get(a, shared) == Q_OK);
	EXPECT(put(b, shared) == Q_NOT_OWNER);
	/* A has one, but not to this page. */
	page_id_t other = share_one();
	EXPECT(put(a, other) == Q_NOT_OWNER);
	EXPECT(put(GMM_VM_QUIRE, shared) == Q_OK);
	EXPECT(put(GMM_VM_QUIRE, shared) == Q_NOT_OWNER);
}

TEST(gmm_share, put_stops_at_the_first_error)
{
	unsigned done = 0;

	set_up(4);
	gmm_vm_t a = create(P, 0, 0);
	page_id_t some[4];
	for (unsigned i = 0; i < 4; i++) {
		some[i] = share_one();
		EXPECT(get(a, some[i]) == Q_OK);
	}
	some[2] = PAGE_ID_NIL;
	EXPECT(gmm_shared_put(a, some, 4, &done) == Q_NOT_FOUND && done == 2);
	gmm_check();
	EXPECT(vm_stats(a).shared_pages == 2);
	EXPECT(gmm_shared_put(a, some + 3, 1, &done) == Q_OK && done == 1);
}

/* The counters of the word at their limits. */
TEST(gmm_share, counters_do_not_wrap)
{
	set_up(4);
	gmm_vm_t a = create(P, 0, 0);
	struct gmm_page mine = alloc_one(a);
	page_id_t shared = share_one();
	for (unsigned i = 1; i < GMM_WORD_HOLD_MAX; i++)
		EXPECT(get(GMM_VM_QUIRE, shared) == Q_OK);
	EXPECT(get(GMM_VM_QUIRE, shared) == Q_LIMIT);
	for (unsigned i = 1; i < GMM_WORD_HOLD_MAX; i++)
		EXPECT(put(GMM_VM_QUIRE, shared) == Q_OK);

	/* No machine has that many guest pages, so the word is written here. */
	struct gmm_chunk *chunk = gmm_chunk_at(hfn_to_hpa(gmm_page_frame(shared)));
	chunk->words[gmm_page_index(shared)] = gmm_word_shared(GMM_WORD_REFERENCE_MAX, 1);
	EXPECT(gmm_shared_get(a, shared) == Q_LIMIT);
	EXPECT(gmm_shared_replace(a, mine.id, shared) == Q_LIMIT);
	EXPECT(info_of(mine.id).kind == GMM_PAGE_PRIVATE);
	EXPECT(info_of(shared).references == GMM_WORD_REFERENCE_MAX + 1ull);
	chunk->words[gmm_page_index(shared)] = gmm_word_shared(0, 1);
	gmm_check();
}

/* --- chunks --------------------------------------------------------------------- */

/* The fullest chunk is filled first, and a chunk goes back with its last page. */
TEST(gmm_share, chunks_fill_up_and_go_back)
{
	static page_id_t shared[3 * P];

	set_up(4);
	for (unsigned i = 0; i < 3 * P; i++) {
		struct gmm_page page;
		EXPECT(gmm_shared_alloc(&page) == Q_OK);
		shared[i] = page.id;
	}
	gmm_check();
	EXPECT(stats_now().chunk_count == 3 && stats_now().shared_pages == 3 * P);
	/* Holes: one in the first chunk, many in the second. */
	EXPECT(put(GMM_VM_QUIRE, shared[0]) == Q_OK);
	unsigned done;
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &shared[P], P / 2, &done) == Q_OK);
	EXPECT(chunk_id(share_one()) == chunk_id(shared[1]));
	EXPECT(chunk_id(share_one()) == chunk_id(shared[P + P / 2]));
	EXPECT(stats_now().chunk_count == 3);
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &shared[2 * P], P, &done) == Q_OK);
	gmm_check();
	EXPECT(stats_now().chunk_count == 2);
}

/* Free pages of SHARED chunks are not available to VMs. */
TEST(gmm_share, free_shared_pages_are_not_available)
{
	set_up(2);
	gmm_vm_t a = create(4 * P, 0, 0);
	page_id_t shared = share_one();
	EXPECT(gmm_pages_available(a, 4 * P) == P);
	EXPECT(alloc(a, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(a, P) == Q_OK);
	EXPECT(put(GMM_VM_QUIRE, shared) == Q_OK);
	EXPECT(gmm_pages_available(a, 4 * P) == P);
}

/* A chunk becomes SHARED only if all claims fit without it: both sides of the edge. */
TEST(gmm_share, claims_come_first)
{
	struct gmm_page page;

	set_up(3);
	gmm_vm_t a = create(3 * P, 2 * P + 1, 0);
	EXPECT(gmm_shared_alloc(&page) == Q_NO_MEMORY);
	gmm_vm_destroy(a);
	a = create(3 * P, 2 * P, 0);
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	EXPECT(alloc(a, 2 * P) == Q_OK);
	/* All chunks are in use; the second page fits the first's chunk. */
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
}

/* Beyond its guarantee no VM gets what is kept for sharing; guarantees are met all the same. */
TEST(gmm_share, a_chunk_can_be_kept_for_sharing)
{
	struct gmm_page page;

	set_up(4);
	gmm_vm_t a = create(4 * P, 0, 0), b = create(4 * P, P, 0);
	gmm_shared_keep(P);
	EXPECT(gmm_pages_available(a, 4 * P) == 2 * P);
	EXPECT(alloc(a, 2 * P + 1) == Q_NO_MEMORY && alloc(a, 2 * P) == Q_OK);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY && gmm_pages_available(b, 4 * P) == P);
	EXPECT(alloc(b, P) == Q_OK && alloc(b, 1) == Q_NO_MEMORY);
	/* So merging can begin. Until it gives something back, nothing changes for VMs. */
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	EXPECT(put(GMM_VM_QUIRE, page.id) == Q_OK);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	gmm_shared_keep(0);
	EXPECT(alloc(a, P) == Q_OK && gmm_shared_alloc(&page) == Q_NO_MEMORY);
}

/* A new guarantee takes from what is kept; the two do not add up. */
TEST(gmm_share, a_guarantee_takes_what_is_kept)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK);
	gmm_shared_keep(P);
	gmm_vm_t b = create(P, P / 2, 0);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY && gmm_pages_available(b, P) == P / 2);
	EXPECT(alloc(b, P / 2) == Q_OK && alloc(b, 1) == Q_NO_MEMORY);
	gmm_shared_keep(P / 2 - 1);
	EXPECT(alloc(b, 1) == Q_OK && alloc(b, 1) == Q_NO_MEMORY);
	gmm_shared_keep(0);
}

/* Single free pages are not enough; a wholly free chunk that GMM keeps is. */
TEST(gmm_share, needs_a_whole_chunk)
{
	struct gmm_page page;

	set_up(3);
	gmm_vm_t a = create(3 * P, 0, 0);
	EXPECT(alloc(a, 3 * P) == Q_OK);
	EXPECT(free_some(a, &ids[1], P - 1) == Q_OK);
	EXPECT(free_some(a, &ids[P + 1], P - 1) == Q_OK);
	EXPECT(gmm_shared_alloc(&page) == Q_NO_MEMORY);
	gmm_check();
	/* GMM keeps this chunk for VMs. */
	EXPECT(free_some(a, &ids[0], 1) == Q_OK);
	EXPECT(stats_now().chunks_free == 0);
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_check();
}

TEST(gmm_share, takes_what_kernel_memory_can_spare)
{
	static hpa_t kernel[P + 1];

	set_up(2);
	for (unsigned i = 0; i <= P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	/* A KERNEL chunk is wholly free now, and kept for a while. */
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[P]);
	EXPECT(stats_now().chunks_free == 0);
	share_one();
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[P]) == Q_NO_MEMORY);
}

/* --- guarantees ------------------------------------------------------------------- */

/* A VM inside its guarantee gets a page of its own for each that it shares. */
TEST(gmm_share, sharing_inside_the_guarantee_can_be_broken)
{
	set_up(4);
	gmm_vm_t a = create(P, P, 0), hog = create(4 * P, 0, 0);
	EXPECT(alloc(a, P / 2) == Q_OK);
	page_id_t shared = share_one();
	for (unsigned i = 0; i < P / 2; i++)
		EXPECT(gmm_shared_replace(a, ids[i], shared) == Q_OK);
	gmm_check();
	EXPECT(stats_now().claimed_pages == P);
	/* Whatever another VM takes: here all it can get. */
	EXPECT(alloc(hog, (unsigned)gmm_pages_available(hog, 4 * P)) == Q_OK);
	EXPECT(alloc(hog, 1) == Q_NO_MEMORY);
	for (unsigned i = 0; i < P / 2; i++) {
		EXPECT(gmm_pages_alloc(a, pages, 1) == Q_OK);
		EXPECT(put(a, shared) == Q_OK);
	}
	EXPECT(vm_stats(a).private_pages == P / 2 && vm_stats(a).shared_pages == 0);
}

/* Other VMs can get what sharing frees beyond guarantees. */
TEST(gmm_share, merged_pages_are_there_for_others)
{
	set_up(2);
	gmm_vm_t a = create(P, 0, 0), b = create(P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK);
	page_id_t shared = share_one();
	EXPECT(gmm_pages_available(b, P) == 0);
	for (unsigned i = 0; i < P; i++)
		EXPECT(gmm_shared_replace(a, ids[i], shared) == Q_OK);
	gmm_check();
	EXPECT(gmm_pages_available(b, P) == P);
	EXPECT(alloc(b, P) == Q_OK);
}

/* A promise cannot shrink below the VM's references. */
TEST(gmm_share, references_count_against_a_smaller_promise)
{
	set_up(4);
	gmm_vm_t a = create(4, 0, 0);
	page_id_t shared = share_one();
	EXPECT(get(a, shared) == Q_OK && get(a, shared) == Q_OK);
	struct gmm_vm_config config = config_of(1, 0, 0);
	EXPECT(gmm_vm_resize(a, &config) == Q_STATE);
	config = config_of(2, 0, 0);
	EXPECT(gmm_vm_resize(a, &config) == Q_OK);
	gmm_check();
}
