/* SPDX-License-Identifier: MIT */
/* Interrupts of the machine: local APIC, IOAPIC, and the handler of each vector. */
#ifndef KERNEL_INTERRUPT_H
#define KERNEL_INTERRUPT_H

#include <quire/status.h>

/*
 * Maps and enables the boot CPU's local APIC and the IOAPIC. On failure *out_reason
 * says why. Q_UNSUPPORTED: ACPI names no IOAPIC; Q_NO_MEMORY: they cannot be mapped.
 */
q_status_t interrupt_init(const char **out_reason) Q_MUST_USE;

/* `handler` runs with interrupts disabled. The end of interrupt is signalled after it. */
void interrupt_attach(uint8_t vector, void (*handler)(void));

/* Routes an ISA interrupt to `vector` on this CPU. ACPI says at which pin it arrives. */
void interrupt_isa_attach(unsigned irq, uint8_t vector, void (*handler)(void));

#endif
