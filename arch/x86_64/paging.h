/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own address space. Five regions, nothing else mapped:
 *
 *   0xffffffff80000000 + phys  the image: text R-X, rodata R--, data RW-,
 *                              guard pages under the boot and exception stacks
 *   0xffff800000000000 + phys  kernel memory: the boot arena, KERNEL chunks (RW-),
 *                              boot modules (R--)
 *   0xffffc00000000000         windows of the mapping cache, 1 GiB for each CPU
 *   0xffffd00000000000         virtually contiguous pages with guards: stacks and
 *                              other runs of pages
 *   0xffffe00000000000 + phys  device registers, uncached
 *
 * Guest pages appear in the windows only (operator/address_space.c checks it). All CPUs
 * share these mappings, except that each CPU moves only its own windows.
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

/* The most virtually contiguous pages that can be mapped. Their tables exist from boot. */
#define PAGING_PAGES_COUNT (8u * 512u)

enum paging_access { PAGING_READ_ONLY, PAGING_READ_WRITE, PAGING_READ_EXEC };

/*
 * Machine memory for page tables and the first data structures: one range below
 * 4 GiB, which kernel/main.c takes from the memory map.
 */
struct paging_arena {
	hpa_t start, end;
};

/*
 * How many bytes of the arena paging_init() needs. They include tables for later
 * mappings of devices and of `module_count` boot modules.
 */
uint64_t paging_arena_bytes(hpa_t memory_end, unsigned module_count);

/*
 * Builds the address space and switches to it, which ends boot/start.S's identity
 * mapping. Takes what it needs from the start of the arena, and advances that
 * start. `memory_end`: the end of the highest memory, as memmap_end() says.
 */
void paging_init(struct paging_arena *arena, hpa_t memory_end, unsigned module_count);

/* Maps [start, start + size) as kernel memory at PAGING_KERNEL_BASE + start. Page aligned. */
q_status_t paging_map_kernel(hpa_t start, uint64_t size_bytes,
			     enum paging_access access) Q_MUST_USE;
void paging_unmap_kernel(hpa_t start, uint64_t size_bytes);

/* Maps a page of the virtually contiguous region; index < PAGING_PAGES_COUNT. */
void paging_map_page(unsigned index, hpa_t page);
void paging_unmap_page(unsigned index);
/* The machine address behind an address of that region. */
hpa_t paging_page_hpa(const void *address);

/* Maps device registers uncached, at boot only. Q_NO_MEMORY: the arena is used up. */
q_status_t paging_map_device(hpa_t start, uint64_t size_bytes,
			     volatile void **out_address) Q_MUST_USE;

/* The bytes that the tables of this address space take, including those for later mappings. */
uint64_t paging_bytes(void);

/* Finds the first mapping at or after `from`, in order of addresses. False: there is none. */
bool paging_leaf_next(uint64_t from, struct paging_leaf *out_leaf);
/* The kind of a mapping, or PAGING_FORBIDDEN if no rule allows it. */
enum paging_kind paging_leaf_kind(const struct paging_leaf *leaf);

#endif
