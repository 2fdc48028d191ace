/* SPDX-License-Identifier: MIT */
/*
 * Builds and changes Quire's own page tables. All tables come from the boot arena
 * and are never freed. Those for memory, windows and runs of pages exist from boot.
 */
#include "paging.h"

#include <quire/assert.h>
#include <quire/bits.h>
#include <quire/guest_state.h>
#include <quire/layout.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "cpu.h"
#include "features.h"
#include "msr.h"
#include "paging_entry.h"

static struct {
	uint64_t *root;
	struct paging_arena arena;    /* the part of the arena that is left for tables */
	hpa_t arena_start, arena_end; /* the whole arena, including what others took */
	uint64_t bytes;               /* of the arena, for tables */
	bool is_live;                 /* CR3 points to these tables: they are kernel memory */
	uint64_t nx;                  /* PTE_NX, or 0 if the CPU has no NX */
} paging;

static void *table_ptr(hpa_t page)
{
	/* Before the switch, boot/start.S's identity mapping is in use. */
	return (void *)(paging.is_live ? PAGING_KERNEL_BASE + page.raw : page.raw);
}

static hpa_t arena_take(unsigned page_count)
{
	hpa_t page = paging.arena.start;
	if (range_exceeds(page.raw, page_count * PAGE_SIZE, paging.arena.end.raw))
		return hpa(0);
	paging.arena.start = hpa_add(page, page_count * PAGE_SIZE);
	memset(table_ptr(page), 0, page_count * PAGE_SIZE);
	return page;
}

/* Returns the table below `entry`, and makes it if there is none. NULL: the arena is used up. */
static uint64_t *table_below(uint64_t *entry)
{
	uint64_t value = pte_load(entry);
	if (value & PTE_PRESENT) {
		Q_ASSERT(!(value & PTE_LARGE));
		return table_ptr(hpa(value & PTE_ADDRESS));
	}
	hpa_t page = arena_take(1);
	if (!page.raw)
		return NULL;
	pte_store(entry, page.raw | PTE_PRESENT | PTE_WRITE);
	return table_ptr(page);
}

/*
 * Returns the entry for `virt` at `level` (1: 4 KiB, 2: 2 MiB), and makes the tables above it.
 * NULL: the arena is used up.
 */
static uint64_t *entry_make(uint64_t virt, unsigned level)
{
	uint64_t *table = paging.root;
	for (unsigned l = 4; l > level && table; l--)
		table = table_below(&table[paging_index_at(virt, l)]);
	return table ? &table[paging_index_at(virt, level)] : NULL;
}

static uint64_t access_bits(enum paging_access access)
{
	switch (access) {
	case PAGING_READ_ONLY: return PTE_PRESENT | paging.nx;
	case PAGING_READ_WRITE: return PTE_PRESENT | PTE_WRITE | paging.nx;
	case PAGING_READ_EXEC: return PTE_PRESENT;
	}
	Q_ASSERT(!"access");
}

/* Smaller chunks are mapped page by page, through tables that exist from boot for all memory. */
#define HAS_LARGE_CHUNKS (GMM_CHUNK_SHIFT >= LARGE_PAGE_SHIFT)

static q_status_t map(uint64_t virt, hpa_t start, uint64_t size_bytes, uint64_t bits)
{
	for (uint64_t done = 0; done < size_bytes;) {
		uint64_t to = virt + done, from = start.raw + done;
		bool large = HAS_LARGE_CHUNKS && is_aligned(to | from, LARGE_PAGE_SIZE) &&
			     size_bytes - done >= LARGE_PAGE_SIZE;
		uint64_t *entry = entry_make(to, large ? 2 : 1);
		if (!entry)
			return Q_NO_MEMORY;
		Q_ASSERT(!(pte_load(entry) & PTE_PRESENT));
		pte_store(entry, from | bits | PTE_GLOBAL | (large ? PTE_LARGE : 0));
		done += large ? LARGE_PAGE_SIZE : PAGE_SIZE;
	}
	return Q_OK;
}

static void map_at_boot(uint64_t virt, hpa_t start, uint64_t size_bytes, enum paging_access access)
{
	q_status_t status = map(virt, start, size_bytes, access_bits(access));
	Q_ASSERT(status == Q_OK);
}

static void map_image_part(const uint8_t *start, const uint8_t *end, enum paging_access access)
{
	uint64_t virt = (uintptr_t)start;
	map_at_boot(virt, hpa(virt - PAGING_IMAGE_BASE), (uint64_t)(end - start), access);
}

