/* SPDX-License-Identifier: MIT */
/* Quire's own address space: walking its tables, the rules of each region, and GMM's records. */
#include <stdlib.h>
#include <string.h>

#include <quire/bits.h>
#include <quire/physmem.h>

#include "arch/x86_64/paging.h"
#include "arch/x86_64/paging_rules.h"
#include "mm/gmm/gmm.h"
#include "operator/address_space.h"

#include "seam/seam.h"
#include "test.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define NX     BIT64(63)

static const struct paging_bounds bounds = {
	.image_start = PAGING_IMAGE_BASE + 0x100000,
	.image_end = PAGING_IMAGE_BASE + 0x140000,
	.text_start = PAGING_IMAGE_BASE + 0x100000,
	.text_end = PAGING_IMAGE_BASE + 0x120000,
	.arena_start = { 0x200000 },
	.arena_end = { 0x280000 },
};

/* --- the rules ---------------------------------------------------------------------- */

/* A mapping that is of `kind` by every rule. */
static struct paging_leaf good(enum paging_kind kind)
{
	struct paging_leaf leaf = { .size_bytes = PAGE_SIZE, .is_writable = true };

	switch (kind) {
	case PAGING_IMAGE:
		leaf.virt = bounds.text_start;
		leaf.start = hpa(0x100000);
		leaf.is_writable = false;
		leaf.is_executable = true;
		break;
	case PAGING_BOOT_DATA:
		leaf.start = bounds.arena_start;
		leaf.virt = PAGING_KERNEL_BASE + leaf.start.raw;
		break;
	case PAGING_MODULE:
		leaf.start = hpa(0x7000000);
		leaf.virt = PAGING_KERNEL_BASE + leaf.start.raw;
		leaf.is_writable = false;
		break;
	case PAGING_KERNEL:
		leaf.start = hpa(0x8000000);
		leaf.virt = PAGING_KERNEL_BASE + leaf.start.raw;
		break;
	case PAGING_WINDOW:
		leaf.virt = PAGING_WINDOW_BASE + 3 * LARGE_PAGE_SIZE;
		leaf.start = hpa(0x9000000);
		leaf.size_bytes = LARGE_PAGE_SIZE;
		break;
	case PAGING_STACK:
		leaf.virt = PAGING_PAGES_BASE + PAGE_SIZE;
		leaf.start = hpa(0x9000000);
		break;
	case PAGING_DEVICE:
		leaf.start = hpa(0xfee00000);
		leaf.virt = PAGING_DEVICE_BASE + leaf.start.raw;
		leaf.is_uncached = true;
		break;
	case PAGING_FORBIDDEN:
	case PAGING_KIND_COUNT: break;
	}
	return leaf;
}

static bool is_forbidden(struct paging_leaf leaf)
{
	return paging_kind_of(&bounds, &leaf) == PAGING_FORBIDDEN;
}

TEST(paging, each_kind_is_known_by_its_looks)
{
	for (enum paging_kind kind = PAGING_IMAGE; kind < PAGING_KIND_COUNT; kind++) {
		struct paging_leaf leaf = good(kind);
		EXPECT(paging_kind_of(&bounds, &leaf) == kind);
	}
}

TEST(paging, one_wrong_trait_is_enough)
{
	for (enum paging_kind kind = PAGING_IMAGE; kind < PAGING_KIND_COUNT; kind++) {
		struct paging_leaf leaf = good(kind);
		leaf.is_user = true;
		EXPECT(is_forbidden(leaf));
		leaf = good(kind);
		leaf.is_writable = leaf.is_executable = true;
		EXPECT(is_forbidden(leaf));
		leaf = good(kind);
		leaf.is_uncached = !leaf.is_uncached;
		EXPECT(is_forbidden(leaf));
		/* Except in two regions, the virtual address decides the machine address. */
		leaf = good(kind);
		leaf.start.raw += PAGE_SIZE;
		EXPECT(is_forbidden(leaf) == (kind != PAGING_WINDOW && kind != PAGING_STACK));
		/* Executable data. */
		leaf = good(kind);
		leaf.is_writable = false;
		leaf.is_executable = true;
		EXPECT(is_forbidden(leaf) == (kind != PAGING_IMAGE));
	}
}

