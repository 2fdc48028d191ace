/* SPDX-License-Identifier: MIT */
/* The machine's IOAPIC, and the old PICs, which are silenced. */
#ifndef DRIVERS_IOAPIC_H
#define DRIVERS_IOAPIC_H

#include <quire/compiler.h>

/* Masks both PICs and every pin of the IOAPIC at `registers`. */
void ioapic_init(volatile void *registers);

/* Sends `pin` to `vector` on the CPU with this local APIC id. */
void ioapic_route(uint32_t pin, uint8_t vector, uint32_t apic_id, bool is_level,
		  bool is_active_low);

#endif
