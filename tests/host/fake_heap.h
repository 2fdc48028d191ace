/* SPDX-License-Identifier: MIT */
/*
 * The host side of kernel/heap.h. Each object and each run of pages is a block of the host's heap,
 * so that AddressSanitizer sees an access beyond it. A block must be freed by what allocated it,
 * with the same size.
 */
#ifndef TESTS_HOST_FAKE_HEAP_H
#define TESTS_HOST_FAKE_HEAP_H

/* How many objects and runs of pages are allocated. */
unsigned fake_heap_blocks(void);
/* Makes the `count`-th allocation from now fail; 0: none. */
void fake_heap_fail_at(unsigned count);
/* Frees whatever is left. No allocation fails. */
void fake_heap_clear(void);

#endif
