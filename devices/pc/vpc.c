/* SPDX-License-Identifier: MIT */
/*
 * Puts the PC together, and answers what a vCPU's loop asks before each entry
 * into the guest.
 *
 * Nothing here runs by itself. Both questions that are asked all the time are
 * cheap: the bus keeps the earliest deadline, and one byte of a vCPU's local APIC
 * tells whether an interrupt is pending.
 *
 * Invariants, asserted by vpc_check():
 *   V1  The bus's invariants about timers and claims hold, see bus.c.
 *   V2  PIC and I/O APIC see the same level on each ISA line, see vpc_lines.c.
 *   V3  Each device's invariants hold, see its file.
 */
#include "devices/pc/vpc.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define BOARD_DEVICE_MAX 16u /* devices that are not local APICs */

_Static_assert(VPC_DEADLINE_NONE == VDEV_DEADLINE_NONE, "one value for no deadline");
_Static_assert(sizeof(struct vpc) + sizeof(struct vlapic) +
			       (BOARD_DEVICE_MAX + 1) * sizeof(struct bus_slot) <=
		       PAGE_SIZE,
	       "a PC with one vCPU takes one page");

static unsigned slot_count(unsigned vcpu_count)
{
	return BOARD_DEVICE_MAX + vcpu_count;
}

uint64_t vpc_size_bytes(unsigned vcpu_count)
{
	return sizeof(struct vpc) + vcpu_count * sizeof(struct vlapic) +
	       slot_count(vcpu_count) * sizeof(struct bus_slot);
}

/*
 * Devices are reset in this order. The PICs come before the local APICs, which look
 * at their output; then the devices with timers, so that the bus searches only those.
 */
static void devices_init(struct vpc *vpc, const struct vpc_config *config)
{
	vpic_init(&vpc->pic, vpc);
	vpit_init(&vpc->pit, vpc);
	vrtc_init(&vpc->rtc, vpc, config);
	vpm_init(&vpc->pm, vpc);
	for (unsigned i = 0; i < vpc->vcpu_count; i++)
		vlapic_init(&vpc->lapics[i], vpc, i);
	vioapic_init(&vpc->ioapic, vpc);
	vuart_init(&vpc->uart, vpc);
	vsys_init(&vpc->sys, vpc, config);
	vpci_init(&vpc->pci, vpc);
}

struct vpc *vpc_init(void *storage, const struct vpc_config *config)
{
	struct vpc *vpc = storage;
	struct bus_slot *slots = (struct bus_slot *)&vpc->lapics[config->vcpu_count];

	Q_ASSERT(config->vcpu_count >= 1 && config->vcpu_count <= VPC_VCPU_MAX);
	Q_ASSERT(config->tsc_hz >= VPC_TSC_HZ_MIN && config->tsc_hz <= VPC_TSC_HZ_MAX);
	vpc->host = config->host;
	vpc->vm = config->vm;
	vpc->vcpu_count = config->vcpu_count;
	vpc->tsc_hz = config->tsc_hz;
	vpc->timer_gap = config->tsc_hz / VPC_TIMER_HZ_MAX;
	vpc->lapic_per_tsc = vclock_ratio_make(VLAPIC_TIMER_HZ, config->tsc_hz);
	vpc->tsc_per_lapic = vclock_ratio_make(config->tsc_hz, VLAPIC_TIMER_HZ);
	bus_init(&vpc->bus, slots, slot_count(config->vcpu_count));
	devices_init(vpc, config);
	vpc_reset(vpc, 0);
	return vpc;
}

void vpc_reset(struct vpc *vpc, uint64_t now)
{
	bus_reset(&vpc->bus, now);
}

uint64_t vpc_advance(struct vpc *vpc, uint64_t now)
{
	return bus_advance(&vpc->bus, now);
}

uint64_t vpc_next_deadline(const struct vpc *vpc)
{
	return vpc->bus.next_deadline;
}

uint32_t vpc_changes(const struct vpc *vpc)
{
	return vpc->bus.changes;
}

bool vpc_interrupt_pending(const struct vpc *vpc, unsigned vcpu)
{
	return vpc->lapics[vcpu].pending != 0;
}

uint8_t vpc_interrupt_take(struct vpc *vpc, unsigned vcpu)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	if (lapic->pending & LAPIC_PENDING_EXTINT)
		return vpic_acknowledge(&vpc->pic);
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
	return vuart_input(&vpc->uart, bytes, count);
}

bool vpc_apic_enabled(const struct vpc *vpc, unsigned vcpu)
{
	return vlapic_is_enabled(&vpc->lapics[vcpu]);
}

void vpc_check(const struct vpc *vpc)
{
	vpc_lines_check(vpc); /* V2 */
	bus_check(&vpc->bus); /* V1, V3 */
}
