/* SPDX-License-Identifier: MIT */
/*
 * How mm/ reaches machine memory. Two ways, and no third:
 *
 *  - Kernel memory (KERNEL chunks, boot data) is always mapped:
 *    physmem_kernel_ptr() is arithmetic.
 *  - Guest memory is mapped only while it is in use, through
 *    PHYSMEM_WINDOW_COUNT windows per CPU, each of which shows one chunk. Only
 *    the mapping cache (mm/gmm/gmm_map.c) moves windows. A window belongs to one
 *    CPU, so moving it never needs a TLB shoot-down.
 *
 * Page-table entries that hardware walks are read and written only through the
 * pte_ functions, with one atomic 64-bit access each.
 */
#ifndef INCLUDE_QUIRE_PHYSMEM_H
#define INCLUDE_QUIRE_PHYSMEM_H

#include <quire/addr.h>
#include <quire/status.h>

#define PHYSMEM_WINDOW_COUNT 64u
#define PHYSMEM_CPU_MAX      16u

/* The permanent address of kernel memory at `addr`. */
void *physmem_kernel_ptr(hpa_t addr);
/* The reverse: the machine address of kernel memory. */
hpa_t physmem_kernel_hpa(const void *address);

/*
 * Maps [start, start + size_bytes) as kernel memory, for physmem_kernel_ptr(), or
 * unmaps it. Chunk aligned. Mapping fails only with Q_NO_MEMORY; unmapping never
 * fails.
 */
q_status_t physmem_kernel_map(hpa_t start, uint64_t size_bytes) Q_MUST_USE;
void physmem_kernel_unmap(hpa_t start, uint64_t size_bytes);

/* The index of the executing CPU, 0 .. PHYSMEM_CPU_MAX - 1. */
unsigned physmem_cpu(void);

/* Points window `slot` of this CPU at the chunk at `base` and returns its address. */
void *physmem_window_map(unsigned slot, hpa_t base);
void physmem_window_unmap(unsigned slot);

uint64_t pte_load(const uint64_t *entry);
void pte_store(uint64_t *entry, uint64_t value);
/* True: *entry was `expected` and is now `value`. False: nothing changed. */
bool pte_cas(uint64_t *entry, uint64_t expected, uint64_t value);

#endif
