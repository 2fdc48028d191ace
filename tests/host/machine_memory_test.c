/* SPDX-License-Identifier: MIT */
/*
 * vm/machine/exit_memory.c on a vCPU that is about to clear memory with REP STOSQ. Guest-virtual
 * addresses are guest-physical ones, and this program says which pages are zero.
 */
#include "test.h"

#include <string.h>

#include "kernel/cmdline.h"
#include "vm/machine/emulate.h"
#include "vm/machine/exit.h"
#include "vm/machine/guest_memory.h"

#include "vm/machine/vcpu.h"

#define RIP_AT   0x1000ull
#define FILL_AT  0x100000ull
#define PER_PAGE (PAGE_SIZE / 8)

static struct options quire_options;
static struct virt_ops ops;
static struct machine machine;
static struct vcpu vcpu;
static struct guest_code_state code;
static unsigned zero_pages;      /* from FILL_AT on */
static unsigned reachable_pages; /* likewise: those that the guest's tables let it write */
static unsigned filled, faults, emulated, skipped;

/* --- what vm/machine/exit_memory.c calls ------------------------------------------------------ */

const struct options *options(void)
{
	return &quire_options;
}

void guest_insn_fetch(struct vcpu *of, struct fetched *out_fetched)
{
	EXPECT(of == &vcpu);
	*out_fetched = (struct fetched){
		.code = code, .mode = INSN_MODE_64, .byte_count = 3, .bytes = { 0xf3, 0x48, 0xab }
	};
}

bool guest_write_lookup(struct vcpu *of, const struct fetched *fetched, uint64_t virt,
			gpa_t *out_addr)
{
	EXPECT(of == &vcpu && fetched->mode == INSN_MODE_64);
	*out_addr = gpa(virt);
	return virt < FILL_AT + reachable_pages * PAGE_SIZE;
}

bool pgm_zero_fill(struct pgm *pgm, gfn_t gfn)
{
	bool is_zero = gfn.raw - gpa_to_gfn(gpa(FILL_AT)).raw < zero_pages;

	EXPECT(pgm == machine.pgm);
	filled += is_zero;
	return is_zero;
}

enum pgm_outcome pgm_fault_handle(struct pgm *pgm, struct pgm_fault *fault)
{
	EXPECT(pgm == machine.pgm && fault->access == MEM_WRITE);
	faults++;
	return PGM_MMIO;
}

void emulate_memory_access(struct vcpu *of)
{
	EXPECT(of == &vcpu);
	emulated++;
}

bool pgm_handy_is_low(const struct pgm *pgm)
{
	(void)pgm;
	return false;
}

void vcpu_skip_special(struct vcpu *of, uint64_t from)
{
	(void)of;
	(void)from;
	EXPECT(!"no single step, and below 4 GiB");
}

static void insn_skipped(struct virt_vcpu *virt)
{
	(void)virt;
	skipped++;
}

/* --- the scene -------------------------------------------------------------------------------- */

/* The guest clears `pages` pages, and one element more. */
static void set_up(unsigned pages)
{
	memset(&machine, 0, sizeof(machine));
	memset(&vcpu, 0, sizeof(vcpu));
	code = (struct guest_code_state){ .dr7 = 0x400 };
	quire_options = (struct options){ .elides_zeroing = true };
	ops.insn_skipped = insn_skipped;
	vcpu.machine = &machine;
	vcpu.ops = &ops;
	vcpu.regs.rip = RIP_AT;
	vcpu.regs.gpr[GPR_RDI] = FILL_AT;
	vcpu.regs.gpr[GPR_RCX] = pages * PER_PAGE + 1;
	vcpu.exit.memory.addr = gpa(FILL_AT);
	vcpu.exit.memory.access = MEM_WRITE;
	zero_pages = reachable_pages = 1000;
	filled = faults = emulated = skipped = 0;
}

/* One exit does that many pages; for the rest the guest exits again. */
static void expect_done(unsigned pages)
{
	uint64_t left = vcpu.regs.gpr[GPR_RCX];

	exit_memory(&vcpu);
	EXPECT(filled == pages && faults == (pages == 0));
	EXPECT(vcpu.regs.gpr[GPR_RDI] == FILL_AT + pages * PAGE_SIZE);
	EXPECT(vcpu.regs.gpr[GPR_RCX] == left - pages * PER_PAGE);
	EXPECT(skipped == (pages > 0));
}

/* --- how much at once ------------------------------------------------------------------------- */

/* Between two batches Quire can look at interrupts, requests and other threads. */
TEST(machine_memory, clears_16_pages_at_once_and_no_more)
{
	static const unsigned counts[] = { 1, 2, 15, 16, 17, 18, 500 };

	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		set_up(counts[i]);
		expect_done(counts[i] < 16 ? counts[i] : 16);
		EXPECT(vcpu.regs.rip == RIP_AT && (vcpu.regs.rflags & RFLAGS_RF));
	}
}

TEST(machine_memory, ends_with_the_instruction)
{
	set_up(16);
	vcpu.regs.gpr[GPR_RCX]--;
	expect_done(16);
	EXPECT(vcpu.regs.rip == RIP_AT + 3 && !(vcpu.regs.rflags & RFLAGS_RF));
	set_up(17);
	vcpu.regs.gpr[GPR_RCX]--;
	expect_done(16);
	EXPECT(vcpu.regs.rip == RIP_AT && (vcpu.regs.rflags & RFLAGS_RF));
}

TEST(machine_memory, stops_where_a_page_is_not_zero_or_not_reached)
{
	for (unsigned pages = 0; pages < 4; pages++) {
		set_up(10);
		zero_pages = pages;
		expect_done(pages);
		set_up(10);
		reachable_pages = pages;
		expect_done(pages);
	}
}

/* --- when it does not ------------------------------------------------------------------------- */

TEST(machine_memory, leaves_to_others_what_is_not_such_a_write)
{
	set_up(2);
	quire_options.elides_zeroing = false;
	expect_done(0);
	set_up(2);
	vcpu.exit.has_vectoring = true;
	expect_done(0);
	set_up(2);
	vcpu.exit.memory.is_page_walk = true;
	expect_done(0);
	set_up(2);
	code.dr7 |= 1; /* a breakpoint */
	expect_done(0);
	set_up(2);
	vcpu.regs.gpr[GPR_RAX] = 1;
	expect_done(0);
	/* The CPU saw another translation than there is now. */
	set_up(2);
	vcpu.exit.memory.addr = gpa(FILL_AT + PAGE_SIZE);
	expect_done(0);
	EXPECT(emulated == 1);
}
