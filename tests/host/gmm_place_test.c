/* SPDX-License-Identifier: MIT */
/* Whole chunks for a VM, and better places for pages. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

static q_status_t chunk_alloc(gmm_vm_t vm, uint64_t first, struct gmm_page *out_first)
{
	q_status_t status = gmm_chunk_alloc(vm, gfn(first), out_first);
	gmm_check();
	return status;
}

static q_status_t move(gmm_vm_t vm, page_id_t from, struct gmm_page *out_page)
{
	q_status_t status = gmm_page_move_alloc(vm, from, out_page);
	gmm_check();
	return status;
}

/* --- whole chunks ------------------------------------------------------------------ */

TEST(gmm_place, chunk_is_consecutive)
{
	struct gmm_page first;
	struct gmm_page_info info;

	set_up(3);
	gmm_vm_t a = create(3 * P, 0, 0);
	EXPECT(alloc(a, 1) == Q_OK);
	EXPECT(chunk_alloc(a, 7 * P, &first) == Q_OK);
	EXPECT(is_aligned(hfn_to_hpa(first.frame).raw, GMM_CHUNK_SIZE) && !first.is_zeroed);
	for (unsigned i = 0; i < P; i++) {
		page_id_t id = { first.id.raw + i };
		EXPECT(gmm_page_info(id, &info) == Q_OK);
		EXPECT(info.kind == GMM_PAGE_PRIVATE && info.owner == a);
		EXPECT(info.gfn.raw == 7 * P + i);
		EXPECT(gmm_page_frame(id).raw == first.frame.raw + i);
		ids[i] = id;
	}
	EXPECT(stats_now().private_pages == P + 1);
	/* They are pages like any others. */
	EXPECT(free_some(a, ids, 5) == Q_OK);
	EXPECT(gmm_page_set_gfn(a, ids[5], gfn(3)) == Q_OK);
	EXPECT(free_some(a, ids + 5, P - 5) == Q_OK);
	EXPECT(stats_now().private_pages == 1);
}

TEST(gmm_place, chunk_errors)
{
	struct gmm_page first;
	uint64_t last = (GMM_GFN_LAST + 1) / P * P - P;

	set_up(4);
	gmm_vm_t a = create(P + P / 2, 0, 0), b = create(4 * P, P + 1, 0);
	EXPECT(chunk_alloc(a, 1, &first) == Q_RANGE);
	EXPECT(chunk_alloc(a, P / 2, &first) == Q_RANGE);
	EXPECT(chunk_alloc(a, last + P, &first) == Q_RANGE);
	EXPECT(chunk_alloc(a, ~0ull - (P - 1), &first) == Q_RANGE);
	EXPECT(chunk_alloc(a, last, &first) == Q_OK);
	EXPECT(chunk_alloc(a, 0, &first) == Q_LIMIT);
	gmm_vm_destroy(a);
	a = create(4 * P, 0, 0);
	EXPECT(chunk_alloc(a, 0, &first) == Q_OK && chunk_alloc(a, P, &first) == Q_OK);
	/* B claims more than a chunk of what is left. */
	EXPECT(chunk_alloc(a, 2 * P, &first) == Q_NO_MEMORY);
	EXPECT(alloc(b, 1) == Q_OK);
	EXPECT(chunk_alloc(a, 2 * P, &first) == Q_NO_MEMORY);
	gmm_vm_destroy(b);
	EXPECT(chunk_alloc(a, 2 * P, &first) == Q_OK);
	EXPECT(chunk_alloc(a, 3 * P, &first) == Q_OK);
	EXPECT(stats_now().free_pages == 0 && stats_now().chunks_free == 0);
}

