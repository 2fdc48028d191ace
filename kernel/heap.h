/* SPDX-License-Identifier: MIT */
/*
 * Small objects and runs of pages, all zeroed. For threads, not for interrupt
 * handlers. The pages come from a supply that kernel/main.c sets (GMM's kernel
 * pages), so this layer need not know the memory manager.
 */
#ifndef KERNEL_HEAP_H
#define KERNEL_HEAP_H

#include <quire/addr.h>
#include <quire/status.h>

struct heap_supply {
	q_status_t (*page_alloc)(hpa_t *out_page); /* zeroed kernel memory */
	void (*page_free)(hpa_t page);
};
void heap_init(const struct heap_supply *supply);

/*
 * Allocates at most PAGE_SIZE bytes, aligned to the power of two that holds them, or
 * to a page if they are more than 1 KiB. NULL: no memory.
 */
void *heap_alloc(size_t size_bytes) Q_MUST_USE;
/* `size_bytes` must be what heap_alloc() was given. NULL is ignored. */
void heap_free(void *object, size_t size_bytes);

/* Allocates virtually contiguous pages between two unmapped guard pages. NULL: no memory. */
void *pages_alloc(unsigned page_count) Q_MUST_USE;
/* NULL is ignored. */
void pages_free(void *start, unsigned page_count);

/* The machine address of an object of heap_alloc(), or of an address in a run of pages. */
hpa_t heap_hpa(const void *object);

/* The bytes that the heap and the runs of pages have taken from the supply. */
uint64_t heap_bytes_used(void);

#endif
