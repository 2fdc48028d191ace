/* SPDX-License-Identifier: MIT */
/* The mapping cache, and contents reached through it. */
#include <quire/physmem.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

#define MANY_CHUNKS (PHYSMEM_WINDOW_COUNT + 6)

/* Allocates MANY_CHUNKS chunks, with chunk ids 1, 2, ...; ids[i * P] is a chunk's first page. */
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
	/* This makes them the last used ones again, so they stay when all others go. */
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

/* A window of a chunk that went back must not be used for another chunk that got its id. */
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
