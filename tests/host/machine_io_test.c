/* SPDX-License-Identifier: MIT */
/*
 * Port I/O as a guest sees it: registers, memory, and what reaches the devices. The tests use the
 * serial port, whose FIFO returns typed bytes in order and whose scratch register always returns
 * the same one; the debug console; and PCI's address register, which has 32 bits.
 */
#include "machine_fixture.h"

#define UART    0x3f8u
#define FCR     (UART + 2)
#define SCRATCH (UART + 7)
#define CONSOLE 0xe9u
#define PCI     0xcf8u
#define NOBODY  0x3000u

#define VIRT 0x40000000ull /* pages that a test maps */
#define RAM  0x30000ull

static struct vmexit pio(uint16_t port, uint8_t size, bool is_in)
{
	return (struct vmexit){ .kind = VMEXIT_PIO,
				.insn_length = 2,
				.pio = { .port = port, .size = size, .is_in = is_in } };
}

static void out(uint16_t port, uint8_t size, uint64_t value)
{
	cpu->regs.gpr[GPR_RAX] = value;
	take_exit_of(cpu, pio(port, size, false));
	EXPECT(is_done(2) && cpu->regs.gpr[GPR_RAX] == value);
}

static uint64_t in(uint16_t port, uint8_t size, uint64_t rax)
{
	cpu->regs.gpr[GPR_RAX] = rax;
	take_exit_of(cpu, pio(port, size, true));
	EXPECT(is_done(2));
	return cpu->regs.gpr[GPR_RAX];
}

/* --- IN and OUT --------------------------------------------------------------------------- */

#define RAX 0x8877665544332211ull

TEST(machine_io, out_takes_as_much_of_rax_as_its_size)
{
	set_up_64();
	out(SCRATCH, 1, 0xffffffffffffff5a);
	EXPECT((in(SCRATCH, 1, 0) & 0xff) == 0x5a);
	out(PCI, 4, 0xffffffff80001234);
	EXPECT(in(PCI, 4, 0) == 0x80001234);
	out(0x80, 2, RAX);
	/* Two bytes go to two ports, the first of which is the scratch register. */
	out(SCRATCH, 2, 0xabcd);
	EXPECT((in(SCRATCH, 1, 0) & 0xff) == 0xcd);
	tear_down();
}

TEST(machine_io, in_sets_as_much_of_rax_as_a_cpu_does)
{
	set_up_64();
	out(SCRATCH, 1, 0x5a);
	out(PCI, 4, 0x80000000);
	EXPECT(in(SCRATCH, 1, RAX) == 0x887766554433225a);
	EXPECT(in(PCI + 4, 2, RAX) == 0x8877665544338086);
	EXPECT(in(PCI + 4, 4, RAX) == 0x12378086);
	EXPECT(in(NOBODY, 1, RAX) == 0x88776655443322ff);
	EXPECT(in(NOBODY, 2, RAX) == 0x887766554433ffff);
	EXPECT(in(NOBODY, 4, RAX) == 0xffffffff);
	tear_down();
}

TEST(machine_io, the_next_rip_comes_from_the_cpu_if_it_has_one)
{
	set_up_64();
	struct vmexit exit = pio(SCRATCH, 1, true);
	exit.pio.next_rip = CODE_AT + 5;
	take_exit_of(cpu, exit);
	EXPECT(is_done(5));
	exit.insn_length = 0;
	exit.pio.next_rip = CODE_AT + 6;
	take_exit_of(cpu, exit);
	EXPECT(is_done(1));
	tear_down();
}

TEST(machine_io, serial_output_reaches_the_console_without_a_lock)
{
	set_up_64();
	out(UART, 1, 'Q');
	out(CONSOLE, 1, '!');
	EXPECT(strcmp(fake_com2_text(), "Q!") == 0);
	tear_down();
}

/* --- INS and OUTS ------------------------------------------------------------------------- */

/* The three registers that INS and OUTS move. */
static void set_string(uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	cpu->regs.gpr[GPR_RCX] = rcx;
	cpu->regs.gpr[GPR_RSI] = rsi;
	cpu->regs.gpr[GPR_RDI] = rdi;
}

