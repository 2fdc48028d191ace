/* SPDX-License-Identifier: MIT */
/*
 * Clears memory in every way that Quire may carry out by itself (vm/machine/zero_fill.h),
 * and in ways that look alike but are not the same. Each area is one that the guest
 * has not touched before. The area, the bytes around it and the registers must then
 * be as on a machine without Quire.
 *
 * Needs 128 MiB. Words of its command line: `stay=yes` waits for ever at the end, so
 * that a test can look at its memory; `traps=no` leaves out single steps and
 * breakpoints, which not every emulator has.
 */

#include "guest.h"

#define FIRST      (32ull << 20)
#define AREA_BYTES (16ull << 20)

#define RFLAGS_TF 0x100u

#define LAPIC          0xfee00000ull
#define LAPIC_EOI      0xb0
#define LAPIC_SVR      0xf0
#define LAPIC_LVT      0x320
#define LAPIC_INITIAL  0x380
#define LAPIC_DIVIDE   0x3e0
#define TIMER_VECTOR   0x40
#define TIMER_PERIODIC (1u << 17)
#define LVT_MASKED     (1u << 16)
#define DIVIDE_BY_1    0xb
#define TIMER_TICKS    300000

#define VECTOR_DB     1
#define DR7_WRITE_DR0 0x000d0402ull /* four bytes, globally enabled */

static uint64_t next_area = FIRST;

/* Takes whole untouched pages, with a page on either side that is in no other area. */
static uint64_t area_take(uint64_t size_bytes)
{
	uint64_t start = next_area + GUEST_PAGE_SIZE;

	next_area = (start + size_bytes + 2 * GUEST_PAGE_SIZE - 1) & ~(GUEST_PAGE_SIZE - 1);
	return start;
}

static bool is_all(uint64_t start, uint64_t end, uint8_t byte)
{
	for (uint64_t at = start; at < end; at++)
		if (*(volatile uint8_t *)at != byte)
			return false;
	return true;
}

static bool are_zero_words(uint64_t start, uint64_t end)
{
	uint64_t any = 0;

	for (uint64_t at = start; at < end; at += sizeof(uint64_t))
		any |= *word_at(at);
	return any == 0;
}

/* The registers after a clearing. */
struct result {
	uint64_t rdi, rcx;
};

#define FILL(instruction, address, count, value)                        \
	({                                                              \
		struct result result_ = { (address), (count) };         \
		__asm__ volatile(instruction                            \
				 : "+D"(result_.rdi), "+c"(result_.rcx) \
				 : "a"((uint64_t)(value))               \
				 : "memory", "cc");                     \
		result_;                                                \
	})

/* Expects the range to be cleared, and what surround() wrote beside it to be unchanged. */
static void fill_check(const char *name, struct result result, uint64_t start, uint64_t end)
{
	expect(result.rdi == end && result.rcx == 0 && is_all(start, end, 0) &&
		       is_all(start - 64, start, 0xee) && is_all(end, end + 64, 0xee),
	       name);
}

static void surround(uint64_t start, uint64_t end)
{
	for (unsigned i = 1; i <= 64; i++) {
		*(volatile uint8_t *)(start - i) = 0xee;
		*(volatile uint8_t *)(end + i - 1) = 0xee;
	}
}

#define FILL_SURROUNDED(name, instruction, element_bytes, offset, size_bytes)         \
	do {                                                                          \
		uint64_t start_ = area_take((offset) + (size_bytes) + 64) + (offset); \
		uint64_t end_ = start_ + (size_bytes);                                \
		surround(start_, end_);                                               \
		struct result filled_ =                                               \
			FILL(instruction, start_, (size_bytes) / (element_bytes), 0); \
		fill_check(name, filled_, start_, end_);                              \
	} while (0)

static void fills(void)
{
	FILL_SURROUNDED("clear.one_page", "rep stosq", 8, 0, 0x1000);
	FILL_SURROUNDED("clear.bytes", "rep stosb", 1, 0, 0x40000);
	FILL_SURROUNDED("clear.words", "rep stosw", 2, 0, 0x40000);
	FILL_SURROUNDED("clear.dwords", "rep stosl", 4, 0, 0x40000);
	FILL_SURROUNDED("clear.qwords", "rep stosq", 8, 0, 0x40000);
	FILL_SURROUNDED("clear.repne", "repne stosq", 8, 0, 0x40000);
	FILL_SURROUNDED("clear.addr32", "addr32 rep stosq", 8, 0, 0x40000);
	FILL_SURROUNDED("clear.prefixes", ".byte 0x2e, 0x65, 0xf3, 0x4f, 0xab", 8, 0, 0x40000);
	FILL_SURROUNDED("clear.bytes_unaligned", "rep stosb", 1, 0x123, 0x20456);
	FILL_SURROUNDED("clear.qwords_unaligned", "rep stosq", 8, 0x7f8, 0x20808);
	FILL_SURROUNDED("clear.qwords_across", "rep stosq", 8, 0xffc, 0x20008);
	FILL_SURROUNDED("clear.less_than_a_page", "rep stosb", 1, 0, 0xfff);
	FILL_SURROUNDED("clear.page_and_a_byte", "rep stosb", 1, 0, 0x1001);
}

