/* SPDX-License-Identifier: MIT */
#include "insn_length.h"

#include "guest_memory.h"

struct known_insn {
	uint16_t opcode; /* as struct insn has it */
	uint8_t length;  /* without prefixes */
};

static const struct known_insn known[VMEXIT_KIND_COUNT] = {
#define VMEXIT_INSN(kind, handler, name, opcode, length) [VMEXIT_##kind] = { opcode, length },
	VMEXIT_KINDS(VMEXIT_INSN)
};

/*
 * Returns the length with prefixes. If the bytes cannot be read, or are no longer those that the
 * CPU executed (another vCPU may write code), the length without prefixes is as good as any.
 */
static unsigned decode(struct vcpu *vcpu)
{
	const struct known_insn *expected = &known[vcpu->exit.kind];
	struct fetched fetched;
	struct insn insn;
	guest_insn_fetch(vcpu, &fetched);
	if (insn_decode(fetched.bytes, fetched.byte_count, fetched.mode, &vcpu->regs, &insn) !=
	    Q_OK)
		return expected->length;
	return insn.opcode == expected->opcode ? insn.length : expected->length;
}

unsigned insn_length_find(struct vcpu *vcpu)
{
	struct insn_length_entry *entry = insn_length_slot(&vcpu->lengths, vcpu->regs.rip);
	*entry = (struct insn_length_entry){ .rip = vcpu->regs.rip,
					     .epoch = insn_length_epoch(vcpu->exit_tsc),
					     .kind = (uint8_t)vcpu->exit.kind,
					     .length = (uint8_t)decode(vcpu) };
	return entry->length;
}
