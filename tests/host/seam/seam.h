/* SPDX-License-Identifier: MIT */
/*
 * The host side of the seams, as far as only tests call it.
 *
 * Fake RAM is a memory file whose machine addresses start at FAKE_RAM_BASE. It is
 * never identity mapped, and full of junk (0xa5) at first. Kernel memory is mapped
 * only where physmem_kernel_map() was called, windows only where the mapping cache
 * put them. Any other access crashes at once.
 */
#ifndef TESTS_HOST_SEAM_SEAM_H
#define TESTS_HOST_SEAM_SEAM_H

#include <quire/addr.h>

#define FAKE_RAM_BASE 0x140000000ull

/* Replaces fake RAM by `size_bytes` of junk (a multiple of 2 MiB). */
void fake_ram_create(uint64_t size_bytes);
/* The same, but zero, and backed only where it is touched: for machines larger than the host. */
void fake_ram_create_sparse(uint64_t size_bytes);
void fake_ram_destroy(void);

/* The bytes at a machine address, behind the back of the code under test. */
void *fake_ram_peek(hpa_t addr);

/* Sets the CPU that physmem_cpu() reports on this host thread (default 0). */
void fake_cpu_set(unsigned cpu);

/* Makes the `count`-th call of physmem_kernel_map() from now fail with Q_NO_MEMORY; 0: none. */
void fake_kernel_map_fail_at(unsigned count);

/*
 * Sets what is called at the start of each physmem_kernel_map() and physmem_kernel_unmap().
 * These take long on a real machine; the hook does what other CPUs do meanwhile. NULL: nothing.
 */
void fake_kernel_map_hook(void (*hook)(void));

/* How many locks this host thread holds. */
unsigned fake_locks_held(void);

/* How many window mappings were made since fake RAM was created. */
uint64_t fake_window_maps(void);

/* True if the last log lines contain `text`. */
bool fake_log_contains(const char *text);
/* The last log lines, each with a '\n'. */
const char *fake_log_text(void);
/* How often they contain `text`. */
unsigned fake_log_count(const char *text);
void fake_log_clear(void);

#endif
