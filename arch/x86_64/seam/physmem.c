/* SPDX-License-Identifier: MIT */
/* Kernel side of <quire/physmem.h>, except the windows, which are in arch/x86_64/paging.c. */
#include <quire/physmem.h>

#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"

void *physmem_kernel_ptr(hpa_t addr)
{
	return (void *)(PAGING_KERNEL_BASE + addr.raw);
}

hpa_t physmem_kernel_hpa(const void *address)
{
	return hpa((uintptr_t)address - PAGING_KERNEL_BASE);
}

q_status_t physmem_kernel_map(hpa_t start, uint64_t size_bytes)
{
	return paging_map_kernel(start, size_bytes, PAGING_READ_WRITE);
}

void physmem_kernel_unmap(hpa_t start, uint64_t size_bytes)
{
	paging_unmap_kernel(start, size_bytes);
}

unsigned physmem_cpu(void)
{
	return percpu()->index;
}

uint64_t pte_load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

void pte_store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

bool pte_cas(uint64_t *entry, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(entry, &expected, value, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}