/* Unmaps the page below a boot or exception stack. */
static void unmap_guard(const uint8_t *page)
{
	uint64_t *entry = entry_make((uintptr_t)page, 1);
	pte_store(entry, 0);
}

static void map_image(void)
{
	map_image_part(layout_text_start, layout_text_end, PAGING_READ_EXEC);
	map_image_part(layout_rodata_start, layout_rodata_end, PAGING_READ_ONLY);
	map_image_part(layout_data_start, layout_data_end, PAGING_READ_WRITE);
	for (const uint8_t *guard = layout_stacks_start; guard < layout_stacks_end;
	     guard += 2 * PAGE_SIZE)
		unmap_guard(guard);
	unmap_guard(layout_boot_stack_guard);
}

static void protect_cpu(void)
{
	const struct cpu_features *features = cpu_features();
	cpu_write_cr0(cpu_read_cr0() | CR0_WP);
	uint64_t cr4 = cpu_read_cr4();
	if (features->has_pge)
		cr4 |= CR4_PGE;
	if (features->has_smep)
		cr4 |= CR4_SMEP;
	if (features->has_smap)
		cr4 |= CR4_SMAP;
	if (features->has_umip)
		cr4 |= CR4_UMIP;
	cpu_write_cr4(cr4);
}

/* How many tables may be made after paging_init(): two for each module, eight for devices. */
static uint64_t late_tables(unsigned module_count)
{
	return 2ull * module_count + 8;
}

uint64_t paging_arena_bytes(hpa_t memory_end, unsigned module_count)
{
	/* A directory for each GiB of kernel memory; with small chunks a table for each 2 MiB. */
	uint64_t directories = (memory_end.raw >> 30) + 1;
	uint64_t small_chunks = HAS_LARGE_CHUNKS ? 0 : (memory_end.raw >> LARGE_PAGE_SHIFT) + 1;
	uint64_t own = directories + (directories >> 9) + 1 + small_chunks;
	/*
	 * The tables of the windows and one above them; those of the region of pages and two
	 * above them; the root; the four of the image.
	 */
	own += PHYSMEM_CPU_MAX + 1 + PAGING_PAGES_COUNT / PAGING_ENTRIES + 2 + 1 + 4;
	uint64_t arena = (own + late_tables(module_count)) / PAGING_ENTRIES + 2;
	return (own + arena + late_tables(module_count)) * PAGE_SIZE;
}

/* Makes all tables that memory, windows and runs of pages may need: later the arena has none. */
static void make_tables(hpa_t memory_end)
{
	uint64_t step = HAS_LARGE_CHUNKS ? 1ull << 30 : LARGE_PAGE_SIZE;
	unsigned level = HAS_LARGE_CHUNKS ? 2 : 1;
	for (uint64_t at = 0; at < memory_end.raw; at += step)
		Q_ASSERT(entry_make(PAGING_KERNEL_BASE + at, level));

	for (unsigned i = 0; i < PHYSMEM_CPU_MAX; i++) {
		uint64_t *directory =
			entry_make(PAGING_WINDOW_BASE + i * PAGING_WINDOWS_PER_CPU_BYTES, 2);
		Q_ASSERT(directory);
	}
	for (unsigned i = 0; i < PAGING_PAGES_COUNT; i += PAGING_ENTRIES)
		Q_ASSERT(entry_make(PAGING_PAGES_BASE + i * PAGE_SIZE, 1));
}

void paging_init(struct paging_arena *arena, hpa_t memory_end, unsigned module_count)
{
	paging.arena = *arena;
	paging.arena_start = arena->start;
	paging.arena_end = arena->end;
	paging.nx = cpu_features()->has_nx ? PTE_NX : 0;
	if (cpu_features()->has_nx)
		msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_NXE);
	hpa_t root = arena_take(1);
	Q_ASSERT(root.raw);
	paging.root = table_ptr(root);
	map_image();
	map_at_boot(PAGING_KERNEL_BASE + arena->start.raw, arena->start,
		    arena->end.raw - arena->start.raw, PAGING_READ_WRITE);
	make_tables(memory_end);

	cpu_write_cr3(root.raw);
	paging.is_live = true;
	paging.root = table_ptr(root);
	protect_cpu();

	/* Later tables come from a fixed part of the arena; the caller gets the rest. */
	hpa_t tables_end = hpa_add(paging.arena.start, late_tables(module_count) * PAGE_SIZE);
	paging.bytes = tables_end.raw - arena->start.raw;
	arena->start = tables_end;
	paging.arena.end = tables_end;
}

q_status_t paging_map_kernel(hpa_t start, uint64_t size_bytes, enum paging_access access)
{
	return map(PAGING_KERNEL_BASE + start.raw, start, size_bytes, access_bits(access));
}

