/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own address space. Five regions, nothing else mapped:
 *
 *   0xffffffff80000000 + phys  the image: text R-X, rodata R--, data RW-,
 *                              guard pages under the boot and exception stacks
 *   0xffff800000000000 + phys  kernel memory: the boot arena, KERNEL chunks (RW-),
 *                              boot modules (R--)
 *   0xffffc00000000000         windows of the mapping cache, 1 GiB a CPU
 *   0xffffd00000000000         virtually contiguous pages with guards (stacks)
 *   0xffffe00000000000 + phys  device registers, uncached
 *
 * Guest pages appear in the windows only (operator/address_space.c proves it).
 * Everything is global to all CPUs but the windows, whose tables each CPU owns.
 */
#ifndef ARCH_X86_64_PAGING_H
#define ARCH_X86_64_PAGING_H

#include <quire/addr.h>
#include <quire/status.h>

#include "paging_rules.h"

#define PAGING_IMAGE_BASE            0xffffffff80000000ull
#define PAGING_KERNEL_BASE           0xffff800000000000ull
#define PAGING_WINDOW_BASE           0xffffc00000000000ull
#define PAGING_WINDOWS_PER_CPU_BYTES (1ull << 30)
#define PAGING_PAGES_BASE            0xffffd00000000000ull
#define PAGING_DEVICE_BASE           0xffffe00000000000ull

/* Address space for virtually contiguous pages; its tables exist from the start. */
#define PAGING_PAGES_COUNT (8u * 512u)

enum paging_access { PAGING_READ_ONLY, PAGING_READ_WRITE, PAGING_READ_EXEC };

/*
 * Machine memory for page tables and the first data structures: one range that
 * boot/ took from the memory map, below 4 GiB.
 */
struct paging_arena {
	hpa_t start, end;
};

/*
 * Bytes that paging_init() and later mappings of devices and of `module_count`
 * boot modules may take of the arena.
 */
uint64_t paging_arena_bytes(hpa_t memory_end, unsigned module_count);

/*
 * Builds the address space and switches to it; the boot loader's identity
 * mapping ends. From the arena's start it takes what it needs and advances it.
 * `memory_end`: the end of the highest usable memory.
 */
void paging_init(struct paging_arena *arena, hpa_t memory_end, unsigned module_count);

/* Maps [start, start + size) as kernel memory at PAGING_KERNEL_BASE + start. Page aligned. */
q_status_t paging_map_kernel(hpa_t start, uint64_t size_bytes,
			     enum paging_access access) Q_MUST_USE;
void paging_unmap_kernel(hpa_t start, uint64_t size_bytes);

/* One page of the virtually contiguous region; index < PAGING_PAGES_COUNT. */
void paging_map_page(unsigned index, hpa_t page);
void paging_unmap_page(unsigned index);
/* Where an address of that region lies in machine memory. */
hpa_t paging_page_hpa(const void *address);

/* Device registers, uncached; at boot only. Q_NO_MEMORY: the arena is used up. */
q_status_t paging_map_device(hpa_t start, uint64_t size_bytes,
			     volatile void **out_address) Q_MUST_USE;

/* What the tables of this address space take, those to come for devices and modules included. */
uint64_t paging_bytes(void);

/* The first mapping at or after `from`, in order of addresses; false: there is none. */
bool paging_leaf_next(uint64_t from, struct paging_leaf *out_leaf);
/* What it is, if it is as it has to be. */
enum paging_kind paging_leaf_kind(const struct paging_leaf *leaf);

#endif
