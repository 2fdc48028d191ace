/* SPDX-License-Identifier: MIT */
/*
 * The decoder: prefixes, opcode, operands, in the order of the bytes. Encodings as in APM vol. 3,
 * "Instruction Encoding" and "Opcode and Operand Encodings".
 *
 * Two tables, a row per opcode, say which instructions are known; all others are refused. The
 * bytes come from a guest and may be anything. decoder_byte() never reads beyond the last one; it
 * only notes that a byte was missing, and nothing is accepted with that note set. An instruction
 * longer than 15 bytes is invalid.
 *
 * Of the prefixes of an intercepted instruction only LOCK is judged: the CPU accepted the others
 * before it intercepted.
 */
#include "insn_internal.h"

#define F_KNOWN     0x001u
#define F_MODRM     0x002u
#define F_BYTE      0x004u /* operands of one byte, else of the operand size */
#define F_TO_MEMORY 0x008u /* memory is the first operand */
#define F_IMM8      0x010u /* an immediate of one byte follows, sign extended */
#define F_IMM       0x020u /* an immediate of the operand size follows, at most 4 bytes */
#define F_GROUP     0x040u /* ModRM.reg belongs to the opcode */
#define F_MOFFS     0x080u /* an absolute offset instead of ModRM; the register is RAX */
#define F_FROM_8    0x100u /* extending loads: memory has 1, 2 or 4 bytes */
#define F_FROM_16   0x200u
#define F_FROM_32   0x400u
#define F_SIGNED    0x800u

struct opcode {
	uint16_t flags; /* 0: not known */
	uint8_t operation;
	uint8_t alu;
};

#define ROW(operation_, flags_)                                 \
	{                                                       \
		(uint16_t)(F_KNOWN | (flags_)), (operation_), 0 \
	}
#define ROW_ALU(alu_, flags_)                                              \
	{                                                                  \
		(uint16_t)(F_KNOWN | F_MODRM | (flags_)), INSN_ALU, (alu_) \
	}

/* The opcodes of the four ModRM forms of an operation start at eight times its number. */
#define ROWS_ALU(alu_)                                                                  \
	[8 * (alu_)] = ROW_ALU(alu_, F_TO_MEMORY | F_BYTE), ROW_ALU(alu_, F_TO_MEMORY), \
	     ROW_ALU(alu_, F_BYTE), ROW_ALU(alu_, 0)

static const struct opcode one_byte[256] = {
	ROWS_ALU(ALU_ADD),
	ROWS_ALU(ALU_OR),
	ROWS_ALU(ALU_ADC),
	ROWS_ALU(ALU_SBB),
	ROWS_ALU(ALU_AND),
	ROWS_ALU(ALU_SUB),
	ROWS_ALU(ALU_XOR),
	ROWS_ALU(ALU_CMP),
	[0x63] = ROW(INSN_MOV_LOAD, F_MODRM | F_FROM_32 | F_SIGNED), /* MOVSXD */
	[0x80] = ROW(INSN_ALU, F_MODRM | F_GROUP | F_TO_MEMORY | F_IMM8 | F_BYTE),
	[0x81] = ROW(INSN_ALU, F_MODRM | F_GROUP | F_TO_MEMORY | F_IMM),
	[0x83] = ROW(INSN_ALU, F_MODRM | F_GROUP | F_TO_MEMORY | F_IMM8),
	[0x84] = ROW_ALU(ALU_TEST, F_TO_MEMORY | F_BYTE),
	[0x85] = ROW_ALU(ALU_TEST, F_TO_MEMORY),
	[0x86] = ROW(INSN_XCHG, F_MODRM | F_TO_MEMORY | F_BYTE),
	[0x87] = ROW(INSN_XCHG, F_MODRM | F_TO_MEMORY),
	[0x88] = ROW(INSN_MOV_STORE, F_MODRM | F_TO_MEMORY | F_BYTE),
	[0x89] = ROW(INSN_MOV_STORE, F_MODRM | F_TO_MEMORY),
	[0x8a] = ROW(INSN_MOV_LOAD, F_MODRM | F_BYTE),
	[0x8b] = ROW(INSN_MOV_LOAD, F_MODRM),
	[0xa0] = ROW(INSN_MOV_LOAD, F_MOFFS | F_BYTE),
	[0xa1] = ROW(INSN_MOV_LOAD, F_MOFFS),
	[0xa2] = ROW(INSN_MOV_STORE, F_MOFFS | F_TO_MEMORY | F_BYTE),
	[0xa3] = ROW(INSN_MOV_STORE, F_MOFFS | F_TO_MEMORY),
	[0xa4] = ROW(INSN_MOVS, F_TO_MEMORY | F_BYTE),
	[0xa5] = ROW(INSN_MOVS, F_TO_MEMORY),
	[0xaa] = ROW(INSN_STOS, F_TO_MEMORY | F_BYTE),
	[0xab] = ROW(INSN_STOS, F_TO_MEMORY),
	[0xc6] = ROW(INSN_MOV_STORE, F_MODRM | F_GROUP | F_TO_MEMORY | F_IMM8 | F_BYTE),
	[0xc7] = ROW(INSN_MOV_STORE, F_MODRM | F_GROUP | F_TO_MEMORY | F_IMM),
	[0xf4] = ROW(INSN_SIMPLE, 0), /* HLT */
	[0xf6] = ROW_ALU(ALU_TEST, F_GROUP | F_TO_MEMORY | F_IMM8 | F_BYTE),
	[0xf7] = ROW_ALU(ALU_TEST, F_GROUP | F_TO_MEMORY | F_IMM),
};

