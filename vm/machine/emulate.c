/* SPDX-License-Identifier: MIT */
#include "emulate.h"

#include <quire/log.h>

#include "lib/format.h"
#include "kernel/thread.h"

#include "guest_memory.h"
#include "inject.h"

/* String elements per exit, so that requests and other threads get their turn in between. */
#define STRING_BATCH 64u

static void report(struct vcpu *vcpu, const struct fetched *fetched)
{
	struct machine *machine = vcpu->machine;
	char text[3 * INSN_MAX_BYTES + 1] = "";
	if (machine->has_reported_emulation)
		return;
	machine->has_reported_emulation = true;
	for (unsigned i = 0; i < fetched->byte_count; i++)
		format_text(text + 3 * i, sizeof(text) - 3 * i, " %02x", fetched->bytes[i]);
	log_notice("vm %s: cannot emulate%s at %#llx, memory %#llx", machine->name, text,
		   (unsigned long long)vcpu->regs.rip,
		   (unsigned long long)vcpu->exit.memory.addr.raw);
}

static enum guest_access_result prepare(struct vcpu *vcpu, const struct fetched *fetched,
					uint64_t virt, enum mem_access kind,
					struct guest_access *access)
{
	const struct vmexit *exit = &vcpu->exit;
	uint64_t offset = virt & PAGE_MASK;
	/* The only memory operand is the one that exited: its address is known, without a walk. */
	if (offset == gpa_offset(exit->memory.addr) && access->size <= PAGE_SIZE - offset) {
		access->addr = exit->memory.addr;
		access->first_bytes = access->size;
		return ACCESS_READY;
	}
	return guest_access_prepare(vcpu, fetched, virt, kind, access);
}

static bool is_written(const struct insn *insn)
{
	if (insn->operation == INSN_ALU)
		return insn->memory_is_destination && insn->alu != ALU_CMP && insn->alu != ALU_TEST;
	return insn->operation != INSN_MOV_LOAD;
}

/* An instruction with one memory operand: reads it, computes and writes back, as required. */
static void emulate_operand(struct vcpu *vcpu, const struct fetched *fetched,
			    const struct insn *insn)
{
	struct guest_access access = { .size = insn->size };
	uint64_t virt = guest_linear(vcpu, fetched, insn->segment, insn->offset);
	uint64_t value = 0, result;
	if (prepare(vcpu, fetched, virt, is_written(insn) ? MEM_WRITE : MEM_READ, &access) !=
	    ACCESS_READY)
		return;
	if (insn->operation != INSN_MOV_STORE)
		value = guest_access_read(vcpu, &access);
	if (insn_execute(insn, &vcpu->regs, value, &result))
		guest_access_write(vcpu, &access, result);
	vcpu_skip(vcpu, insn->length);
}

/* Does one element of STOS or MOVS. False: not done; a fault is queued or memory wished for. */
static bool emulate_element(struct vcpu *vcpu, const struct fetched *fetched,
			    const struct insn *insn)
{
	struct guest_regs *regs = &vcpu->regs;
	struct guest_access from = { .size = insn->size }, to = { .size = insn->size };
	uint64_t mask = insn_address_mask(insn->address_size), value = 0, result;
	if (insn->operation == INSN_MOVS) {
		uint64_t source =
			guest_linear(vcpu, fetched, insn->segment, regs->gpr[GPR_RSI] & mask);
		if (guest_access_prepare(vcpu, fetched, source, MEM_READ, &from) != ACCESS_READY)
			return false;
	}
	uint64_t target = guest_linear(vcpu, fetched, SEG_ES, regs->gpr[GPR_RDI] & mask);
	if (guest_access_prepare(vcpu, fetched, target, MEM_WRITE, &to) != ACCESS_READY)
		return false;
	if (insn->operation == INSN_MOVS)
		value = guest_access_read(vcpu, &from);
	if (insn_execute(insn, regs, value, &result))
		guest_access_write(vcpu, &to, result);
	return true;
}

/* Does a batch of elements. A longer REP exits again at the same RIP for the next batch. */
static void emulate_string(struct vcpu *vcpu, const struct fetched *fetched,
			   const struct insn *insn)
{
	uint64_t mask = insn_address_mask(insn->address_size);
	for (unsigned i = 0; i < STRING_BATCH; i++) {
		if (insn->is_rep && (vcpu->regs.gpr[GPR_RCX] & mask) == 0)
			break;
		if (!emulate_element(vcpu, fetched, insn))
			return;
		/* A slow device must not keep other threads waiting. */
		if (!insn->is_rep || thread_should_yield())
			break;
	}
	if (!insn->is_rep || (vcpu->regs.gpr[GPR_RCX] & mask) == 0)
		vcpu_skip(vcpu, insn->length);
}

void emulate_memory_access(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	struct fetched fetched;
	struct insn insn;
	guest_insn_fetch(vcpu, &fetched);

	/* The CPU made the access itself, on a page walk or for an event: nothing to emulate. */
	if (exit->has_vectoring || exit->memory.is_page_walk) {
		report(vcpu, &fetched);
		inject_exception_code(vcpu, VECTOR_GP, 0);
		return;
	}
	if (exit->memory.access == MEM_EXEC ||
	    insn_decode(fetched.bytes, fetched.byte_count, fetched.mode, &vcpu->regs, &insn) !=
		    Q_OK ||
	    insn.operation == INSN_SIMPLE) {
		report(vcpu, &fetched);
		inject_exception(vcpu, VECTOR_UD);
		return;
	}
	if (insn.operation == INSN_STOS || insn.operation == INSN_MOVS)
		emulate_string(vcpu, &fetched, &insn);
	else
		emulate_operand(vcpu, &fetched, &insn);
}
