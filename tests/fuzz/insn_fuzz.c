/* SPDX-License-Identifier: MIT */
/*
 * insn_fuzz [operations] [seed]: sends random and mutated instructions through the decoder and the
 * emulator. The input lies in a heap block of exactly its size, so that a read beyond it dies
 * under ASan. Checks for every input:
 *
 *  - an accepted instruction has 1 to 15 bytes, all of them given;
 *  - it decodes the same from exactly its own bytes, and is refused with one byte less;
 *  - 15 bytes or more never get the answer "more bytes are needed";
 *  - the emulator changes only registers and flags that its instruction may change.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quire/assert.h>

#include "vm/insn/insn.h"

#define INPUT_MAX 20u

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dull;
}

static unsigned random_below(unsigned limit)
{
	return (unsigned)((random_next() >> 33) % limit);
}

/* Mutation starts from these: short forms of all known instructions. */
static const char *const seeds[] = {
	"\x89\x43\x20",
	"\x4f\x89\x7c\xe5\xf8",
	"\x8b\x0d\x34\x12\x01\x01",
	"\x66\xc7\x01\xfe\xff",
	"\x48\xc7\x42\x10\xfe\xff\xff\xff",
	"\x48\xa3\x88\x77\x66\x55\x44\x33\x22\x11",
	"\x44\x0f\xb6\x48\x03",
	"\x48\x63\x50\x04",
	"\x81\x88\xf0\x01\x01\x01\x01\x01\x01\x01",
	"\xf0\x83\x08\x01",
	"\xf6\x80\x01\x01\x01\x01\x01",
	"\x87\x02",
	"\xf3\xab",
	"\xf3\x48\xa5",
	"\x0f\xa2",
	"\x0f\x01\xd9",
	"\xf4",
	"\x67\x8b\x42\x10",
	"\x26\xc7\x04\x48\x07\x01\x01\x01",
};

static unsigned input_make(uint8_t *bytes)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e,
					    0x36, 0x3e, 0x64, 0x65, 0x40, 0x48, 0x4f };
	unsigned count = random_below(INPUT_MAX + 1);
	for (unsigned i = 0; i < INPUT_MAX; i++)
		bytes[i] = (uint8_t)random_next();
	if (random_below(4) == 0)
		return count;

	unsigned position = 0,
		 prefix_count = random_below(8) == 0 ? random_below(15) : random_below(3);
	while (position < prefix_count)
		bytes[position++] = prefixes[random_below(ARRAY_COUNT(prefixes))];
	const char *seed = seeds[random_below(ARRAY_COUNT(seeds))];
	for (; *seed && position < INPUT_MAX; seed++)
		bytes[position++] = (uint8_t)*seed;
	if (random_below(2))
		bytes[random_below(INPUT_MAX)] ^= (uint8_t)(1u << random_below(8));
	return count;
}

static q_status_t decode(const uint8_t *bytes, unsigned count, enum insn_mode mode,
			 const struct guest_regs *regs, struct insn *out)
{
	uint8_t *exact = malloc(count ? count : 1);
	Q_ASSERT(exact);
	memcpy(exact, bytes, count);
	q_status_t status = insn_decode(exact, count, mode, regs, out);
	free(exact);
	return status;
}

static bool is_same(const struct insn *a, const struct insn *b)
{
	return a->length == b->length && a->operation == b->operation && a->alu == b->alu &&
	       a->size == b->size && a->reg == b->reg && a->offset == b->offset &&
	       a->segment == b->segment && a->immediate == b->immediate && a->opcode == b->opcode;
}

static bool is_size(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static void fields_check(const struct insn *insn)
{
	if (insn->operation == INSN_SIMPLE)
		return;
	Q_ASSERT(is_size(insn->size) && is_size(insn->register_size));
	Q_ASSERT(insn->address_size == 2 || insn->address_size == 4 || insn->address_size == 8);
	Q_ASSERT(insn->reg < GPR_COUNT && insn->segment <= SEG_GS);
	Q_ASSERT(insn->address_size == 8 || insn->offset >> (8 * insn->address_size) == 0);
	Q_ASSERT(!insn->reg_is_high_byte || (insn->register_size == 1 && insn->reg < 4));
}

static bool may_change(const struct insn *insn, unsigned reg)
{
	switch (insn->operation) {
	case INSN_MOV_LOAD:
	case INSN_XCHG: return reg == insn->reg;
	case INSN_ALU: return reg == insn->reg && !insn->memory_is_destination;
	case INSN_STOS: return reg == GPR_RDI || (reg == GPR_RCX && insn->is_rep);
	case INSN_MOVS: return reg == GPR_RDI || reg == GPR_RSI || (reg == GPR_RCX && insn->is_rep);
	case INSN_MOV_STORE:
	case INSN_SIMPLE: break;
	}
	return false;
}

static void execute_check(const struct insn *insn, const struct guest_regs *before)
{
	struct guest_regs after = *before;
	uint64_t value = 0;
	bool writes = insn_execute(insn, &after, random_next(), &value);
	for (unsigned reg = 0; reg < GPR_COUNT; reg++)
		Q_ASSERT(after.gpr[reg] == before->gpr[reg] || may_change(insn, reg));
	Q_ASSERT(after.rip == before->rip && after.cr8 == before->cr8);
	Q_ASSERT(after.rflags == before->rflags || insn->operation == INSN_ALU);
	Q_ASSERT(!writes || insn->memory_is_destination);
	Q_ASSERT(!writes || insn->size == 8 || value >> (8 * insn->size) == 0);
}

static void step(void)
{
	uint8_t bytes[INPUT_MAX];
	unsigned count = input_make(bytes);
	enum insn_mode mode = (enum insn_mode)random_below(3);
	struct guest_regs regs;
	for (unsigned i = 0; i < GPR_COUNT; i++)
		regs.gpr[i] = random_next() >> random_below(64);
	regs.rip = random_next();
	regs.rflags = random_next();
	regs.cr8 = 0;

	struct insn insn, again;
	q_status_t status = decode(bytes, count, mode, &regs, &insn);
	Q_ASSERT(status != Q_RANGE || count < INSN_MAX_BYTES);
	if (status != Q_OK)
		return;
	Q_ASSERT(insn.length >= 1 && insn.length <= INSN_MAX_BYTES && insn.length <= count);
	Q_ASSERT(decode(bytes, insn.length, mode, &regs, &again) == Q_OK && is_same(&insn, &again));
	Q_ASSERT(decode(bytes, insn.length - 1u, mode, &regs, &again) == Q_RANGE);
	fields_check(&insn);
	execute_check(&insn, &regs);
}

int main(int argc, char **argv)
{
	unsigned long operations = argc > 1 ? strtoul(argv[1], NULL, 0) : 200000;
	unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	random_state = seed * 0x9e3779b97f4a7c15ull | 1;
	for (unsigned long i = 0; i < operations; i++)
		step();
	printf("insn_fuzz: %lu operations, seed %lu: ok\n", operations, seed);
	return 0;
}
