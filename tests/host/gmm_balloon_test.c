/* SPDX-License-Identifier: MIT */
/* The balloon's books, and pages that are set aside. */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

static q_status_t inflate(gmm_vm_t vm, uint64_t count)
{
	q_status_t status = gmm_balloon_inflate(vm, count);
	gmm_check();
	return status;
}

static q_status_t deflate(gmm_vm_t vm, uint64_t count)
{
	q_status_t status = gmm_balloon_deflate(vm, count);
	gmm_check();
	return status;
}

static q_status_t set_aside(gmm_vm_t vm, uint64_t count)
{
	q_status_t status = gmm_set_aside(vm, count);
	gmm_check();
	return status;
}

static struct gmm_vm_stats vm_stats(gmm_vm_t vm)
{
	struct gmm_vm_stats stats;
	gmm_vm_stats(vm, &stats);
	return stats;
}

/* --- balloon ------------------------------------------------------------------------- */

TEST(gmm_balloon, ballooned_pages_cannot_be_allocated)
{
	set_up(4);
	gmm_vm_t a = create(10, 0, 0);
	EXPECT(alloc(a, 4) == Q_OK);
	EXPECT(inflate(a, 7) == Q_LIMIT);
	EXPECT(inflate(a, ~0ull) == Q_LIMIT);
	EXPECT(inflate(a, 6) == Q_OK);
	EXPECT(inflate(a, 1) == Q_LIMIT);
	EXPECT(vm_stats(a).ballooned_pages == 6 && vm_stats(a).allocated[GMM_BASE] == 4);
	EXPECT(alloc(a, 1) == Q_LIMIT && gmm_pages_available(a, 9) == 0);
	EXPECT(deflate(a, 7) == Q_STATE);
	EXPECT(deflate(a, 2) == Q_OK);
	EXPECT(gmm_pages_available(a, 9) == 2);
	EXPECT(alloc(a, 3) == Q_LIMIT);
	EXPECT(alloc(a, 2) == Q_OK);
	EXPECT(deflate(a, 4) == Q_OK && deflate(a, 1) == Q_STATE);
	EXPECT(vm_stats(a).ballooned_pages == 0);
}

/* Ballooned pages inside the guarantee stay the VM's, so that it can always get them back. */
TEST(gmm_balloon, lowers_no_claim)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, P, 0), b = create(2 * P, 0, 0);
	EXPECT(inflate(a, P + P / 2) == Q_OK);
	EXPECT(stats_now().claimed_pages == P && stats_now().reserved_pages == P);
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(alloc(b, P) == Q_OK);
	EXPECT(deflate(a, P) == Q_OK);
	gmm_balloon_reset(a);
	gmm_check();
	EXPECT(vm_stats(a).ballooned_pages == 0 && stats_now().claimed_pages == P);
	EXPECT(alloc(a, P) == Q_OK);
}

/* Other VMs can get the pages that a VM gives up beyond its guarantee. */
TEST(gmm_balloon, frees_what_is_beyond_the_guarantee)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, P / 2, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK);
	EXPECT(alloc(b, P + 1) == Q_NO_MEMORY);
	EXPECT(free_some(a, ids, P / 2) == Q_OK && inflate(a, P / 2) == Q_OK);
	EXPECT(alloc(b, P + P / 2) == Q_OK);
	EXPECT(deflate(a, P / 2) == Q_OK);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
	gmm_check();
}

TEST(gmm_balloon, balloon_ends_with_the_vm)
{
	set_up(2);
	struct gmm_stats before = stats_now();
	gmm_vm_t a = create(P, P, 0);
	EXPECT(inflate(a, P) == Q_OK);
	gmm_vm_destroy(a);
	gmm_check();
	EXPECT(stats_are(&before));
	EXPECT(vm_stats(create(P, P, 0)).ballooned_pages == 0);
}

TEST(gmm_balloon, promise_cannot_shrink_below_the_balloon)
{
	set_up(2);
	gmm_vm_t a = create(10, 0, 0);
	EXPECT(alloc(a, 2) == Q_OK && inflate(a, 3) == Q_OK && set_aside(a, 4) == Q_OK);
	struct gmm_vm_config config = config_of(8, 0, 0);
	EXPECT(gmm_vm_resize(a, &config) == Q_STATE);
	config = config_of(9, 0, 0);
	EXPECT(gmm_vm_resize(a, &config) == Q_OK);
	gmm_check();
}

/* --- set aside ---------------------------------------------------------------------------- */

