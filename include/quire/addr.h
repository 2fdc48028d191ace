/* SPDX-License-Identifier: MIT */
/*
 * One type per address space, so that the compiler refuses to mix them.
 * gpa, gfn: guest-physical address and frame number; hpa, hfn: the machine's.
 * Addresses count bytes, frame numbers 4 KiB pages. All arithmetic that could
 * overflow goes through the helpers here.
 */
#ifndef INCLUDE_QUIRE_ADDR_H
#define INCLUDE_QUIRE_ADDR_H

#include <quire/compiler.h>

#define PAGE_SHIFT       12
#define PAGE_SIZE        4096ull
#define PAGE_MASK        (PAGE_SIZE - 1)
#define LARGE_PAGE_SHIFT 21
#define LARGE_PAGE_SIZE  (1ull << LARGE_PAGE_SHIFT)
#define PAGES_PER_LARGE  512u

typedef struct {
	uint64_t raw;
} gpa_t; /* guest-physical address, bytes */

typedef struct {
	uint64_t raw;
} gfn_t; /* guest frame number, gpa >> 12 */

typedef struct {
	uint64_t raw;
} hpa_t; /* machine-physical address, bytes */

typedef struct {
	uint64_t raw;
} hfn_t; /* machine frame number, hpa >> 12 */

static inline gpa_t gpa(uint64_t raw)
{
	return (gpa_t){ raw };
}

static inline gfn_t gfn(uint64_t raw)
{
	return (gfn_t){ raw };
}

static inline hpa_t hpa(uint64_t raw)
{
	return (hpa_t){ raw };
}

static inline hfn_t hfn(uint64_t raw)
{
	return (hfn_t){ raw };
}

static inline gfn_t gfn_next(gfn_t f)
{
	return gfn(f.raw + 1);
}

static inline gfn_t gpa_to_gfn(gpa_t a)
{
	return gfn(a.raw >> PAGE_SHIFT);
}

static inline hfn_t hpa_to_hfn(hpa_t a)
{
	return hfn(a.raw >> PAGE_SHIFT);
}

static inline hpa_t hfn_to_hpa(hfn_t f)
{
	return hpa(f.raw << PAGE_SHIFT);
}

static inline uint64_t gpa_offset(gpa_t a)
{
	return a.raw & PAGE_MASK;
}

static inline gpa_t gpa_add(gpa_t a, uint64_t bytes)
{
	return gpa(a.raw + bytes);
}

static inline hpa_t hpa_add(hpa_t a, uint64_t bytes)
{
	return hpa(a.raw + bytes);
}

/* Bytes to whole pages, rounded up; cannot overflow. */
static inline uint64_t pages_from_bytes(uint64_t bytes)
{
	return (bytes >> PAGE_SHIFT) + ((bytes & PAGE_MASK) != 0);
}

/* True if [start, start + size) wraps around or goes beyond `limit` (exclusive). */
static inline bool range_exceeds(uint64_t start, uint64_t size, uint64_t limit)
{
	return start > limit || size > limit - start;
}

#endif
