/* SPDX-License-Identifier: MIT */
/*
 * What a decoded instruction does to registers and flags. The caller accesses memory: values of
 * memory operands are passed in and out. Undefined flags (AF after AND, OR, XOR and TEST) are
 * cleared, as CPUs do.
 *
 * String instructions do one element: they step RSI and RDI, and count RCX down if there is a REP
 * prefix. The caller repeats (or re-enters the guest at the same RIP) while RCX is not zero. With
 * REP and RCX zero nothing happens.
 */
#include "insn_internal.h"

#define FLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

static uint64_t register_read(const struct guest_regs *regs, const struct insn *insn)
{
	uint64_t value = regs->gpr[insn->reg];
	if (insn->reg_is_high_byte)
		value >>= 8;
	return truncate_to(value, insn->register_size);
}

/* A write of 4 bytes clears the upper half; a shorter one keeps the rest. */
static void gpr_write(struct guest_regs *regs, unsigned reg, unsigned size_bytes, uint64_t value)
{
	if (size_bytes < 4)
		regs->gpr[reg] = (regs->gpr[reg] & ~truncate_to(~0ull, size_bytes)) |
				 truncate_to(value, size_bytes);
	else
		regs->gpr[reg] = truncate_to(value, size_bytes);
}

static void register_write(struct guest_regs *regs, const struct insn *insn, uint64_t value)
{
	if (insn->reg_is_high_byte)
		regs->gpr[insn->reg] = field_set(regs->gpr[insn->reg], MASK64(15, 8), value);
	else
		gpr_write(regs, insn->reg, insn->register_size, value);
}

static void flags_set(struct guest_regs *regs, uint64_t result, unsigned size_bytes,
		      uint64_t others)
{
	uint64_t flags = others;
	if (result == 0)
		flags |= RFLAGS_ZF;
	if (result >> (8 * size_bytes - 1))
		flags |= RFLAGS_SF;
	if (!__builtin_parity((unsigned)(result & 0xff)))
		flags |= RFLAGS_PF;
	regs->rflags = (regs->rflags & ~FLAGS_ARITHMETIC) | flags;
}

/* Bit n of `carries` is the carry out of bit n, and bit n of `overflows` the overflow there. */
static uint64_t carry_flags(uint64_t carries, uint64_t overflows, unsigned size_bytes)
{
	unsigned top = 8 * size_bytes - 1;
	uint64_t flags = 0;
	if (carries >> top & 1)
		flags |= RFLAGS_CF;
	if (carries >> 3 & 1)
		flags |= RFLAGS_AF;
	if (overflows >> top & 1)
		flags |= RFLAGS_OF;
	return flags;
}

static uint64_t add(struct guest_regs *regs, uint64_t a, uint64_t b, uint64_t carry_in,
		    unsigned size_bytes)
{
	uint64_t result = truncate_to(a + b + carry_in, size_bytes);
	uint64_t carries = (a & b) | ((a | b) & ~result);
	uint64_t overflows = (a ^ result) & (b ^ result);
	flags_set(regs, result, size_bytes, carry_flags(carries, overflows, size_bytes));
	return result;
}

static uint64_t subtract(struct guest_regs *regs, uint64_t a, uint64_t b, uint64_t borrow_in,
			 unsigned size_bytes)
{
	uint64_t result = truncate_to(a - b - borrow_in, size_bytes);
	uint64_t borrows = (~a & b) | ((~a | b) & result);
	uint64_t overflows = (a ^ b) & (a ^ result);
	flags_set(regs, result, size_bytes, carry_flags(borrows, overflows, size_bytes));
	return result;
}

static uint64_t logic(struct guest_regs *regs, uint64_t result, unsigned size_bytes)
{
	flags_set(regs, result, size_bytes, 0);
	return result;
}

/* `a` and `b` are truncated to the operand size. */
static uint64_t alu_compute(const struct insn *insn, struct guest_regs *regs, uint64_t a,
			    uint64_t b)
{
	uint64_t carry = regs->rflags & RFLAGS_CF ? 1 : 0;
	switch (insn->alu) {
	case ALU_ADD: return add(regs, a, b, 0, insn->size);
	case ALU_OR: return logic(regs, a | b, insn->size);
	case ALU_ADC: return add(regs, a, b, carry, insn->size);
	case ALU_SBB: return subtract(regs, a, b, carry, insn->size);
	case ALU_AND: return logic(regs, a & b, insn->size);
	case ALU_SUB: return subtract(regs, a, b, 0, insn->size);
	case ALU_XOR: return logic(regs, a ^ b, insn->size);
	case ALU_CMP: return subtract(regs, a, b, 0, insn->size);
	case ALU_TEST: return logic(regs, a & b, insn->size);
	}
	return a;
}

static bool alu_execute(const struct insn *insn, struct guest_regs *regs, uint64_t memory_value,
			uint64_t *out_value)
{
	uint64_t other = insn->has_immediate ? truncate_to(insn->immediate, insn->size)
					     : register_read(regs, insn);
	uint64_t a = insn->memory_is_destination ? memory_value : other;
	uint64_t b = insn->memory_is_destination ? other : memory_value;
	uint64_t result = alu_compute(insn, regs, a, b);

	if (insn->alu == ALU_CMP || insn->alu == ALU_TEST)
		return false;
	if (insn->memory_is_destination) {
		*out_value = result;
		return true;
	}
	register_write(regs, insn, result);
	return false;
}

static void index_step(struct guest_regs *regs, enum gpr reg, const struct insn *insn)
{
	uint64_t step = regs->rflags & RFLAGS_DF ? -(uint64_t)insn->size : insn->size;
	gpr_write(regs, reg, insn->address_size, regs->gpr[reg] + step);
}

static bool string_execute(const struct insn *insn, struct guest_regs *regs, uint64_t value,
			   uint64_t *out_value)
{
	if (insn->is_rep) {
		if (truncate_to(regs->gpr[GPR_RCX], insn->address_size) == 0)
			return false;
		gpr_write(regs, GPR_RCX, insn->address_size, regs->gpr[GPR_RCX] - 1);
	}
	if (insn->operation == INSN_MOVS)
		index_step(regs, GPR_RSI, insn);
	index_step(regs, GPR_RDI, insn);
	*out_value = value;
	return true;
}

static void load_execute(const struct insn *insn, struct guest_regs *regs, uint64_t memory_value)
{
	uint64_t value = memory_value;
	if (insn->is_sign_extended)
		value = sign_extend_from(value, insn->size);
	register_write(regs, insn, value);
}

bool insn_execute(const struct insn *insn, struct guest_regs *regs, uint64_t memory_value,
		  uint64_t *out_value)
{
	if (insn->operation == INSN_SIMPLE)
		return false;
	uint64_t value = truncate_to(memory_value, insn->size);

	switch (insn->operation) {
	case INSN_MOV_LOAD: load_execute(insn, regs, value); return false;
	case INSN_MOV_STORE:
		*out_value = insn->has_immediate ? truncate_to(insn->immediate, insn->size)
						 : register_read(regs, insn);
		return true;
	case INSN_ALU: return alu_execute(insn, regs, value, out_value);
	case INSN_XCHG:
		*out_value = register_read(regs, insn);
		register_write(regs, insn, value);
		return true;
	case INSN_STOS: return string_execute(insn, regs, register_read(regs, insn), out_value);
	case INSN_MOVS: return string_execute(insn, regs, value, out_value);
	case INSN_SIMPLE: break;
	}
	return false;
}
