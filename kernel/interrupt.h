/* SPDX-License-Identifier: MIT */
/* Interrupts of the machine: local APIC, IOAPIC, and who handles which vector. */
#ifndef KERNEL_INTERRUPT_H
#define KERNEL_INTERRUPT_H

#include <quire/status.h>

/* Maps and enables the APICs of the boot CPU. Q_UNSUPPORTED with a reason: there are none. */
q_status_t interrupt_init(const char **out_reason) Q_MUST_USE;

/* `handler` runs with interrupts disabled; the end of interrupt is signalled after it. */
void interrupt_attach(uint8_t vector, void (*handler)(void));

/* Routes an ISA interrupt, as ACPI says where it arrives, to `vector` on this CPU. */
void interrupt_isa_attach(unsigned irq, uint8_t vector, void (*handler)(void));

#endif
