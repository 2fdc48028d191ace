/* SPDX-License-Identifier: MIT */
/*
 * Where an access goes: ports by a table with one byte per port, memory by page
 * (the local APIC's first, it is by far the busiest), MSRs by range.
 *
 * Devices on a PC's I/O bus are eight bits wide: a wider access to them becomes
 * one access per byte, at rising ports. The few registers that are wider take
 * the whole access when it is aligned to them.
 */
#include "devices/pc/vpc.h"

#include "vpc_internal.h"

enum port_owner {
	PORT_NONE,
	PORT_PIC_MASTER,
	PORT_PIC_SLAVE,
	PORT_ELCR,
	PORT_PIT,
	PORT_SYS,
	PORT_RTC,
	PORT_UART,
	PORT_DEBUG_EXIT,
	PORT_PCI,
	PORT_PM,
};

#define PIC_MASTER_PORT 0x20u
#define PIC_SLAVE_PORT  0xa0u
#define ELCR_PORT       0x4d0u
#define PIT_PORT        0x40u
#define RTC_PORT        0x70u
#define PORT_END        0xd00u

static const uint8_t owners[PORT_END] = {
	[PIC_MASTER_PORT... PIC_MASTER_PORT + 1] = PORT_PIC_MASTER,
	[PIT_PORT... PIT_PORT + 3] = PORT_PIT,
	[VSYS_PORT_B] = PORT_SYS,
	[VSYS_KEYBOARD_STATUS] = PORT_SYS,
	[RTC_PORT... RTC_PORT + 1] = PORT_RTC,
	[VSYS_PORT_A] = PORT_SYS,
	[PIC_SLAVE_PORT... PIC_SLAVE_PORT + 1] = PORT_PIC_SLAVE,
	[VSYS_DEBUG_CONSOLE] = PORT_SYS,
	[VSYS_DEBUG_EXIT] = PORT_DEBUG_EXIT,
	[VUART_FIRST_PORT... VUART_FIRST_PORT + 7] = PORT_UART,
	[ELCR_PORT... ELCR_PORT + 1] = PORT_ELCR,
	[VPM_FIRST_PORT... VPM_FIRST_PORT + VPM_SIZE - 1] = PORT_PM,
	[VPCI_ADDRESS_PORT] = PORT_PCI,
	[VSYS_RESET] = PORT_SYS,
	[VPCI_ADDRESS_PORT + 2 ... VPCI_DATA_PORT + 3] = PORT_PCI,
};

static enum port_owner owner_of(uint16_t port)
{
	return port < PORT_END ? (enum port_owner)owners[port] : PORT_NONE;
}

/* The hot way in: each device's function is called at its end. */
static Q_NOINLINE uint8_t byte_read(struct vpc *vpc, uint16_t port, uint64_t now)
{
	switch (owner_of(port)) {
	case PORT_PIT: return vpit_read(vpc, port - PIT_PORT, now);
	case PORT_UART: return vuart_read(vpc, port - VUART_FIRST_PORT);
	case PORT_PIC_MASTER: return vpic_read(vpc, VPIC_MASTER, port - PIC_MASTER_PORT);
	case PORT_PIC_SLAVE: return vpic_read(vpc, VPIC_SLAVE, port - PIC_SLAVE_PORT);
	case PORT_ELCR: return vpic_elcr_read(&vpc->pic, port - ELCR_PORT);
	case PORT_SYS: return vsys_read(vpc, port, now);
	case PORT_RTC: return vrtc_read(vpc, port - RTC_PORT, now);
	case PORT_PCI: return (uint8_t)vpci_read(&vpc->pci, port - VPCI_ADDRESS_PORT, 1);
	case PORT_PM: return vpm_read(vpc, port - VPM_FIRST_PORT, now);
	case PORT_DEBUG_EXIT:
	case PORT_NONE: break;
	}
	return 0xff;
}

static Q_NOINLINE void byte_write(struct vpc *vpc, uint16_t port, uint8_t value, uint64_t now)
{
	switch (owner_of(port)) {
	case PORT_PIT: vpit_write(vpc, port - PIT_PORT, value, now); break;
	case PORT_UART: vuart_write(vpc, port - VUART_FIRST_PORT, value); break;
	case PORT_PIC_MASTER: vpic_write(vpc, VPIC_MASTER, port - PIC_MASTER_PORT, value); break;
	case PORT_PIC_SLAVE: vpic_write(vpc, VPIC_SLAVE, port - PIC_SLAVE_PORT, value); break;
	case PORT_ELCR: vpic_elcr_write(vpc, port - ELCR_PORT, value); break;
	case PORT_SYS: vsys_write(vpc, port, value, now); break;
	case PORT_RTC: vrtc_write(vpc, port - RTC_PORT, value, now); break;
	case PORT_PCI: vpci_write(&vpc->pci, port - VPCI_ADDRESS_PORT, 1, value); break;
	case PORT_PM: vpm_write(vpc, port - VPM_FIRST_PORT, value, now); break;
	case PORT_DEBUG_EXIT: vsys_debug_exit(vpc, value); break;
	case PORT_NONE: break;
	}
}

