/* SPDX-License-Identifier: MIT */
/*
 * Memory exits: faults that PGM resolves, instructions that are emulated on device memory, on ROM
 * and where there is nothing, and clearing of pages that are zero already.
 */
#include "machine_fixture.h"

#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"

#define VIRT  0x40000000ull /* pages that a test maps */
#define RAM   0x30000ull
#define OTHER 0x50000ull /* more RAM */
#define HOLE  0xd0000000ull
#define ROM   0xe0000ull

#define LDR     0xd0u
#define INITIAL 0x380u /* of the timer: a register of 32 bits */

static struct pgm_stats stats(void)
{
	struct pgm_stats now;
	pgm_stats(machine.pgm, &now);
	return now;
}

static void set_regs(uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	cpu->regs.gpr[GPR_RCX] = rcx;
	cpu->regs.gpr[GPR_RSI] = rsi;
	cpu->regs.gpr[GPR_RDI] = rdi;
}

static bool has_regs(uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	return cpu->regs.gpr[GPR_RCX] == rcx && cpu->regs.gpr[GPR_RSI] == rsi &&
	       cpu->regs.gpr[GPR_RDI] == rdi;
}

/* --- RAM ---------------------------------------------------------------------------------- */

TEST(machine_memory, faults_on_ram_are_resolved_and_retried)
{
	set_up_64();
	uint64_t writes = stats().counters.faults_write, reads = stats().counters.faults_read;
	take_memory_exit(RAM, MEM_READ);
	EXPECT(is_retried() && taken.wish.kind == VCPU_WISH_NOTHING);
	take_memory_exit(RAM, MEM_EXEC);
	EXPECT(is_retried() && stats().counters.faults_read == reads + 2);
	uint64_t before = stats().private_pages;
	take_memory_exit(RAM, MEM_WRITE);
	EXPECT(is_retried() && stats().counters.faults_write == writes + 1);
	EXPECT(stats().private_pages == before + 1);
	tear_down();
}

TEST(machine_memory, the_stock_is_refilled_in_time)
{
	set_up_64();
	unsigned refills = 0;
	for (unsigned i = 0; i < 300; i++) {
		take_memory_exit(MIB(8) + i * PAGE_SIZE, MEM_WRITE);
		EXPECT(taken.wish.kind == VCPU_WISH_NOTHING);
		refills += (cpu->requests & VCPU_REQUEST_REFILL) != 0;
	}
	EXPECT(refills == 3);
	tear_down();
}

TEST(machine_memory, waits_when_there_is_no_page)
{
	set_up_64();
	memory_exhaust(0);
	take_memory_exit(RAM, MEM_WRITE);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && taken.wish.page_count == 1);
	EXPECT(is_retried());
	/* A read fault needs no page. */
	take_memory_exit(RAM, MEM_READ);
	EXPECT(is_retried() && taken.wish.kind == VCPU_WISH_NOTHING);
	memory_release();
	take_memory_exit(RAM, MEM_WRITE);
	EXPECT(is_retried() && taken.wish.kind == VCPU_WISH_NOTHING);
	tear_down();
}

/* --- instructions on device memory -------------------------------------------------------- */

static void device_set(uint64_t addr, uint32_t value)
{
	machine_devices_enter(&machine);
	EXPECT(vpc_mmio_write(machine.vpc, 0, gpa(addr), 4, value, machine_now(&machine)));
	machine_devices_leave(&machine, cpu);
}

static uint32_t device_get(uint64_t addr)
{
	uint64_t value = 0;
	machine_devices_enter(&machine);
	EXPECT(vpc_mmio_read(machine.vpc, 0, gpa(addr), 4, &value, machine_now(&machine)));
	machine_devices_leave(&machine, cpu);
	return (uint32_t)value;
}

#define CODE(bytes) sizeof(bytes) - 1, bytes
#define RAX         0x8877665544332211ull
#define LAPIC       (LAPIC_AT + INITIAL)
#define IOAPIC      IOAPIC_AT /* its selector, a register of one byte */

