/* SPDX-License-Identifier: MIT */
#include "zero_fill.h"

/* SDM vol. 3, "Code- and Data-Segment Descriptor Types": bit E of a data segment. */
#define TYPE_CODE        BIT32(3)
#define TYPE_EXPAND_DOWN BIT32(2)

static unsigned elements_per_page(const struct zero_fill *fill)
{
	return (unsigned)PAGE_SIZE / fill->element_bytes;
}

bool zero_fill_decode(const uint8_t *bytes, unsigned byte_count, enum insn_mode mode,
		      const struct guest_regs *regs, struct zero_fill *out_fill)
{
	struct insn insn;

	if (insn_decode(bytes, byte_count, mode, regs, &insn) != Q_OK)
		return false;
	if (insn.operation != INSN_STOS || !insn.is_rep || insn.address_size == 2)
		return false;
	struct zero_fill fill = { insn.length, insn.size, insn.address_size };
	if (!zero_fill_has_page(&fill, regs))
		return false;
	*out_fill = fill;
	return true;
}

bool zero_fill_has_page(const struct zero_fill *fill, const struct guest_regs *regs)
{
	return (regs->gpr[GPR_RCX] & insn_address_mask(fill->address_bytes)) >=
	       elements_per_page(fill);
}

uint64_t zero_fill_offset(const struct zero_fill *fill, const struct guest_regs *regs)
{
	return regs->gpr[GPR_RDI] & insn_address_mask(fill->address_bytes);
}

bool zero_fill_fits_segment(const struct guest_segment *es, uint64_t offset)
{
	return !(es->attributes & (TYPE_CODE | TYPE_EXPAND_DOWN)) &&
	       offset + PAGE_MASK <= es->limit;
}

void zero_fill_page_skip(const struct zero_fill *fill, struct guest_regs *regs)
{
	uint64_t mask = insn_address_mask(fill->address_bytes);

	/* A write of 32 bits clears the upper half of a register, also in 64-bit mode. */
	regs->gpr[GPR_RDI] = (regs->gpr[GPR_RDI] + PAGE_SIZE) & mask;
	regs->gpr[GPR_RCX] = (regs->gpr[GPR_RCX] - elements_per_page(fill)) & mask;
	/* RF is set between the elements of a repeated instruction, and clear after the last. */
	regs->rflags &= ~RFLAGS_RF;
	if (!zero_fill_is_done(fill, regs))
		regs->rflags |= RFLAGS_RF;
}

bool zero_fill_is_done(const struct zero_fill *fill, const struct guest_regs *regs)
{
	return (regs->gpr[GPR_RCX] & insn_address_mask(fill->address_bytes)) == 0;
}