void paging_unmap_kernel(hpa_t start, uint64_t size_bytes)
{
	uint64_t virt = PAGING_KERNEL_BASE + start.raw;
	for (uint64_t done = 0; done < size_bytes;) {
		uint64_t *entry = entry_make(virt + done, 2);
		bool large = pte_load(entry) & PTE_LARGE;
		if (!large)
			entry = entry_make(virt + done, 1);
		pte_store(entry, 0);
		cpu_invlpg((void *)(virt + done));
		done += large ? LARGE_PAGE_SIZE : PAGE_SIZE;
	}
}

static void *pages_address(unsigned index)
{
	return (void *)(PAGING_PAGES_BASE + index * PAGE_SIZE);
}

void paging_map_page(unsigned index, hpa_t page)
{
	Q_ASSERT(index < PAGING_PAGES_COUNT);
	uint64_t *entry = entry_make((uintptr_t)pages_address(index), 1);
	Q_ASSERT(!pte_load(entry));
	pte_store(entry, page.raw | access_bits(PAGING_READ_WRITE) | PTE_GLOBAL);
}

void paging_unmap_page(unsigned index)
{
	Q_ASSERT(index < PAGING_PAGES_COUNT);
	pte_store(entry_make((uintptr_t)pages_address(index), 1), 0);
	cpu_invlpg(pages_address(index));
}

hpa_t paging_page_hpa(const void *address)
{
	uint64_t value = pte_load(entry_make((uintptr_t)address, 1));
	Q_ASSERT(value & PTE_PRESENT);
	return hpa((value & PTE_ADDRESS) + ((uintptr_t)address & PAGE_MASK));
}

q_status_t paging_map_device(hpa_t start, uint64_t size_bytes, volatile void **out_address)
{
	uint64_t first = align_down(start.raw, PAGE_SIZE);
	uint64_t end = align_up(start.raw + size_bytes, PAGE_SIZE);
	uint64_t bits = access_bits(PAGING_READ_WRITE) | PTE_CACHE_OFF | PTE_WRITETHRU | PTE_GLOBAL;
	for (uint64_t at = first; at < end; at += PAGE_SIZE) {
		uint64_t *entry = entry_make(PAGING_DEVICE_BASE + at, 1);
		if (!entry)
			return Q_NO_MEMORY;
		pte_store(entry, at | bits); /* two devices may share a page */
	}
	*out_address = (volatile void *)(PAGING_DEVICE_BASE + start.raw);
	return Q_OK;
}

/* --- <quire/physmem.h> ------------------------------------------------------------ */

static uint64_t window_address(unsigned slot)
{
	return PAGING_WINDOW_BASE + physmem_cpu() * PAGING_WINDOWS_PER_CPU_BYTES +
	       slot * LARGE_PAGE_SIZE;
}

void *physmem_window_map(unsigned slot, hpa_t base)
{
	Q_ASSERT(slot < PHYSMEM_WINDOW_COUNT);
	uint64_t virt = window_address(slot);
	/* A 1 MiB chunk is half of the large page that is mapped. The other half is not touched. */
	hpa_t large = hpa(align_down(base.raw, LARGE_PAGE_SIZE));
	pte_store(entry_make(virt, 2), large.raw | access_bits(PAGING_READ_WRITE) | PTE_LARGE);
	cpu_invlpg((void *)virt);
	return (void *)(virt + (base.raw - large.raw));
}

void physmem_window_unmap(unsigned slot)
{
	Q_ASSERT(slot < PHYSMEM_WINDOW_COUNT);
	uint64_t virt = window_address(slot);
	pte_store(entry_make(virt, 2), 0);
	cpu_invlpg((void *)virt);
}

uint64_t paging_bytes(void)
{
	return paging.bytes;
}

/* --- check --------------------------------------------------------------------------- */

bool paging_leaf_next(uint64_t from, struct paging_leaf *out_leaf)
{
	return paging_tables_next(physmem_kernel_hpa(paging.root), paging.nx, from, out_leaf);
}

enum paging_kind paging_leaf_kind(const struct paging_leaf *leaf)
{
	const struct paging_bounds bounds = {
		.image_start = (uintptr_t)layout_image_start,
		.image_end = (uintptr_t)layout_image_end,
		.text_start = (uintptr_t)layout_text_start,
		.text_end = (uintptr_t)layout_text_end,
		.arena_start = paging.arena_start,
		.arena_end = paging.arena_end,
	};
	return paging_kind_of(&bounds, leaf);
}
