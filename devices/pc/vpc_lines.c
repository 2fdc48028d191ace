/* SPDX-License-Identifier: MIT */
/*
 * The ISA interrupt lines: each goes to a PIC input and to an I/O APIC pin.
 *
 * Invariant, asserted by vpc_lines_check():
 *   V2  PIC and I/O APIC see the same level on each line.
 */
#include <quire/assert.h>

#include "vpc_internal.h"

#define ISA_IRQ_COUNT      16u
#define ISA_IRQ_CASCADE    2u
#define IOAPIC_PIN_FOR_PIT 2u

static unsigned pin_of(unsigned irq)
{
	return irq == VPIT_IRQ ? IOAPIC_PIN_FOR_PIT : irq;
}

bool vpc_irq_level(const struct vpc *vpc, unsigned irq)
{
	return vpc->ioapic.lines & BIT32(pin_of(irq));
}

void vpc_irq_set(struct vpc *vpc, unsigned irq, bool level)
{
	/* V2: the I/O APIC's level is the PICs' as well. */
	if (vpc_irq_level(vpc, irq) == level)
		return;
	vpic_line_set(&vpc->pic, irq, level);
	vioapic_pin_set(&vpc->ioapic, pin_of(irq), level);
}

void vpc_lines_check(const struct vpc *vpc)
{
	for (unsigned irq = 0; irq < ISA_IRQ_COUNT; irq++) {
		if (irq == ISA_IRQ_CASCADE)
			continue;
		bool at_pic = vpc->pic.chip[irq / 8].lines & BIT32(irq % 8);
		Q_ASSERT(at_pic == vpc_irq_level(vpc, irq)); /* V2 */
	}
}