/* An aligned access within PCI's eight ports; byte accesses go the other way. */
static bool is_pci(uint16_t port, unsigned size)
{
	return (port & ~7u) == VPCI_ADDRESS_PORT && port % size == 0;
}

static Q_NOINLINE uint32_t wide_read(struct vpc *vpc, uint16_t port, unsigned size, uint64_t now)
{
	if (is_pci(port, size)) {
		uint32_t config = vpci_read(&vpc->pci, port - VPCI_ADDRESS_PORT, size);
		return size == 4 ? config : config & 0xffff;
	}
	if (port == VPM_FIRST_PORT + VPM_TIMER_OFFSET && size == VPM_TIMER_SIZE)
		return vpm_timer_read(vpc, now);
	uint32_t value = 0;
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)byte_read(vpc, (uint16_t)(port + i), now) << 8 * i;
	return value;
}

static Q_NOINLINE void wide_write(struct vpc *vpc, uint16_t port, unsigned size, uint32_t value,
				  uint64_t now)
{
	if (is_pci(port, size)) {
		vpci_write(&vpc->pci, port - VPCI_ADDRESS_PORT, size, value);
		return;
	}
	if (owner_of(port) == PORT_DEBUG_EXIT) {
		vsys_debug_exit(vpc, size == 4 ? value : value & 0xffff);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		byte_write(vpc, (uint16_t)(port + i), (uint8_t)(value >> 8 * i), now);
}

uint32_t vpc_pio_read(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint64_t now)
{
	(void)vcpu;
	if (Q_UNLIKELY(size != 1))
		return wide_read(vpc, port, size, now);
	return byte_read(vpc, port, now);
}

void vpc_pio_write(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint32_t value,
		   uint64_t now)
{
	(void)vcpu;
	if (Q_LIKELY(size == 1))
		byte_write(vpc, port, (uint8_t)value, now);
	else
		wide_write(vpc, port, size, value, now);
}

/* True if all of the access is in the page at `base`. */
static bool is_within(gpa_t addr, unsigned size, uint64_t base)
{
	return gpa_to_gfn(addr).raw == base >> PAGE_SHIFT && gpa_offset(addr) <= PAGE_SIZE - size;
}

/* The local APIC answers in memory only in xAPIC mode. */
static bool has_lapic_page(const struct vlapic *lapic)
{
	return (lapic->base & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)) == LAPIC_BASE_ENABLED;
}

/* Any read of device memory but the common one. */
static Q_NOINLINE bool odd_read(struct vpc *vpc, struct vlapic *lapic, gpa_t addr, unsigned size,
				uint64_t *out_value, uint64_t now)
{
	unsigned offset = (unsigned)gpa_offset(addr);

	if (is_within(addr, size, VPC_LAPIC_BASE) && has_lapic_page(lapic)) {
		*out_value = vlapic_mmio_read(vpc, lapic, offset, size, now);
		return true;
	}
	if (!is_within(addr, size, VPC_IOAPIC_BASE))
		return false;
	/* Registers are 16 bytes apart and 32 bits wide; the bytes in between are zero. */
	*out_value = 0;
	if (offset % 16 < 4)
		*out_value = vioapic_read(vpc, offset & ~15u) >> 8 * (offset % 16);
	if (size < 4)
		*out_value &= BIT64(8 * size) - 1;
	return true;
}

bool vpc_mmio_read(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t *out_value,
		   uint64_t now)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	uint64_t offset = addr.raw - VPC_LAPIC_BASE;

	/* A whole, aligned register of the local APIC: one comparison says so. */
	if (size != 4 || (offset & ~LAPIC_MMIO_REGISTERS) != 0 || !has_lapic_page(lapic))
		return odd_read(vpc, lapic, addr, size, out_value, now);
	*out_value = vlapic_register_read(vpc, lapic, (unsigned)offset / 16, now);
	return true;
}

bool vpc_mmio_write(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t value,
		    uint64_t now)
{
	struct vlapic *lapic = &vpc->lapics[vcpu];
	unsigned offset = (unsigned)gpa_offset(addr);

	if (is_within(addr, size, VPC_LAPIC_BASE) && has_lapic_page(lapic)) {
		vlapic_mmio_write(vpc, lapic, offset, size, value, now);
		return true;
	}
	if (!is_within(addr, size, VPC_IOAPIC_BASE))
		return false;
	/* Only whole registers can be written; the selector, the first, has one byte. */
	if (offset == 0 || (offset % 16 == 0 && size >= 4))
		vioapic_write(vpc, offset, (uint32_t)value);
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
