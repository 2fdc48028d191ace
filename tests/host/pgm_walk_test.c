/* SPDX-License-Identifier: MIT */
/* Walks of the guest's page tables in every paging mode; for their bits see pgm_accessed_test.c. */
#include <quire/bits.h>
#include <quire/guest_state.h>

#include "pgm_fixture.h"

static void poke(uint64_t addr, uint64_t value, unsigned bytes)
{
	EXPECT(pgm_write(pgm, gpa(addr), &value, bytes, NULL) == Q_OK);
}

static struct pgm_walk_regs regs;
static uint32_t walk_error;

/* Returns the physical address, or the negative status; walk_error is the code of #PF. */
static int64_t walk(uint64_t virt, enum mem_access access)
{
	gpa_t addr = gpa(0);

	walk_error = 0xdead;
	q_status_t status = pgm_walk(pgm, &regs, virt, access, &addr, &walk_error);
	return status == Q_OK ? (int64_t)addr.raw : -(int64_t)status;
}

static void expect_fault(uint64_t virt, enum mem_access access, q_status_t status, uint32_t code)
{
	EXPECT(walk(virt, access) == -(int64_t)status);
	EXPECT(walk_error == code);
}

/* Error code bits: P 1, W 2, U 4, RSVD 8, I 16. */

TEST(pgm_walk, no_paging)
{
	bare_set_up(&slat_npt, MIB(4));
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE };
	EXPECT(walk(0x12345, MEM_WRITE) == 0x12345);
	EXPECT(walk(0x1ffffffff, MEM_READ) == 0xffffffff);
}

TEST(pgm_walk, paging_32bit)
{
	bare_set_up(&slat_npt, MIB(4));
	/* 0x00c01234: directory 3, table 1, offset 0x234 */
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG, .cr3 = 0x100018 };
	poke(0x100000 + 3 * 4, 0x101007, 4);
	poke(0x101000 + 1 * 4, 0x2fe007, 4);
	EXPECT(walk(0xc01234, MEM_READ) == 0x2fe234);
	EXPECT(walk(0xffffffff00c01234, MEM_EXEC) == 0x2fe234); /* only 32 bits count */
	expect_fault(0xc02234, MEM_READ, Q_NOT_FOUND, 0);
	expect_fault(0x801234, MEM_WRITE, Q_NOT_FOUND, 2);
	regs.is_user = true;
	expect_fault(0x801234, MEM_EXEC, Q_NOT_FOUND, 4); /* without NX or SMEP no I bit */
	/* Without PSE, bit 7 of a directory entry means nothing. */
	poke(0x100000 + 4 * 4, 0x101087, 4);
	EXPECT(walk(0x1001000, MEM_READ) == 0x2fe000);
	/* With it, 4 MiB: bits 31:22 in place, 39:32 in 20:13. */
	regs.cr4 = CR4_PSE;
	poke(0x100000 + 4 * 4, 0x80000087 | 0x55 << 13, 4);
	EXPECT(walk(0x1001234, MEM_READ) == 0x5580001234);
	EXPECT(walk(0x13fffff, MEM_READ) == 0x55803fffff);
	poke(0x100000 + 4 * 4, 0x80200087, 4);
	expect_fault(0x1001234, MEM_READ, Q_DENIED, 1 | 4 | 8); /* bit 21 is reserved */
}

TEST(pgm_walk, paging_pae)
{
	bare_set_up(&slat_npt, MIB(4));
	/* 0x40201678: pointer 1, directory 1, table 1 */
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG | CR0_WP,
				       .cr3 = 0x1000e0,
				       .cr4 = CR4_PAE };
	poke(0x1000e0 + 1 * 8, 0x101001, 8);
	poke(0x101000 + 1 * 8, 0x102007, 8);
	poke(0x102000 + 1 * 8, 0x800000007, 8);
	EXPECT(walk(0x40201678, MEM_WRITE) == 0x800000678);
	EXPECT(walk(0xffffffff40201678, MEM_WRITE) == 0x800000678);
	regs.is_user = true;
	EXPECT(walk(0x40201678, MEM_WRITE) == 0x800000678); /* top entries have no rights */
	expect_fault(0x201678, MEM_READ, Q_NOT_FOUND, 4);
	/* 2 MiB */
	poke(0x101000 + 2 * 8, 0x800200087, 8);
	EXPECT(walk(0x40512345, MEM_READ) == 0x800312345);
	poke(0x101000 + 2 * 8, 0x800202087, 8);
	expect_fault(0x40512345, MEM_READ, Q_DENIED, 1 | 4 | 8);
	poke(0x1000e0 + 1 * 8, 0x101003, 8); /* R/W is reserved there */
	expect_fault(0x40201678, MEM_READ, Q_DENIED, 1 | 4 | 8);
}

/* Tables at 0x100000 and up for one page at `virt`; returns the table of level 1. */
static void tables_make(uint64_t virt, unsigned levels, uint64_t leaf)
{
	uint64_t table = 0x100000;

	for (unsigned level = levels; level > 1; level--, table += PAGE_SIZE)
		poke(table + (virt >> (12 + 9 * (level - 1)) & 511) * 8, (table + PAGE_SIZE) | 7,
		     8);
	poke(table + (virt >> 12 & 511) * 8, leaf, 8);
	regs = (struct pgm_walk_regs){ .cr0 = CR0_PE | CR0_PG | CR0_WP,
				       .cr3 = 0x100000,
				       .cr4 = CR4_PAE,
				       .efer = EFER_LME | EFER_LMA | EFER_NXE };
}

