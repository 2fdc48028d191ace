/* SPDX-License-Identifier: MIT */
/* The interrupt descriptor table: each vector leads to its stub in isr.S. */
#include "trap.h"

#include <quire/event.h>

#include "gdt.h"

/* Intel SDM vol. 3, "64-Bit Mode IDT". */
struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t rsvd_0c;
};
_Static_assert(sizeof(struct gate) == 16, "the CPU fixes the gate");

#define GATE_INTERRUPT 0x8e /* present, ring 0, 64-bit interrupt gate */

struct descriptor_pointer {
	uint16_t limit;
	uint64_t base;
} Q_PACKED;

extern const uint64_t isr_entries[256]; /* isr.S */

static struct gate idt[256];

static uint8_t ist_of(unsigned vector)
{
	switch (vector) {
	case VECTOR_DF: return IST_DOUBLE_FAULT;
	case VECTOR_NMI: return IST_NMI;
	case VECTOR_MC: return IST_MACHINE_CHECK;
	default: return 0;
	}
}

void idt_load(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t entry = isr_entries[i];
		idt[i] = (struct gate){
			.offset_low = (uint16_t)entry,
			.selector = SELECTOR_CODE,
			.ist = ist_of(i),
			.type = GATE_INTERRUPT,
			.offset_middle = (uint16_t)(entry >> 16),
			.offset_high = (uint32_t)(entry >> 32),
		};
	}
	struct descriptor_pointer pointer = { sizeof(idt) - 1, (uintptr_t)idt };
	asm volatile("lidt %0" ::"m"(pointer));
}
