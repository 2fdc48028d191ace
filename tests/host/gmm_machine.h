/* SPDX-License-Identifier: MIT */
/* A small machine with a GMM over fake RAM, and short words for what tests of GMM do. */
#ifndef TESTS_HOST_GMM_MACHINE_H
#define TESTS_HOST_GMM_MACHINE_H

#include <stdlib.h>
#include <string.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "seam/seam.h"
#include "test.h"

#define P         GMM_PAGES_PER_CHUNK
#define PAGES_MAX (80u * P)

static void *metadata;
static struct gmm_page pages[PAGES_MAX]; /* what a test allocated last */
static page_id_t ids[PAGES_MAX];

static inline void set_up_regions(const struct gmm_region *regions, unsigned count)
{
	uint64_t size = gmm_metadata_size(regions, count);

	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, size);
	memset(metadata, 0, size);
	EXPECT(gmm_init(regions, count, metadata) == Q_OK);
	gmm_check();
}

/* Makes a machine of `chunk_count` chunks. */
static inline void set_up(unsigned chunk_count)
{
	uint64_t size = (uint64_t)chunk_count << GMM_CHUNK_SHIFT;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + size) };

	fake_kernel_map_fail_at(0);
	fake_cpu_set(0);
	fake_ram_create(align_up(size, LARGE_PAGE_SIZE));
	set_up_regions(&all, 1);
}

static inline struct gmm_vm_config config_of(uint64_t base, uint64_t guaranteed, uint64_t kernel)
{
	struct gmm_vm_config config = {
		.pages = { base, kernel / 2, kernel - kernel / 2 },
		.guaranteed_base_pages = guaranteed,
		.overcommit = GMM_OVERCOMMIT_FULL,
	};
	return config;
}

static inline q_status_t try_create(uint64_t base, uint64_t guaranteed, uint64_t kernel,
				    gmm_vm_t *out_vm)
{
	struct gmm_vm_config config = config_of(base, guaranteed, kernel);
	q_status_t status = gmm_vm_create(&config, out_vm);
	gmm_check();
	return status;
}

static inline gmm_vm_t create(uint64_t base, uint64_t guaranteed, uint64_t kernel)
{
	gmm_vm_t vm = 0;
	EXPECT(try_create(base, guaranteed, kernel, &vm) == Q_OK);
	return vm;
}

static inline q_status_t alloc(gmm_vm_t vm, unsigned count)
{
	q_status_t status = gmm_pages_alloc(vm, pages, count);
	gmm_check();
	for (unsigned i = 0; status == Q_OK && i < count; i++)
		ids[i] = pages[i].id;
	return status;
}

static inline struct gmm_page alloc_one(gmm_vm_t vm)
{
	struct gmm_page page = { .is_zeroed = false };
	EXPECT(gmm_pages_alloc(vm, &page, 1) == Q_OK);
	gmm_check();
	return page;
}

static inline q_status_t free_some(gmm_vm_t vm, const page_id_t *some, unsigned count)
{
	unsigned done = 0;
	q_status_t status = gmm_pages_free(vm, some, count, &done);
	gmm_check();
	EXPECT((status == Q_OK) == (done == count));
	return status;
}

static inline struct gmm_stats stats_now(void)
{
	struct gmm_stats stats;
	gmm_stats(&stats);
	return stats;
}

static inline bool stats_are(const struct gmm_stats *expected)
{
	struct gmm_stats stats = stats_now();
	return memcmp(&stats, expected, sizeof(stats)) == 0;
}

static inline uint32_t chunk_id(page_id_t id)
{
	return id.raw >> GMM_CHUNK_ID_SHIFT;
}

#endif
