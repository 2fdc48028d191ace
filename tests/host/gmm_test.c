/* SPDX-License-Identifier: MIT */
/* GMM as a whole over fake RAM: ids, start-up, and anything in any order. */
#include <stdlib.h>
#include <string.h>

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

/* Id 1 is still in use when the ids have gone round. */
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

/* --- anything in any order -------------------------------------------------------------------------------- */

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)(random_state >> 8) * limit >> 24);
}

#define MODEL_VMS    4u
#define MODEL_CHUNKS 6u

/* What each VM has, recorded independently of GMM's books. */
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
	EXPECT(stats_now().chunk_count == 0 && stats_now().claimed_pages == 0);
}