static bool has_string(uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	return cpu->regs.gpr[GPR_RCX] == rcx && cpu->regs.gpr[GPR_RSI] == rsi &&
	       cpu->regs.gpr[GPR_RDI] == rdi;
}

static void string(uint16_t port, uint8_t size, bool is_in, bool is_rep)
{
	struct vmexit exit = pio(port, size, is_in);
	exit.pio.is_string = true;
	exit.pio.is_rep = is_rep;
	take_exit_of(cpu, exit);
}

#define INS(port, size)      string(port, size, true, false)
#define OUTS(port, size)     string(port, size, false, false)
#define REP_INS(port, size)  string(port, size, true, true)
#define REP_OUTS(port, size) string(port, size, false, true)

/* Puts the text into the serial port's FIFO. */
static void type(const char *text)
{
	out(FCR, 1, 1);
	unsigned count = (unsigned)strlen(text);
	EXPECT(machine_serial_input(&machine, (const uint8_t *)text, count) == count);
}

static bool ram_is(uint64_t addr, const char *text)
{
	for (size_t i = 0; text[i]; i++)
		if (guest_number(addr + i, 1) != (uint8_t)text[i])
			return false;
	return true;
}

TEST(machine_io, one_element_leaves_rcx_alone)
{
	set_up_64();
	guest_code("\x6c");
	type("ab");
	set_string(0, 7, RAM);
	INS(UART, 1);
	EXPECT(is_done(2) && has_string(0, 7, RAM + 1) && ram_is(RAM, "a"));
	set_string(5, 7, RAM);
	INS(UART, 1);
	EXPECT(is_done(2) && has_string(5, 7, RAM + 1) && ram_is(RAM, "b"));
	guest_code("\x6e");
	guest_put(RAM, "xyz", 3);
	set_string(5, RAM + 1, 7);
	OUTS(CONSOLE, 1);
	EXPECT(is_done(2) && has_string(5, RAM + 2, 7) && strcmp(fake_com2_text(), "y") == 0);
	tear_down();
}

TEST(machine_io, every_size_moves_its_bytes)
{
	set_up_64();
	out(PCI, 4, 0x80000000);
	for (unsigned size = 1; size <= 4; size *= 2) {
		guest_fill(RAM, 0xee, 8);
		guest_code("\x6d");
		set_string(1, 0, RAM);
		INS(PCI + 4, (uint8_t)size);
		EXPECT(has_string(1, 0, RAM + size));
		EXPECT(guest_number(RAM, size) == (0x12378086 & (BIT64(8 * size) - 1)));
		EXPECT(guest_number(RAM + size, 1) == 0xee);
	}
	guest_code("\x6f");
	guest_put_number(RAM, 0x80112230, 4);
	set_string(1, RAM, 0);
	OUTS(PCI, 4);
	EXPECT(is_done(2) && has_string(1, RAM + 4, 0) && in(PCI, 4, 0) == 0x80112230);
	guest_put_number(RAM, 0x6958, 2);
	guest_code("\x66\x6f");
	set_string(1, RAM, 0);
	OUTS(CONSOLE, 2); /* the upper byte goes to the next port */
	EXPECT(has_string(1, RAM + 2, 0) && strcmp(fake_com2_text(), "X") == 0);
	tear_down();
}

TEST(machine_io, rep_moves_rcx_elements)
{
	set_up_64();
	guest_code("\xf3\x6c");
	type("hello");
	set_string(5, 9, RAM);
	REP_INS(UART, 1);
	EXPECT(is_done(2) && has_string(0, 9, RAM + 5) && ram_is(RAM, "hello"));
	guest_code("\xf3\x6e");
	set_string(5, RAM, 9);
	REP_OUTS(UART, 1);
	EXPECT(is_done(2) && has_string(0, RAM + 5, 9) && strcmp(fake_com2_text(), "hello") == 0);
	tear_down();
}

