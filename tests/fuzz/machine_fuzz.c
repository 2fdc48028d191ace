/* SPDX-License-Identifier: MIT */
/*
 * machine_fuzz [operations] [seed]: exits of every kind on a machine of three vCPUs, with the
 * registers, modes, code, page tables and memory that a hostile guest could choose. Between the
 * exits time passes, bytes are typed, interrupts arrive, memory runs out and the machine is reset.
 * The fakes below the machine assert what a CPU and the kernel demand (machine_fixture.h). Checked
 * after each exit:
 *
 *  - RIP has not moved, or by at most the length of an instruction;
 *  - only those general registers and flags changed that this kind of exit may change;
 *  - other state changed only by WRMSR, except CR2 and DR6;
 *  - a wish to stop has one of its few causes, and a wish for memory comes from an exit that
 *    needs memory.
 *
 * machine_check() and gmm_check() run after each AUDIT operations.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <quire/assert.h>

#include "machine_fixture.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"

#define VCPUS    3u
#define HOLE     0xd0000000ull
#define ROM      0xe0000ull
#define SHADOW   0xfffff000ull
#define HANDLED  0x40000ull
#define DATA     0x300000ull /* RAM that is used most */
#define DATA_END 0x340000ull
#define TABLE    0x280000ull /* a page table of random entries, which may point to itself */
#define AUDIT    4096u       /* operations between two audits */

static uint64_t random_state, seed, operation;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * 0x2545f4914f6cdd1dull;
}

static unsigned below(unsigned limit)
{
	return (unsigned)((random_next() >> 33) % limit);
}

static bool one_in(unsigned count)
{
	return below(count) == 0;
}

static void on_abort(int signal_number)
{
	fprintf(stderr, "machine_fuzz: signal %d in operation %llu, seed %llu\n", signal_number,
		(unsigned long long)operation, (unsigned long long)seed);
}

/* --- addresses and values ----------------------------------------------------------------- */

/* A guest-physical page: RAM, a device, ROM, or an edge of one of them. */
static uint64_t page_random(void)
{
	static const uint64_t pages[] = {
		LAPIC_AT, LAPIC_AT,    IOAPIC_AT, HOLE,    ROM,     SHADOW,
		HANDLED,  CODE_AT,     TABLE,     0xa0000, 0xbf000, GUEST_BYTES - PAGE_SIZE,
		0,        GUEST_BYTES,
	};
	if (one_in(2))
		return DATA + below((DATA_END - DATA) >> PAGE_SHIFT) * PAGE_SIZE;
	if (one_in(8))
		return (random_next() >> below(64)) & ~PAGE_MASK;
	if (one_in(8))
		return below(GUEST_BYTES >> PAGE_SHIFT) * PAGE_SIZE;
	return pages[below(ARRAY_COUNT(pages))];
}

static uint64_t offset_random(void)
{
	switch (below(4)) {
	case 0: return 0;
	case 1: return PAGE_SIZE - 1 - below(8);
	case 2: return below(64) * 16;
	default: return below(PAGE_SIZE);
	}
}

static uint64_t value_random(void)
{
	switch (below(6)) {
	case 0: return below(600);
	case 1: return random_next();
	case 2: return random_next() >> below(64);
	case 3: return -(uint64_t)below(600);
	case 4: return (one_in(2) ? 0x00007ffffffff000 : 0xffff800000000000) + offset_random();
	default: return page_random() + offset_random();
	}
}

static uint64_t entry_random(void)
{
	static const uint64_t flags[] = { 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 1ull << 63 };
	uint64_t entry = page_random() | (one_in(8) ? 0 : PAGE_USER);
	for (unsigned i = below(3); i > 0; i--)
		entry ^= flags[below(ARRAY_COUNT(flags))];
	return one_in(16) ? random_next() : entry;
}

/* --- the guest ---------------------------------------------------------------------------- */

/* The guest writes to its memory. ROM and places without memory ignore it. */
static void memory_scribble(void)
{
	uint64_t words[4];
	uint64_t at = page_random() + below(PAGE_SIZE - sizeof(words));
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		words[i] = value_random();
	(void)!pgm_write(machine.pgm, gpa(at), words, sizeof(words), NULL);
}