/* The second byte of opcodes that start with 0x0f. */
static const struct opcode two_byte[256] = {
	[0x01] = ROW(INSN_SIMPLE, F_GROUP), /* XSETBV, RDTSCP, VMCALL, VMMCALL */
	[0x08] = ROW(INSN_SIMPLE, 0),       /* INVD */
	[0x09] = ROW(INSN_SIMPLE, 0),       /* WBINVD */
	[0x30] = ROW(INSN_SIMPLE, 0),       /* WRMSR */
	[0x31] = ROW(INSN_SIMPLE, 0),       /* RDTSC */
	[0x32] = ROW(INSN_SIMPLE, 0),       /* RDMSR */
	[0x33] = ROW(INSN_SIMPLE, 0),       /* RDPMC */
	[0xa2] = ROW(INSN_SIMPLE, 0),       /* CPUID */
	[0xb6] = ROW(INSN_MOV_LOAD, F_MODRM | F_FROM_8),
	[0xb7] = ROW(INSN_MOV_LOAD, F_MODRM | F_FROM_16),
	[0xbe] = ROW(INSN_MOV_LOAD, F_MODRM | F_FROM_8 | F_SIGNED),
	[0xbf] = ROW(INSN_MOV_LOAD, F_MODRM | F_FROM_16 | F_SIGNED),
};

#define OPCODE_ESCAPE 0x0fu
#define OPCODE_MOVSXD 0x63u

/* The third byte of the known instructions 0f 01. */
#define GROUP7_VMCALL  0xc1u
#define GROUP7_XSETBV  0xd1u
#define GROUP7_VMMCALL 0xd9u
#define GROUP7_RDTSCP  0xf9u

/* More bytes can help only if fewer were given than the longest instruction has. */
static q_status_t short_status(const struct decoder *d)
{
	return d->count < INSN_MAX_BYTES ? Q_RANGE : Q_INVALID;
}

/* --- prefixes --------------------------------------------------------------------------------- */

struct sizes_prefixed {
	bool operand, address;
};

/* In 64-bit mode only FS and GS have a base; overrides with the others do nothing. */
static void segment_prefix(struct decoder *d, enum guest_segment_name segment)
{
	if (d->mode != INSN_MODE_64 || segment == SEG_FS || segment == SEG_GS)
		d->segment_override = (uint8_t)segment;
}

/* False: the byte is no legacy prefix. */
static bool legacy_prefix(struct decoder *d, uint8_t byte, struct sizes_prefixed *sizes)
{
	switch (byte) {
	case 0x26: segment_prefix(d, SEG_ES); return true;
	case 0x2e: segment_prefix(d, SEG_CS); return true;
	case 0x36: segment_prefix(d, SEG_SS); return true;
	case 0x3e: segment_prefix(d, SEG_DS); return true;
	case 0x64: segment_prefix(d, SEG_FS); return true;
	case 0x65: segment_prefix(d, SEG_GS); return true;
	case 0x66: sizes->operand = true; return true;
	case 0x67: sizes->address = true; return true;
	case 0xf0: d->is_lock = true; return true;
	case 0xf2:
	case 0xf3: d->is_rep = true; return true;
	default: return false;
	}
}