/* RBX is the device's address. The columns are RAX and the device before, then both after. */
static const struct row {
	const char *text;
	unsigned length;
	const char *bytes;
	uint64_t addr, rax;
	uint32_t device;
	uint64_t rax_after;
	uint32_t device_after;
} rows[] = {
	{ "mov (%rbx),%eax", CODE("\x8b\x03"), LAPIC, RAX, 0x92345678, 0x92345678, 0x92345678 },
	{ "mov (%rbx),%al", CODE("\x8a\x03"), LAPIC, RAX, 0x78, RAX ^ 0x11 ^ 0x78, 0x78 },
	{ "mov (%rbx),%ah", CODE("\x8a\x23"), LAPIC, RAX, 0x78, RAX ^ 0x2200 ^ 0x7800, 0x78 },
	{ "mov (%rbx),%ax", CODE("\x66\x8b\x03"), LAPIC, RAX, 0x15678, RAX ^ 0x2211 ^ 0x5678,
	  0x15678 },
	{ "mov (%rbx),%rax", CODE("\x48\x8b\x03"), LAPIC, RAX, 0x92345678, 0x92345678, 0x92345678 },
	{ "movabs 0xfee00380,%eax", CODE("\xa1\x80\x03\xe0\xfe\x00\x00\x00\x00"), LAPIC, RAX,
	  0x12345678, 0x12345678, 0x12345678 },
	{ "movzbl (%rbx),%eax", CODE("\x0f\xb6\x03"), LAPIC, RAX, 0x5698, 0x98, 0x5698 },
	{ "movzwl (%rbx),%eax", CODE("\x0f\xb7\x03"), LAPIC, RAX, 0x349698, 0x9698, 0x349698 },
	{ "movsbl (%rbx),%eax", CODE("\x0f\xbe\x03"), LAPIC, RAX, 0x98, 0xffffff98, 0x98 },
	{ "movswq (%rbx),%rax", CODE("\x48\x0f\xbf\x03"), LAPIC, RAX, 0x9698, ~0x6967ull, 0x9698 },
	{ "movslq (%rbx),%rax", CODE("\x48\x63\x03"), LAPIC, RAX, 0xfffffffe, ~1ull, 0xfffffffe },
	{ "mov %eax,(%rbx)", CODE("\x89\x03"), LAPIC, RAX, 1, RAX, 0x44332211 },
	/* The bytes beyond the register vanish. */
	{ "mov %rax,(%rbx)", CODE("\x48\x89\x03"), LAPIC, RAX, 1, RAX, 0x44332211 },
	{ "mov %al,(%rbx)", CODE("\x88\x03"), IOAPIC, RAX, 5, RAX, 0x11 },
	{ "mov %ah,(%rbx)", CODE("\x88\x23"), IOAPIC, RAX, 5, RAX, 0x22 },
	{ "mov %ax,(%rbx)", CODE("\x66\x89\x03"), IOAPIC, RAX, 5, RAX, 0x11 },
	/* The local APIC takes whole registers only. */
	{ "mov %al,(%rbx)", CODE("\x88\x03"), LAPIC, RAX, 5, RAX, 5 },
	{ "movabs %eax,0xfee00380", CODE("\xa3\x80\x03\xe0\xfe\x00\x00\x00\x00"), LAPIC, RAX, 5,
	  RAX, 0x44332211 },
	{ "movl $0x89abcdef,(%rbx)", CODE("\xc7\x03\xef\xcd\xab\x89"), LAPIC, 0, 5, 0, 0x89abcdef },
	{ "movq $-2,(%rbx)", CODE("\x48\xc7\x03\xfe\xff\xff\xff"), LAPIC, 0, 5, 0, 0xfffffffe },
	{ "movb $0x77,(%rbx)", CODE("\xc6\x03\x77"), IOAPIC, 0, 5, 0, 0x77 },
	{ "add %eax,(%rbx)", CODE("\x01\x03"), LAPIC, 2, 0xffffffff, 2, 1 },
	{ "add (%rbx),%eax", CODE("\x03\x03"), LAPIC, 1, 0x7fffffff, 0x80000000, 0x7fffffff },
	{ "or %eax,(%rbx)", CODE("\x09\x03"), LAPIC, 0x10, 1, 0x10, 0x11 },
	{ "adc %eax,(%rbx)", CODE("\x11\x03"), LAPIC, 2, 3, 2, 6 }, /* CF is set */
	{ "sbb %eax,(%rbx)", CODE("\x19\x03"), LAPIC, 2, 4, 2, 1 },
	{ "and %eax,(%rbx)", CODE("\x21\x03"), LAPIC, 0xff00, 0x1234, 0xff00, 0x1200 },
	{ "sub %eax,(%rbx)", CODE("\x29\x03"), LAPIC, 5, 3, 5, 0xfffffffe },
	{ "xor %eax,(%rbx)", CODE("\x31\x03"), LAPIC, 0xff, 0x0f, 0xff, 0xf0 },
	{ "cmp %eax,(%rbx)", CODE("\x39\x03"), LAPIC, 3, 4, 3, 4 },
	{ "cmp (%rbx),%eax", CODE("\x3b\x03"), LAPIC, 3, 4, 3, 4 },
	{ "test %eax,(%rbx)", CODE("\x85\x03"), LAPIC, 1, 2, 1, 2 },
	{ "testb $0x10,(%rbx)", CODE("\xf6\x03\x10"), LAPIC, 0, 0x12, 0, 0x12 },
	{ "testl $1,(%rbx)", CODE("\xf7\x03\x01\x00\x00\x00"), LAPIC, 0, 2, 0, 2 },
	{ "orb $0x81,(%rbx)", CODE("\x80\x0b\x81"), IOAPIC, 0, 0x10, 0, 0x91 },
	{ "orl $0x100,(%rbx)", CODE("\x81\x0b\x00\x01\x00\x00"), LAPIC, 0, 1, 0, 0x101 },
	{ "andl $-2,(%rbx)", CODE("\x83\x23\xfe"), LAPIC, 0, 7, 0, 6 },
	{ "lock andl $-2,(%rbx)", CODE("\xf0\x83\x23\xfe"), LAPIC, 0, 7, 0, 6 },
	{ "xchg %eax,(%rbx)", CODE("\x87\x03"), LAPIC, RAX, 7, 7, 0x44332211 },
	{ "xchg %al,(%rbx)", CODE("\x86\x03"), IOAPIC, RAX, 7, RAX ^ 0x11 ^ 7, 0x11 },
};

static void expect_row(const struct row *row, enum mem_access access)
{
	device_set(row->addr, row->device);
	guest_code_put(row->bytes, row->length);
	cpu->regs.gpr[GPR_RAX] = row->rax;
	cpu->regs.gpr[GPR_RBX] = row->addr;
	cpu->regs.rflags |= RFLAGS_CF;
	take_memory_exit(row->addr, access);
	if (!is_done(row->length) || cpu->regs.gpr[GPR_RAX] != row->rax_after ||
	    device_get(row->addr) != row->device_after)
		fail_msg("%s: rax %#llx, device %#x", row->text,
			 (unsigned long long)cpu->regs.gpr[GPR_RAX], device_get(row->addr));
}

/* The CPU may report the read or the write of an instruction that does both. */
TEST(machine_memory, each_instruction_works_on_devices)
{
	set_up_64();
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		expect_row(&rows[i], MEM_READ);
		expect_row(&rows[i], MEM_WRITE);
	}
	tear_down();
}