static void table_scribble(void)
{
	uint64_t entries[8];
	for (unsigned i = 0; i < ARRAY_COUNT(entries); i++)
		entries[i] = entry_random();
	uint64_t at = TABLE + below(PAGE_SIZE / sizeof(entries)) * sizeof(entries);
	(void)!pgm_write(machine.pgm, gpa(at), entries, sizeof(entries), NULL);
}

/* Most are decoded by Quire, some are not. */
static const char *const instructions[] = {
	"\x89\x03",
	"\x48\x89\x03",
	"\x8b\x03",
	"\x8a\x03",
	"\x88\x03",
	"\x66\x8b\x03",
	"\x48\x8b\x03",
	"\x0f\xb6\x03",
	"\x0f\xbf\x03",
	"\x48\x63\x03",
	"\xc7\x03\x01\x02",
	"\x80\x0b\x81",
	"\x81\x0b\x07",
	"\x83\x23\xfe",
	"\xf0\x83\x23\xfe",
	"\x87\x03",
	"\x86\x03",
	"\x01\x03",
	"\x13\x03",
	"\x3b\x03",
	"\x85\x03",
	"\xf6\x03\x10",
	"\xab",
	"\xf3\xab",
	"\xf3\xaa",
	"\xf3\x48\xab",
	"\xf3\xa4",
	"\x48\xa5",
	"\xf3\x48\xa5",
	"\x64\xf3\xa4",
	"\x6c",
	"\xf3\x6c",
	"\xf3\x6d",
	"\x6e",
	"\xf3\x6e",
	"\xf3\x6f",
	"\x65\xf3\x6e",
	"\x67\xf3\x6d",
	"\x0f\xa2",
	"\xf4",
	"\x0f\x32",
	"\x0f\x30",
	"\x0f\x01\xd1",
	"\x0f\x01\xc1",
	"\x0f\x09",
	"\xff\x33",
	"\x0f\xae\x03",
	"\xa1\x80\x03",
	"\x66\x67\x8b\x07",
};

static void code_write(uint64_t at)
{
	uint8_t bytes[INSN_MAX_BYTES + 1];
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)random_next();
	const char *instruction = instructions[below(ARRAY_COUNT(instructions))];
	if (!one_in(16))
		memcpy(bytes, instruction, strlen(instruction));
	if (one_in(16))
		bytes[below(4)] ^= (uint8_t)(1u << below(8));
	(void)!pgm_write(machine.pgm, gpa(at), bytes, sizeof(bytes), NULL);
}

static void segments_randomize(struct guest_state *state)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
		struct guest_segment *segment = &state->segment[i];
		bool is_wide = i >= SEG_FS;
		segment->base = one_in(2) ? 0 : value_random();
		if (!is_wide)
			segment->base = (uint32_t)segment->base;
		segment->limit = one_in(2) ? UINT32_MAX : (uint32_t)value_random();
	}
}

/* Any mode of a CPU, with random tables and segments. */
static void mode_randomize(struct guest_state *state)
{
	state->cr0 = CR0_PE | (one_in(2) ? CR0_WP : 0);
	state->cr4 = one_in(2) ? CR4_OSXSAVE : 0;
	state->efer = one_in(2) ? EFER_NXE : 0;
	state->segment[SEG_CS].attributes = RESET_CODE | (one_in(2) ? SEG_ATTR_DB : 0);
	state->cr3 = one_in(2) ? TABLE : value_random();
	switch (below(5)) {
	case 0: state->cr0 = CR0_ET; break; /* real mode */
	case 1: break;                      /* without paging */
	case 2: state->cr0 |= CR0_PG; break;
	case 3:
		state->cr0 |= CR0_PG;
		state->cr4 |= one_in(2) ? CR4_PSE : CR4_PAE;
		break;
	default:
		state->cr0 |= CR0_PG;
		state->cr4 |= CR4_PAE | (one_in(4) ? CR4_SMEP : 0);
		state->efer |= EFER_LME | EFER_LMA;
		if (!one_in(4))
			state->segment[SEG_CS].attributes = RESET_CODE | SEG_ATTR_L;
		break;
	}
	state->cpl = (state->cr0 & CR0_PE) && one_in(3) ? 3 : 0;
	segments_randomize(state);
}