static void sizes_set(struct decoder *d, const struct sizes_prefixed *prefixed)
{
	switch (d->mode) {
	case INSN_MODE_16:
		d->operand_size = prefixed->operand ? 4 : 2;
		d->address_size = prefixed->address ? 4 : 2;
		break;
	case INSN_MODE_32:
		d->operand_size = prefixed->operand ? 2 : 4;
		d->address_size = prefixed->address ? 2 : 4;
		break;
	case INSN_MODE_64:
		d->operand_size = prefixed->operand ? 2 : 4;
		if (d->rex & REX_W)
			d->operand_size = 8;
		d->address_size = prefixed->address ? 4 : 8;
		break;
	}
}

/* Reads all prefixes. Returns the first byte that is not one. */
static uint8_t prefixes_read(struct decoder *d)
{
	struct sizes_prefixed sizes = { 0 };
	uint8_t byte;
	for (;;) {
		byte = decoder_byte(d);
		if (d->is_short)
			break;
		if (d->mode == INSN_MODE_64 && (byte & 0xf0) == 0x40) {
			d->rex = byte;
			continue;
		}
		if (!legacy_prefix(d, byte, &sizes))
			break;
		/* REX counts only directly before the opcode. */
		d->rex = 0;
	}
	sizes_set(d, &sizes);
	return byte;
}

/* --- operands --------------------------------------------------------------------------------- */

static void register_set(const struct decoder *d, unsigned reg, struct insn *insn)
{
	insn->reg = (uint8_t)(reg | (d->rex & REX_R ? 8 : 0));
	/* Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
	if (insn->register_size == 1 && !d->rex && reg >= 4) {
		insn->reg = (uint8_t)(reg - 4);
		insn->reg_is_high_byte = true;
	}
}

static void operand_sizes_set(const struct decoder *d, const struct opcode *op, struct insn *insn)
{
	insn->register_size = op->flags & F_BYTE ? 1 : d->operand_size;
	insn->size = insn->register_size;
	if (op->flags & F_FROM_8)
		insn->size = 1;
	if (op->flags & F_FROM_16)
		insn->size = 2;
	/* MOVSXD with a 16-bit operand reads 16 bits. */
	if (op->flags & F_FROM_32 && d->operand_size == 8)
		insn->size = 4;
	insn->is_sign_extended = op->flags & F_SIGNED;
}

/* Takes ModRM.reg as a part of the opcode. */
static q_status_t group_set(unsigned reg, struct insn *insn)
{
	if (insn->operation == INSN_MOV_STORE)
		return reg == 0 ? Q_OK : Q_INVALID;
	/* F6 and F7: 1 is the same as 0; the others, NOT to IDIV, are not known. */
	if (insn->alu == ALU_TEST)
		return reg <= 1 ? Q_OK : Q_UNSUPPORTED;
	insn->alu = (enum insn_alu)reg;
	return Q_OK;
}

/* *out_is_rip_relative: RIP is still to be added, once the length is known. */
static q_status_t modrm_read(struct decoder *d, const struct opcode *op, struct insn *insn,
			     bool *out_is_rip_relative)
{
	uint8_t modrm = decoder_byte(d);
	if (d->is_short)
		return short_status(d);
	if (MODRM_MOD(modrm) == MOD_REGISTER)
		return Q_UNSUPPORTED;

	if (op->flags & F_GROUP) {
		q_status_t status = group_set(MODRM_REG(modrm), insn);
		if (status != Q_OK)
			return status;
	} else {
		register_set(d, MODRM_REG(modrm), insn);
	}
	struct memory_operand operand = insn_modrm_operand(d, modrm);
	insn->segment = operand.segment;
	insn->offset = operand.offset;
	*out_is_rip_relative = operand.is_rip_relative;
	return Q_OK;
}

static void immediate_read(struct decoder *d, const struct opcode *op, struct insn *insn)
{
	unsigned size_bytes = 1;
	if (op->flags & F_IMM)
		size_bytes = d->operand_size == 2 ? 2 : 4;
	insn->has_immediate = true;
	insn->immediate = sign_extend_from(decoder_number(d, size_bytes), size_bytes);
}