TEST(machine_memory, flags_are_the_instructions)
{
	set_up_64();
	cpu->regs.gpr[GPR_RBX] = LAPIC;
	cpu->regs.gpr[GPR_RAX] = 4;
	device_set(LAPIC, 4);
	guest_code("\x39\x03"); /* cmp %eax,(%rbx) */
	cpu->regs.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF | RFLAGS_SF;
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(2));
	EXPECT(cpu->regs.rflags == (RFLAGS_FIXED | RFLAGS_IF | RFLAGS_ZF | RFLAGS_PF));
	guest_code("\x8b\x03"); /* mov (%rbx),%eax */
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(2));
	EXPECT(cpu->regs.rflags == (RFLAGS_FIXED | RFLAGS_IF | RFLAGS_ZF | RFLAGS_PF));
	tear_down();
}

TEST(machine_memory, segments_and_modes_lead_to_the_device)
{
	set_up_64();
	cpu->virt->state.segment[SEG_GS].base = LAPIC_AT;
	cpu->virt->state.segment[SEG_DS].base = 0x1000; /* ignored in 64-bit mode */
	device_set(LAPIC, 77);
	guest_code("\x65\x8b\x04\x25\x80\x03\x00\x00"); /* mov %gs:0x380,%eax */
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(8) && cpu->regs.gpr[GPR_RAX] == 77);
	tear_down();

	set_up(1);
	mode_32();
	device_set(LAPIC, 78);
	cpu->virt->state.segment[SEG_DS].base = LAPIC_AT - 0xffff0000; /* wraps at 4 GiB */
	guest_code("\xa1\x80\x03\xff\xff");                            /* mov 0xffff0380,%eax */
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(5) && cpu->regs.gpr[GPR_RAX] == 78);
	tear_down();
}

/* --- the operand is where the exit says, or is walked to ---------------------------------- */

/* mov (%rbx),%rax with RBX at `virt`; the CPU reports an access to `addr`. */
static void load_8(uint64_t virt, uint64_t addr)
{
	guest_code("\x48\x8b\x03");
	cpu->regs.gpr[GPR_RBX] = virt;
	take_memory_exit(addr, MEM_READ);
}

static void store_8(uint64_t virt, uint64_t addr, uint64_t value)
{
	guest_code("\x48\x89\x03");
	cpu->regs.gpr[GPR_RBX] = virt;
	cpu->regs.gpr[GPR_RAX] = value;
	take_memory_exit(addr, MEM_WRITE);
}

TEST(machine_memory, an_operand_in_one_page_is_not_walked_to)
{
	set_up_64();
	device_set(LAPIC, 0x99);
	load_8(VIRT + INITIAL, LAPIC); /* not mapped, but the CPU reported the address */
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == 0x99);
	/* The last eight bytes of a page do not cross into the next one. */
	load_8(VIRT + PAGE_SIZE - 8, HOLE + PAGE_SIZE - 8);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == ~0ull);
	load_8(VIRT + PAGE_SIZE - 7, HOLE + PAGE_SIZE - 7);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE - 7, 0));
	tear_down();
}

/* An access of eight bytes here has three on the first page and five on the second. */
#define ACROSS (VIRT + PAGE_SIZE - 3)

static void across_map(uint64_t first, uint64_t second)
{
	page_map(VIRT, first, PAGE_KERNEL);
	page_map(VIRT + PAGE_SIZE, second, PAGE_KERNEL);
}

TEST(machine_memory, an_operand_across_pages_goes_to_both)
{
	set_up_64();
	guest_put(RAM + PAGE_SIZE - 3, "\x11\x22\x33", 3);
	guest_put(RAM, "\x44\x55\x66\x77\x88", 5);
	/* RAM, then the local APIC, which has no register at 0 and reads as zeros. */
	across_map(RAM, LAPIC_AT);
	load_8(ACROSS, LAPIC_AT);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == 0x332211);
	/* RAM, then a hole. */
	across_map(RAM, HOLE);
	load_8(ACROSS, HOLE);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == 0xffffffffff332211);
	/* A hole, then RAM. */
	across_map(HOLE, RAM);
	load_8(ACROSS, HOLE + PAGE_SIZE - 3);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == 0x8877665544ffffff);
	store_8(ACROSS, HOLE + PAGE_SIZE - 3, RAX);
	EXPECT(is_done(3) && guest_number(RAM, 6) == 0x8877665544);
	/* RAM, then the I/O APIC's selector, of which only the first byte counts. */
	across_map(OTHER, IOAPIC_AT);
	store_8(ACROSS, IOAPIC_AT, RAX);
	EXPECT(is_done(3) && guest_number(OTHER + PAGE_SIZE - 3, 3) == 0x332211);
	EXPECT(device_get(IOAPIC_AT) == 0x44);
	/* RAM, then ROM, where the write vanishes. */
	uint64_t rom = guest_number(ROM, 8);
	across_map(OTHER, ROM);
	store_8(ACROSS, ROM, ~RAX);
	EXPECT(is_done(3) && guest_number(OTHER + PAGE_SIZE - 3, 3) == (~RAX & 0xffffff));
	EXPECT(guest_number(ROM, 8) == rom);
	tear_down();
}

TEST(machine_memory, an_operand_across_pages_is_all_or_nothing)
{
	set_up_64();
	across_map(RAM, HOLE);
	page_map(VIRT + PAGE_SIZE, HOLE, PAGE_P | PAGE_AD);
	store_8(ACROSS, HOLE, RAX);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE, 3));
	EXPECT(guest_is_all(RAM + PAGE_SIZE - 3, 0, 3));
	/* Without CR0.WP the kernel may write. */
	cpu->virt->state.cr0 &= ~CR0_WP;
	store_8(ACROSS, HOLE, RAX);
	EXPECT(is_done(3) && guest_number(RAM + PAGE_SIZE - 3, 3) == 0x332211);
	cpu->virt->state.cr0 |= CR0_WP;
	/* A user may not access the kernel's pages. */
	cpu->virt->state.cpl = 3;
	page_map(VIRT, RAM, PAGE_USER);
	load_8(ACROSS, HOLE);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE, 5));
	tear_down();
}