static void looks_alike(void)
{
	uint64_t start = area_take(0x10000);
	struct result result = FILL("rep stosq", start, 0x2000, 0x5a5a5a5a5a5a5a5a);
	expect(result.rdi == start + 0x10000 && result.rcx == 0 &&
		       is_all(start, start + 0x10000, 0x5a),
	       "clear.not_zero");

	/* STOSB stores AL; the rest of RAX does not count. */
	start = area_take(0x10000);
	result = FILL("rep stosb", start, 0x10000, 0x1234567800);
	expect(result.rdi == start + 0x10000 && are_zero_words(start, start + 0x10000),
	       "clear.zero_in_al");

	/* Downwards from the start of a page: one element there, all others below. */
	start = area_take(0x10000);
	surround(start + 8, start + 0x7000);
	result = FILL("std; rep stosq; cld", start + 0x8000, 0x1000, 0);
	expect(result.rdi == start && result.rcx == 0 && is_all(start + 8, start + 0x10000, 0) &&
		       is_all(start + 8 - 64, start + 8, 0xee),
	       "clear.downwards");

	/* Without a prefix it stores one element. */
	start = area_take(0x1000);
	result = FILL("stosq", start, 0x200, 0);
	expect(result.rdi == start + 8 && result.rcx == 0x200, "clear.no_prefix");

	/* Another instruction, with registers as for a clearing. */
	start = area_take(0x1000);
	result = FILL("movb $7, 9(%%rdi)", start, 0x200, 0);
	expect(result.rdi == start && result.rcx == 0x200 && is_all(start, start + 9, 0) &&
		       *(volatile uint8_t *)(start + 9) == 7 &&
		       is_all(start + 10, start + 0x1000, 0),
	       "clear.another_instruction");
}

/* Clears pages with content among untouched ones. */
static void mixed(void)
{
	uint64_t start = area_take(0x100000), end = start + 0x100000;

	for (uint64_t page = start; page < end; page += 3 * GUEST_PAGE_SIZE)
		for (unsigned i = 0; i < GUEST_PAGE_SIZE; i += sizeof(uint64_t))
			*word_at(page + i) = ~page;
	struct result result = FILL("rep stosb", start, 0x100000, 0);
	expect(result.rdi == end && result.rcx == 0 && are_zero_words(start, end), "clear.mixed");

	/* A page that was cleared can be written like any other. */
	bool is_kept = true;
	for (uint64_t page = start; page < end; page += GUEST_PAGE_SIZE)
		*word_at(page + 8) = page;
	for (uint64_t page = start; page < end; page += GUEST_PAGE_SIZE)
		is_kept = is_kept && *word_at(page) == 0 && *word_at(page + 8) == page &&
			  *word_at(page + 16) == 0;
	expect(is_kept, "clear.then_write");
}

/* --- traps and interrupts ------------------------------------------------------------ */

struct gate {
	uint16_t offset_0, selector, type, offset_16;
	uint32_t offset_32, reserved;
};

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	struct gate *base;
};

static struct gate gates[TIMER_VECTOR + 1];

/* The address of the repeated instruction; how many steps and ticks came, and how many at it. */
static uint64_t watched_rip, step_count, step_inside_count, tick_count, tick_inside_count;
static uint64_t watched_end;
static bool is_consistent = true;

void step(uint64_t rip);
void tick(uint64_t rip, uint64_t rdi, uint64_t rcx);
__attribute__((visibility("hidden"))) void step_entry(void);
__attribute__((visibility("hidden"))) void tick_entry(void);

/* Entry points that save all registers that C may change. */
#define ENTRY(name, function)                                                            \
	__asm__(".text\n" #name ":\n\t"                                                  \
		"pushq %rax\n\tpushq %rcx\n\tpushq %rdx\n\tpushq %rsi\n\tpushq %rdi\n\t" \
		"pushq %r8\n\tpushq %r9\n\tpushq %r10\n\tpushq %r11\n\tpushq %rbp\n\t"   \
		"movq %rsp, %rbp\n\tandq $-16, %rsp\n\tcld\n\t"                          \
		"movq %rcx, %rdx\n\tmovq %rdi, %rsi\n\tmovq 80(%rbp), %rdi\n\t"          \
		"call " #function "\n\t"                                                 \
		"movq %rbp, %rsp\n\tpopq %rbp\n\t"                                       \
		"popq %r11\n\tpopq %r10\n\tpopq %r9\n\tpopq %r8\n\t"                     \
		"popq %rdi\n\tpopq %rsi\n\tpopq %rdx\n\tpopq %rcx\n\tpopq %rax\n\t"      \
		"iretq\n")