TEST(pgm_walk, paging_4level)
{
	const uint64_t virt = 0xffff923456789abc;

	bare_set_up(&slat_npt, MIB(4));
	tables_make(virt, 4, 0x123456007);
	EXPECT(walk(virt, MEM_WRITE) == 0x123456abc);
	EXPECT(walk(virt + 1, MEM_EXEC) == 0x123456abd);
	regs.cr3 |= 0xfff; /* a PCID is no address */
	EXPECT(walk(virt, MEM_READ) == 0x123456abc);
	EXPECT(walk(virt & MASK64(47, 0), MEM_READ) == -Q_INVALID);
	EXPECT(walk(0x0000800000000000, MEM_READ) == -Q_INVALID);
	EXPECT(walk(0xffff7fffffffffff, MEM_READ) == -Q_INVALID);
	expect_fault(0x00007fffffffffff, MEM_READ, Q_NOT_FOUND, 0);
	expect_fault(virt + PAGE_SIZE, MEM_EXEC, Q_NOT_FOUND, 16);
	/* Large pages, with the PAT bit set: 2 MiB at level 2, 1 GiB at level 3. */
	tables_make(0x40000000, 4, 0);
	poke(0x102000, 0x80201087, 8);
	EXPECT(walk(0x40123456, MEM_READ) == 0x80323456);
	poke(0x102000, 0x80203087, 8);
	expect_fault(0x40123456, MEM_READ, Q_DENIED, 1 | 8);
	poke(0x101000 + 8, 0xc0001087, 8);
	EXPECT(walk(0x40123456, MEM_READ) == 0xc0123456);
	EXPECT(walk(0x7fffffff, MEM_READ) == 0xffffffff);
	poke(0x101000 + 8, 0xc0201087, 8);
	expect_fault(0x40123456, MEM_READ, Q_DENIED, 1 | 8);
	poke(0x101000 + 8, 0xc0001087, 8);
	poke(0x100000, 0x101087, 8); /* no page size at level 4 */
	expect_fault(0x40123456, MEM_WRITE, Q_DENIED, 1 | 2 | 8);
}

TEST(pgm_walk, paging_5level)
{
	const uint64_t virt = 0xff12345678123456;

	bare_set_up(&slat_npt, MIB(4));
	tables_make(virt, 5, 0x7777007);
	regs.cr4 |= CR4_LA57;
	EXPECT(walk(virt, MEM_READ) == 0x7777456);
	EXPECT(walk(0x0100000000000000, MEM_READ) == -Q_INVALID);
	expect_fault(0x00ffffffffffffff, MEM_READ, Q_NOT_FOUND, 0);
	regs.cr4 &= ~CR4_LA57;
	EXPECT(walk(virt, MEM_READ) == -Q_INVALID);
}

/* The entries of all levels must allow an access. */
TEST(pgm_walk, rights)
{
	const uint64_t virt = 0x40000000;

	bare_set_up(&slat_npt, MIB(4));
	for (unsigned level = 1; level <= 4; level++) {
		uint64_t at = 0x100000 + (4 - level) * PAGE_SIZE + (level == 3 ? 8 : 0);
		uint64_t to = level == 1 ? 0x200000 : at - (level == 3 ? 8 : 0) + PAGE_SIZE;
		/* A supervisor page. */
		tables_make(virt, 4, 0x200007);
		poke(at, to | 3, 8);
		EXPECT(walk(virt, MEM_WRITE) == 0x200000 && walk(virt, MEM_EXEC) == 0x200000);
		regs.is_user = true;
		expect_fault(virt, MEM_READ, Q_DENIED, 1 | 4);
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		/* A read-only page. */
		poke(at, to | 5, 8);
		EXPECT(walk(virt, MEM_READ) == 0x200000);
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		regs.is_user = false;
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2);
		regs.cr0 &= ~CR0_WP;
		EXPECT(walk(virt, MEM_WRITE) == 0x200000);
		regs.is_user = true;
		expect_fault(virt, MEM_WRITE, Q_DENIED, 1 | 2 | 4);
		/* A no-execute page. */
		poke(at, to | 7 | BIT64(63), 8);
		EXPECT(walk(virt, MEM_WRITE) == 0x200000);
		expect_fault(virt, MEM_EXEC, Q_DENIED, 1 | 4 | 16);
		regs.efer &= ~EFER_NXE;
		expect_fault(virt, MEM_READ, Q_DENIED, 1 | 4 | 8);
	}
	/* SMEP: the supervisor executes no user page. */
	tables_make(virt, 4, 0x200007);
	EXPECT(walk(virt, MEM_EXEC) == 0x200000);
	regs.cr4 |= CR4_SMEP;
	expect_fault(virt, MEM_EXEC, Q_DENIED, 1 | 16);
	EXPECT(walk(virt, MEM_READ) == 0x200000);
	regs.is_user = true;
	EXPECT(walk(virt, MEM_EXEC) == 0x200000);
}

TEST(pgm_walk, hostile_tables_do_no_harm)
{
	bare_set_up(&slat_npt, MIB(4));
	tables_make(0, 4, 0x200007);
	uint64_t pages = stats().private_pages;
	/* A table where no memory is, one beyond all memory, and one that points to itself. */
	regs.cr3 = 0xa0000;
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = MASK64(51, 12);
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = MASK64(63, 0);
	EXPECT(walk(0, MEM_READ) == -Q_RANGE);
	regs.cr3 = 0x300000; /* never written: zeros */
	expect_fault(0, MEM_READ, Q_NOT_FOUND, 0);
	EXPECT(stats().private_pages == pages);
	poke(0x300000, 0x300007, 8);
	EXPECT(walk(0, MEM_READ) == 0x300000);
	check();
}