/* A mode in which linear addresses equal the guest-physical ones. */
static void mode_flat(struct guest_state *state)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
		state->segment[i].base = 0;
		state->segment[i].limit = UINT32_MAX;
	}
	state->cpl = 0;
	if (one_in(3)) {
		bool is_32bit = one_in(2);
		state->cr0 = is_32bit ? CR0_PE : CR0_ET;
		state->segment[SEG_CS].attributes = RESET_CODE | (is_32bit ? SEG_ATTR_DB : 0);
		state->efer = 0;
		return;
	}
	state->segment[SEG_CS].attributes = RESET_CODE | SEG_ATTR_L;
	state->cr0 = CR0_PE | CR0_PG | CR0_WP;
	state->cr3 = TABLES_AT;
	state->cr4 = CR4_PAE | CR4_OSXSAVE;
	state->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

static void regs_randomize(struct guest_regs *regs)
{
	static const uint64_t flags[] = { RFLAGS_CF, RFLAGS_IF, RFLAGS_DF, RFLAGS_TF, RFLAGS_RF };
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (one_in(3))
			regs->gpr[i] = value_random();
	if (one_in(4))
		regs->gpr[GPR_RCX] = below(200);
	if (one_in(4))
		regs->gpr[GPR_RAX] = 0;
	regs->rip = one_in(8) ? value_random() : CODE_AT + below(64) * 16;
	regs->rflags = RFLAGS_FIXED | (regs->rflags & RFLAGS_IF);
	for (unsigned i = below(3); i > 0; i--)
		regs->rflags ^= flags[below(ARRAY_COUNT(flags))];
	if (one_in(8))
		regs->cr8 = below(16);
}

/* Acts as the guest. True: addresses in its registers are guest-physical ones. */
static bool guest(struct virt_vcpu *virt)
{
	struct guest_state *state = &virt->state;
	bool is_flat = !one_in(3);
	regs_randomize(virt->regs);
	if (is_flat)
		mode_flat(state);
	else if (one_in(4))
		mode_randomize(state);
	if (one_in(16))
		state->nmi_blocked = one_in(2);
	if (one_in(16))
		state->dr7 = RESET_DR7 | below(2);
	virt->refuses_state = one_in(64);
	if (one_in(4))
		memory_scribble();
	if (one_in(16))
		table_scribble();
	if (is_flat)
		virt->regs->rip = CODE_AT + below(64) * 16;
	uint64_t base = is_flat || one_in(2) ? 0 : state->segment[SEG_CS].base;
	code_write(virt->regs->rip + base);
	fake.percpu.should_yield = one_in(16);
	return is_flat;
}

/* --- exits -------------------------------------------------------------------------------- */

static bool pushes_error_code(unsigned vector)
{
	return ERROR_CODE_VECTORS >> vector & 1;
}

static struct guest_event exception_random(void)
{
	static const uint8_t vectors[] = { 0, 1, 3, 6, 8, 10, 11, 12, 13, 13, 14, 14, 16, 17, 18 };
	uint8_t vector = vectors[below(ARRAY_COUNT(vectors))];
	return (struct guest_event){ .type = GUEST_EVENT_EXCEPTION,
				     .vector = vector,
				     .has_error_code = pushes_error_code(vector),
				     .error_code = pushes_error_code(vector) ? below(32) : 0 };
}

static struct guest_event vectoring_random(bool is_interruptible)
{
	switch (below(5)) {
	case 0: return (struct guest_event){ .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI };
	case 1:
		return (struct guest_event){ .type = GUEST_EVENT_SOFT_INTERRUPT,
					     .vector = (uint8_t)random_next(),
					     .insn_length = 2 };
	case 2:
		if (is_interruptible)
			return (struct guest_event){ .type = GUEST_EVENT_INTERRUPT,
						     .vector = (uint8_t)random_next() };
		break;
	default: break;
	}
	return exception_random();
}