TEST(paging, regions_end_where_they_end)
{
	struct paging_leaf leaf = good(PAGING_IMAGE);
	leaf.virt = bounds.image_end;
	leaf.start = hpa(0x140000);
	EXPECT(is_forbidden(leaf));
	leaf = good(PAGING_IMAGE);
	leaf.virt = bounds.text_end; /* code outside the text */
	leaf.start = hpa(0x120000);
	EXPECT(is_forbidden(leaf));
	leaf.is_executable = false;
	EXPECT(!is_forbidden(leaf));
	leaf = good(PAGING_BOOT_DATA);
	leaf.start = hpa(bounds.arena_end.raw - PAGE_SIZE);
	leaf.virt = PAGING_KERNEL_BASE + leaf.start.raw;
	EXPECT(paging_kind_of(&bounds, &leaf) == PAGING_BOOT_DATA);
	leaf.start.raw += PAGE_SIZE;
	leaf.virt += PAGE_SIZE;
	EXPECT(paging_kind_of(&bounds, &leaf) == PAGING_KERNEL);
	leaf = good(PAGING_WINDOW);
	leaf.virt = PAGING_WINDOW_BASE + PHYSMEM_WINDOW_COUNT * LARGE_PAGE_SIZE;
	EXPECT(is_forbidden(leaf));
	leaf.virt = PAGING_WINDOW_BASE + ((uint64_t)PHYSMEM_CPU_MAX << 30);
	EXPECT(is_forbidden(leaf));
	leaf = good(PAGING_WINDOW);
	leaf.size_bytes = PAGE_SIZE;
	EXPECT(is_forbidden(leaf));
	leaf = good(PAGING_STACK);
	leaf.virt = PAGING_PAGES_BASE + PAGING_PAGES_COUNT * PAGE_SIZE;
	EXPECT(is_forbidden(leaf));
	leaf = good(PAGING_KERNEL);
	leaf.virt = leaf.start.raw; /* the identity mapping of boot */
	EXPECT(is_forbidden(leaf));
}

/* --- reading tables ----------------------------------------------------------------- */

static void machine_set_up(void)
{
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MIB(16)) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_ram_create(MIB(16));
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

static hpa_t table_make(void)
{
	hpa_t table;
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &table) == Q_OK);
	return table;
}

/* Writes an entry at `level`, and makes the tables above it. Bits are numbers of the manual. */
static void entry_put(hpa_t root, uint64_t virt, unsigned level, uint64_t value)
{
	uint64_t *entries = physmem_kernel_ptr(root);

	for (unsigned at = 4; at > level; at--) {
		uint64_t *entry = &entries[virt >> (12 + 9 * (at - 1)) & 511];
		if (!*entry)
			*entry = table_make().raw | 3;
		entries = physmem_kernel_ptr(hpa(*entry & MASK64(51, 12)));
	}
	entries[virt >> (12 + 9 * (level - 1)) & 511] = value;
}

TEST(paging, every_mapping_is_found_in_order)
{
	static const struct {
		uint64_t virt;
		unsigned level;
		uint64_t value;
		struct paging_leaf leaf;
	} maps[] = {
		{ 0, 1, 0x5003 | NX, { 0, { 0x5000 }, PAGE_SIZE, true, false, false, false } },
		{ 0x00007ffffffff000,
		  1,
		  0x6001,
		  { 0x00007ffffffff000, { 0x6000 }, PAGE_SIZE, false, true, false, false } },
		{ 0xffff800000000000,
		  2,
		  0x200083 | NX,
		  { 0xffff800000000000,
		    { 0x200000 },
		    LARGE_PAGE_SIZE,
		    true,
		    false,
		    false,
		    false } },
		{ 0xffff800000200000,
		  1,
		  0x7013 | NX,
		  { 0xffff800000200000, { 0x7000 }, PAGE_SIZE, true, false, true, false } },
		{ 0xffff8000003ff000,
		  1,
		  0x8007,
		  { 0xffff8000003ff000, { 0x8000 }, PAGE_SIZE, true, true, false, true } },
		{ 0xfffffffffffff000,
		  1,
		  0x9001,
		  { 0xfffffffffffff000, { 0x9000 }, PAGE_SIZE, false, true, false, false } },
	};
	struct paging_leaf leaf;
	uint64_t from = 0;

	machine_set_up();
	hpa_t root = table_make();
	EXPECT(!paging_tables_next(root, true, 0, &leaf));
	for (unsigned i = 0; i < ARRAY_COUNT(maps); i++)
		entry_put(root, maps[i].virt, maps[i].level, maps[i].value);
	entry_put(root, 0xffff900000000000, 1, 0xa002); /* not present, whatever else it says */
	for (unsigned i = 0; i < ARRAY_COUNT(maps); i++) {
		const struct paging_leaf *expected = &maps[i].leaf;
		EXPECT(paging_tables_next(root, true, from, &leaf));
		EXPECT(leaf.virt == expected->virt && leaf.start.raw == expected->start.raw);
		EXPECT(leaf.size_bytes == expected->size_bytes);
		EXPECT(leaf.is_writable == expected->is_writable);
		EXPECT(leaf.is_executable == expected->is_executable);
		EXPECT(leaf.is_uncached == expected->is_uncached);
		EXPECT(leaf.is_user == expected->is_user);
		from = leaf.virt + leaf.size_bytes;
		if (from == 0x0000800000000000)
			from = 0xffff800000000000;
	}
	EXPECT(from == 0);
	EXPECT(!paging_tables_next(root, true, 0xffff900000000000, &leaf) ||
	       leaf.virt == 0xfffffffffffff000);
	EXPECT(paging_tables_next(root, false, 0, &leaf) && !leaf.is_executable);
}