TEST(machine_io, rep_of_nothing_moves_nothing)
{
	set_up_64();
	guest_code("\xf3\x6c");
	guest_fill(RAM, 0xee, 8);
	set_string(0, 1, RAM);
	REP_INS(SCRATCH, 1);
	EXPECT(is_done(2) && has_string(0, 1, RAM) && guest_is_all(RAM, 0xee, 8));
	/* With 32-bit addresses ECX is the count. */
	guest_code("\xf3\x67\x6c");
	set_string(BIT64(32), 1, RAM);
	REP_INS(SCRATCH, 1);
	EXPECT(is_done(2) && has_string(BIT64(32), 1, RAM) && guest_is_all(RAM, 0xee, 8));
	tear_down();
}

TEST(machine_io, the_direction_flag_counts_down)
{
	set_up_64();
	cpu->regs.rflags |= RFLAGS_DF;
	guest_code("\xf3\x6c");
	type("abc");
	set_string(3, 0, RAM + 2);
	REP_INS(UART, 1);
	EXPECT(is_done(2) && has_string(0, 0, RAM - 1) && ram_is(RAM, "cba"));
	guest_code("\xf3\x6f");
	guest_put_number(RAM, 0x80001100, 4);
	guest_put_number(RAM + 4, 0x80002200, 4);
	set_string(2, RAM + 4, 0);
	REP_OUTS(PCI, 4);
	EXPECT(is_done(2) && has_string(0, RAM - 4, 0) && in(PCI, 4, 0) == 0x80001100);
	tear_down();
}

/* --- batches ------------------------------------------------------------------------------ */

/* Between two batches the loop serves requests and other threads run. */
TEST(machine_io, a_long_rep_goes_in_batches_of_64)
{
	static const unsigned counts[] = { 63, 64, 65, 128, 200 };
	set_up_64();
	out(SCRATCH, 1, 0x5a);
	guest_code("\xf3\x6c");
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		cpu->regs.rip = CODE_AT;
		guest_fill(RAM, 0xee, 256);
		set_string(counts[i], 0, RAM);
		for (unsigned left = counts[i]; left > 64; left -= 64) {
			REP_INS(SCRATCH, 1);
			EXPECT(is_retried() && cpu->regs.gpr[GPR_RCX] == left - 64);
		}
		REP_INS(SCRATCH, 1);
		EXPECT(is_done(2) && has_string(0, 0, RAM + counts[i]));
		EXPECT(guest_is_all(RAM, 0x5a, counts[i]));
		EXPECT(guest_number(RAM + counts[i], 1) == 0xee);
	}
	tear_down();
}

static void slice_ends(struct virt_vcpu *virt)
{
	(void)virt;
	fake.percpu.should_yield = true;
}

TEST(machine_io, others_do_not_wait_for_a_batch)
{
	set_up_64();
	guest_code("\xf3\x6e");
	guest_put(RAM, "abc", 3);
	set_string(3, RAM, 0);
	guest_code_hook = slice_ends;
	REP_OUTS(UART, 1);
	EXPECT(cpu->regs.rip == CODE_AT && has_string(2, RAM + 1, 0));
	REP_OUTS(UART, 1);
	REP_OUTS(UART, 1);
	guest_code_hook = NULL;
	EXPECT(is_done(2) && has_string(0, RAM + 3, 0) && strcmp(fake_com2_text(), "abc") == 0);
	tear_down();
}

/* --- where the memory is ------------------------------------------------------------------ */

/* Gives each segment a base of its own. */
static uint64_t segment_base(unsigned segment)
{
	return 0x20000ull + segment * 0x10000ull;
}

static void segments_spread(void)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		if (i != SEG_CS)
			cpu->virt->state.segment[i].base = segment_base(i);
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		guest_put_number(segment_base(i) + 0x100, 'a' + i, 1);
}

static const struct override {
	char prefix;
	unsigned segment;
} overrides[] = { { '\x26', SEG_ES }, { '\x36', SEG_SS }, { '\x3e', SEG_DS },
		  { '\x64', SEG_FS }, { '\x65', SEG_GS }, { '\x66', SEG_DS } };

