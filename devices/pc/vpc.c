/* SPDX-License-Identifier: MIT */
/*
 * The PC put together: storage, reset, interrupt lines, timers, and what a
 * vCPU's loop asks before each entry into the guest.
 *
 * Nothing here runs by itself. The earliest deadline is kept, not searched for,
 * since it is read far more often than a timer is set; whether an interrupt is
 * pending is one byte of the vCPU's local APIC.
 *
 * Invariants, asserted by vpc_check():
 *   V1  next_deadline is the smallest of `deadlines`.
 *   V2  PIC and I/O APIC see the same level on each ISA line.
 *   V3  Each device's own, see their files.
 */
#include "devices/pc/vpc.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "vpc_internal.h"

#define TSC_HZ_MIN 10000000ull /* faster than every device clock but the bus */
#define TSC_HZ_MAX (1ull << 40)

#define ISA_IRQ_COUNT      16u
#define ISA_IRQ_CASCADE    2u
#define IOAPIC_PIN_FOR_PIT 2u

uint64_t vpc_size_bytes(unsigned vcpu_count)
{
	return sizeof(struct vpc) + vcpu_count * sizeof(struct vlapic);
}

static void clocks_init(struct vpc *vpc)
{
	uint64_t tsc_hz = vpc->tsc_hz;
	vpc->pit_per_tsc = vclock_ratio_make(VPIT_HZ, tsc_hz);
	vpc->tsc_per_pit = vclock_ratio_make(tsc_hz, VPIT_HZ);
	vpc->pm_per_tsc = vclock_ratio_make(VPM_TIMER_HZ, tsc_hz);
	vpc->tsc_per_pm = vclock_ratio_make(tsc_hz, VPM_TIMER_HZ);
	vpc->bus_per_tsc = vclock_ratio_make(VLAPIC_BUS_HZ, tsc_hz);
	vpc->tsc_per_bus = vclock_ratio_make(tsc_hz, VLAPIC_BUS_HZ);
	vpc->timer_gap = tsc_hz / VPC_TIMER_HZ_MAX;
}

struct vpc *vpc_init(void *storage, const struct vpc_config *config)
{
	struct vpc *vpc = storage;

	Q_ASSERT(config->vcpu_count >= 1 && config->vcpu_count <= VPC_VCPU_MAX);
	Q_ASSERT(config->tsc_hz >= TSC_HZ_MIN && config->tsc_hz <= TSC_HZ_MAX);
	vpc->host = config->host;
	vpc->vm = config->vm;
	vpc->vcpu_count = config->vcpu_count;
	vpc->tsc_hz = config->tsc_hz;
	vpc->has_debug_exit = config->has_debug_exit;
	vpc->has_debug_console = config->has_debug_console;
	clocks_init(vpc);
	for (unsigned i = 0; i < vpc->vcpu_count; i++)
		vpc->lapics[i].index = i;
	vrtc_init(vpc, config->epoch_seconds, config->ram_bytes);
	vpc_reset(vpc, 0);
	return vpc;
}

void vpc_reset(struct vpc *vpc, uint64_t now)
{
	vpc->next_deadline = VPC_DEADLINE_NONE;
	for (unsigned i = 0; i < ARRAY_COUNT(vpc->deadlines); i++)
		vpc->deadlines[i] = VPC_DEADLINE_NONE;
	/* The PICs first: the others lower their lines there. */
	vpic_reset(vpc);
	vioapic_reset(vpc);
	vpit_reset(vpc);
	vuart_reset(vpc);
	vrtc_reset(vpc, now);
	vpm_reset(vpc, now);
	vsys_reset(vpc);
	vpc->pci = (struct vpci){ 0 };
	for (unsigned i = 0; i < vpc->vcpu_count; i++)
		vlapic_reset(vpc, &vpc->lapics[i]);
}

void vpc_irq_set(struct vpc *vpc, unsigned irq, bool level)
{
	unsigned pin = irq == VPIT_IRQ ? IOAPIC_PIN_FOR_PIT : irq;
	/* Both controllers always see the same level, so one comparison serves both. */
	bool was = vpc->ioapic.lines & BIT32(pin);
	if (was == level)
		return;
	vpic_line_set(vpc, irq, level);
	vioapic_pin_set(vpc, pin, level);
}

void vpc_extint_update(struct vpc *vpc)
{
	struct vlapic *lapic = &vpc->lapics[0];
	bool is_pending = vpc->pic.intr && vlapic_takes_extint(lapic);
	vlapic_pending_set(vpc, lapic, LAPIC_PENDING_EXTINT, is_pending);
}

