/* SPDX-License-Identifier: MIT */
/* Entries of Quire's own page tables. Intel SDM vol. 3, "4-Level Paging and 5-Level Paging". */
#ifndef ARCH_X86_64_PAGING_ENTRY_H
#define ARCH_X86_64_PAGING_ENTRY_H

#include <quire/addr.h>
#include <quire/bits.h>

#define PTE_PRESENT   BIT64(0)
#define PTE_WRITE     BIT64(1)
#define PTE_USER      BIT64(2)
#define PTE_WRITETHRU BIT64(3)
#define PTE_CACHE_OFF BIT64(4)
#define PTE_LARGE     BIT64(7)
#define PTE_GLOBAL    BIT64(8)
#define PTE_NX        BIT64(63)
#define PTE_ADDRESS   MASK64(51, 12)

#define PAGING_ENTRIES    512u
#define PAGING_ROOT_LEVEL 4u

/* The lowest address bit that selects an entry at `level` (1: 4 KiB, 2: 2 MiB). */
static inline unsigned paging_level_shift(unsigned level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static inline unsigned paging_index_at(uint64_t virt, unsigned level)
{
	return virt >> paging_level_shift(level) & (PAGING_ENTRIES - 1);
}

#endif