/* Executes OUTSB with the prefix and returns the byte that it sent. */
static char outs_with(char prefix)
{
	char bytes[2] = { prefix, '\x6e' };
	guest_put(cpu->virt->state.segment[SEG_CS].base + cpu->regs.rip, bytes, 2);
	fake_console_clear();
	set_string(1, 0x100, 0);
	OUTS(CONSOLE, 1);
	return fake_com2_text()[0];
}

TEST(machine_io, outs_takes_any_segment)
{
	set_up(1);
	mode_32();
	segments_spread();
	for (unsigned i = 0; i < ARRAY_COUNT(overrides); i++)
		EXPECT(outs_with(overrides[i].prefix) == (char)('a' + overrides[i].segment));
	/* Of two overrides the last counts. */
	guest_code("\x26\x64\x6e");
	fake_console_clear();
	set_string(1, 0x100, 0);
	OUTS(CONSOLE, 1);
	EXPECT(fake_com2_text()[0] == 'a' + SEG_FS);
	cpu->virt->state.segment[SEG_CS].base = segment_base(SEG_CS);
	cpu->regs.rip = 0;
	EXPECT(outs_with('\x2e') == 'a' + SEG_CS);
	tear_down();
}

TEST(machine_io, in_64_bit_mode_only_fs_and_gs_have_a_base)
{
	set_up_64();
	segments_spread();
	guest_put_number(0x100, '0', 1);
	for (unsigned i = 0; i < ARRAY_COUNT(overrides); i++) {
		bool has_base = overrides[i].segment == SEG_FS || overrides[i].segment == SEG_GS;
		cpu->regs.rip = CODE_AT;
		EXPECT(outs_with(overrides[i].prefix) ==
		       (has_base ? (char)('a' + overrides[i].segment) : '0'));
	}
	tear_down();
}

TEST(machine_io, in_64_bit_mode_other_overrides_do_nothing)
{
	set_up_64();
	segments_spread();
	for (unsigned i = 0; i < ARRAY_COUNT(overrides); i++) {
		if (overrides[i].segment == SEG_FS || overrides[i].segment == SEG_GS)
			continue;
		char bytes[3] = { '\x65', overrides[i].prefix, '\x6e' };
		guest_code_put(bytes, 3);
		fake_console_clear();
		set_string(1, 0x100, 0);
		OUTS(CONSOLE, 1);
		EXPECT(fake_com2_text()[0] == 'a' + SEG_GS);
	}
	tear_down();
}

TEST(machine_io, ins_always_writes_to_es)
{
	set_up(1);
	mode_32();
	segments_spread();
	out(SCRATCH, 1, 'z');
	guest_code("\x65\x6c");
	set_string(1, 0, 0x200);
	INS(SCRATCH, 1);
	EXPECT(guest_number(segment_base(SEG_ES) + 0x200, 1) == 'z');
	EXPECT(guest_number(segment_base(SEG_GS) + 0x200, 1) == 0);
	tear_down();
}

/* One element of REP INSB. Where the address size ignores upper bits they hold junk. */
static const struct step {
	enum insn_mode mode;
	const char *bytes;
	uint64_t rdi, rcx;
	uint64_t addr, rdi_after, rcx_after;
} steps[] = {
	{ INSN_MODE_64, "\xf3\x6c", RAM, 1, RAM, RAM + 1, 0 },
	{ INSN_MODE_64, "\x67\xf3\x6c", 0xabcd00030000, 0x100000002, RAM, RAM + 1, 1 },
	{ INSN_MODE_32, "\xf3\x6c", 0xabcd00030000, 0x100000002, RAM, RAM + 1, 1 },
	{ INSN_MODE_32, "\x67\xf3\x6c", 0x55555555ffff, 0x70002, 0xffff, 0x555555550000, 0x70001 },
	{ INSN_MODE_16, "\xf3\x6c", 0x555555551234, 0x70002, 0x1234, 0x555555551235, 0x70001 },
	{ INSN_MODE_16, "\xf3\x67\x6c", 0xabcd00030000, 0x100000002, RAM, RAM + 1, 1 },
};

