/* SPDX-License-Identifier: MIT */
/*
 * Intel's extended page tables (SDM vol. 3, "EPT Translation Mechanism" and
 * "EPT and Memory Typing"). Pure functions. The twin is slat_npt.c.
 *
 * Hardware differences: there are three permission bits, and an entry with none of
 * them is not present; write permission without read permission is a
 * misconfiguration; a leaf names its memory type. Here that is always write-back,
 * without "ignore PAT", so the guest's PAT still counts.
 */
#include "mm/pgm/slat.h"

#include <quire/assert.h>
#include <quire/bits.h>

#define EPT_R       BIT64(0)
#define EPT_W       BIT64(1)
#define EPT_X       BIT64(2)
#define EPT_MEMTYPE MASK64(5, 3) /* leaves only */
#define EPT_PS      BIT64(7)     /* in entries of level 2 and above: a leaf */
#define EPT_A       BIT64(8)
#define EPT_D       BIT64(9)
#define EPT_ADDR    MASK64(51, 12)

#define EPT_MEMTYPE_WB 6u

/* "EPT Translation Mechanism": nine bits a level, below bit 48. */
_Static_assert(PAGE_SHIFT + SLAT_ROOT_LEVEL * SLAT_INDEX_BITS == 48, "four levels of tables");
_Static_assert(PAGE_SHIFT + SLAT_INDEX_BITS == 21 && SLAT_LARGE_LEVEL == 2,
	       "bit 7 in an entry of level 2 makes a page of 2 MiB");
_Static_assert((EPT_ADDR & -EPT_ADDR) == PAGE_SIZE, "entries name tables and pages by frame");
_Static_assert((EPT_ADDR ^ EPT_R ^ EPT_W ^ EPT_X ^ EPT_MEMTYPE ^ EPT_PS ^ EPT_A ^ EPT_D) ==
		       (EPT_ADDR | 0x3bf),
	       "the fields of an entry do not overlap");

static uint64_t ept_encode_leaf(hfn_t frame, uint8_t permission, unsigned level)
{
	uint64_t entry = field_set(hfn_to_hpa(frame).raw, EPT_MEMTYPE, EPT_MEMTYPE_WB) | EPT_R;

	/* Not every CPU can map for execution alone, and the twin's format cannot express it. */
	Q_ASSERT(permission & SLAT_READ);
	if (permission & SLAT_WRITE)
		entry |= EPT_W;
	if (permission & SLAT_EXEC)
		entry |= EPT_X;
	if (level > 1)
		entry |= EPT_PS;
	return entry;
}

static uint64_t ept_encode_table(hfn_t table)
{
	return hfn_to_hpa(table).raw | EPT_R | EPT_W | EPT_X;
}

static struct slat_entry ept_decode(uint64_t entry, unsigned level)
{
	struct slat_entry decoded = { .is_present = entry & (EPT_R | EPT_W | EPT_X) };

	if (!decoded.is_present)
		return decoded;
	decoded.is_leaf = level == 1 || (entry & EPT_PS);
	if (entry & EPT_R)
		decoded.permission |= SLAT_READ;
	if (entry & EPT_W)
		decoded.permission |= SLAT_WRITE;
	if (entry & EPT_X)
		decoded.permission |= SLAT_EXEC;
	decoded.accessed = entry & EPT_A;
	decoded.dirty = decoded.is_leaf && (entry & EPT_D);
	decoded.frame = hpa_to_hfn(hpa(entry & EPT_ADDR));
	return decoded;
}

const struct slat_format slat_ept = {
	.name = "EPT",
	.encode_leaf = ept_encode_leaf,
	.encode_table = ept_encode_table,
	.decode = ept_decode,
	.present = EPT_R | EPT_W | EPT_X,
	.large = EPT_PS,
	.address = EPT_ADDR,
	.noted = EPT_A | EPT_D,
	.dirty = EPT_D,
};
