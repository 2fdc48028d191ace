/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of vm/insn/. All are pure and have no state and no locks; any thread.
 *
 *   insn_decode.c    bytes to struct insn: prefixes, the opcode tables, operands
 *   insn_modrm.c     effective addresses: ModRM, SIB and displacement
 *   insn_execute.c   what a decoded instruction does to registers and flags
 */
#ifndef VM_INSN_INSN_INTERNAL_H
#define VM_INSN_INSN_INTERNAL_H

#include "vm/insn/insn.h"

#define REX_W 0x8u
#define REX_R 0x4u
#define REX_X 0x2u
#define REX_B 0x1u

#define MODRM_MOD(modrm) ((modrm) >> 6)
#define MODRM_REG(modrm) (((modrm) >> 3) & 7u)
#define MODRM_RM(modrm)  ((modrm)&7u)
#define MOD_REGISTER     3u

/* The bytes of an instruction, and what its prefixes said. */
struct decoder {
	const uint8_t *bytes;
	unsigned count;    /* readable bytes, at most INSN_MAX_BYTES */
	unsigned position; /* of the next byte to read, at most `count` */
	bool is_short;     /* a byte beyond `count` was asked for */

	enum insn_mode mode;
	const struct guest_regs *regs;

	uint8_t rex; /* 0: none, else 0x40..0x4f */
	bool is_lock, is_rep;
	uint8_t segment_override; /* SEG_COUNT: none */
	uint8_t operand_size;     /* 2, 4, 8 */
	uint8_t address_size;     /* 2, 4, 8 */
};

/* Reads the next byte. If there is none, sets is_short and returns 0. */
static inline uint8_t decoder_byte(struct decoder *d)
{
	if (d->position >= d->count) {
		d->is_short = true;
		return 0;
	}
	return d->bytes[d->position++];
}

/* Keeps the low `size_bytes` (1, 2, 4, 8) of a value. */
static inline uint64_t truncate_to(uint64_t value, unsigned size_bytes)
{
	return value & (~0ull >> (64 - 8 * size_bytes));
}

/* Extends the low `size_bytes` (1, 2, 4, 8) of a value to 64 bits. */
static inline uint64_t sign_extend_from(uint64_t value, unsigned size_bytes)
{
	uint64_t sign = 1ull << (8 * size_bytes - 1);
	return (truncate_to(value, size_bytes) ^ sign) - sign;
}

/* Reads a number of `size_bytes` (1, 2, 4, 8), least significant byte first. */
static inline uint64_t decoder_number(struct decoder *d, unsigned size_bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < size_bytes; i++)
		value |= (uint64_t)decoder_byte(d) << (8 * i);
	return value;
}

struct memory_operand {
	uint8_t segment;
	uint64_t offset;      /* not truncated to the address size */
	bool is_rip_relative; /* `offset` counts from the end of the instruction */
};

/* Reads SIB and displacement of a ModRM byte whose mod is not MOD_REGISTER. */
struct memory_operand insn_modrm_operand(struct decoder *d, uint8_t modrm);

#endif