/* --- with GMM's records ------------------------------------------------------------- */

static bool allows(enum paging_kind kind, hpa_t start)
{
	return address_space_allows(kind, start,
				    kind == PAGING_WINDOW ? LARGE_PAGE_SIZE : PAGE_SIZE);
}

TEST(paging, guest_memory_shows_in_windows_only)
{
	struct gmm_vm_config config = { .pages = { 100, 0, 0 } };
	struct gmm_vm_config bound_config = { .pages = { 100, 0, 0 },
					      .guaranteed_base_pages = 100,
					      .overcommit = GMM_OVERCOMMIT_NONE,
					      .is_bound = true };
	struct gmm_page page, shared, own;
	gmm_vm_t vm, bound;

	machine_set_up();
	hpa_t kernel = table_make();
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	EXPECT(gmm_pages_alloc(vm, &page, 1) == Q_OK);
	EXPECT(gmm_shared_alloc(&shared) == Q_OK);
	EXPECT(gmm_vm_create(&bound_config, &bound) == Q_OK);
	EXPECT(gmm_pages_alloc(bound, &own, 1) == Q_OK);
	hpa_t guest = hfn_to_hpa(page.frame), both = hfn_to_hpa(shared.frame);
	hpa_t bound_page = hfn_to_hpa(own.frame);
	hpa_t with_machine = hpa(FAKE_RAM_BASE + MIB(16) - PAGE_SIZE);
	EXPECT(gmm_memory_at(kernel) == GMM_MEMORY_KERNEL);
	EXPECT(gmm_memory_at(guest) == GMM_MEMORY_GUEST);
	EXPECT(gmm_memory_at(both) == GMM_MEMORY_GUEST);
	EXPECT(gmm_memory_at(bound_page) == GMM_MEMORY_GUEST);
	EXPECT(gmm_memory_at(with_machine) == GMM_MEMORY_FREE);
	EXPECT(gmm_memory_at(hpa(FAKE_RAM_BASE - 1)) == GMM_MEMORY_NONE);
	EXPECT(gmm_memory_at(hpa(FAKE_RAM_BASE + MIB(16))) == GMM_MEMORY_NONE);
	for (enum paging_kind kind = PAGING_IMAGE; kind < PAGING_KIND_COUNT; kind++) {
		bool is_window = kind == PAGING_WINDOW;
		bool is_kernel = kind == PAGING_KERNEL || kind == PAGING_STACK;
		hpa_t large = hpa(align_down(guest.raw, LARGE_PAGE_SIZE));
		EXPECT(allows(kind, is_window ? large : guest) == is_window);
		EXPECT(allows(kind, both) == is_window);
		EXPECT(allows(kind, bound_page) == is_window);
		EXPECT(allows(kind, kernel) == (is_kernel || is_window));
		EXPECT(allows(kind, hpa(0x1000)) == (!is_kernel && !is_window));
		EXPECT(kind == PAGING_WINDOW || !allows(kind, with_machine));
	}
}

/* --- all together: what the console's `check` does ---------------------------------- */

static hpa_t checked_root;
static unsigned leaves_seen;

bool paging_leaf_next(uint64_t from, struct paging_leaf *out_leaf)
{
	return paging_tables_next(checked_root, true, from, out_leaf);
}

enum paging_kind paging_leaf_kind(const struct paging_leaf *leaf)
{
	leaves_seen++;
	return paging_kind_of(&bounds, leaf);
}

TEST(paging, a_check_sees_every_mapping)
{
	struct gmm_vm_config config = { .pages = { 100, 0, 0 } };
	struct gmm_page page;
	gmm_vm_t vm;

	machine_set_up();
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK && gmm_pages_alloc(vm, &page, 1) == Q_OK);
	checked_root = table_make();
	uint64_t guest = align_down(hfn_to_hpa(page.frame).raw, LARGE_PAGE_SIZE);
	uint64_t kernel = table_make().raw;
	entry_put(checked_root, PAGING_WINDOW_BASE, 2, guest | 0x83 | NX);
	entry_put(checked_root, PAGING_KERNEL_BASE + kernel, 1, kernel | 3 | NX);
	entry_put(checked_root, PAGING_PAGES_BASE + PAGE_SIZE, 1, kernel | 3 | NX);
	entry_put(checked_root, PAGING_DEVICE_BASE + 0xfee00000, 1, 0xfee00000 | 0x1b | NX);
	entry_put(checked_root, bounds.text_start, 1, 0x100001);
	leaves_seen = 0;
	address_space_check();
	EXPECT(leaves_seen == 5);
}