/* CMP and TEST only read, though memory is their first operand. */
TEST(machine_memory, a_comparison_needs_no_right_to_write)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_P | 0x20);
	page_map(VIRT + PAGE_SIZE, HOLE, PAGE_P | 0x20);
	cpu->regs.gpr[GPR_RBX] = ACROSS;
	guest_code("\x48\x39\x03");
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(is_done(3));
	guest_code("\x48\x85\x03");
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(is_done(3));
	guest_code("\x48\x01\x03");
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(raises_page_fault(ACROSS, 3));
	tear_down();
}

/* As one access, five bytes at 0 would be an error that the local APIC notes in its ESR. */
TEST(machine_memory, odd_sizes_reach_a_device_byte_by_byte)
{
	set_up_64();
	across_map(RAM, LAPIC_AT);
	store_8(ACROSS, LAPIC_AT, RAX);
	EXPECT(is_done(3) && guest_number(RAM + PAGE_SIZE - 3, 3) == 0x332211);
	lapic_set(cpu, 0x280, 0);
	EXPECT(lapic_get(cpu, 0x280) == 0);
	lapic_set(cpu, 0, 1);
	lapic_set(cpu, 0x280, 0);
	EXPECT(lapic_get(cpu, 0x280) == 0x80);
	tear_down();
}

TEST(machine_memory, writes_for_the_guest_refill_the_stock_in_time)
{
	unsigned refills = 0;
	set_up_64();
	page_map(VIRT, HOLE, PAGE_KERNEL);
	guest_code("\xa4");
	for (unsigned i = 0; i < 300; i++) {
		cpu->regs.rip = CODE_AT;
		set_regs(0, VIRT, MIB(8) + i * PAGE_SIZE);
		take_memory_exit(HOLE, MEM_READ);
		EXPECT(taken.wish.kind == VCPU_WISH_NOTHING);
		refills += (cpu->requests & VCPU_REQUEST_REFILL) != 0;
	}
	EXPECT(refills == 3);
	tear_down();
}

/* A walk that leads out of memory ends in a page fault. */
TEST(machine_memory, tables_in_device_memory_map_nothing)
{
	set_up_64();
	across_map(RAM, RAM);
	guest_put_number(TABLES_AT + 8 * 5, LAPIC_AT | PAGE_KERNEL, 8);
	guest_code("\x48\xa5"); /* movsq */
	set_regs(0, 5ull << 39, LAPIC_AT + LDR);
	take_memory_exit(LAPIC_AT + LDR, MEM_WRITE);
	EXPECT(raises_page_fault(5ull << 39, 0));
	tear_down();
}

TEST(machine_memory, accessed_and_dirty_bits_are_set)
{
	set_up_64();
	page_map(VIRT, RAM, PAGE_P | PAGE_W);
	page_map(VIRT + PAGE_SIZE, HOLE, PAGE_P | PAGE_W);
	load_8(ACROSS, HOLE);
	EXPECT(is_done(3));
	EXPECT((page_entry(VIRT) & PAGE_AD) == 0x20 &&
	       (page_entry(VIRT + PAGE_SIZE) & 0x60) == 0x20);
	store_8(ACROSS, HOLE, 0);
	EXPECT(is_done(3));
	EXPECT((page_entry(VIRT) & PAGE_AD) == 0x60 &&
	       (page_entry(VIRT + PAGE_SIZE) & 0x60) == 0x60);
	tear_down();
}

TEST(machine_memory, an_operand_waits_for_memory)
{
	set_up_64();
	across_map(RAM, HOLE);
	guest_code("\x48\x89\x03");
	memory_exhaust(0);
	cpu->regs.gpr[GPR_RBX] = ACROSS;
	cpu->regs.gpr[GPR_RAX] = RAX;
	take_memory_exit(HOLE, MEM_WRITE);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && taken.wish.page_count == 1 && is_retried());
	memory_release();
	take_memory_exit(HOLE, MEM_WRITE);
	EXPECT(is_done(3) && guest_number(RAM + PAGE_SIZE - 3, 3) == 0x332211);
	tear_down();
}

/* --- string instructions ------------------------------------------------------------------ */

TEST(machine_memory, stos_to_a_device)
{
	set_up_64();
	cpu->regs.gpr[GPR_RAX] = RAX;
	guest_code("\xab");
	set_regs(7, 7, LAPIC);
	take_memory_exit(LAPIC, MEM_WRITE);
	EXPECT(is_done(1) && has_regs(7, 7, LAPIC + 4) && device_get(LAPIC) == 0x44332211);
	guest_code("\xaa");
	set_regs(7, 7, IOAPIC_AT);
	take_memory_exit(IOAPIC_AT, MEM_WRITE);
	EXPECT(is_done(1) && has_regs(7, 7, IOAPIC_AT + 1) && device_get(IOAPIC_AT) == 0x11);
	tear_down();
}

