/* SPDX-License-Identifier: MIT */
/*
 * Builds page tables in memory that it never touched, and lets the CPU walk them.
 * The CPU writes accessed bits, but to pages that the guest has written already.
 * The first walk of a table that is all zeros may cost a page for the table, and
 * no later walk may cost one.
 *
 * After each part it waits for a key, with a prompt, so that a test can ask Quire
 * what that part cost.
 */

#include "guest.h"

#define TABLES       (32ull << 20) /* untouched: the loader uses only what is below */
#define DATA         (40ull << 20)
#define ENTRIES      512u
#define TABLE_COUNT  8u           /* of the lowest level, and as many that are all zeros */
#define VIRTUAL      (1ull << 39) /* the second entry of the root */
#define TABLE_COVERS (ENTRIES * GUEST_PAGE_SIZE)

#define PTE_PRESENT  (1ull << 0)
#define PTE_WRITE    (1ull << 1)
#define PTE_ACCESSED (1ull << 5)
#define PTE_DIRTY    (1ull << 6)
#define PTE_ADDRESS  0x000ffffffffff000ull

enum { ROOT, LEVEL_3, LEVEL_2, FULL, ZERO = FULL + TABLE_COUNT };

static uint64_t table_at(unsigned index)
{
	return TABLES + index * GUEST_PAGE_SIZE;
}

static void entry_set(unsigned table, unsigned index, uint64_t target)
{
	word_at(table_at(table))[index] = target | PTE_PRESENT | PTE_WRITE;
}

static uint64_t root_get(void)
{
	uint64_t root;

	__asm__ volatile("movq %%cr3, %0" : "=r"(root));
	return root;
}

/* This also drops every cached translation. */
static void root_set(uint64_t root)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
}

static void build(void)
{
	word_at(table_at(ROOT))[0] = *word_at(root_get() & PTE_ADDRESS);
	entry_set(ROOT, 1, table_at(LEVEL_3));
	entry_set(LEVEL_3, 0, table_at(LEVEL_2));
	for (unsigned i = 0; i < TABLE_COUNT; i++) {
		entry_set(LEVEL_2, i, table_at(FULL + i));
		entry_set(LEVEL_2, TABLE_COUNT + i, table_at(ZERO + i));
		for (unsigned j = 0; j < ENTRIES; j++)
			entry_set(FULL + i, j, DATA + j * GUEST_PAGE_SIZE);
	}
}

/* Reads through every entry of the full tables. True: all that it read is zero. */
static bool walk_full(void)
{
	uint64_t seen = 0;

	root_set(table_at(ROOT));
	for (uint64_t at = 0; at < TABLE_COUNT * TABLE_COVERS; at += GUEST_PAGE_SIZE)
		seen |= *word_at(VIRTUAL + at);
	return seen == 0;
}

static bool walk_zero(void)
{
	bool is_fault = true;

	root_set(table_at(ROOT));
	for (unsigned i = 0; i < TABLE_COUNT; i++) {
		uint64_t address = VIRTUAL + (TABLE_COUNT + i) * TABLE_COVERS;
		is_fault = is_fault && FAULTING("movq (%1), %%rax", "r"(address)) == VECTOR_PF;
	}
	return is_fault;
}

/* True if every entry of the full tables was used for reading, and none for writing. */
static bool is_accessed(void)
{
	for (unsigned i = 0; i < TABLE_COUNT * ENTRIES; i++) {
		uint64_t entry = word_at(table_at(FULL + i / ENTRIES))[i % ENTRIES];
		if ((entry & (PTE_ACCESSED | PTE_DIRTY)) != PTE_ACCESSED)
			return false;
	}
	return true;
}

uint32_t guest_main(void)
{
	uint64_t own_root = root_get();

	build();
	key_wait("built# ");
	expect(walk_full(), "pagetables.reads_zeros");
	expect(is_accessed(), "pagetables.accessed");
	expect(walk_full() && walk_full(), "pagetables.reads_zeros_again");
	key_wait("walked# ");
	expect(walk_zero(), "pagetables.faults");
	key_wait("faulted# ");
	expect(walk_zero() && walk_full(), "pagetables.all_again");
	key_wait("again# ");
	root_set(own_root);
	return failures();
}
