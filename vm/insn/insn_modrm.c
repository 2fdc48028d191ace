/* SPDX-License-Identifier: MIT */
/*
 * Effective addresses: ModRM, SIB and displacement (APM vol. 3, "ModRM and SIB Bytes"). There are
 * two schemes, which share nothing: 16-bit addresses have eight fixed register pairs, 32-bit and
 * 64-bit addresses have base, index and scale.
 */
#include "insn_internal.h"

#define RM_HAS_SIB        4u /* the r/m value that announces a SIB byte */
#define RM_DISPLACEMENT   5u /* with mod 0: no base, 32-bit displacement */
#define RM16_DISPLACEMENT 6u /* with mod 0: no base, 16-bit displacement */
#define INDEX_NONE        4u

static uint8_t segment_choose(const struct decoder *d, bool is_stack)
{
	if (d->segment_override != SEG_COUNT)
		return d->segment_override;
	return is_stack ? SEG_SS : SEG_DS;
}

static uint64_t displacement_read(struct decoder *d, unsigned mod, unsigned wide_bytes)
{
	if (mod == 0)
		return 0;
	unsigned size_bytes = mod == 1 ? 1 : wide_bytes;
	return sign_extend_from(decoder_number(d, size_bytes), size_bytes);
}

static struct memory_operand operand_16(struct decoder *d, uint8_t modrm)
{
	static const struct {
		uint8_t base, index; /* GPR_COUNT: none */
	} pairs[8] = {
		{ GPR_RBX, GPR_RSI },   { GPR_RBX, GPR_RDI },   { GPR_RBP, GPR_RSI },
		{ GPR_RBP, GPR_RDI },   { GPR_RSI, GPR_COUNT }, { GPR_RDI, GPR_COUNT },
		{ GPR_RBP, GPR_COUNT }, { GPR_RBX, GPR_COUNT },
	};
	unsigned mod = MODRM_MOD(modrm), rm = MODRM_RM(modrm);

	if (mod == 0 && rm == RM16_DISPLACEMENT)
		return (struct memory_operand){ .segment = segment_choose(d, false),
						.offset = decoder_number(d, 2) };

	uint64_t offset = d->regs->gpr[pairs[rm].base];
	if (pairs[rm].index != GPR_COUNT)
		offset += d->regs->gpr[pairs[rm].index];
	offset += displacement_read(d, mod, 2);
	return (struct memory_operand){
		.segment = segment_choose(d, pairs[rm].base == GPR_RBP),
		.offset = offset,
	};
}

static struct memory_operand operand_sib(struct decoder *d, unsigned mod)
{
	uint8_t sib = decoder_byte(d);
	unsigned base = sib & 7u, index = (sib >> 3) & 7u, scale = sib >> 6;
	struct memory_operand operand = { 0 };
	bool is_stack = false;

	if (mod == 0 && base == RM_DISPLACEMENT) {
		operand.offset = sign_extend_from(decoder_number(d, 4), 4);
	} else {
		/* R12 and R13 are not stack registers, so compare after REX.B is added. */
		base |= d->rex & REX_B ? 8 : 0;
		is_stack = base == GPR_RSP || base == GPR_RBP;
		operand.offset = d->regs->gpr[base] + displacement_read(d, mod, 4);
	}

	index |= d->rex & REX_X ? 8 : 0;
	if (index != INDEX_NONE)
		operand.offset += d->regs->gpr[index] << scale;
	operand.segment = segment_choose(d, is_stack);
	return operand;
}

static struct memory_operand operand_flat(struct decoder *d, uint8_t modrm)
{
	unsigned mod = MODRM_MOD(modrm), rm = MODRM_RM(modrm);
	if (rm == RM_HAS_SIB)
		return operand_sib(d, mod);
	if (mod == 0 && rm == RM_DISPLACEMENT)
		return (struct memory_operand){
			.segment = segment_choose(d, false),
			.offset = sign_extend_from(decoder_number(d, 4), 4),
			.is_rip_relative = d->mode == INSN_MODE_64,
		};
	rm |= d->rex & REX_B ? 8 : 0;
	return (struct memory_operand){
		.segment = segment_choose(d, rm == GPR_RBP),
		.offset = d->regs->gpr[rm] + displacement_read(d, mod, 4),
	};
}

struct memory_operand insn_modrm_operand(struct decoder *d, uint8_t modrm)
{
	return d->address_size == 2 ? operand_16(d, modrm) : operand_flat(d, modrm);
}