TEST(machine_memory, rep_stos_runs_from_a_device_into_what_is_behind)
{
	set_up_64();
	page_map(VIRT, IOAPIC_AT, PAGE_KERNEL);
	page_map(VIRT + PAGE_SIZE, RAM, PAGE_KERNEL);
	cpu->regs.gpr[GPR_RAX] = 0x5a;
	guest_code("\xf3\xaa");
	guest_fill(RAM, 0xee, 16);
	set_regs(8, 7, VIRT + PAGE_SIZE - 4);
	take_memory_exit(IOAPIC_AT + PAGE_SIZE - 4, MEM_WRITE);
	EXPECT(is_done(2) && has_regs(0, 7, VIRT + PAGE_SIZE + 4));
	EXPECT(guest_is_all(RAM, 0x5a, 4) && guest_is_all(RAM + 4, 0xee, 4));
	/* Downwards, back to the device. */
	cpu->regs.rflags |= RFLAGS_DF;
	cpu->regs.gpr[GPR_RAX] = 0x66;
	guest_code("\xf3\xaa");
	set_regs(4, 7, IOAPIC_AT + 3);
	take_memory_exit(IOAPIC_AT + 3, MEM_WRITE);
	EXPECT(is_done(2) && has_regs(0, 7, IOAPIC_AT - 1) && device_get(IOAPIC_AT) == 0x66);
	tear_down();
}

TEST(machine_memory, movs_moves_between_devices_and_ram)
{
	set_up_64();
	device_set(LAPIC, 0x12345678);
	guest_code("\xa5");
	set_regs(7, LAPIC, RAM);
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(1) && has_regs(7, LAPIC + 4, RAM + 4) && guest_number(RAM, 8) == 0x12345678);
	guest_put_number(RAM, 0x9abcdef0, 4);
	guest_code("\xa5");
	set_regs(7, RAM, LAPIC);
	take_memory_exit(LAPIC, MEM_WRITE);
	EXPECT(is_done(1) && has_regs(7, RAM + 4, LAPIC + 4) && device_get(LAPIC) == 0x9abcdef0);
	/* From a device to RAM and to another device. */
	device_set(IOAPIC_AT, 0x37);
	guest_code("\x48\xa5");
	set_regs(7, IOAPIC_AT, RAM);
	take_memory_exit(IOAPIC_AT, MEM_READ);
	EXPECT(is_done(2) && guest_number(RAM, 8) == 0x37);
	guest_code("\xa4");
	set_regs(7, LAPIC_AT + INITIAL, IOAPIC_AT);
	take_memory_exit(LAPIC_AT + INITIAL, MEM_READ);
	EXPECT(is_done(1) && device_get(IOAPIC_AT) == 0xf0);
	tear_down();
}

TEST(machine_memory, movs_has_a_source_segment_and_es)
{
	set_up(1);
	mode_32();
	cpu->virt->state.segment[SEG_FS].base = LAPIC_AT;
	cpu->virt->state.segment[SEG_ES].base = RAM;
	device_set(LAPIC, 0x12345678);
	guest_code("\x64\xf3\xa5");
	set_regs(1, INITIAL, 0x10);
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(3) && has_regs(0, INITIAL + 4, 0x14));
	EXPECT(guest_number(RAM + 0x10, 4) == 0x12345678);
	/* 16-bit registers wrap. */
	guest_code("\x67\xf3\xa4");
	cpu->virt->state.segment[SEG_DS].base = HOLE;
	set_regs(0xabcd0002, 0x5555ffff, 0x6666ffff);
	take_memory_exit(HOLE + 0xffff, MEM_READ);
	EXPECT(is_done(3) && has_regs(0xabcd0000, 0x55550001, 0x66660001));
	EXPECT(guest_number(RAM + 0xffff, 1) == 0xff && guest_number(RAM, 1) == 0xff);
	tear_down();
}

TEST(machine_memory, movs_takes_as_much_of_its_registers_as_its_address_size)
{
	set_up_64();
	device_set(LAPIC, 0x12345678);
	guest_code("\x67\xf3\xa5");
	set_regs(0xabcd00000001, 0xabcd00000000 | LAPIC, 0xabcd00000000 | RAM);
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(is_done(3) && has_regs(0, LAPIC + 4, RAM + 4));
	EXPECT(guest_number(RAM, 4) == 0x12345678);
	tear_down();
}

TEST(machine_memory, long_reps_go_in_batches_of_64)
{
	static const unsigned counts[] = { 63, 64, 65, 200 };
	set_up_64();
	guest_code("\xf3\xa4");
	page_map(VIRT, HOLE, PAGE_KERNEL);
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		cpu->regs.rip = CODE_AT;
		guest_fill(RAM, 0, 256);
		set_regs(counts[i], VIRT, RAM);
		for (unsigned left = counts[i]; left > 64; left -= 64) {
			take_memory_exit(HOLE + counts[i] - left, MEM_READ);
			EXPECT(is_retried() && cpu->regs.gpr[GPR_RCX] == left - 64);
		}
		take_memory_exit(HOLE, MEM_READ);
		EXPECT(is_done(2) && has_regs(0, VIRT + counts[i], RAM + counts[i]));
		EXPECT(guest_is_all(RAM, 0xff, counts[i]));
		EXPECT(guest_number(RAM + counts[i], 1) == 0);
	}
	/* With RCX at 0 nothing is left to do. */
	cpu->regs.rip = CODE_AT;
	set_regs(0, VIRT, RAM);
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(is_done(2) && has_regs(0, VIRT, RAM));
	tear_down();
}

static void slice_ends(struct virt_vcpu *virt)
{
	(void)virt;
	fake.percpu.should_yield = true;
}

TEST(machine_memory, others_do_not_wait_for_a_batch)
{
	set_up_64();
	guest_code("\xf3\xaa");
	set_regs(3, 7, IOAPIC_AT);
	guest_code_hook = slice_ends;
	take_memory_exit(IOAPIC_AT, MEM_WRITE);
	EXPECT(cpu->regs.rip == CODE_AT && has_regs(2, 7, IOAPIC_AT + 1));
	tear_down();
}

