/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's MSRs: its base and mode, and the registers of x2APIC mode.
 *
 * READABLE lists the registers that can be read, reserved_bits() the bits that a
 * write must leave zero. Any other access is a general-protection fault, as on
 * hardware. The APIC's address cannot be moved: no operating system does that, and
 * each access would have to be compared with it.
 *
 * Reference: Intel SDM vol. 3, "Extended XAPIC (x2APIC)": "x2APIC Register
 * Address Space", "x2APIC State Transitions".
 */
#include "vlapic.h"

#include "vpc_internal.h"

#define BASE_VALID   (MASK64(51, 12) | LAPIC_BASE_BSP | LAPIC_BASE_X2APIC | LAPIC_BASE_ENABLED)
#define BASE_ADDRESS MASK64(51, 12)

#define READABLE                                                                              \
	(BIT64(LAPIC_ID) | BIT64(LAPIC_VERSION) | BIT64(LAPIC_TPR) | BIT64(LAPIC_PPR) |       \
	 BIT64(LAPIC_LDR) | BIT64(LAPIC_SVR) | MASK64(LAPIC_IRR + 7, LAPIC_ISR) |             \
	 BIT64(LAPIC_ESR) | BIT64(LAPIC_ICR) | MASK64(LAPIC_TIMER_CURRENT, LAPIC_LVT_TIMER) | \
	 BIT64(LAPIC_TIMER_DIVIDE))

/* The bits that a write of register `number` must leave zero; all if it cannot be written. */
static uint64_t reserved_bits(unsigned number)
{
	switch (number) {
	case LAPIC_TPR: return ~0xffull;
	case LAPIC_SVR: return ~0x3ffull;
	case LAPIC_EOI:
	case LAPIC_ESR:
		return ~0ull; /* only zero may be written */
	/* x2APIC mode has no delivery status, bit 12, but ignores it like other APICs do. */
	case LAPIC_ICR: return ~(MASK64(63, 32) | LAPIC_ICR_WRITABLE | BIT64(12));
	case LAPIC_LVT_TIMER:
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_COUNTER:
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1:
	case LAPIC_LVT_ERROR: /* read-only status bits are ignored */
		return ~(uint64_t)(vlapic_lvt_writable(number) | BIT32(12) | BIT32(14));
	case LAPIC_TIMER_INITIAL: return ~MASK64(31, 0);
	case LAPIC_TIMER_DIVIDE: return ~0xbull;
	case LAPIC_SELF_IPI: return ~0xffull;
	default: return ~0ull;
	}
}

static bool is_writable(unsigned number)
{
	return number == LAPIC_EOI || number == LAPIC_ESR || reserved_bits(number) != ~0ull;
}

bool vlapic_x2apic_read(const struct vpc *vpc, const struct vlapic *lapic, unsigned number,
			uint64_t *out_value, uint64_t now)
{
	if (!vlapic_is_x2apic(lapic) || number >= VLAPIC_REG_COUNT || !(READABLE & BIT64(number)))
		return false;
	uint64_t value = vlapic_register_read(vpc, lapic, number, now);
	if (number == LAPIC_ICR)
		value |= (uint64_t)lapic->regs[LAPIC_ICR_HIGH] << 32;
	*out_value = value;
	return true;
}

bool vlapic_x2apic_write(struct vpc *vpc, struct vlapic *lapic, unsigned number, uint64_t value,
			 uint64_t now)
{
	if (!vlapic_is_x2apic(lapic) || number >= VLAPIC_REG_COUNT || !is_writable(number))
		return false;
	if (value & reserved_bits(number))
		return false;
	switch (number) {
	case LAPIC_ICR:
		lapic->regs[LAPIC_ICR] = (uint32_t)value & LAPIC_ICR_WRITABLE;
		lapic->regs[LAPIC_ICR_HIGH] = (uint32_t)(value >> 32);
		vlapic_icr_send(vpc, lapic, lapic->regs[LAPIC_ICR], (uint32_t)(value >> 32));
		break;
	case LAPIC_SELF_IPI: vlapic_icr_send(vpc, lapic, (uint32_t)value, lapic->index); break;
	default: vlapic_register_write(vpc, lapic, number, (uint32_t)value, now); break;
	}
	return true;
}

/* Legal: from disabled to xAPIC to x2APIC, from either to disabled, and no change. */
static bool is_legal_transition(uint64_t from, uint64_t to)
{
	bool was_x2apic = from & LAPIC_BASE_X2APIC;
	bool was_enabled = from & LAPIC_BASE_ENABLED;
	bool is_x2apic = to & LAPIC_BASE_X2APIC;
	bool is_enabled = to & LAPIC_BASE_ENABLED;

	if (!is_enabled)
		return !is_x2apic;
	if (is_x2apic)
		return was_enabled;
	return !was_x2apic;
}

bool vlapic_base_write(struct vpc *vpc, struct vlapic *lapic, uint64_t value)
{
	uint64_t before = lapic->base;

	if ((value & ~BASE_VALID) || (value & BASE_ADDRESS) != VPC_LAPIC_BASE)
		return false;
	if (!is_legal_transition(before, value))
		return false;
	/* The guest cannot change which vCPU is the bootstrap processor. */
	lapic->base = (value & ~LAPIC_BASE_BSP) | (before & LAPIC_BASE_BSP);
	if (!vlapic_is_enabled(lapic)) {
		vlapic_registers_reset(vpc, lapic);
	} else if (!(before & LAPIC_BASE_X2APIC) && vlapic_is_x2apic(lapic)) {
		uint32_t id = lapic->index;
		lapic->regs[LAPIC_ID] = id;
		lapic->regs[LAPIC_LDR] = id >> 4 << 16 | BIT32(id & 15);
		lapic->regs[LAPIC_ICR_HIGH] = 0;
	}
	vlapic_extint_update(vpc);
	return true;
}
