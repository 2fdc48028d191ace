/* SPDX-License-Identifier: MIT */
/*
 * Translates guest-virtual to guest-physical, in each of the guest's paging modes
 * (APM vol. 2, "Page Translation and Protection"; SDM vol. 3, "Paging"), for the
 * instruction emulator. One loop serves all modes; a table says how they differ.
 *
 * Nothing here trusts the guest's tables: the number of steps is fixed, and each
 * address is checked against the records.
 *
 * Accessed and dirty bits are set as hardware sets them. They are the one exception
 * to "reading never allocates": setting a bit writes to the page of the table, which
 * may first need a page of its own. So a bit that is set already is not written again.
 * The bits are set when the whole walk is done and allowed, each by compare and
 * exchange with the entry that the walk saw. If another CPU of the guest changed the
 * entry meanwhile, the walk starts again, a bounded number of times. Where a table
 * takes no writes (in ROM, or because a handler wants them), its bits stay as they are.
 *
 * Simpler than hardware:
 *   - a walk that ends in a fault sets no bits, which the manuals leave open;
 *   - SMAP and protection keys are not applied, since RFLAGS.AC and PKRU are not
 *     known here: such an access is allowed;
 *   - PAE's four top entries are read from memory, not from a cached copy;
 *   - only reserved bits that do not depend on CPUID are checked: NX without EFER.NXE,
 *     the page size bit at levels without large pages, the low address bits of a large
 *     page, and the reserved bits of PAE's top entries.
 */
#include "mm/pgm/pgm.h"

#include <quire/bits.h>
#include <quire/guest_state.h>
#include <quire/x86_state.h>

#include "pgm_internal.h"

#define PTE_P       BIT64(0)
#define PTE_RW      BIT64(1)
#define PTE_US      BIT64(2)
#define PTE_A       BIT64(5)
#define PTE_D       BIT64(6)
#define PTE_PS      BIT64(7)
#define PTE_PAT_PS  BIT64(12) /* PAT of a large page */
#define PTE_NX      BIT64(63)
#define PTE_ADDR    MASK64(51, 12)
#define PTE_ADDR_32 MASK64(31, 12)

/* A 4 MiB page: address bits 31:22 in place, 39:32 in bits 20:13 (PSE-36). */
#define PDE_4M_ADDR      MASK64(31, 22)
#define PDE_4M_ADDR_HIGH MASK64(20, 13)
#define PDE_4M_RESERVED  BIT64(21)

#define PDPTE_PAE_RESERVED (MASK64(2, 1) | MASK64(8, 5) | PTE_NX)

#define PF_P    BIT32(0)
#define PF_W    BIT32(1)
#define PF_U    BIT32(2)
#define PF_RSVD BIT32(3)
#define PF_I    BIT32(4)

struct walk_mode {
	uint8_t levels;
	uint8_t index_bits;
	uint8_t entry_bytes;
	uint8_t large_levels; /* entries of levels 2 to this one may be pages */
	uint64_t root;        /* the bits of CR3 that are the root's address */
};

static const struct walk_mode mode_32bit = { 2, 10, 4, 1, PTE_ADDR_32 };
static const struct walk_mode mode_32bit_pse = { 2, 10, 4, 2, PTE_ADDR_32 };
static const struct walk_mode mode_pae = { 3, 9, 8, 2, MASK64(31, 5) };
static const struct walk_mode mode_4level = { 4, 9, 8, 3, PTE_ADDR };
static const struct walk_mode mode_5level = { 5, 9, 8, 3, PTE_ADDR };

#define LEVELS_MAX  5u
#define RESTART_MAX 8u

/* One entry that a walk went through. */
struct step {
	gpa_t addr;
	uint64_t entry;
};

/* One walk under way. */
struct walk {
	const struct walk_mode *mode;
	const struct pgm_walk_regs *regs;
	uint64_t virt;
	enum mem_access access;
	/* The rights that all levels so far grant. */
	bool is_user, is_writable, is_executable;
	/* The entries from the root down; the last one is the page's. NULL: sets no bits. */
	struct step *steps;
	unsigned step_count;
};

static bool has_nx(const struct walk *walk)
{
	return walk->mode->entry_bytes == 8 && (walk->regs->efer & EFER_NXE);
}

/* --- modes -------------------------------------------------------------------------- */