/* No other VM gets pages set aside, and each page that the VM allocates counts them down. */
TEST(gmm_set_aside, pages_up_front)
{
	set_up(2);
	gmm_vm_t a = create(4 * P, 0, 0), b = create(4 * P, 0, 0);
	EXPECT(set_aside(a, P + 5) == Q_OK);
	EXPECT(stats_now().claimed_pages == P + 5);
	EXPECT(alloc(b, P - 4) == Q_NO_MEMORY);
	EXPECT(alloc(b, P - 5) == Q_OK);
	for (unsigned left = P + 5; left > 0; left--) {
		EXPECT(vm_stats(a).set_aside_pages == left);
		EXPECT(gmm_pages_alloc(a, pages, 1) == Q_OK);
	}
	gmm_check();
	EXPECT(vm_stats(a).set_aside_pages == 0 && stats_now().claimed_pages == 0);
	EXPECT(alloc(a, 1) == Q_NO_MEMORY);
}

TEST(gmm_set_aside, refused_as_a_whole)
{
	set_up(2);
	gmm_vm_t a = create(3 * P, 0, 0), b = create(2 * P, P, 0);
	EXPECT(alloc(a, 1) == Q_OK);
	struct gmm_stats before = stats_now();
	EXPECT(set_aside(a, P) == Q_NO_MEMORY);
	EXPECT(set_aside(a, 3 * P) == Q_LIMIT);
	EXPECT(set_aside(a, ~0ull) == Q_LIMIT);
	EXPECT(stats_are(&before) && vm_stats(a).set_aside_pages == 0);
	EXPECT(set_aside(a, P - 1) == Q_OK);
	EXPECT(vm_stats(b).set_aside_pages == 0);
	/* A promise without end: no sum may overflow. */
	gmm_vm_t c = create(~0ull, 0, 0);
	EXPECT(set_aside(c, ~0ull) == Q_NO_MEMORY);
	EXPECT(set_aside(c, 1) == Q_NO_MEMORY);
}

/* The guarantee covers what is set aside inside it: the claim is the larger of the two. */
TEST(gmm_set_aside, guarantee_and_set_aside_overlap)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, P, 0);
	EXPECT(set_aside(a, P / 2) == Q_OK);
	EXPECT(stats_now().claimed_pages == P);
	EXPECT(set_aside(a, P + 1) == Q_OK);
	EXPECT(stats_now().claimed_pages == P + 1);
	gmm_set_aside_end(a);
	gmm_check();
	EXPECT(stats_now().claimed_pages == P && vm_stats(a).set_aside_pages == 0);
	gmm_set_aside_end(a);
	gmm_check();
}

/* Pages set aside use up the promise for everything except the private pages they are for. */
TEST(gmm_set_aside, nothing_else_may_use_the_promise)
{
	struct gmm_page page;

	set_up(4);
	gmm_vm_t a = create(10, 0, 0);
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	EXPECT(set_aside(a, 10) == Q_OK);
	EXPECT(gmm_shared_get(a, page.id) == Q_LIMIT);
	EXPECT(inflate(a, 1) == Q_LIMIT);
	EXPECT(gmm_pages_available(a, 99) == 10);
	EXPECT(alloc(a, 11) == Q_LIMIT);
	EXPECT(alloc(a, 10) == Q_OK);
}

/* More pages at once than are set aside: the rest is an allocation like any other. */
TEST(gmm_set_aside, allocation_beyond_it)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(P, P / 2, 0);
	EXPECT(set_aside(a, 5) == Q_OK);
	EXPECT(alloc(a, P + P / 2 + 1) == Q_NO_MEMORY);
	EXPECT(alloc(a, P + P / 2) == Q_OK);
	EXPECT(vm_stats(a).set_aside_pages == 0);
	EXPECT(alloc(b, P / 2) == Q_OK);
}

/* A VM that exchanges its pages keeps room for as many. */
TEST(gmm_set_aside, freed_pages_are_set_aside)
{
	set_up(2);
	gmm_vm_t a = create(2 * P, 0, 0), b = create(2 * P, 0, 0);
	EXPECT(alloc(a, P) == Q_OK && set_aside(a, 5) == Q_OK);
	EXPECT(free_some(a, ids, P) == Q_OK);
	EXPECT(vm_stats(a).set_aside_pages == P + 5);
	EXPECT(alloc(b, P - 4) == Q_NO_MEMORY);
	EXPECT(alloc(b, P - 5) == Q_OK && alloc(a, P + 5) == Q_OK);
	gmm_set_aside_end(a);
	gmm_check();
}