static uint64_t earliest(const struct vpc *vpc)
{
	uint64_t found = VPC_DEADLINE_NONE;
	for (unsigned i = 0; i < VPC_TIMER_LAPIC + vpc->vcpu_count; i++)
		if (vpc->deadlines[i] < found)
			found = vpc->deadlines[i];
	return found;
}

void vpc_timer_set(struct vpc *vpc, unsigned timer, uint64_t deadline)
{
	uint64_t before = vpc->deadlines[timer];
	vpc->changes++;
	vpc->deadlines[timer] = deadline;
	if (deadline <= vpc->next_deadline)
		vpc->next_deadline = deadline;
	else if (before == vpc->next_deadline)
		vpc->next_deadline = earliest(vpc);
}

static void timer_fire(struct vpc *vpc, unsigned timer, uint64_t now)
{
	switch (timer) {
	case VPC_TIMER_PIT: vpit_timer(vpc, now); break;
	case VPC_TIMER_RTC: vrtc_timer(vpc, now); break;
	case VPC_TIMER_PM: vpm_timer(vpc, now); break;
	default: vlapic_timer_fire(vpc, &vpc->lapics[timer - VPC_TIMER_LAPIC], now); break;
	}
}

uint64_t vpc_advance(struct vpc *vpc, uint64_t now)
{
	if (now < vpc->next_deadline)
		return vpc->next_deadline;
	for (unsigned i = 0; i < VPC_TIMER_LAPIC + vpc->vcpu_count; i++)
		if (vpc->deadlines[i] <= now)
			timer_fire(vpc, i, now);
	return vpc->next_deadline;
}

uint64_t vpc_next_deadline(const struct vpc *vpc)
{
	return vpc->next_deadline;
}

uint32_t vpc_changes(const struct vpc *vpc)
{
	return vpc->changes;
}

bool vpc_interrupt_pending(const struct vpc *vpc, unsigned vcpu)
{
	return vpc->lapics[vcpu].pending != 0;
}

uint8_t vpc_interrupt_take(struct vpc *vpc, unsigned vcpu)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	if (lapic->pending & LAPIC_PENDING_EXTINT)
		return vpic_acknowledge(vpc);
	return vlapic_acknowledge(vpc, lapic);
}

bool vpc_nmi_take(struct vpc *vpc, unsigned vcpu)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	bool was_pending = lapic->is_nmi_pending;
	lapic->is_nmi_pending = false;
	return was_pending;
}

uint64_t vpc_cr8_get(const struct vpc *vpc, unsigned vcpu)
{
	return vpc->lapics[vcpu].regs[LAPIC_TPR] >> 4;
}

void vpc_cr8_set(struct vpc *vpc, unsigned vcpu, uint64_t value)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	lapic->regs[LAPIC_TPR] = (uint32_t)(value & 0xf) << 4;
	vlapic_update(vpc, lapic);
}

unsigned vpc_serial_input(struct vpc *vpc, const uint8_t *bytes, unsigned count, uint64_t now)
{
	(void)now; /* input interrupts at once, not after a time-out */
	return vuart_input(vpc, bytes, count);
}

bool vpc_apic_enabled(const struct vpc *vpc, unsigned vcpu)
{
	return vlapic_is_enabled(&vpc->lapics[vcpu]);
}

void vpc_check(const struct vpc *vpc)
{
	Q_ASSERT(vpc->next_deadline == earliest(vpc)); /* V1 */
	for (unsigned irq = 0; irq < ISA_IRQ_COUNT; irq++) {
		if (irq == ISA_IRQ_CASCADE)
			continue;
		unsigned pin = irq == VPIT_IRQ ? IOAPIC_PIN_FOR_PIT : irq;
		bool at_pic = vpc->pic.chip[irq / 8].lines & BIT32(irq % 8);
		bool at_ioapic = vpc->ioapic.lines & BIT32(pin);
		Q_ASSERT(at_pic == at_ioapic); /* V2 */
	}
	vpit_check(&vpc->pit);
	vpic_check(&vpc->pic);
	vuart_check(&vpc->uart);
	vioapic_check(&vpc->ioapic);
	vrtc_check(&vpc->rtc);
	vpm_check(vpc);
	Q_ASSERT(vuart_line(&vpc->uart) == ((vpc->ioapic.lines & BIT32(VUART_IRQ)) != 0));
	for (unsigned i = 0; i < vpc->vcpu_count; i++)
		vlapic_check(vpc, &vpc->lapics[i]);
}