/* NULL: no paging. */
static const struct walk_mode *mode_of(const struct pgm_walk_regs *regs)
{
	if (!(regs->cr0 & CR0_PG))
		return NULL;
	if (regs->efer & EFER_LMA)
		return regs->cr4 & CR4_LA57 ? &mode_5level : &mode_4level;
	if (regs->cr4 & CR4_PAE)
		return &mode_pae;
	return regs->cr4 & CR4_PSE ? &mode_32bit_pse : &mode_32bit;
}

static bool is_canonical(const struct walk_mode *mode, uint64_t virt)
{
	return x86_is_canonical(virt, PAGE_SHIFT + mode->levels * mode->index_bits);
}

static unsigned level_shift(const struct walk_mode *mode, unsigned level)
{
	return PAGE_SHIFT + (level - 1) * mode->index_bits;
}

/* --- entries -------------------------------------------------------------------------- */

static q_status_t entry_read(const struct pgm *pgm, struct walk *walk, uint64_t table,
			     unsigned level, uint64_t *out_entry) Q_REQUIRES(pgm->lock)
{
	const struct walk_mode *mode = walk->mode;
	uint64_t index = walk->virt >> level_shift(mode, level) & (BIT64(mode->index_bits) - 1);
	gpa_t addr = gpa(table + index * mode->entry_bytes);

	q_status_t status = pgm_word_read_locked(pgm, addr, mode->entry_bytes, out_entry);
	/* PAE's top entries have no accessed and dirty bits. */
	if (status == Q_OK && walk->steps && (mode != &mode_pae || level < 3))
		walk->steps[walk->step_count++] = (struct step){ addr, *out_entry };
	return status;
}

static bool entry_is_page(const struct walk *walk, uint64_t entry, unsigned level)
{
	return level == 1 || (level <= walk->mode->large_levels && (entry & PTE_PS));
}

static bool entry_has_reserved(const struct walk *walk, uint64_t entry, unsigned level)
{
	const struct walk_mode *mode = walk->mode;

	if (mode->entry_bytes == 4)
		return entry_is_page(walk, entry, level) && level > 1 && (entry & PDE_4M_RESERVED);
	if (mode == &mode_pae && level == 3)
		return entry & PDPTE_PAE_RESERVED;
	if ((entry & PTE_NX) && !has_nx(walk))
		return true;
	if (level == 1)
		return false;
	if (!entry_is_page(walk, entry, level))
		return level > 3 && (entry & PTE_PS);
	return entry & PTE_ADDR & (BIT64(level_shift(mode, level)) - 1) & ~PTE_PAT_PS;
}

static void rights_add(struct walk *walk, uint64_t entry, unsigned level)
{
	/* PAE's top entries have no rights. */
	if (walk->mode == &mode_pae && level == 3)
		return;
	walk->is_user &= (entry & PTE_US) != 0;
	walk->is_writable &= (entry & PTE_RW) != 0;
	if (has_nx(walk))
		walk->is_executable &= !(entry & PTE_NX);
}

static uint64_t table_address(const struct walk *walk, uint64_t entry)
{
	return entry & (walk->mode->entry_bytes == 4 ? PTE_ADDR_32 : PTE_ADDR);
}

static gpa_t page_address(const struct walk *walk, uint64_t entry, unsigned level)
{
	uint64_t offset = BIT64(level_shift(walk->mode, level)) - 1;
	uint64_t page = table_address(walk, entry) & ~offset;

	if (walk->mode->entry_bytes == 4 && level == 2)
		page = (entry & PDE_4M_ADDR) | field_get(entry, PDE_4M_ADDR_HIGH) << 32;
	return gpa(page | (walk->virt & offset));
}

/* --- rights ------------------------------------------------------------------------------ */

static bool is_allowed(const struct walk *walk)
{
	const struct pgm_walk_regs *regs = walk->regs;

	if (regs->is_user && !walk->is_user)
		return false;
	switch (walk->access) {
	case MEM_READ: return true;
	case MEM_WRITE: return walk->is_writable || (!regs->is_user && !(regs->cr0 & CR0_WP));
	case MEM_EXEC:
		if (!regs->is_user && walk->is_user && (regs->cr4 & CR4_SMEP))
			return false;
		return walk->is_executable;
	}
	return false;
}