static void memory_exit_fill(struct vmexit *exit, const struct guest_regs *regs, bool is_flat)
{
	static const enum gpr operands[] = { GPR_RBX, GPR_RDI, GPR_RSI };
	uint64_t operand = regs->gpr[operands[below(ARRAY_COUNT(operands))]];
	uint64_t addr = page_random() + offset_random();
	if (is_flat)
		addr = operand;
	else if (one_in(2))
		addr = (addr & ~PAGE_MASK) | (operand & PAGE_MASK);
	exit->memory.addr = gpa(addr & MASK64(51, 0));
	exit->memory.access = (enum mem_access)(one_in(8) ? MEM_EXEC : below(2));
	exit->memory.is_page_walk = one_in(16);
}

/* Makes the exit that of a kernel which clears pages. */
static void clearing_prepare(struct vmexit *exit, struct guest_regs *regs)
{
	static const char *const stos[] = { "\xf3\x48\xab", "\xf3\xab", "\xf3\xaa" };
	const char *code = stos[below(ARRAY_COUNT(stos))];
	regs->gpr[GPR_RAX] = 0;
	regs->gpr[GPR_RDI] = page_random();
	regs->gpr[GPR_RCX] = below(20) * PAGE_SIZE / (1 + below(8));
	regs->rflags &= ~(RFLAGS_DF | RFLAGS_TF);
	(void)!pgm_write(machine.pgm, gpa(regs->rip), code, strlen(code), NULL);
	exit->memory.addr = gpa(regs->gpr[GPR_RDI] & MASK64(51, 0));
	exit->memory.access = MEM_WRITE;
	exit->memory.is_page_walk = false;
}

static void pio_exit_fill(struct vmexit *exit, const struct guest_regs *regs)
{
	static const uint16_t ports[] = { 0x20,  0x21,  0xa0,  0xa1,  0x40,  0x43,  0x61,
					  0x64,  0x70,  0x71,  0x92,  0xe9,  0xf4,  0x3f8,
					  0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x4d0, 0x600,
					  0x604, 0x608, 0xcf8, 0xcf9, 0xcfc };
	exit->pio.port = one_in(8) ? (uint16_t)random_next() : ports[below(ARRAY_COUNT(ports))];
	exit->pio.size = (uint8_t)(1u << below(3));
	exit->pio.is_in = one_in(2);
	exit->pio.is_string = one_in(2);
	exit->pio.is_rep = exit->pio.is_string && one_in(2);
	/* The CPU reports at least one of the two. */
	exit->insn_length = (uint8_t)(1 + below(15));
	if (one_in(2))
		exit->pio.next_rip = regs->rip + 1 + below(15);
}

static const uint32_t msrs[] = { 0x10,       0x1b,       0x3b,       0x174,      0x175,
				 0x176,      0x277,      0x2ff,      0x6e0,      0x802,
				 0x808,      0x80b,      0x80f,      0x830,      0x832,
				 0x838,      0x83f,      0x4b564d00, 0x4b564d01, 0xc0000080,
				 0xc0000081, 0xc0000082, 0xc0000100, 0xc0000102, 0xc0010114 };

/* Often gives the registers that this kind of exit reads values that make sense. */
static void regs_prepare(struct vmexit *exit, struct guest_regs *regs)
{
	static const uint64_t xcr0[] = { 1, 3, 7, 0xe7 };
	uint64_t value = value_random();
	if ((exit->kind == VMEXIT_RDMSR || exit->kind == VMEXIT_WRMSR) && !one_in(4)) {
		regs->gpr[GPR_RCX] = msrs[below(ARRAY_COUNT(msrs))];
		regs->gpr[GPR_RAX] = (uint32_t)value;
		regs->gpr[GPR_RDX] = value >> 32;
	}
	if (exit->kind == VMEXIT_XSETBV && one_in(2)) {
		regs->gpr[GPR_RCX] = regs->gpr[GPR_RDX] = 0;
		regs->gpr[GPR_RAX] = xcr0[below(ARRAY_COUNT(xcr0))];
	}
	if (exit->kind == VMEXIT_CPUID && one_in(2)) {
		static const uint32_t ranges[] = { 0, 0x40000000, 0x80000000 };
		regs->gpr[GPR_RAX] = ranges[below(3)] + below(0x24);
		regs->gpr[GPR_RCX] = below(70);
	}
}