/* Enough pages are free, but no chunk is wholly free. */
TEST(gmm_place, chunk_must_be_wholly_free)
{
	struct gmm_page first;

	set_up(2);
	gmm_vm_t a = create(3 * P, 0, 0);
	EXPECT(alloc(a, 2 * P) == Q_OK);
	EXPECT(free_some(a, &ids[1], P - 1) == Q_OK);
	EXPECT(free_some(a, &ids[P + 1], P - 1) == Q_OK);
	struct gmm_stats before = stats_now();
	EXPECT(chunk_alloc(a, 0, &first) == Q_NO_MEMORY);
	EXPECT(stats_are(&before));
	EXPECT(free_some(a, &ids[0], 1) == Q_OK);
	EXPECT(chunk_alloc(a, 0, &first) == Q_OK);
}

/* is_zeroed is true only if all pages of the chunk are zero. */
TEST(gmm_place, zeroed_chunk_is_all_zero)
{
	struct gmm_page first;

	set_up(1);
	gmm_vm_t a = create(P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK && free_some(a, ids, P) == Q_OK);
	EXPECT(gmm_zero_ahead(P - 1) == P - 1);
	EXPECT(chunk_alloc(a, 0, &first) == Q_OK && !first.is_zeroed);
	EXPECT(alloc(a, 1) == Q_LIMIT);
	for (unsigned i = 0; i < P; i++)
		ids[i] = (page_id_t){ first.id.raw + i };
	EXPECT(free_some(a, ids, P) == Q_OK);
	EXPECT(gmm_zero_ahead(P) == P);
	gmm_check();
	EXPECT(chunk_alloc(a, 0, &first) == Q_OK && first.is_zeroed);
	for (unsigned i = 0; i < P; i++)
		EXPECT(gmm_page_is_zero((page_id_t){ first.id.raw + i }));
}

/* A chunk's pages count down what is set aside, like any others. */
TEST(gmm_place, chunk_comes_from_what_is_set_aside)
{
	struct gmm_page first;
	struct gmm_vm_stats stats;

	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0);
	EXPECT(gmm_set_aside(a, P + 3) == Q_OK);
	EXPECT(chunk_alloc(a, 0, &first) == Q_OK);
	gmm_vm_stats(a, &stats);
	EXPECT(stats.set_aside_pages == 3);
}

/* --- better places --------------------------------------------------------------------- */

/* Two sparse chunks of one VM become one. */
TEST(gmm_place, pages_move_until_a_chunk_is_free)
{
	struct gmm_page to;

	set_up(4);
	gmm_vm_t a = create(3 * P, 0, 0);
	EXPECT(alloc(a, 2 * P) == Q_OK);
	/* Leaves 30 in the first chunk, 20 in the second. */
	EXPECT(free_some(a, &ids[30], P - 30) == Q_OK);
	EXPECT(free_some(a, &ids[P + 20], P - 20) == Q_OK);
	EXPECT(move(a, ids[0], &to) == Q_NOT_FOUND);
	for (unsigned i = 0; i < 20; i++) {
		EXPECT(move(a, ids[P + i], &to) == Q_OK);
		EXPECT(chunk_id(to.id) == chunk_id(ids[0]));
		EXPECT(free_some(a, &ids[P + i], 1) == Q_OK);
	}
	EXPECT(move(a, to.id, &to) == Q_NOT_FOUND);
	struct gmm_vm_stats stats;
	gmm_vm_stats(a, &stats);
	EXPECT(stats.private_pages == 50 && stats.allocated[GMM_BASE] == 50);
	EXPECT(gmm.private_sets[GMM_VM_QUIRE].whole_count == 1);
}

/* Of two chunks that are equally full, one and only one is better than the other. */
TEST(gmm_place, equal_chunks_do_not_exchange_pages)
{
	struct gmm_page to;

	set_up(4);
	gmm_vm_t a = create(3 * P, 0, 0);
	EXPECT(alloc(a, 2 * P) == Q_OK);
	EXPECT(free_some(a, &ids[20], P - 20) == Q_OK);
	EXPECT(free_some(a, &ids[P + 20], P - 20) == Q_OK);
	q_status_t status[2];
	for (unsigned i = 0; i < 2; i++) {
		status[i] = move(a, ids[i * P], &to);
		EXPECT(status[i] != Q_OK || chunk_id(to.id) == chunk_id(ids[(1 - i) * P]));
		EXPECT(status[i] != Q_OK || free_some(a, &to.id, 1) == Q_OK);
	}
	EXPECT((status[0] == Q_OK && status[1] == Q_NOT_FOUND) ||
	       (status[0] == Q_NOT_FOUND && status[1] == Q_OK));
}

