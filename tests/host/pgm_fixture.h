/* SPDX-License-Identifier: MIT */
/*
 * What tests of PGM start from: a machine of fake RAM, GMM over it, and one VM. Each
 * helper that changes something runs pgm_check() and gmm_check() afterwards.
 */
#ifndef TESTS_HOST_PGM_FIXTURE_H
#define TESTS_HOST_PGM_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_internal.h"

#include "nested_walk.h"
#include "seam/seam.h"
#include "test.h"

#define MIB(n)    ((uint64_t)(n) << 20)
#define GIB(n)    ((uint64_t)(n) << 30)
#define PAGES(n)  ((uint64_t)(n) << PAGE_SHIFT)
#define BOTH(run) (run(&slat_npt), run(&slat_ept)) /* a test body, in both formats */

/* Pages of RAM in a VM of 4 MiB: the 384 KiB below 1 MiB are not RAM. */
#define PAGES_4M (1024u - 96u)

static struct pgm *pgm;

static inline void check(void)
{
	pgm_check(pgm);
	gmm_check();
}

static inline void machine_set_up(uint64_t size_bytes)
{
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + size_bytes) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_kernel_map_fail_at(0);
	fake_cpu_set(0);
	fake_ram_create(size_bytes);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

static inline struct pgm_config config_of(const struct slat_format *format, uint64_t ram_bytes)
{
	return (struct pgm_config){ .format = format,
				    .ram_bytes = ram_bytes,
				    .overcommit = GMM_OVERCOMMIT_FULL };
}

static inline void vm_create(struct pgm_config config)
{
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	check();
}

/* A VM with an empty stock on a machine of 64 MiB. */
static inline void bare_set_up(const struct slat_format *format, uint64_t ram_bytes)
{
	machine_set_up(MIB(64));
	vm_create(config_of(format, ram_bytes));
}

static inline void refill(void)
{
	EXPECT(pgm_handy_refill(pgm) == Q_OK);
	check();
}

/* The same with a full stock. */
static inline void set_up(const struct slat_format *format, uint64_t ram_bytes)
{
	bare_set_up(format, ram_bytes);
	refill();
}

/* What the last fault said. */
static struct pgm_fault last_fault;

static inline enum pgm_outcome touch(uint64_t addr, enum mem_access access)
{
	last_fault = (struct pgm_fault){ .addr = gpa(addr), .access = access };
	enum pgm_outcome outcome = pgm_fault_handle(pgm, &last_fault);

	check();
	return outcome;
}

static inline struct nested_result nested(uint64_t addr)
{
	struct nested_result result = pgm->slat.format == &slat_npt
					      ? nested_walk_npt(pgm_slat_root(pgm).raw, addr)
					      : nested_walk_ept(pgm_slat_root(pgm).raw, addr);
	EXPECT(!result.is_malformed);
	return result;
}

/* The byte that a guest reaches at `addr`, which must be mapped. */
static inline uint8_t *nested_byte(uint64_t addr)
{
	struct nested_result result = nested(addr);

	EXPECT(result.is_present);
	return fake_ram_peek(hpa(result.machine));
}

static inline bool page_is_all(const void *page, uint8_t byte)
{
	const uint8_t *bytes = (const uint8_t *)((uintptr_t)page & ~PAGE_MASK);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (bytes[i] != byte)
			return false;
	return true;
}

static inline struct pgm_stats stats(void)
{
	struct pgm_stats figures;
	pgm_stats(pgm, &figures);
	return figures;
}

static inline struct gmm_vm_stats accounts(void)
{
	struct gmm_vm_stats figures;
	gmm_vm_stats(pgm_vm(pgm), &figures);
	return figures;
}

/* Pages that the VM has of its BASE account. */
static inline uint64_t base_pages(void)
{
	return accounts().allocated[GMM_BASE];
}

static inline uint8_t read_byte(uint64_t addr)
{
	uint8_t byte = 0xee;
	EXPECT(pgm_read(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	return byte;
}

static inline q_status_t try_write(uint64_t addr, uint8_t byte)
{
	q_status_t status = pgm_write(pgm, gpa(addr), &byte, 1, NULL);
	check();
	return status;
}

static inline void write_byte(uint64_t addr, uint8_t byte)
{
	EXPECT(try_write(addr, byte) == Q_OK);
}

/* Another VM takes all pages of the machine but `left`. */
static inline gmm_vm_t hog_create(uint64_t left)
{
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	gmm_vm_t hog;
	struct gmm_page page;

	EXPECT(gmm_vm_create(&config, &hog) == Q_OK);
	while (gmm_pages_available(hog, left + 1) > left)
		EXPECT(gmm_pages_alloc(hog, &page, 1) == Q_OK);
	return hog;
}

#endif