static struct vmexit next_exit;
static struct guest_regs regs_at_exit;
static struct guest_state state_at_exit;

static void exit_make(struct guest_regs *regs, bool is_flat)
{
	bool is_interruptible = regs->rflags & RFLAGS_IF;
	next_exit = (struct vmexit){
		.kind = (enum vmexit_kind)below(VMEXIT_KIND_COUNT),
		.insn_length = (uint8_t)(one_in(2) ? 0 : 1 + below(15)),
		.can_interrupt = is_interruptible && !one_in(8),
	};
	bool is_end = next_exit.kind == VMEXIT_SHUTDOWN || next_exit.kind == VMEXIT_FATAL;
	/* Mostly the two kinds with the most code, and seldom those that stop the machine. */
	if (one_in(2) || (is_end && !one_in(50)))
		next_exit.kind = one_in(3) ? VMEXIT_PIO : VMEXIT_MEMORY;
	regs_prepare(&next_exit, regs);
	bool may_interrupt_delivery = next_exit.kind == VMEXIT_MEMORY ||
				      next_exit.kind == VMEXIT_EXCEPTION ||
				      next_exit.kind == VMEXIT_HOST_INTERRUPT;
	if (may_interrupt_delivery && one_in(8)) {
		next_exit.has_vectoring = true;
		next_exit.vectoring = vectoring_random(is_interruptible);
	}
	switch (next_exit.kind) {
	case VMEXIT_MEMORY:
		memory_exit_fill(&next_exit, regs, is_flat);
		if (is_flat && one_in(8))
			clearing_prepare(&next_exit, regs);
		break;
	case VMEXIT_PIO: pio_exit_fill(&next_exit, regs); break;
	case VMEXIT_EXCEPTION: {
		struct guest_event event = exception_random();
		next_exit.exception.vector = event.vector;
		next_exit.exception.has_error_code = event.has_error_code;
		next_exit.exception.error_code = event.error_code;
		next_exit.exception.address = value_random();
		break;
	}
	default: break;
	}
}

/* The guest runs, then leaves with an exit that depends on its registers. */
static void guest_and_exit(struct virt_vcpu *virt)
{
	bool is_flat = guest(virt);
	exit_make(virt->regs, is_flat);
	exit_replace(&next_exit);
	regs_at_exit = *virt->regs;
	state_at_exit = virt->state;
}

/* --- what must hold afterwards ------------------------------------------------------------ */

static bool may_change(unsigned reg)
{
	switch (next_exit.kind) {
	case VMEXIT_CPUID: return reg <= GPR_RBX;
	case VMEXIT_RDMSR: return reg == GPR_RAX || reg == GPR_RDX;
	case VMEXIT_HYPERCALL: return reg == GPR_RAX;
	case VMEXIT_PIO:
		if (!next_exit.pio.is_string)
			return reg == GPR_RAX && next_exit.pio.is_in;
		return reg == (next_exit.pio.is_in ? GPR_RDI : GPR_RSI) ||
		       (reg == GPR_RCX && next_exit.pio.is_rep);
	case VMEXIT_MEMORY: return true;
	default: return false;
	}
}

static uint64_t flags_that_change(void)
{
	if (next_exit.kind != VMEXIT_MEMORY)
		return 0;
	return RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF | RFLAGS_RF;
}