TEST(machine_io, registers_move_by_the_address_size)
{
	static void (*const modes[])(void) = { mode_16, mode_32, mode_64 };
	for (unsigned i = 0; i < ARRAY_COUNT(steps); i++) {
		const struct step *step = &steps[i];
		set_up(1);
		modes[step->mode]();
		out(SCRATCH, 1, 0x5a);
		cpu->regs.rip = step->mode == INSN_MODE_16 ? 0 : CODE_AT;
		guest_put(CODE_AT, step->bytes, strlen(step->bytes));
		set_string(step->rcx, 0, step->rdi);
		guest_code_hook = slice_ends;
		REP_INS(SCRATCH, 1);
		guest_code_hook = NULL;
		EXPECT(has_string(step->rcx_after, 0, step->rdi_after));
		EXPECT(guest_number(step->addr, 1) == 0x5a);
		tear_down();
	}
}

/* 32-bit code in long mode has 4-level paging and 32-bit addresses. */
TEST(machine_io, compatibility_mode_has_32_bit_addresses)
{
	set_up_64();
	guest_code("\x6e");
	cpu->virt->state.segment[SEG_CS].attributes = RESET_CODE | SEG_ATTR_DB;
	cpu->virt->state.segment[SEG_DS].base = 0xfffff000;
	guest_put_number(RAM, 'x', 1);
	set_string(1, 0xabcd00000000 | (RAM + 0x1000), 0);
	OUTS(CONSOLE, 1);
	EXPECT(is_done(2) && has_string(1, RAM + 0x1001, 0) && fake_com2_text()[0] == 'x');
	tear_down();
}

/* The same table serves both: its first entry maps 4 MiB, or with PAE 2 MiB. */
TEST(machine_io, the_modes_of_32_bit_paging)
{
	const uint64_t table = 0x50000, high = 0x60000;
	set_up(1);
	mode_32();
	guest_put_number(RAM, 'x', 1);
	guest_put_number(table, PAGE_KERNEL | PAGE_PS, 8);
	guest_put_number(high, table | PAGE_P, 8);
	cpu->virt->state.cr0 |= CR0_PG;
	guest_code("\x6e");
	for (unsigned is_pae = 0; is_pae < 2; is_pae++) {
		cpu->virt->state.cr4 = is_pae ? CR4_PAE : CR4_PSE;
		cpu->virt->state.cr3 = is_pae ? high : table;
		cpu->regs.rip = CODE_AT;
		fake_console_clear();
		set_string(1, RAM, 0);
		OUTS(CONSOLE, 1);
		EXPECT(is_done(2) && fake_com2_text()[0] == 'x');
		set_string(1, 0x400000, 0);
		OUTS(CONSOLE, 1);
		EXPECT(raises_page_fault(0x400000, 0));
	}
	tear_down();
}

/* CS.D says whether RSI has 32 bits, but not in real mode; CS.L counts only in long mode. */
TEST(machine_io, the_mode_says_how_wide_addresses_are)
{
	static const struct {
		uint64_t cr0, efer;
		uint32_t attributes;
		uint64_t rsi_after;
	} modes[] = {
		{ CR0_PE, 0, 0, 0x55550000 },
		{ CR0_PE, 0, SEG_ATTR_DB, 0x55560000 },
		{ CR0_PE, EFER_LME, SEG_ATTR_L, 0x55550000 },
		{ CR0_PE, EFER_LME, SEG_ATTR_L | SEG_ATTR_DB, 0x55560000 },
		{ 0, 0, 0, 0x55550000 },
		{ 0, 0, SEG_ATTR_DB, 0x55550000 },
	};
	for (unsigned i = 0; i < ARRAY_COUNT(modes); i++) {
		set_up(1);
		mode_32();
		guest_code("\x6e");
		cpu->virt->state.cr0 = modes[i].cr0;
		cpu->virt->state.efer = modes[i].efer;
		cpu->virt->state.segment[SEG_CS].attributes = RESET_CODE | modes[i].attributes;
		set_string(1, 0x5555ffff, 0);
		OUTS(CONSOLE, 1);
		EXPECT(is_done(2) && has_string(1, modes[i].rsi_after, 0));
		tear_down();
	}
}

