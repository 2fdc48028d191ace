/* SPDX-License-Identifier: MIT */
/*
 * Each present mapping of Quire's page tables is looked at from two sides: its address and rights
 * say what it claims to be (paging_rules.h), and GMM says to what memory it leads. The table says
 * which go together:
 *
 *   image, boot data, modules, device registers   memory that GMM does not manage
 *   kernel memory, stacks                         KERNEL chunks
 *   windows                                       chunks of any kind
 *
 * So a frame of a PRIVATE, BOUND or SHARED chunk appears in windows only. A window may be left from
 * a chunk that has become something else since, see gmm_map.c.
 */
#include "address_space.h"

#include <quire/assert.h>
#include <quire/bits.h>

#include "arch/x86_64/paging.h"
#include "mm/gmm/gmm.h"

#define NONE    BIT32(GMM_MEMORY_NONE)
#define KERNEL  BIT32(GMM_MEMORY_KERNEL)
#define MANAGED (BIT32(GMM_MEMORY_FREE) | BIT32(GMM_MEMORY_GUEST) | KERNEL)

static const uint32_t allowed[PAGING_KIND_COUNT] = {
	[PAGING_IMAGE] = NONE,    [PAGING_BOOT_DATA] = NONE, [PAGING_MODULE] = NONE,
	[PAGING_KERNEL] = KERNEL, [PAGING_WINDOW] = MANAGED, [PAGING_STACK] = KERNEL,
	[PAGING_DEVICE] = NONE,
};

bool address_space_allows(enum paging_kind kind, hpa_t start, uint64_t size_bytes)
{
	bool is_window = kind == PAGING_WINDOW;
	bool has_chunk = false;

	/* A chunk is never smaller than this step, and a page never crosses one. */
	for (uint64_t offset = 0; offset < size_bytes; offset += GMM_CHUNK_SIZE) {
		uint32_t memory = BIT32(gmm_memory_at(hpa_add(start, offset)));
		has_chunk |= (memory & MANAGED) != 0;
		/* A window has 2 MiB: a smaller chunk is half of it, the rest may be anything. */
		if (!is_window && !(allowed[kind] & memory))
			return false;
	}
	return !is_window || has_chunk;
}

void address_space_check(void)
{
	struct paging_leaf leaf = { .virt = 0 };
	uint64_t from = 0;

	for (; paging_leaf_next(from, &leaf); from = leaf.virt + leaf.size_bytes) {
		enum paging_kind kind = paging_leaf_kind(&leaf);
		Q_ASSERT(kind != PAGING_FORBIDDEN);
		Q_ASSERT(address_space_allows(kind, leaf.start, leaf.size_bytes));
		/* The last page of the address space. */
		if (leaf.virt + leaf.size_bytes == 0)
			return;
	}
}
