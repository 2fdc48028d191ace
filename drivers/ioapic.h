/* SPDX-License-Identifier: MIT */
/* The machine's IOAPIC, and its PICs, which Quire only masks. */
#ifndef DRIVERS_IOAPIC_H
#define DRIVERS_IOAPIC_H

#include <quire/compiler.h>

/* Masks both PICs and every pin of the IOAPIC at `registers`. */
void ioapic_init(volatile void *registers);

/* Routes `pin` to `vector` on the CPU whose local APIC has the id `apic_id`, and unmasks it. */
void ioapic_route(uint32_t pin, uint8_t vector, uint32_t apic_id, bool is_level,
		  bool is_active_low);

#endif
