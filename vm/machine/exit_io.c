/* SPDX-License-Identifier: MIT */
/*
 * Port I/O. IN and OUT carry the value in RAX. INS and OUTS move elements between a port and
 * memory; with a REP prefix, a batch per exit.
 *
 * Not every CPU reports the address size and the segment of INS and OUTS, so they are read from
 * the instruction's prefixes.
 */
#include "exit.h"

#include "kernel/thread.h"

#include "guest_memory.h"
#include "inject.h"
#include "machine_internal.h"

/* String elements per exit, so that requests and other threads get their turn in between. */
#define STRING_BATCH 64u

static uint32_t port_read(struct vcpu *vcpu, uint16_t port, unsigned size)
{
	struct machine *machine = vcpu->machine;
	machine_devices_enter(machine);
	uint32_t value = vpc_pio_read(machine->vpc, vcpu->index, port, size, machine_now(machine));
	machine_devices_leave(machine, vcpu);
	return value;
}

static void port_write(struct vcpu *vcpu, uint16_t port, unsigned size, uint32_t value)
{
	struct machine *machine = vcpu->machine;
	machine_devices_enter(machine);
	vpc_pio_write(machine->vpc, vcpu->index, port, size, value, machine_now(machine));
	machine_devices_leave(machine, vcpu);
}

/* Like a CPU that writes EAX, AX or AL: only EAX clears the upper half of RAX. */
static uint64_t rax_merge(uint64_t rax, unsigned size, uint32_t value)
{
	if (size == 4)
		return value;
	uint64_t mask = size == 2 ? 0xffff : 0xff;
	return (rax & ~mask) | (value & mask);
}

static void skip(struct vcpu *vcpu)
{
	uint64_t next_rip = vcpu->exit.pio.next_rip;
	if (next_rip)
		vcpu_skip_to(vcpu, next_rip);
	else
		vcpu_skip_insn(vcpu);
}

/* --- INS and OUTS ----------------------------------------------------------------------------- */

struct string_io {
	uint16_t port;
	uint8_t size;
	bool is_in, is_rep;
	unsigned segment;      /* of the source of OUTS */
	uint64_t address_mask; /* from the address size */
	uint64_t step;         /* added to RSI or RDI */
};

/* Adds to an address register or to the count. A 32-bit address size clears the upper half. */
static void index_add(uint64_t *gpr, uint64_t mask, uint64_t value)
{
	uint64_t result = (*gpr + value) & mask;
	*gpr = mask == 0xffff ? (*gpr & ~mask) | result : result;
}

static unsigned segment_of_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26: return SEG_ES;
	case 0x2e: return SEG_CS;
	case 0x36: return SEG_SS;
	case 0x3e: return SEG_DS;
	case 0x64: return SEG_FS;
	case 0x65: return SEG_GS;
	default: return SEG_COUNT;
	}
}

static unsigned address_size(enum insn_mode mode, bool is_overridden)
{
	if (mode == INSN_MODE_64)
		return is_overridden ? 4 : 8;
	return (mode == INSN_MODE_32) != is_overridden ? 4 : 2;
}

static void string_io_decode(const struct vcpu *vcpu, const struct fetched *fetched,
			     struct string_io *io)
{
	const struct vmexit *exit = &vcpu->exit;
	bool is_address_overridden = false;
	*io = (struct string_io){ .port = exit->pio.port,
				  .size = exit->pio.size,
				  .is_in = exit->pio.is_in,
				  .is_rep = exit->pio.is_rep,
				  .segment = SEG_DS };
	/* 6C to 6F are the opcodes; all bytes before them are prefixes. */
	for (unsigned i = 0; i < fetched->byte_count && (fetched->bytes[i] & 0xfc) != 0x6c; i++) {
		unsigned segment = segment_of_prefix(fetched->bytes[i]);
		/* In 64-bit mode the other segments have no base, and their overrides do nothing. */
		if (segment == SEG_FS || segment == SEG_GS ||
		    (segment != SEG_COUNT && fetched->mode != INSN_MODE_64))
			io->segment = segment;
		if (fetched->bytes[i] == 0x67)
			is_address_overridden = true;
	}
	io->address_mask = insn_address_mask(address_size(fetched->mode, is_address_overridden));
	io->step = vcpu->regs.rflags & RFLAGS_DF ? -(uint64_t)io->size : io->size;
}

/* Does one element. False: not done; a fault is queued or memory wished for. */
static bool string_element(struct vcpu *vcpu, const struct fetched *fetched,
			   const struct string_io *io)
{
	uint64_t *index = &vcpu->regs.gpr[io->is_in ? GPR_RDI : GPR_RSI];
	struct guest_access access = { .size = io->size };
	uint64_t virt = guest_linear(vcpu, fetched, io->is_in ? SEG_ES : io->segment,
				     *index & io->address_mask);
	if (guest_access_prepare(vcpu, fetched, virt, io->is_in ? MEM_WRITE : MEM_READ, &access) !=
	    ACCESS_READY)
		return false;
	if (io->is_in)
		guest_access_write(vcpu, &access, port_read(vcpu, io->port, io->size));
	else
		port_write(vcpu, io->port, io->size, (uint32_t)guest_access_read(vcpu, &access));

	index_add(index, io->address_mask, io->step);
	if (io->is_rep)
		index_add(&vcpu->regs.gpr[GPR_RCX], io->address_mask, ~0ull);
	return true;
}

static void string_io(struct vcpu *vcpu)
{
	struct fetched fetched;
	struct string_io io;
	guest_insn_fetch(vcpu, &fetched);
	string_io_decode(vcpu, &fetched, &io);

	const uint64_t *count = &vcpu->regs.gpr[GPR_RCX];
	for (unsigned i = 0; i < STRING_BATCH; i++) {
		if (io.is_rep && (*count & io.address_mask) == 0)
			break;
		if (!string_element(vcpu, &fetched, &io))
			return;
		/* Output may have waited for the host's UART; other threads must not wait. */
		if (!io.is_rep || thread_should_yield())
			break;
	}
	if (!io.is_rep || (*count & io.address_mask) == 0)
		skip(vcpu);
}

void exit_pio(struct vcpu *vcpu)
{
	const struct vmexit *exit = &vcpu->exit;
	uint64_t *rax = &vcpu->regs.gpr[GPR_RAX];
	if (Q_UNLIKELY(exit->pio.is_string)) {
		string_io(vcpu);
		return;
	}
	if (exit->pio.is_in)
		*rax = rax_merge(*rax, exit->pio.size,
				 port_read(vcpu, exit->pio.port, exit->pio.size));
	else
		port_write(vcpu, exit->pio.port, exit->pio.size, (uint32_t)*rax);
	skip(vcpu);
}
