/* SPDX-License-Identifier: MIT */
/*
 * Reads Quire's own page tables, and tells from a mapping's addresses and rights
 * what it is and whether it is allowed. Pure. The regions are those of paging.h.
 */
#ifndef ARCH_X86_64_PAGING_RULES_H
#define ARCH_X86_64_PAGING_RULES_H

#include <quire/addr.h>

/* One present mapping, of 4 KiB or 2 MiB. */
struct paging_leaf {
	uint64_t virt;
	hpa_t start; /* what it maps */
	uint64_t size_bytes;
	bool is_writable, is_executable, is_uncached, is_user;
};

/* Bounds that depend on the build and on the machine; half open. */
struct paging_bounds {
	uint64_t image_start, image_end; /* virtual */
	uint64_t text_start, text_end;
	hpa_t arena_start, arena_end;
};

enum paging_kind {
	PAGING_FORBIDDEN, /* not allowed there, or not with these rights */
	PAGING_IMAGE,
	PAGING_BOOT_DATA, /* the arena: page tables, GMM's records */
	PAGING_MODULE,    /* read-only kernel memory: a boot module */
	PAGING_KERNEL,    /* kernel memory that GMM gave */
	PAGING_WINDOW,    /* of the mapping cache */
	PAGING_STACK,     /* one of the virtually contiguous pages */
	PAGING_DEVICE,    /* device registers */
	PAGING_KIND_COUNT,
};

/*
 * Finds the first present mapping at or after `from` in the tables below `root`,
 * which must be kernel memory. False: there is none. If `has_nx` is false, no
 * mapping counts as executable.
 */
bool paging_tables_next(hpa_t root, bool has_nx, uint64_t from, struct paging_leaf *out_leaf);

enum paging_kind paging_kind_of(const struct paging_bounds *bounds, const struct paging_leaf *leaf);

#endif