/* Another vCPU may unmap the code; then the mode alone gives the address size. */
TEST(machine_io, without_the_code_there_are_no_prefixes)
{
	set_up_64();
	out(SCRATCH, 1, 0x5a);
	cpu->regs.rip = VIRT;
	set_string(1, 0, RAM);
	REP_INS(SCRATCH, 1);
	EXPECT(is_done(2) && has_string(0, 0, RAM + 1) && guest_number(RAM, 1) == 0x5a);
	tear_down();
}

/* --- faults in the middle ----------------------------------------------------------------- */

TEST(machine_io, a_fault_leaves_what_is_still_to_be_done)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_KERNEL);
	guest_code("\xf3\x6c");
	type("hello");
	set_string(5, 0, VIRT + PAGE_SIZE - 2);
	REP_INS(UART, 1);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE, 2));
	EXPECT(has_string(3, 0, VIRT + PAGE_SIZE));
	/* The guest maps the page, and no byte of the FIFO is lost. */
	page_map(VIRT + PAGE_SIZE, RAM + PAGE_SIZE, PAGE_KERNEL);
	REP_INS(UART, 1);
	EXPECT(is_done(2) && ram_is(RAM + PAGE_SIZE - 2, "hello"));
	tear_down();
}

TEST(machine_io, error_codes_are_those_of_the_access)
{
	set_up_64();
	for (unsigned is_user = 0; is_user < 2; is_user++) {
		uint32_t user = is_user ? 4 : 0;
		cpu->virt->state.cpl = is_user ? 3 : 0;
		guest_code("\x6c");
		page_map(VIRT, 0, 0);
		set_string(1, VIRT, VIRT);
		INS(SCRATCH, 1);
		EXPECT(raises_page_fault(VIRT, 2 | user));
		OUTS(CONSOLE, 1);
		EXPECT(raises_page_fault(VIRT, 0 | user));
		page_map(VIRT, RAM, PAGE_P | PAGE_AD | (is_user ? PAGE_U : 0));
		INS(SCRATCH, 1);
		EXPECT(raises_page_fault(VIRT, 3 | user));
		OUTS(CONSOLE, 1);
		EXPECT(is_done(2));
	}
	page_map(VIRT, RAM, PAGE_KERNEL);
	cpu->regs.rip = CODE_AT;
	set_string(1, VIRT, VIRT);
	OUTS(CONSOLE, 1);
	EXPECT(raises_page_fault(VIRT, 5));
	INS(SCRATCH, 1);
	EXPECT(raises_page_fault(VIRT, 7));
	tear_down();
}

TEST(machine_io, an_element_across_two_pages_moves_as_a_whole)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_KERNEL);
	guest_code("\x6d");
	out(PCI, 4, 0x80000000);
	for (unsigned first = 1; first < 4; first++) {
		uint64_t at = VIRT + PAGE_SIZE - first;
		page_map(VIRT + PAGE_SIZE, 0, 0);
		guest_fill(RAM + PAGE_SIZE - 4, 0xee, 4);
		set_string(1, 0, at);
		cpu->regs.rip = CODE_AT;
		INS(PCI + 4, 4);
		EXPECT(raises_page_fault(VIRT + PAGE_SIZE, 2));
		EXPECT(guest_is_all(RAM + PAGE_SIZE - 4, 0xee, 4));
		/* The two pages are no neighbours in memory. */
		page_map(VIRT + PAGE_SIZE, RAM + 0x8000, PAGE_KERNEL);
		INS(PCI + 4, 4);
		EXPECT(is_done(2) && has_string(1, 0, at + 4));
		uint64_t low = guest_number(RAM + PAGE_SIZE - first, first);
		EXPECT((low | guest_number(RAM + 0x8000, 4 - first) << 8 * first) == 0x12378086);
		/* The same with OUTS. */
		guest_code("\x6f");
		set_string(1, at, 0);
		OUTS(PCI, 4);
		EXPECT(is_done(2) && in(PCI, 4, 0) == (0x12378086 & 0x80fffffc));
		out(PCI, 4, 0x80000000);
		guest_code("\x6d");
	}
	tear_down();
}