static void regs_check(const struct vcpu *vcpu)
{
	const struct guest_regs *before = &regs_at_exit, *after = &vcpu->regs;
	unsigned changed = 0;
	for (unsigned i = 0; i < GPR_COUNT; i++) {
		Q_ASSERT(after->gpr[i] == before->gpr[i] || may_change(i));
		changed += after->gpr[i] != before->gpr[i];
	}
	Q_ASSERT(changed <= 4);
	Q_ASSERT(((after->rflags ^ before->rflags) & ~flags_that_change()) == 0);
	uint64_t moved = after->rip - before->rip;
	Q_ASSERT(moved <= INSN_MAX_BYTES || (uint32_t)moved <= INSN_MAX_BYTES);
}

static void state_check(const struct vcpu *vcpu)
{
	struct guest_state now = vcpu->virt->state;
	if (next_exit.kind == VMEXIT_WRMSR)
		return;
	now.cr2 = state_at_exit.cr2;
	now.dr6 = state_at_exit.dr6;
	Q_ASSERT(memcmp(&now, &state_at_exit, sizeof(now)) == 0);
}

static void wish_check(const struct vcpu *vcpu, struct vcpu_wish wish)
{
	const struct vmexit *exit = &vcpu->exit;
	bool was_double_fault = exit->has_vectoring && exit->vectoring.vector == VECTOR_DF &&
				exit->vectoring.type == GUEST_EVENT_EXCEPTION;
	switch (wish.kind) {
	case VCPU_WISH_NOTHING: break;
	case VCPU_WISH_STOP:
		Q_ASSERT(exit->kind == VMEXIT_SHUTDOWN || exit->kind == VMEXIT_FATAL ||
			 was_double_fault);
		break;
	case VCPU_WISH_MEMORY:
		Q_ASSERT(exit->kind == VMEXIT_MEMORY || exit->kind == VMEXIT_PIO ||
			 exit->kind == VMEXIT_WRMSR);
		Q_ASSERT(wish.page_count == 1);
		break;
	}
}

/* --- what goes on around the guest -------------------------------------------------------- */

static void everything_serve(void)
{
	for (unsigned i = 0; i < VCPUS; i++)
		serve(machine.vcpus[i]);
}

static bool is_hungry; /* memory_exhaust() was called */

static void restart(void)
{
	fake.self = cpu->thread;
	if (is_hungry)
		memory_release();
	is_hungry = false;
	if (one_in(2))
		machine_power_off(&machine);
	machine_power_on(&machine);
	everything_serve();
	mode_64();
	lapics_enable();
}

/* A write by the vCPU's kernel. It vanishes if the APIC is off or in x2APIC mode. */
static void lapic_write(struct vcpu *vcpu, unsigned offset, uint32_t value)
{
	fake.self = vcpu->thread;
	machine_devices_enter(&machine);
	(void)vpc_mmio_write(machine.vpc, vcpu->index, gpa(LAPIC_AT + offset), 4, value,
			     machine_now(&machine));
	machine_devices_leave(&machine, vcpu);
}

static void lapic_use(void)
{
	struct vcpu *vcpu = machine.vcpus[below(VCPUS)];
	switch (below(6)) {
	case 0: lapic_write(vcpu, 0x80, one_in(2) ? 0 : below(256)); break;
	case 1: lapic_write(vcpu, 0xf0, 0x1ff); break;
	case 2: lapic_write(vcpu, 0x320, 0x20040 | below(256)); break;
	case 3: lapic_write(vcpu, 0x380, (uint32_t)(random_next() >> (32 + below(32)))); break;
	case 4: lapic_write(vcpu, 0xb0, 0); break;
	default:
		lapic_write(vcpu, 0x310, below(VCPUS + 1) << 24);
		lapic_write(vcpu, 0x300, (one_in(4) ? below(0x100000) : 16 + below(240)));
		break;
	}
}

static void time_pass(void)
{
	fake.tsc += random_next() >> (20 + below(44));
	if (fake.timer && fake.timer_deadline <= fake.tsc) {
		fake.timer = NULL;
		machine.timer.fired(&machine.timer);
	}
}