/* MOV with absolute offset, STOS and MOVS: no ModRM, the register is RAX. */
static void implicit_operand_set(struct decoder *d, const struct opcode *op, struct insn *insn)
{
	insn->reg = GPR_RAX;
	insn->segment = d->segment_override != SEG_COUNT ? d->segment_override : SEG_DS;
	if (op->flags & F_MOFFS)
		insn->offset = decoder_number(d, d->address_size);
	if (op->operation == INSN_STOS)
		insn->segment = SEG_ES; /* cannot be overridden */
}

static q_status_t memory_operands_read(struct decoder *d, const struct opcode *op,
				       struct insn *insn)
{
	bool is_rip_relative = false;
	operand_sizes_set(d, op, insn);
	insn->address_size = d->address_size;
	insn->memory_is_destination = op->flags & F_TO_MEMORY;

	if (op->flags & F_MODRM) {
		q_status_t status = modrm_read(d, op, insn, &is_rip_relative);
		if (status != Q_OK)
			return status;
	} else {
		implicit_operand_set(d, op, insn);
		insn->is_rep = d->is_rep && !(op->flags & F_MOFFS);
	}
	if (op->flags & (F_IMM8 | F_IMM))
		immediate_read(d, op, insn);
	if (is_rip_relative)
		insn->offset += d->regs->rip + d->position;
	insn->offset = truncate_to(insn->offset, d->address_size);
	return Q_OK;
}

/* --- opcodes ---------------------------------------------------------------------------------- */

static q_status_t group7_read(struct decoder *d, struct insn *insn)
{
	uint8_t third = decoder_byte(d);
	if (d->is_short)
		return short_status(d);
	if (third != GROUP7_VMCALL && third != GROUP7_XSETBV && third != GROUP7_VMMCALL &&
	    third != GROUP7_RDTSCP)
		return Q_UNSUPPORTED;
	insn->immediate = third;
	return Q_OK;
}

static bool is_lockable(const struct insn *insn)
{
	if (insn->operation == INSN_XCHG)
		return true;
	return insn->operation == INSN_ALU && insn->memory_is_destination && insn->alu != ALU_CMP &&
	       insn->alu != ALU_TEST;
}

static const struct opcode *opcode_find(uint16_t opcode, enum insn_mode mode)
{
	const struct opcode *op = opcode > 0xff ? &two_byte[opcode & 0xff] : &one_byte[opcode];
	if (!op->flags)
		return NULL;
	/* Outside 64-bit mode this opcode is ARPL. */
	if (opcode == OPCODE_MOVSXD && mode != INSN_MODE_64)
		return NULL;
	return op;
}

static q_status_t operands_read(struct decoder *d, const struct opcode *op, struct insn *insn)
{
	if (op->operation != INSN_SIMPLE)
		return memory_operands_read(d, op, insn);
	return op->flags & F_GROUP ? group7_read(d, insn) : Q_OK;
}

q_status_t insn_decode(const uint8_t *bytes, unsigned byte_count, enum insn_mode mode,
		       const struct guest_regs *regs, struct insn *out_insn)
{
	struct decoder d = {
		.bytes = bytes,
		.count = byte_count < INSN_MAX_BYTES ? byte_count : INSN_MAX_BYTES,
		.mode = mode,
		.regs = regs,
		.segment_override = SEG_COUNT,
	};
	uint16_t opcode = prefixes_read(&d);
	if (opcode == OPCODE_ESCAPE)
		opcode = (uint16_t)(OPCODE_ESCAPE << 8 | decoder_byte(&d));
	if (d.is_short)
		return short_status(&d);
	const struct opcode *op = opcode_find(opcode, mode);
	if (!op)
		return Q_UNSUPPORTED;

	struct insn insn = { .opcode = opcode,
			     .operation = (enum insn_operation)op->operation,
			     .alu = (enum insn_alu)op->alu };
	q_status_t status = operands_read(&d, op, &insn);
	if (status != Q_OK)
		return status;
	if (d.is_lock && !is_lockable(&insn))
		return Q_INVALID;
	if (d.is_short)
		return short_status(&d);
	insn.length = (uint8_t)d.position;
	*out_insn = insn;
	return Q_OK;
}
