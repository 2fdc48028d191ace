/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoder and emulator: for CPUs that report no next RIP, and for instructions that
 * access device memory. Pure: bytes and registers in, effects out. It knows only the instructions
 * that Quire must decode and refuses all others; the caller then injects what a CPU would.
 */
#ifndef VM_INSN_INSN_H
#define VM_INSN_INSN_H

#include <quire/guest_state.h>
#include <quire/status.h>
#include <quire/x86_state.h>

enum insn_mode { INSN_MODE_16, INSN_MODE_32, INSN_MODE_64 };

enum insn_operation {
	INSN_MOV_LOAD,  /* register <- memory, also MOVZX, MOVSX, MOVSXD */
	INSN_MOV_STORE, /* memory <- register or immediate */
	INSN_ALU,       /* ADD OR ADC SBB AND SUB XOR CMP TEST with a memory operand */
	INSN_STOS,
	INSN_MOVS,
	INSN_XCHG,
	INSN_SIMPLE, /* a known instruction without memory operand: only its length matters */
};

enum insn_alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST };

struct insn {
	uint8_t length; /* bytes */
	enum insn_operation operation;
	enum insn_alu alu;
	uint8_t size;          /* of the memory operand: 1, 2, 4, 8 */
	uint8_t register_size; /* of the register operand; differs from `size` for MOVZX and such */
	bool is_sign_extended;
	bool has_immediate;
	bool memory_is_destination;
	bool is_rep;
	uint8_t address_size;  /* 2, 4, 8 */
	uint8_t reg;           /* enum gpr; the register operand */
	bool reg_is_high_byte; /* AH, CH, DH, BH */
	uint64_t immediate;    /* sign extended to 64 bits; for opcode 0x0f01 the third byte */
	uint8_t segment;       /* enum guest_segment_name of the memory operand */
	uint64_t offset;       /* effective address in the segment; not for STOS and MOVS */
	uint16_t opcode;       /* two-byte opcodes with their 0x0f: 0x0fa2 is CPUID */
};

/* The bits of a register that an address of 2, 4 or 8 bytes has. */
static inline uint64_t insn_address_mask(unsigned address_size)
{
	return ~0ull >> (64 - 8 * address_size);
}

/*
 * Decodes the instruction at `bytes`. Pass INSN_MAX_BYTES bytes, or fewer if the rest cannot be
 * read. The effective address is computed from `regs`. Q_UNSUPPORTED: not a known instruction;
 * Q_RANGE: more bytes are needed; Q_INVALID: no valid encoding (#UD).
 */
q_status_t insn_decode(const uint8_t *bytes, unsigned byte_count, enum insn_mode mode,
		       const struct guest_regs *regs, struct insn *out_insn) Q_MUST_USE;

/*
 * Carries out an instruction on registers and flags. The caller reads and writes memory, and moves
 * RIP. `memory_value` is what the caller has read from the memory operand, or anything if the
 * instruction does not read it. True: the caller must write *out_value to the memory operand.
 *
 * STOS and MOVS do one element. The caller takes the addresses from RSI and RDI before the call,
 * which then steps RDI, for MOVS also RSI, and with a REP prefix RCX. With REP and RCX zero it
 * does nothing and returns false.
 */
bool insn_execute(const struct insn *insn, struct guest_regs *regs, uint64_t memory_value,
		  uint64_t *out_value);

#endif
