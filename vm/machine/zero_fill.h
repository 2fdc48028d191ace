/* SPDX-License-Identifier: MIT */
/*
 * Zeroing elision: when a guest clears a page that is the zero page anyway, Quire skips the page
 * and allocates nothing. Kernels clear pages before they use them, Debian's at each allocation.
 * Without elision, each page that the guest only clears would cost a page of the machine.
 *
 * Pure: which REP STOS qualifies, and what clearing one page does to the registers. It qualifies
 * if RDI is at the start of a page, RAX is zero and at least a whole page is still to be cleared;
 * upwards only, and with 32-bit or 64-bit addresses: no kernel clears pages in another way. With
 * a single step or a breakpoint armed the CPU clears the page itself, because only the CPU knows
 * which element would trap.
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
	uint8_t address_bytes; /* 4, 8: the low bytes of RDI and RCX that count */
};

/* The fewest elements that make up a page. */
#define ZERO_FILL_COUNT_MIN (PAGE_SIZE / 8)

/*
 * Guesses, from registers alone, whether the write fault at `addr` is such a clearing. Called at
 * each write fault; hardly any other fault looks like one.
 */
static inline bool zero_fill_is_likely(const struct guest_regs *regs, gpa_t addr)
{
	return (((regs->gpr[GPR_RDI] | addr.raw) & PAGE_MASK) | regs->gpr[GPR_RAX] |
		(regs->rflags & (RFLAGS_DF | RFLAGS_TF))) == 0 &&
	       regs->gpr[GPR_RCX] >= ZERO_FILL_COUNT_MIN;
}

/* Decodes the instruction at `bytes`, for registers that are likely. False: it does not qualify. */
bool zero_fill_decode(const uint8_t *bytes, unsigned byte_count, enum insn_mode mode,
		      const struct guest_regs *regs, struct zero_fill *out_fill);

/* True if the whole page at RDI is still to be cleared. */
bool zero_fill_has_page(const struct zero_fill *fill, const struct guest_regs *regs);
/* Returns the offset of that page in its segment. */
uint64_t zero_fill_offset(const struct zero_fill *fill, const struct guest_regs *regs);
/* For use outside 64-bit mode: true if the segment contains the whole page at `offset`. */
bool zero_fill_fits_segment(const struct guest_segment *es, uint64_t offset);

/* Sets RDI, RCX and RFLAGS as after the last element of the page. The caller moves RIP. */
void zero_fill_page_skip(const struct zero_fill *fill, struct guest_regs *regs);
/* True if no element is left. */
bool zero_fill_is_done(const struct zero_fill *fill, const struct guest_regs *regs);

#endif
