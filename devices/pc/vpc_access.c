/* SPDX-License-Identifier: MIT */
/*
 * Sends each access to the vCPU's own local APIC or to the bus. The local APICs are
 * not found by the bus, because each vCPU has its own at the same page and MSRs. They
 * come first, because they are by far the busiest devices.
 */
#include "devices/pc/vpc.h"

#include "vpc_internal.h"

uint32_t vpc_pio_read(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint64_t now)
{
	(void)vcpu;
	return bus_port_read(&vpc->bus, port, size, now);
}

void vpc_pio_write(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint32_t value,
		   uint64_t now)
{
	(void)vcpu;
	bus_port_write(&vpc->bus, port, size, value, now);
}

/* The local APIC answers in memory only in xAPIC mode. */
static bool has_lapic_page(const struct vlapic *lapic)
{
	return (lapic->base & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)) == LAPIC_BASE_ENABLED;
}

/* True if the vCPU's local APIC answers all of the access. */
static bool is_lapic(const struct vlapic *lapic, gpa_t addr, unsigned size)
{
	return gpa_to_gfn(addr).raw == VPC_LAPIC_BASE >> PAGE_SHIFT &&
	       gpa_offset(addr) <= PAGE_SIZE - size && has_lapic_page(lapic);
}

/* Does all reads of device memory but the common one. */
static Q_NOINLINE bool odd_read(struct vpc *vpc, struct vlapic *lapic, gpa_t addr, unsigned size,
				uint64_t *out_value, uint64_t now)
{
	if (!is_lapic(lapic, addr, size))
		return bus_memory_read(&vpc->bus, addr, size, out_value, now);
	*out_value = vlapic_mmio_read(vpc, lapic, (unsigned)gpa_offset(addr), size, now);
	return true;
}

bool vpc_mmio_read(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t *out_value,
		   uint64_t now)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	uint64_t offset = addr.raw - VPC_LAPIC_BASE;

	/* The common one reads a whole, aligned register of the local APIC: one comparison. */
	if (size != 4 || (offset & ~LAPIC_MMIO_REGISTERS) != 0 || !has_lapic_page(lapic))
		return odd_read(vpc, lapic, addr, size, out_value, now);
	*out_value = vlapic_register_read(vpc, lapic, (unsigned)offset / 16, now);
	return true;
}

bool vpc_mmio_write(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t value,
		    uint64_t now)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];

	if (!is_lapic(lapic, addr, size))
		return bus_memory_write(&vpc->bus, addr, size, value, now);
	vlapic_mmio_write(vpc, lapic, (unsigned)gpa_offset(addr), size, value, now);
	return true;
}

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_END   0x900u

bool vpc_msr_is_apic(uint32_t msr)
{
	return msr == MSR_TSC_DEADLINE || msr == MSR_APIC_BASE ||
	       (msr >= MSR_X2APIC_FIRST && msr < MSR_X2APIC_END);
}

bool vpc_msr_read(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t *out_value, uint64_t now)
{
	const struct vlapic *lapic = &vpc->lapics[vcpu];

	if (!vpc_msr_is_apic(msr))
		return false;
	if (msr == MSR_TSC_DEADLINE)
		*out_value = vlapic_timer_deadline_read(lapic);
	else if (msr == MSR_APIC_BASE)
		*out_value = lapic->base;
	else
		return vlapic_x2apic_read(vpc, lapic, msr - MSR_X2APIC_FIRST, out_value, now);
	return true;
}

bool vpc_msr_write(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t value, uint64_t now)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];

	if (!vpc_msr_is_apic(msr))
		return false;
	if (msr == MSR_APIC_BASE)
		return vlapic_base_write(vpc, lapic, value);
	if (msr != MSR_TSC_DEADLINE)
		return vlapic_x2apic_write(vpc, lapic, msr - MSR_X2APIC_FIRST, value, now);
	vlapic_timer_deadline_write(vpc, lapic, value, now);
	return true;
}
