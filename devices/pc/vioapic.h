/* SPDX-License-Identifier: MIT */
/* I/O APIC with 24 inputs; see vioapic.c. */
#ifndef DEVICES_PC_VIOAPIC_H
#define DEVICES_PC_VIOAPIC_H

#include <quire/compiler.h>

struct vpc;

#define VIOAPIC_PIN_COUNT 24u

struct vioapic {
	uint64_t entries[VIOAPIC_PIN_COUNT]; /* the redirection table */
	uint32_t lines;                      /* levels of the inputs */
	uint8_t select;
	uint8_t id; /* register 0, bits 27:24 */
};

void vioapic_reset(struct vpc *vpc);
/* `offset` is within the page; 32-bit registers. */
uint32_t vioapic_read(const struct vpc *vpc, unsigned offset);
void vioapic_write(struct vpc *vpc, unsigned offset, uint32_t value);
void vioapic_pin_set(struct vpc *vpc, unsigned pin, bool level);
/* A local APIC ended a level-triggered interrupt. */
void vioapic_eoi(struct vpc *vpc, uint8_t vector);
void vioapic_check(const struct vioapic *ioapic);

#endif