TEST(machine_io, the_first_page_faults_first)
{
	set_up_64();
	page_map(VIRT + PAGE_SIZE, RAM, PAGE_KERNEL);
	page_map(VIRT, 0, 0);
	guest_code("\x6d");
	set_string(1, 0, VIRT + PAGE_SIZE - 2);
	INS(PCI, 4);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE - 2, 2));
	page_map(VIRT + PAGE_SIZE, 0, 0);
	INS(PCI, 4);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE - 2, 2));
	tear_down();
}

/* --- other memory than RAM ---------------------------------------------------------------- */

TEST(machine_io, device_memory_rom_and_nothing_can_be_used_as_well)
{
	set_up_64();
	guest_code("\x6d");
	out(PCI, 4, 0x80000030);
	set_string(1, 0, LAPIC_AT + 0x80);
	INS(PCI, 4);
	EXPECT(is_done(2) && lapic_get(cpu, 0x80) == 0x30);
	guest_code("\x6f");
	set_string(1, LAPIC_AT + 0x30, 0);
	OUTS(PCI, 4);
	EXPECT(is_done(2) && in(PCI, 4, 0) == (lapic_get(cpu, 0x30) & 0x80fffffc));
	/* Writes to ROM and to the hole vanish; the hole reads as ones. */
	guest_code("\x6d");
	uint64_t before = guest_number(0xe0000, 8);
	set_string(1, 0, 0xe0000);
	INS(PCI, 4);
	EXPECT(is_done(2) && guest_number(0xe0000, 8) == before);
	page_map(VIRT, 0xd0000000, PAGE_KERNEL);
	set_string(1, 0, VIRT);
	INS(PCI, 4);
	EXPECT(is_done(2));
	guest_code("\x6f");
	set_string(1, VIRT, 0);
	OUTS(PCI, 4);
	EXPECT(is_done(2) && in(PCI, 4, 0) == 0x80fffffc);
	tear_down();
}

/* --- no memory in the middle -------------------------------------------------------------- */

TEST(machine_io, waits_for_memory_and_goes_on_where_it_was)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_KERNEL);
	page_map(VIRT + PAGE_SIZE, RAM + PAGE_SIZE, PAGE_KERNEL);
	guest_code("\xf3\x6c");
	type("hello");
	memory_exhaust(1);
	set_string(5, 0, VIRT + PAGE_SIZE - 2);
	REP_INS(UART, 1);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && taken.wish.page_count == 1);
	EXPECT(is_retried() && has_string(3, 0, VIRT + PAGE_SIZE));
	REP_INS(UART, 1);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY);
	EXPECT(is_retried() && has_string(3, 0, VIRT + PAGE_SIZE));
	memory_release();
	REP_INS(UART, 1);
	EXPECT(is_done(2) && has_string(0, 0, VIRT + PAGE_SIZE + 3));
	EXPECT(ram_is(RAM + PAGE_SIZE - 2, "hello"));
	tear_down();
}

TEST(machine_io, reading_needs_no_memory)
{
	set_up_64();
	guest_code("\x6f");
	memory_exhaust(0);
	out(PCI, 4, 0x80001230);
	set_string(1, RAM + PAGE_SIZE - 2, 0);
	OUTS(PCI, 4);
	EXPECT(is_done(2) && in(PCI, 4, 0) == 0);
	memory_release();
	tear_down();
}

/* Setting the accessed bit in a shared page needs a page of the guest's own. */
TEST(machine_io, waits_for_memory_for_the_guests_tables)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_P | PAGE_W);
	guest_put_number(RAM, 'x', 1);
	page_share(page_entry_at(VIRT));
	guest_code("\x6e");
	memory_exhaust(0);
	set_string(1, VIRT, 0);
	OUTS(CONSOLE, 1);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && taken.wish.page_count == 1);
	EXPECT(is_retried() && has_string(1, VIRT, 0) && fake_com2_text()[0] == 0);
	memory_release();
	OUTS(CONSOLE, 1);
	EXPECT(is_done(2) && fake_com2_text()[0] == 'x' && (page_entry(VIRT) & PAGE_AD) == 0x20);
	tear_down();
}
