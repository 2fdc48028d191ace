/* SPDX-License-Identifier: MIT */
/* The GDT, the TSS and the exception stacks of the boot CPU. */
#include "gdt.h"

#include <quire/addr.h>

/* Intel SDM vol. 3, "64-Bit Task State Segment". */
struct tss {
	uint32_t rsvd_00;
	uint64_t rsp[3];
	uint64_t rsvd_1c;
	uint64_t ist[7];
	uint64_t rsvd_5c;
	uint16_t rsvd_64;
	uint16_t iomap_base;
} Q_PACKED;
_Static_assert(sizeof(struct tss) == 0x68, "the CPU fixes the TSS");

struct descriptor_pointer {
	uint16_t limit;
	uint64_t base;
} Q_PACKED;

#define DESCRIPTOR_CODE_64 0x00af9a000000ffffull
#define DESCRIPTOR_DATA    0x00cf92000000ffffull
#define TSS_AVAILABLE      0x89ull

#define IST_STACK_BYTES 4096

/* The lower page of each stack is a guard page, which paging.c unmaps. */
static uint8_t ist_stacks[3][2 * IST_STACK_BYTES] Q_SECTION(".bss.ist_stacks") Q_ALIGNED(4096);

static struct tss tss;
static uint64_t gdt[5];

void gdt_load(void)
{
	for (unsigned i = 0; i < 3; i++)
		tss.ist[i] = (uintptr_t)&ist_stacks[i][2 * IST_STACK_BYTES];
	tss.iomap_base = sizeof(tss);

	uint64_t base = (uintptr_t)&tss, limit = sizeof(tss) - 1;
	gdt[1] = DESCRIPTOR_CODE_64;
	gdt[2] = DESCRIPTOR_DATA;
	gdt[3] = (limit & 0xffff) | (base & 0xffffff) << 16 | TSS_AVAILABLE << 40 |
		 (base >> 24 & 0xff) << 56;
	gdt[4] = base >> 32;

	struct descriptor_pointer pointer = { sizeof(gdt) - 1, (uintptr_t)gdt };
	asm volatile("lgdt %0\n\t"
		     "pushq %1\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "pushq %%rax\n\t"
		     "lretq\n"
		     "1:\n\t"
		     "movl %2, %%eax\n\t"
		     "movw %%ax, %%ds\n\t"
		     "movw %%ax, %%es\n\t"
		     "movw %%ax, %%ss\n\t"
		     "xorl %%eax, %%eax\n\t"
		     "movw %%ax, %%fs\n\t"
		     "movw %%ax, %%gs\n\t"
		     "lldt %%ax\n\t"
		     "movl %3, %%eax\n\t"
		     "ltr %%ax"
		     :
		     : "m"(pointer), "i"(SELECTOR_CODE), "i"(SELECTOR_DATA), "i"(SELECTOR_TSS)
		     : "rax", "memory");
}