TEST(machine_memory, a_fault_leaves_what_is_still_to_be_done)
{
	set_up_64();
	page_map(VIRT, HOLE, PAGE_KERNEL);
	guest_code("\xf3\xa4");
	set_regs(8, VIRT + PAGE_SIZE - 3, RAM);
	take_memory_exit(HOLE + PAGE_SIZE - 3, MEM_READ);
	EXPECT(raises_page_fault(VIRT + PAGE_SIZE, 0));
	EXPECT(has_regs(5, VIRT + PAGE_SIZE, RAM + 3) && guest_is_all(RAM, 0xff, 3));
	EXPECT(guest_number(RAM + 3, 1) == 0);
	/* The same at the target. */
	page_map(VIRT + 5 * PAGE_SIZE, RAM, PAGE_P | PAGE_AD);
	guest_code("\xf3\xa4");
	set_regs(8, VIRT, VIRT + 5 * PAGE_SIZE);
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(raises_page_fault(VIRT + 5 * PAGE_SIZE, 3) &&
	       has_regs(8, VIRT, VIRT + 5 * PAGE_SIZE));
	tear_down();
}

/* The CPU checks the first element's address; an emulated string may go further. */
TEST(machine_memory, a_string_that_leaves_the_canonical_addresses_raises_gp)
{
	const uint64_t last = 0x00007ffffffff000;
	set_up_64();
	page_map(last, HOLE, PAGE_KERNEL);
	guest_code("\xf3\xaa");
	set_regs(8, 0, last + PAGE_SIZE - 3);
	take_memory_exit(HOLE + PAGE_SIZE - 3, MEM_WRITE);
	EXPECT(raises(VECTOR_GP, 0) && has_regs(5, 0, last + PAGE_SIZE));
	guest_code("\xf3\xa4");
	set_regs(8, last + PAGE_SIZE - 3, RAM);
	take_memory_exit(HOLE + PAGE_SIZE - 3, MEM_READ);
	EXPECT(raises(VECTOR_GP, 0) && has_regs(5, last + PAGE_SIZE, RAM + 3));
	EXPECT(cpu->virt->state.cr2 == 0);
	tear_down();
}

TEST(machine_memory, a_string_waits_for_memory_and_goes_on)
{
	set_up_64();
	page_map(VIRT, HOLE, PAGE_KERNEL);
	guest_code("\xf3\xa4");
	memory_exhaust(1);
	set_regs(8, VIRT, RAM + PAGE_SIZE - 3);
	take_memory_exit(HOLE, MEM_READ);
	EXPECT(taken.wish.kind == VCPU_WISH_MEMORY && is_retried());
	EXPECT(has_regs(5, VIRT + 3, RAM + PAGE_SIZE));
	memory_release();
	take_memory_exit(HOLE + 3, MEM_READ);
	EXPECT(is_done(2) && guest_is_all(RAM + PAGE_SIZE - 3, 0xff, 8));
	tear_down();
}

/* --- ROM, handlers and nothing ------------------------------------------------------------ */

TEST(machine_memory, writes_to_rom_vanish)
{
	set_up_64();
	uint64_t before = guest_number(ROM, 8);
	store_8(ROM, ROM, ~before);
	EXPECT(is_done(3) && guest_number(ROM, 8) == before);
	/* The instruction itself goes through: orb $0x80,(%rbx) sets SF. */
	guest_code("\x80\x0b\x80");
	cpu->regs.gpr[GPR_RBX] = ROM;
	take_memory_exit(ROM, MEM_WRITE);
	EXPECT(is_done(3) && guest_number(ROM, 8) == before && (cpu->regs.rflags & RFLAGS_SF));
	guest_code("\xf3\xaa");
	set_regs(4, 0, ROM);
	take_memory_exit(ROM, MEM_WRITE);
	EXPECT(is_done(2) && has_regs(0, 0, ROM + 4) && guest_number(ROM, 8) == before);
	EXPECT(stats().rom <= 4);
	tear_down();
}

TEST(machine_memory, what_is_nowhere_reads_as_ones)
{
	set_up_64();
	load_8(HOLE, HOLE);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == ~0ull);
	store_8(HOLE, HOLE, 5);
	EXPECT(is_done(3));
	/* The local APIC's page while the APIC is off. */
	cpu->regs.gpr[GPR_RCX] = 0x1b;
	cpu->regs.gpr[GPR_RAX] = LAPIC_AT;
	cpu->regs.gpr[GPR_RDX] = 0;
	take_exit(.kind = VMEXIT_WRMSR, .insn_length = 2);
	load_8(LAPIC, LAPIC);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == ~0ull);
	tear_down();
}

TEST(machine_memory, behind_a_handler_without_device_is_the_memory)
{
	set_up_64();
	guest_put_number(RAM, 0x1122334455667788, 8);
	EXPECT(pgm_handler_add(machine.pgm, gpa(RAM), PAGE_SIZE, PGM_HANDLER_ALL, 1) == Q_OK);
	load_8(RAM, RAM);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == 0x1122334455667788);
	store_8(RAM, RAM, RAX);
	EXPECT(is_done(3));
	load_8(RAM, RAM);
	EXPECT(is_done(3) && cpu->regs.gpr[GPR_RAX] == RAX);
	EXPECT(pgm_handler_remove(machine.pgm, gpa(RAM), PAGE_SIZE) == Q_OK);
	EXPECT(guest_number(RAM, 8) == RAX);
	/* With a handler for writes, reads are resolved. */
	EXPECT(pgm_handler_add(machine.pgm, gpa(RAM), PAGE_SIZE, PGM_HANDLER_WRITE, 1) == Q_OK);
	take_memory_exit(RAM, MEM_READ);
	EXPECT(is_retried());
	store_8(RAM, RAM, 5);
	EXPECT(is_done(3) && guest_number(RAM, 8) == 5);
	tear_down();
}