/* A page in another VM's chunk moves to a fuller one of its own, and the mixture ends. */
TEST(gmm_place, mixtures_end)
{
	struct gmm_page to;

	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P - 1) == Q_OK);
	page_id_t own = ids[0];
	EXPECT(alloc(b, P) == Q_OK);
	page_id_t kept = ids[0];
	EXPECT(free_some(b, ids + 1, P - 1) == Q_OK);
	EXPECT(alloc(a, 2) == Q_OK);
	page_id_t foreign = ids[1];
	EXPECT(chunk_id(ids[0]) == chunk_id(own) && chunk_id(foreign) == chunk_id(kept));
	EXPECT(stats_now().mixed_chunks == 1);
	EXPECT(move(a, foreign, &to) == Q_NOT_FOUND);
	EXPECT(free_some(a, &own, 1) == Q_OK);
	EXPECT(move(a, foreign, &to) == Q_OK && chunk_id(to.id) == chunk_id(own));
	EXPECT(free_some(a, &foreign, 1) == Q_OK);
	EXPECT(stats_now().mixed_chunks == 0);
}

/* If no own chunk is better, a page moves to another VM's, and stays while that one is fuller. */
TEST(gmm_place, pages_of_all_vms_move_together)
{
	struct gmm_page to;

	set_up(4);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK && free_some(a, ids + 10, P - 10) == Q_OK);
	page_id_t from = ids[0];
	EXPECT(alloc(b, P) == Q_OK && free_some(b, ids + 20, P - 20) == Q_OK);
	page_id_t there = ids[0];
	EXPECT(move(b, there, &to) == Q_NOT_FOUND);
	EXPECT(move(a, from, &to) == Q_OK && chunk_id(to.id) == chunk_id(there));
	EXPECT(free_some(a, &from, 1) == Q_OK && stats_now().mixed_chunks == 1);
	EXPECT(move(a, to.id, &to) == Q_NOT_FOUND);
	gmm_vm_destroy(b);
	gmm_check();
	EXPECT(move(a, to.id, &to) == Q_OK && chunk_id(to.id) == chunk_id(from));
}

/* A page moves to a fuller chunk of its own VM, even if another VM's is fuller still. */
TEST(gmm_place, own_chunks_are_looked_at_first)
{
	struct gmm_page to;

	set_up(4);
	gmm_vm_t a = create(3 * P, 0, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(b, P - 1) == Q_OK && alloc(a, 2 * P) == Q_OK);
	page_id_t own = ids[0], from = ids[P];
	EXPECT(free_some(a, ids + 1, 5) == Q_OK && free_some(a, ids + P + 1, 9) == Q_OK);
	EXPECT(move(a, from, &to) == Q_OK && chunk_id(to.id) == chunk_id(own));
}

/* A VM waits, and only what is kept for sharing is left. A move gives back what it takes. */
TEST(gmm_place, a_move_needs_no_turn)
{
	struct gmm_page to;

	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(a, 2 * P) == Q_OK && free_some(a, ids + 1, 1) == Q_OK);
	gmm_shared_keep(P);
	gmm_wait_begin(b);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY && alloc(b, 1) == Q_NO_MEMORY);
	page_id_t hole = ids[1], from = ids[P];
	EXPECT(free_some(a, ids + P + 1, 2) == Q_OK);
	EXPECT(move(a, from, &to) == Q_OK && to.id.raw == hole.raw);
	gmm_wait_end(b);
	gmm_shared_keep(0);
}

