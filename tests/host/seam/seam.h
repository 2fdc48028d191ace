/* SPDX-License-Identifier: MIT */
/*
 * What host tests may ask of the host side of the seams.
 *
 * Fake RAM is a memory file whose machine addresses start at FAKE_RAM_BASE,
 * never identity mapped and full of junk (0xa5) at first. Kernel memory is
 * mapped only where physmem_kernel_map() said so, windows only where the
 * mapping cache put them: any other access dies at once.
 */
#ifndef TESTS_HOST_SEAM_SEAM_H
#define TESTS_HOST_SEAM_SEAM_H

#include <quire/addr.h>

#define FAKE_RAM_BASE 0x140000000ull

/* Machine memory of `size_bytes` (a multiple of 2 MiB), all junk; drops what was there before. */
void fake_ram_create(uint64_t size_bytes);
/* The same, but zero and backed where it is touched only: for machines larger than this one. */
void fake_ram_create_sparse(uint64_t size_bytes);
void fake_ram_destroy(void);

/* The bytes at a machine address, behind the back of the code under test. */
void *fake_ram_peek(hpa_t addr);

/* Which CPU physmem_cpu() reports on this host thread (default 0). */
void fake_cpu_set(unsigned cpu);

/* physmem_kernel_map() fails with Q_NO_MEMORY at the `count`-th call from now; 0: never. */
void fake_kernel_map_fail_at(unsigned count);

/*
 * Called at the start of each physmem_kernel_map() and physmem_kernel_unmap(), which
 * take long on a real machine: what others do meanwhile. NULL: nothing.
 */
void fake_kernel_map_hook(void (*hook)(void));

/* How many window mappings were made since the start. */
uint64_t fake_window_maps(void);

/* The last captured log lines contain `text`? */
bool fake_log_contains(const char *text);
void fake_log_clear(void);

#endif
