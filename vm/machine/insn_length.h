/* SPDX-License-Identifier: MIT */
/*
 * The length of the instruction that exited, for CPUs that do not report it (no NRIP save).
 * docs/decisions/0002-instruction-length.md has the reasons.
 *
 * Fetching and decoding costs more than the rest of an exit, so the last few answers are kept,
 * each for at most 2^INSN_LENGTH_LIFE_SHIFT TSC ticks. The exit tells the opcode, so an answer
 * depends only on the prefixes.
 */
#ifndef VM_MACHINE_INSN_LENGTH_H
#define VM_MACHINE_INSN_LENGTH_H

#include <quire/vmexit.h>

#define INSN_LENGTH_COUNT      16u /* a power of two */
#define INSN_LENGTH_LIFE_SHIFT 22u /* 4 Mi ticks: one or two milliseconds */

struct insn_length_entry {
	uint64_t rip;
	uint32_t epoch; /* TSC >> INSN_LENGTH_LIFE_SHIFT when it was found; 0: empty */
	uint8_t kind;   /* enum vmexit_kind */
	uint8_t length;
};

struct insn_lengths {
	struct insn_length_entry entries[INSN_LENGTH_COUNT];
};

static inline uint32_t insn_length_epoch(uint64_t tsc)
{
	return (uint32_t)(tsc >> INSN_LENGTH_LIFE_SHIFT);
}

/* Returns where the answer for an instruction at `rip` is kept. */
static inline struct insn_length_entry *insn_length_slot(struct insn_lengths *lengths, uint64_t rip)
{
	return &lengths->entries[(rip ^ rip >> 4) & (INSN_LENGTH_COUNT - 1)];
}

struct vcpu;

/* Fetches and decodes the instruction that exited, and keeps its length. Returns it: never 0. */
unsigned insn_length_find(struct vcpu *vcpu);

#endif