TEST(gmm_place, move_errors)
{
	struct gmm_page to;

	set_up(3);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(3 * P, 0, 0);
	EXPECT(alloc(a, 2 * P) == Q_OK);
	page_id_t freed = ids[2];
	page_id_t from = ids[P];
	EXPECT(free_some(a, &freed, 1) == Q_OK);
	EXPECT(move(a, PAGE_ID_NIL, &to) == Q_NOT_FOUND);
	EXPECT(move(a, freed, &to) == Q_STATE);
	EXPECT(move(b, from, &to) == Q_NOT_OWNER);
	/* Its chunk is fuller already: the free page is in the other one. */
	EXPECT(move(a, from, &to) == Q_NOT_FOUND);
	EXPECT(free_some(a, &ids[P + 1], 2) == Q_OK);
	EXPECT(gmm_balloon_inflate(a, 3) == Q_OK);
	EXPECT(move(a, from, &to) == Q_LIMIT);
	EXPECT(gmm_balloon_deflate(a, 3) == Q_OK);
	EXPECT(gmm_set_aside(b, P + 3) == Q_OK);
	EXPECT(move(a, from, &to) == Q_NO_MEMORY);
	gmm_set_aside_end(b);
	EXPECT(move(a, from, &to) == Q_OK);
	EXPECT(to.id.raw == freed.raw);
}

TEST(gmm_place, the_emptiest_chunk_is_the_source_if_the_rest_has_room)
{
	page_id_t first;

	set_up(4);
	gmm_vm_t a = create(4 * P, 0, 0), b = create(P, 0, 0);
	EXPECT(!gmm_move_source(0, &first));
	EXPECT(alloc(a, 3 * P) == Q_OK);
	page_id_t chunks[3] = { ids[0], ids[P], ids[2 * P] };
	EXPECT(free_some(a, ids + P, P / 4) == Q_OK);
	EXPECT(free_some(a, ids + 2 * P, P / 4) == Q_OK);
	EXPECT(alloc(b, P) == Q_OK && free_some(b, ids, P / 2 - 1) == Q_OK);
	page_id_t last = ids[P - 1];
	/* One free page is missing. */
	EXPECT(!gmm_move_source(0, &first));
	EXPECT(free_some(b, &last, 1) == Q_OK);
	/* B's chunk has half in use, A's second and third three quarters; the first is full. */
	EXPECT(gmm_move_source(0, &first) && chunk_id(first) == chunk_id(last));
	EXPECT((first.raw & (P - 1)) == 0);
	for (unsigned rank = 1; rank < 3; rank++)
		EXPECT(gmm_move_source(rank, &first) && (chunk_id(first) == chunk_id(chunks[1]) ||
							 chunk_id(first) == chunk_id(chunks[2])));
	EXPECT(!gmm_move_source(3, &first));
	gmm_check();
}

/* A BOUND chunk is never emptied, nor filled with other VMs' pages. */
TEST(gmm_place, bound_chunks_are_no_source_and_no_place)
{
	struct gmm_page to;
	page_id_t first;

	set_up(4);
	struct gmm_vm_config config = config_of(P, P, 0);
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.is_bound = true;
	gmm_vm_t bound, a = create(2 * P, 0, 0);
	EXPECT(gmm_vm_create(&config, &bound) == Q_OK && alloc(bound, P - 1) == Q_OK);
	EXPECT(alloc(a, 1) == Q_OK);
	page_id_t only = ids[0];
	EXPECT(move(a, only, &to) == Q_NOT_FOUND);
	EXPECT(!gmm_move_source(0, &first));
	EXPECT(alloc(a, P) == Q_OK && free_some(a, ids, P - 1) == Q_OK);
	EXPECT(gmm_move_source(0, &first) && gmm_move_source(1, &first));
	EXPECT(!gmm_move_source(2, &first));
}