TEST(machine_memory, a_shadow_is_filled_while_its_rom_is_read)
{
	static const uint8_t image[PAGE_SIZE] Q_ALIGNED(8) = { [8] = 0x77 };
	const uint64_t at = 0xfffff000;
	set_up_64();
	EXPECT(pgm_rom_add_shadowed(machine.pgm, gpa(at), image, PAGE_SIZE) == Q_OK);
	EXPECT(pgm_rom_mode_set(machine.pgm, gpa(at), PAGE_SIZE, PGM_ROM_READ_ROM_WRITE_RAM) ==
	       Q_OK);
	store_8(at + 8, at + 8, RAX);
	EXPECT(is_done(3) && guest_number(at + 8, 8) == 0x77);
	EXPECT(pgm_rom_mode_set(machine.pgm, gpa(at), PAGE_SIZE, PGM_ROM_READ_RAM) == Q_OK);
	EXPECT(guest_number(at + 8, 8) == RAX);
	tear_down();
}

/* --- what is not emulated ----------------------------------------------------------------- */

TEST(machine_memory, other_instructions_raise_ud)
{
	static const char *const others[] = { "\x0f\xae\x03", "\xff\x33", "\xf0\x8b\x03",
					      "\x0f\xa2",     "\xc7\x0b", "\x0f\x0b" };
	set_up_64();
	cpu->regs.gpr[GPR_RBX] = LAPIC;
	for (unsigned i = 0; i < ARRAY_COUNT(others); i++) {
		guest_code_put(others[i], strlen(others[i]));
		take_memory_exit(LAPIC, MEM_READ);
		EXPECT(raises(VECTOR_UD, NO_CODE));
	}
	/* The code itself is in device memory. */
	guest_code("\x8b\x03");
	take_memory_exit(LAPIC, MEM_EXEC);
	EXPECT(raises(VECTOR_UD, NO_CODE));
	/* The code cannot be read. */
	cpu->regs.rip = VIRT;
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(raises(VECTOR_UD, NO_CODE));
	tear_down();
}

/* The CPU made the access for its tables or for an event, not for an instruction. */
TEST(machine_memory, tables_and_stacks_in_device_memory_raise_gp)
{
	set_up_64();
	guest_code("\x8b\x03");
	take_exit(.kind = VMEXIT_MEMORY,
		  .memory = { .addr = gpa(HOLE), .access = MEM_READ, .is_page_walk = true });
	EXPECT(raises(VECTOR_GP, 0));
	take_exit(.kind = VMEXIT_MEMORY, .has_vectoring = true,
		  .vectoring = { .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI },
		  .memory = { .addr = gpa(HOLE), .access = MEM_WRITE });
	EXPECT(raises(VECTOR_GP, 0));
	/* In RAM the fault is resolved, and the event is delivered again. */
	take_exit(.kind = VMEXIT_MEMORY, .has_vectoring = true,
		  .vectoring = { .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI },
		  .memory = { .addr = gpa(RAM), .access = MEM_WRITE });
	EXPECT(next_event().type == GUEST_EVENT_NMI);
	tear_down();
}

#define COMPLAINT "vm vm: cannot emulate 0f ae 03"

TEST(machine_memory, the_log_says_so_once_for_each_power_on)
{
	set_up_64();
	for (unsigned turn = 0; turn < 2; turn++) {
		guest_code("\x0f\xae\x03\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c");
		fake_log_clear();
		take_memory_exit(LAPIC, MEM_READ);
		EXPECT(fake_log_contains(COMPLAINT " 01 02 03 04 05 06 07 08 09 0a 0b 0c"
						   " at 0x10000, memory 0xfee00380"));
		fake_log_clear();
		take_memory_exit(LAPIC, MEM_READ);
		take_exit(.kind = VMEXIT_MEMORY,
			  .memory = { .addr = gpa(HOLE), .is_page_walk = true });
		EXPECT(!fake_log_contains("emulate"));
		machine_power_on(&machine);
		mode_64();
	}
	/* Code that cannot be read is not in the line. */
	cpu->regs.rip = VIRT;
	take_memory_exit(LAPIC, MEM_READ);
	EXPECT(fake_log_contains("vm vm: cannot emulate at 0x40000000, memory 0xfee00380"));
	tear_down();
}

/* --- clearing of pages that are zero anyway ----------------------------------------------- */

#define FILL_AT  0x400000ull
#define PER_PAGE (PAGE_SIZE / 8)

/* The guest is to clear `pages` pages with REP STOSQ, and one element more. */
static void fill_set_up(unsigned pages)
{
	set_up_64();
	fake_options.elides_zeroing = true;
	guest_code("\xf3\x48\xab");
	set_regs(pages * PER_PAGE + 1, 7, FILL_AT);
	cpu->regs.gpr[GPR_RAX] = 0;
}

/* The exit clears that many pages; for the rest the guest exits again. */
static void expect_filled(unsigned pages)
{
	uint64_t left = cpu->regs.gpr[GPR_RCX], at = cpu->regs.gpr[GPR_RDI];
	uint64_t elided = stats().counters.elided, faults = stats().counters.faults_write;
	uint64_t own = stats().private_pages;
	unsigned skips = cpu->virt->skips;

	take_memory_exit(FILL_AT, MEM_WRITE);
	EXPECT(stats().counters.elided == elided + pages);
	EXPECT(stats().counters.faults_write == faults + (pages == 0));
	EXPECT(stats().private_pages <= own + (pages == 0));
	EXPECT(has_regs(left - pages * PER_PAGE, 7, at + pages * PAGE_SIZE));
	EXPECT(cpu->virt->skips == skips + (pages > 0));
}

