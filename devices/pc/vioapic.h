/* SPDX-License-Identifier: MIT */
/* I/O APIC with 24 inputs; see vioapic.c. */
#ifndef DEVICES_PC_VIOAPIC_H
#define DEVICES_PC_VIOAPIC_H

#include "devices/vdev.h"

struct vpc;

#define VIOAPIC_PIN_COUNT 24u

struct vioapic {
	struct vdev dev;
	uint64_t entries[VIOAPIC_PIN_COUNT]; /* the redirection table */
	uint32_t lines;                      /* levels of the inputs */
	uint8_t select;
	uint8_t id; /* register 0, bits 27:24 */
};

void vioapic_init(struct vioapic *ioapic, struct vpc *vpc);
void vioapic_pin_set(struct vioapic *ioapic, unsigned pin, bool level);
/* A local APIC ended a level-triggered interrupt. */
void vioapic_eoi(struct vioapic *ioapic, uint8_t vector);

#endif