static void page_ask(void)
{
	gfn_t at = gpa_to_gfn(gpa(DATA + below((DATA_END - DATA) >> PAGE_SHIFT) * PAGE_SIZE));
	struct pgm_page_view view;
	if (!pgm_page_look(machine.pgm, at, &view))
		return;
	switch (below(4)) {
	case 0: (void)!pgm_page_monitor(machine.pgm, at, view.id); break;
	case 1: (void)!pgm_page_zero(machine.pgm, at, view.id); break;
	case 2: (void)!pgm_page_move(machine.pgm, at, view.id); break;
	default: pgm_dirty_note(machine.pgm, at, 4); break;
	}
}

static void others_act(void)
{
	static const uint8_t typed[] = "typed by somebody";
	enum vpc_power what;
	uint32_t value;
	fake.self = NULL;
	switch (below(8)) {
	case 0: (void)machine_serial_input(&machine, typed, below(sizeof(typed))); break;
	case 1: page_ask(); break;
	case 2: (void)machine_power_request_take(&machine, &what, &value); break;
	case 3: pgm_ahead_rest(machine.pgm); break;
	case 4:
		if (one_in(4))
			nmi_raise(machine.vcpus[below(VCPUS)]);
		break;
	case 5: time_pass(); break;
	default: lapic_use(); break;
	}
}

/* Serving may lead to new requests: the I/O APIC can make an INIT of a timer's interrupt. */
static void wake(struct vcpu *vcpu)
{
	do {
		serve(vcpu);
		if (vcpu_is_awake(vcpu))
			continue;
		if (vcpu->activity == VCPU_WAITS_START_UP)
			vcpu_start_up(vcpu, VCPU_REQUEST_START_UP);
		vcpu->activity = VCPU_RUNNABLE;
	} while (vcpu->requests);
}

static void step(void)
{
	static const struct vmexit any;
	struct vcpu *vcpu = machine.vcpus[below(VCPUS)];
	if (one_in(4))
		others_act();
	wake(vcpu);
	exit_queue(&any);
	run(vcpu);
	Q_ASSERT(exits_left() == 0);
	regs_check(vcpu);
	state_check(vcpu);
	struct vcpu_wish wish = vcpu_wish_take(vcpu);
	wish_check(vcpu, wish);
	/* The guest goes on for a while after a wish, as if it had been granted. */
	if ((wish.kind == VCPU_WISH_STOP && one_in(20)) ||
	    (wish.kind == VCPU_WISH_MEMORY && one_in(100)) || one_in(4000))
		restart();
	if (!is_hungry && one_in(8000)) {
		is_hungry = true;
		memory_exhaust(below(8));
	}
}

static void scene(void)
{
	static const uint8_t image[PAGE_SIZE] Q_ALIGNED(8) = { 1 };
	set_up(VCPUS);
	fake_options.elides_zeroing = true;
	mode_64();
	lapics_enable();
	q_status_t status = pgm_rom_add_shadowed(machine.pgm, gpa(SHADOW), image, PAGE_SIZE);
	Q_ASSERT(status == Q_OK);
	status = pgm_rom_mode_set(machine.pgm, gpa(SHADOW), PAGE_SIZE, PGM_ROM_READ_ROM_WRITE_RAM);
	Q_ASSERT(status == Q_OK);
	status = pgm_handler_add(machine.pgm, gpa(HANDLED), PAGE_SIZE, PGM_HANDLER_ALL, 1);
	Q_ASSERT(status == Q_OK);
	status = pgm_handler_add(machine.pgm, gpa(DATA), PAGE_SIZE, PGM_HANDLER_WRITE, 2);
	Q_ASSERT(status == Q_OK);
	guest_code_hook = guest_and_exit;
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 0) : 200000;
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	random_state = seed * 0x9e3779b97f4a7c15ull | 1;
	signal(SIGABRT, on_abort);
	scene();
	for (operation = 0; operation < operations; operation++) {
		step();
		if (operation % AUDIT == 0) {
			machine_check(&machine);
			gmm_check();
		}
	}
	guest_code_hook = NULL;
	fake.self = cpu->thread;
	if (is_hungry)
		memory_release();
	tear_down();
	printf("machine_fuzz: %llu operations, seed %llu: ok\n", (unsigned long long)operations,
	       (unsigned long long)seed);
	return 0;
}