/* Between two batches the loop serves requests and other threads run. */
TEST(machine_memory, clears_16_pages_at_once_and_no_more)
{
	static const unsigned counts[] = { 1, 2, 15, 16, 17, 18, 500 };

	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		fill_set_up(counts[i]);
		expect_filled(counts[i] < 16 ? counts[i] : 16);
		EXPECT(cpu->regs.rip == CODE_AT && (cpu->regs.rflags & RFLAGS_RF));
		tear_down();
	}
}

TEST(machine_memory, a_clearing_ends_with_the_instruction)
{
	fill_set_up(16);
	cpu->regs.gpr[GPR_RCX]--;
	expect_filled(16);
	EXPECT(cpu->regs.rip == CODE_AT + 3 && !(cpu->regs.rflags & RFLAGS_RF));
	tear_down();
	fill_set_up(17);
	cpu->regs.gpr[GPR_RCX]--;
	expect_filled(16);
	EXPECT(cpu->regs.rip == CODE_AT && (cpu->regs.rflags & RFLAGS_RF));
	tear_down();
}

TEST(machine_memory, a_clearing_stops_where_a_page_is_not_zero_or_not_reached)
{
	for (unsigned pages = 0; pages < 4; pages++) {
		fill_set_up(10);
		guest_put_number(FILL_AT + pages * PAGE_SIZE, 1, 1);
		expect_filled(pages);
		tear_down();
		fill_set_up(10);
		for (unsigned i = 0; i < 10; i++)
			page_map(VIRT + i * PAGE_SIZE, FILL_AT + i * PAGE_SIZE,
				 i < pages ? PAGE_KERNEL : PAGE_P | PAGE_AD);
		cpu->regs.gpr[GPR_RDI] = VIRT;
		expect_filled(pages);
		tear_down();
	}
}

TEST(machine_memory, other_writes_are_no_clearing)
{
	fill_set_up(2);
	fake_options.elides_zeroing = false;
	expect_filled(0);
	fake_options.elides_zeroing = true;
	tear_down();
	fill_set_up(2);
	cpu->virt->state.dr7 |= 1; /* a breakpoint */
	expect_filled(0);
	tear_down();
	fill_set_up(2);
	cpu->regs.gpr[GPR_RAX] = 1;
	expect_filled(0);
	tear_down();
	fill_set_up(2);
	guest_code("\xf3\x48\xa5");
	expect_filled(0);
	tear_down();
	/* The CPU saw another translation than there is now. */
	fill_set_up(2);
	page_map(VIRT, FILL_AT + PAGE_SIZE, PAGE_KERNEL);
	cpu->regs.gpr[GPR_RDI] = VIRT;
	expect_filled(0);
	tear_down();
	/* A read fault is no clearing. */
	fill_set_up(2);
	take_memory_exit(FILL_AT, MEM_READ);
	EXPECT(stats().counters.elided == 0 && is_retried());
	tear_down();
}

TEST(machine_memory, the_cpus_own_writes_are_no_clearing)
{
	fill_set_up(2);
	take_exit(.kind = VMEXIT_MEMORY, .has_vectoring = true,
		  .vectoring = { .type = GUEST_EVENT_NMI, .vector = VECTOR_NMI },
		  .memory = { .addr = gpa(FILL_AT), .access = MEM_WRITE });
	EXPECT(stats().counters.elided == 0 && cpu->regs.gpr[GPR_RDI] == FILL_AT);
	take_exit(.kind = VMEXIT_MEMORY, .memory = { .addr = gpa(FILL_AT + PAGE_SIZE),
						     .access = MEM_WRITE,
						     .is_page_walk = true });
	EXPECT(stats().counters.elided == 0 && cpu->regs.gpr[GPR_RDI] == FILL_AT);
	tear_down();
}

TEST(machine_memory, outside_64_bit_mode_es_counts)
{
	fill_set_up(2);
	mode_32();
	struct guest_segment *es = &cpu->virt->state.segment[SEG_ES];
	guest_code("\xf3\xab");
	/* ES.base + EDI wraps at 4 GiB. */
	es->base = FILL_AT + PAGE_SIZE;
	set_regs(2 * PAGE_SIZE / 4, 7, 0xabcdfffff000);
	take_memory_exit(FILL_AT, MEM_WRITE);
	EXPECT(stats().counters.elided == 2 && cpu->regs.rip == CODE_AT + 2);
	EXPECT(has_regs(0, 7, 0x1000));
	/* The segment ends in the second page. */
	es->base = 0;
	es->limit = FILL_AT + PAGE_SIZE + 0xffe;
	guest_code("\xf3\xab");
	set_regs(2 * PAGE_SIZE / 4, 7, FILL_AT);
	take_memory_exit(FILL_AT, MEM_WRITE);
	EXPECT(stats().counters.elided == 3 && cpu->regs.gpr[GPR_RDI] == FILL_AT + PAGE_SIZE);
	es->limit--;
	set_regs(2 * PAGE_SIZE / 4, 7, FILL_AT + PAGE_SIZE);
	take_memory_exit(FILL_AT + PAGE_SIZE, MEM_WRITE);
	EXPECT(stats().counters.elided == 3 && cpu->regs.gpr[GPR_RDI] == FILL_AT + PAGE_SIZE);
	/* With a base in the middle of a page, each page of the segment is in two pages. */
	es->limit = UINT32_MAX;
	es->base = 0x800;
	set_regs(2 * PAGE_SIZE / 4, 7, FILL_AT + 2 * PAGE_SIZE);
	take_memory_exit(FILL_AT + 2 * PAGE_SIZE, MEM_WRITE);
	EXPECT(stats().counters.elided == 3);
	tear_down();
}
