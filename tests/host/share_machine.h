/* SPDX-License-Identifier: MIT */
/* A working set beside a GMM over fake RAM, two VMs, and short words for what its tests do. */
#ifndef TESTS_HOST_SHARE_MACHINE_H
#define TESTS_HOST_SHARE_MACHINE_H

#include <stdlib.h>
#include <string.h>

#include <quire/bits.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "mm/share/share_internal.h"

#include "seam/seam.h"
#include "test.h"

#define MACHINE_BYTES (64ull << 20)
#define SIZE_BYTES    (16ull * PAGE_SIZE)
#define GROUP         7u

static void *metadata, *memory;
static gmm_vm_t one, two;

static inline gmm_vm_t vm_create(void)
{
	struct gmm_vm_config config = { .pages = { 8192, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	gmm_vm_t vm;

	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	return vm;
}

static inline void set_up_with(uint64_t size_bytes, uint64_t key_mask)
{
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	struct share_config config = { .size_bytes = size_bytes, .key_mask = key_mask };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_ram_create(MACHINE_BYTES);
	free(metadata);
	free(memory);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
	memory = aligned_alloc(PAGE_SIZE, size_bytes);
	memset(memory, 0, size_bytes);
	share_init(&config, memory);
	share_pass_begin();
	one = vm_create();
	two = vm_create();
}

static inline void set_up(void)
{
	set_up_with(SIZE_BYTES, ~0ull);
}

/* Makes a page of a VM: each byte is `byte`, except for the word at `offset`. */
static inline struct share_page page_of(gmm_vm_t vm, uint64_t frame, uint8_t byte, unsigned offset,
					uint64_t word)
{
	struct gmm_page page;

	EXPECT(gmm_pages_alloc(vm, &page, 1) == Q_OK);
	uint8_t *bytes = gmm_page_map(page.id);
	memset(bytes, byte, PAGE_SIZE);
	memcpy(bytes + offset, &word, sizeof(word));
	return (struct share_page){
		.vm = vm, .group = GROUP, .gfn = gfn(frame), .id = page.id, .is_settled = true
	};
}

static inline struct share_page plain_page(gmm_vm_t vm, uint64_t frame, uint64_t word)
{
	return page_of(vm, frame, 0x11, 0, word);
}

static inline enum share_advice look(const struct share_page *page)
{
	struct share_match match = share_look(page);

	share_check();
	return match.advice;
}

static inline struct share_stats stats(void)
{
	struct share_stats figures;

	share_stats(&figures);
	return figures;
}

/* Does what the scanner does with a pair: makes a shared page, to which both refer. */
static inline page_id_t merge(const struct share_match *match, const struct share_page *a,
			      const struct share_page *b)
{
	struct gmm_page page;

	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	gmm_page_copy(page.id, a->id);
	EXPECT(gmm_shared_replace(a->vm, a->id, page.id) == Q_OK);
	EXPECT(gmm_shared_replace(b->vm, b->id, page.id) == Q_OK);
	share_merged(a);
	share_merged(b);
	share_add(match, page.id);
	share_check();
	return page.id;
}

#endif