/* The error code of #PF, without bits P and RSVD. */
static uint32_t error_code(const struct walk *walk)
{
	uint32_t code = walk->regs->is_user ? PF_U : 0;

	if (walk->access == MEM_WRITE)
		code |= PF_W;
	if (walk->access == MEM_EXEC && (has_nx(walk) || (walk->regs->cr4 & CR4_SMEP)))
		code |= PF_I;
	return code;
}

/* --- the walk -------------------------------------------------------------------------------- */

static q_status_t walk_tables(const struct pgm *pgm, struct walk *walk, gpa_t *out_addr,
			      uint32_t *out_error_code) Q_REQUIRES(pgm->lock)
{
	uint64_t table = walk->regs->cr3 & walk->mode->root;

	walk->is_user = walk->is_writable = walk->is_executable = true;
	walk->step_count = 0;
	for (unsigned level = walk->mode->levels;; level--) {
		uint64_t entry;
		q_status_t status = entry_read(pgm, walk, table, level, &entry);
		if (status != Q_OK)
			return status;
		if (!(entry & PTE_P)) {
			*out_error_code = error_code(walk);
			return Q_NOT_FOUND;
		}
		if (entry_has_reserved(walk, entry, level)) {
			*out_error_code = error_code(walk) | PF_P | PF_RSVD;
			return Q_DENIED;
		}
		rights_add(walk, entry, level);
		if (entry_is_page(walk, entry, level)) {
			*out_addr = page_address(walk, entry, level);
			break;
		}
		table = table_address(walk, entry);
	}
	if (is_allowed(walk))
		return Q_OK;
	*out_error_code = error_code(walk) | PF_P;
	return Q_DENIED;
}

/* Q_CONFLICT: an entry has changed; Q_NO_MEMORY. */
static q_status_t bits_set(struct pgm *pgm, const struct walk *walk) Q_REQUIRES(pgm->lock)
{
	for (unsigned i = 0; i < walk->step_count; i++) {
		const struct step *step = &walk->steps[i];
		bool is_page = i == walk->step_count - 1;
		uint64_t bits = PTE_A | (is_page && walk->access == MEM_WRITE ? PTE_D : 0);
		if ((step->entry & bits) == bits)
			continue;
		q_status_t status = pgm_word_exchange_locked(
			pgm, step->addr, walk->mode->entry_bytes, step->entry, step->entry | bits);
		if (status == Q_CONFLICT || status == Q_NO_MEMORY)
			return status;
	}
	return Q_OK;
}

static q_status_t walk_locked(struct pgm *pgm, struct walk *walk, gpa_t *out_addr,
			      uint32_t *out_error_code) Q_REQUIRES(pgm->lock)
{
	for (unsigned i = 0; i < RESTART_MAX; i++) {
		q_status_t status = walk_tables(pgm, walk, out_addr, out_error_code);
		if (status == Q_OK && walk->steps)
			status = bits_set(pgm, walk);
		if (status != Q_CONFLICT)
			return status;
	}
	/* Another CPU keeps changing the entries. The translation was right when it was read. */
	return Q_OK;
}

q_status_t pgm_walk(struct pgm *pgm, const struct pgm_walk_regs *regs, uint64_t virt,
		    enum mem_access access, gpa_t *out_addr, uint32_t *out_error_code)
	Q_EXCLUDES(pgm->lock)
{
	const struct walk_mode *mode = mode_of(regs);
	bool is_long = regs->efer & EFER_LMA;
	struct step steps[LEVELS_MAX];
	struct walk walk = {
		.mode = mode,
		.regs = regs,
		.virt = is_long ? virt : (uint32_t)virt,
		.access = access,
		/* A CPU fetched the instruction that Quire emulates, and set the bits for that. */
		.steps = access == MEM_EXEC ? NULL : steps,
	};
	gpa_t addr = gpa(0);

	if (!mode) {
		*out_addr = gpa(walk.virt);
		return Q_OK;
	}
	if (is_long && !is_canonical(mode, virt))
		return Q_INVALID;
	spin_lock(&pgm->lock);
	q_status_t status = walk_locked(pgm, &walk, &addr, out_error_code);
	spin_unlock(&pgm->lock);
	if (status == Q_OK)
		*out_addr = addr;
	return status;
}
