/* SPDX-License-Identifier: MIT */
/* Starts the APICs, and calls the handler of each interrupt; an exception is a panic. */
#include "interrupt.h"

#include <quire/assert.h>

#include "arch/x86_64/apic.h"
#include "arch/x86_64/features.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trap.h"
#include "drivers/acpi.h"
#include "drivers/ioapic.h"

#include "panic.h"

#define LOCAL_APIC_DEFAULT 0xfee00000ull

static void (*handlers[256])(void);

q_status_t interrupt_init(const char **out_reason)
{
	const struct acpi_info *acpi = acpi_info();
	if (!acpi->has_ioapic) {
		*out_reason = "ACPI's tables name no IOAPIC that serves interrupt 0";
		return Q_UNSUPPORTED;
	}
	volatile void *registers = NULL;
	hpa_t local = acpi->local_apic.raw ? acpi->local_apic : hpa(LOCAL_APIC_DEFAULT);
	*out_reason = "no memory to map the APICs";
	if (!cpu_features()->has_x2apic && paging_map_device(local, PAGE_SIZE, &registers) != Q_OK)
		return Q_NO_MEMORY;
	volatile void *ioapic;
	if (paging_map_device(acpi->ioapic.address, PAGE_SIZE, &ioapic) != Q_OK)
		return Q_NO_MEMORY;
	ioapic_init(ioapic);
	apic_init(registers);
	percpu()->apic_id = apic_id();
	return Q_OK;
}

void interrupt_attach(uint8_t vector, void (*handler)(void))
{
	Q_ASSERT(vector >= TRAP_EXCEPTION_COUNT);
	handlers[vector] = handler;
}

void interrupt_isa_attach(unsigned irq, uint8_t vector, void (*handler)(void))
{
	Q_ASSERT(irq < ACPI_ISA_IRQ_MAX);
	const struct acpi_isa_irq *isa = &acpi_info()->isa_irqs[irq];
	interrupt_attach(vector, handler);
	ioapic_route(isa->gsi, vector, percpu()->apic_id, isa->is_level, isa->is_active_low);
}

void trap_handle(struct trap_frame *frame)
{
	if (frame->vector < TRAP_EXCEPTION_COUNT)
		panic_trap(frame);
	if (frame->vector == TRAP_VECTOR_SPURIOUS)
		return; /* needs no end of interrupt: Intel SDM vol. 3, "Spurious Interrupt" */
	if (handlers[frame->vector])
		handlers[frame->vector]();
	apic_eoi();
}
