/* SPDX-License-Identifier: MIT */
/*
 * AMD's nested page tables: the ordinary long-mode format (APM vol. 2, "Nested
 * Paging" and "Page-Translation-Table Entry Fields"). Pure functions. The twin
 * is slat_ept.c.
 *
 * Hardware differences: every guest access counts as a user access, so each entry
 * has U/S set; there is no read permission, a present page can be read; a page can
 * be executed unless NX is set.
 */
#include "mm/pgm/slat.h"

#include <quire/assert.h>
#include <quire/bits.h>

#define NPT_P    BIT64(0)
#define NPT_RW   BIT64(1)
#define NPT_US   BIT64(2)
#define NPT_A    BIT64(5)
#define NPT_D    BIT64(6)
#define NPT_PS   BIT64(7) /* in entries of level 2 and above: a leaf */
#define NPT_NX   BIT64(63)
#define NPT_ADDR MASK64(51, 12)

/* "4-Kbyte Page Translation", "2-Mbyte Page Translation": nine bits a level, below bit 48. */
_Static_assert(PAGE_SHIFT + SLAT_ROOT_LEVEL * SLAT_INDEX_BITS == 48, "four levels of tables");
_Static_assert(PAGE_SHIFT + SLAT_INDEX_BITS == 21 && SLAT_LARGE_LEVEL == 2,
	       "PS in an entry of level 2 makes a page of 2 MiB");
_Static_assert((NPT_ADDR & -NPT_ADDR) == PAGE_SIZE, "entries name tables and pages by frame");
_Static_assert((NPT_ADDR ^ NPT_P ^ NPT_RW ^ NPT_US ^ NPT_A ^ NPT_D ^ NPT_PS ^ NPT_NX) ==
		       (NPT_ADDR | 0x80000000000000e7),
	       "the fields of an entry do not overlap");

static uint64_t npt_encode_leaf(hfn_t frame, uint8_t permission, unsigned level)
{
	uint64_t entry = hfn_to_hpa(frame).raw | NPT_P | NPT_US;

	/* This format cannot deny reading. */
	Q_ASSERT(permission & SLAT_READ);
	if (permission & SLAT_WRITE)
		entry |= NPT_RW;
	if (!(permission & SLAT_EXEC))
		entry |= NPT_NX;
	if (level > 1)
		entry |= NPT_PS;
	return entry;
}

static uint64_t npt_encode_table(hfn_t table)
{
	return hfn_to_hpa(table).raw | NPT_P | NPT_RW | NPT_US;
}

static struct slat_entry npt_decode(uint64_t entry, unsigned level)
{
	struct slat_entry decoded = { .is_present = entry & NPT_P };

	if (!decoded.is_present)
		return decoded;
	decoded.is_leaf = level == 1 || (entry & NPT_PS);
	decoded.permission = SLAT_READ;
	if (entry & NPT_RW)
		decoded.permission |= SLAT_WRITE;
	if (!(entry & NPT_NX))
		decoded.permission |= SLAT_EXEC;
	decoded.accessed = entry & NPT_A;
	decoded.dirty = decoded.is_leaf && (entry & NPT_D);
	decoded.frame = hpa_to_hfn(hpa(entry & NPT_ADDR));
	return decoded;
}

const struct slat_format slat_npt = {
	.name = "NPT",
	.encode_leaf = npt_encode_leaf,
	.encode_table = npt_encode_table,
	.decode = npt_decode,
	.present = NPT_P,
	.large = NPT_PS,
	.address = NPT_ADDR,
	.noted = NPT_A | NPT_D,
	.dirty = NPT_D,
};