ENTRY(step_entry, step);
ENTRY(tick_entry, tick);

void step(uint64_t rip)
{
	step_count++;
	step_inside_count += rip == watched_rip;
}

void tick(uint64_t rip, uint64_t rdi, uint64_t rcx)
{
	tick_count++;
	if (rip == watched_rip) {
		tick_inside_count++;
		/* In the middle, what is done (RDI) and what is left (RCX) make the whole. */
		is_consistent = is_consistent && rdi + rcx == watched_end;
	}
	*(volatile uint32_t *)(LAPIC + LAPIC_EOI) = 0;
}

static void gate_set(unsigned vector, void (*entry)(void))
{
	uint64_t address = (uint64_t)entry;

	gates[vector] = (struct gate){ .offset_0 = (uint16_t)address,
				       .selector = 0x08,
				       .type = 0x8e00,
				       .offset_16 = (uint16_t)(address >> 16),
				       .offset_32 = (uint32_t)(address >> 32) };
}

static void gates_load(void)
{
	struct table_pointer old, new = { .limit = sizeof(gates) - 1, .base = gates };

	__asm__ volatile("sidt %0" : "=m"(old));
	for (unsigned i = 0; i < 32; i++)
		gates[i] = old.base[i];
	gate_set(VECTOR_DB, step_entry);
	gate_set(TIMER_VECTOR, tick_entry);
	__asm__ volatile("lidt %0" : : "m"(new) : "memory");
}

/* A single step is a trap after each element. */
static void single_step(void)
{
	uint64_t start = area_take(0x2000), end = start + 0x2000;
	struct result result = { start, 0x400 };

	step_count = 0;
	__asm__ volatile("leaq 1f(%%rip), %%rdx\n\t"
			 "movq %%rdx, %2\n\t"
			 "pushfq\n\t"
			 "orl %4, (%%rsp)\n\t"
			 "popfq\n"
			 "1:\trep stosq\n\t"
			 "pushfq\n\t"
			 "andl %5, (%%rsp)\n\t"
			 "popfq"
			 : "+D"(result.rdi), "+c"(result.rcx), "=m"(watched_rip)
			 : "a"(0ull), "i"(RFLAGS_TF), "i"(~RFLAGS_TF)
			 : "rdx", "memory", "cc");
	/* The trap of the last element comes after the instruction, and three more follow. */
	expect(result.rdi == end && result.rcx == 0 && are_zero_words(start, end) &&
		       step_inside_count >= 0x3ff && step_count > step_inside_count,
	       "clear.single_step");
}

/* A breakpoint on data in the middle of what is cleared. */
static void breakpoint(void)
{
	uint64_t start = area_take(0x4000), end = start + 0x4000;

	step_count = 0;
	__asm__ volatile("movq %0, %%dr0" : : "r"(start + 0x2340));
	__asm__ volatile("movq %0, %%dr7" : : "r"(DR7_WRITE_DR0));
	struct result result = FILL("rep stosq", start, 0x800, 0);
	__asm__ volatile("movq %0, %%dr7" : : "r"(0x400ull));
	expect(result.rdi == end && result.rcx == 0 && are_zero_words(start, end) && step_count > 0,
	       "clear.breakpoint");
}

static void lapic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(LAPIC + reg) = value;
}

/* Interrupts must come while the instruction runs, not only at its end. */
static void interrupts(void)
{
	uint64_t start = area_take(AREA_BYTES), end = start + AREA_BYTES;
	struct result result = { start, AREA_BYTES };

	watched_end = end;
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_DIVIDE, DIVIDE_BY_1);
	lapic_write(LAPIC_LVT, TIMER_PERIODIC | TIMER_VECTOR);
	lapic_write(LAPIC_INITIAL, TIMER_TICKS);
	__asm__ volatile("leaq 1f(%%rip), %%rdx\n\t"
			 "movq %%rdx, %2\n\t"
			 "sti\n"
			 "1:\trep stosb\n\t"
			 "cli"
			 : "+D"(result.rdi), "+c"(result.rcx), "=m"(watched_rip)
			 : "a"(0ull)
			 : "rdx", "memory", "cc");
	lapic_write(LAPIC_LVT, LVT_MASKED | TIMER_VECTOR);
	expect(result.rdi == end && result.rcx == 0, "clear.interrupted");
	expect(tick_inside_count > 2 && is_consistent, "clear.interrupts_in_time");
}

uint32_t guest_main(void)
{
	gates_load();
	fills();
	looks_alike();
	mixed();
	if (!option_is("traps", "no")) {
		single_step();
		breakpoint();
	}
	interrupts();
	print_result("clear: failures", failures());
	while (option_is("stay", "yes"))
		__asm__ volatile("pause");
	return failures();
}
