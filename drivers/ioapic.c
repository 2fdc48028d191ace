/* SPDX-License-Identifier: MIT */
/* The IOAPIC's registers, reached through a pair of index and data. */
#include "ioapic.h"

#include <quire/bits.h>

#include "arch/x86_64/cpu.h"

/* 82093AA data sheet, "Register Description". */
#define IOAPIC_SELECT            0x00
#define IOAPIC_WINDOW            0x10
#define IOAPIC_VERSION           0x01
#define IOAPIC_REDIRECTION       0x10
#define REDIRECTION_LOW_POLARITY BIT32(13)
#define REDIRECTION_LEVEL        BIT32(15)
#define REDIRECTION_MASKED       BIT32(16)

#define PIC1_DATA 0x21
#define PIC2_DATA 0xa1

static volatile uint8_t *ioapic;

static uint32_t ioapic_read(uint32_t reg)
{
	mmio_write32(ioapic + IOAPIC_SELECT, reg);
	return mmio_read32(ioapic + IOAPIC_WINDOW);
}

static void ioapic_write(uint32_t reg, uint32_t value)
{
	mmio_write32(ioapic + IOAPIC_SELECT, reg);
	mmio_write32(ioapic + IOAPIC_WINDOW, value);
}

void ioapic_init(volatile void *registers)
{
	ioapic = registers;
	cpu_out8(PIC1_DATA, 0xff);
	cpu_out8(PIC2_DATA, 0xff);
	uint32_t last = ioapic_read(IOAPIC_VERSION) >> 16 & 0xff;
	for (uint32_t pin = 0; pin <= last; pin++)
		ioapic_write(IOAPIC_REDIRECTION + 2 * pin, REDIRECTION_MASKED);
}

void ioapic_route(uint32_t pin, uint8_t vector, uint32_t apic_id, bool is_level, bool is_active_low)
{
	uint32_t low = vector | (is_level ? REDIRECTION_LEVEL : 0) |
		       (is_active_low ? REDIRECTION_LOW_POLARITY : 0);
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin + 1, apic_id << 24);
	ioapic_write(IOAPIC_REDIRECTION + 2 * pin, low);
}
