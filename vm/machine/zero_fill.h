/* SPDX-License-Identifier: MIT */
/*
 * Zeroing elision: a guest that clears a page which is the zero page anyway has
 * it done without a page being allocated. Kernels clear pages before they use
 * them, Debian's at each allocation, so that memory which nobody wrote would
 * become zeros that cost a page each.
 *
 * Pure: which REP STOS qualifies, and what clearing one page does to the
 * registers. It qualifies where RDI is at the start of a page, RAX is zero and
 * a whole page is still to be done. Upwards only, and in 32-bit and 64-bit code
 * with addresses of that size: no kernel clears pages otherwise. With a single
 * step or a breakpoint armed the CPU does it itself, as only the CPU knows which
 * element would trap.
 *
 * docs/decisions/0009-zeroing-elision.md has the reasons.
 */
#ifndef VM_MACHINE_ZERO_FILL_H
#define VM_MACHINE_ZERO_FILL_H

#include <quire/addr.h>
#include <quire/guest_state.h>

#include "vm/insn/insn.h"

struct zero_fill {
	uint8_t length;        /* of the instruction, bytes */
	uint8_t element_bytes; /* 1, 2, 4, 8 */
	uint8_t address_bytes; /* 4, 8: how much of RDI and RCX counts */
};

/* A page has at least so many elements. */
#define ZERO_FILL_COUNT_MIN (PAGE_SIZE / 8)

/*
 * From registers alone: could the write fault at `addr` be such a clearing? Asked
 * at each write fault, and wrong for hardly any that is not one.
 */
static inline bool zero_fill_is_likely(const struct guest_regs *regs, gpa_t addr)
{
	return (((regs->gpr[GPR_RDI] | addr.raw) & PAGE_MASK) | regs->gpr[GPR_RAX] |
		(regs->rflags & (RFLAGS_DF | RFLAGS_TF))) == 0 &&
	       regs->gpr[GPR_RCX] >= ZERO_FILL_COUNT_MIN;
}

/* The instruction at `bytes`, for registers that are likely. False: not one that qualifies. */
bool zero_fill_decode(const uint8_t *bytes, unsigned byte_count, enum insn_mode mode,
		      const struct guest_regs *regs, struct zero_fill *out_fill);

/* Whether all of the page at RDI is still to be cleared. */
bool zero_fill_has_page(const struct zero_fill *fill, const struct guest_regs *regs);
/* Where that page is in its segment. */
uint64_t zero_fill_offset(const struct zero_fill *fill, const struct guest_regs *regs);
/* Outside 64-bit mode: whether the segment has all of the page at `offset`. */
bool zero_fill_fits_segment(const struct guest_segment *es, uint64_t offset);

/* The page at RDI is cleared: RDI, RCX and RFLAGS as after its last element. RIP is the caller's. */
void zero_fill_page_skip(const struct zero_fill *fill, struct guest_regs *regs);
bool zero_fill_is_done(const struct zero_fill *fill, const struct guest_regs *regs);

#endif
