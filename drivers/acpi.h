/* SPDX-License-Identifier: MIT */
/*
 * What Quire needs from the machine's ACPI tables. They are read once at boot,
 * while boot/start.S's identity mapping is in use. A table with a wrong checksum is
 * not used. AML is not interpreted.
 */
#ifndef DRIVERS_ACPI_H
#define DRIVERS_ACPI_H

#include <quire/addr.h>
#include <quire/status.h>

#define ACPI_CPU_MAX     64u
#define ACPI_ISA_IRQ_MAX 16u

struct acpi_ioapic {
	hpa_t address;
	uint32_t first_gsi;
};

/* Where an ISA interrupt arrives (its global system interrupt), and how. */
struct acpi_isa_irq {
	uint32_t gsi;
	bool is_level, is_active_low;
};

struct acpi_info {
	bool has_madt, has_fadt;
	hpa_t local_apic;
	uint32_t cpu_apic_ids[ACPI_CPU_MAX];
	unsigned cpu_count;
	struct acpi_ioapic ioapic; /* the one that serves GSI 0 */
	bool has_ioapic;
	struct acpi_isa_irq isa_irqs[ACPI_ISA_IRQ_MAX];
	uint16_t pm1a_control; /* port; 0: none */
	bool has_reset;
	uint16_t reset_port;
	uint8_t reset_value;
	bool has_s5;
	uint8_t s5_type; /* sleep type of PM1a for S5, if has_s5 */
};

/*
 * `rsdp` is the address that the loader gave. If it is 0 or not below 4 GiB, the BIOS
 * area is searched. Q_NOT_FOUND: there is no valid RSDP, or no valid RSDT or XSDT. Other
 * tables are skipped if they are damaged, with a notice, or not below 4 GiB.
 */
q_status_t acpi_init(hpa_t rsdp) Q_MUST_USE;
const struct acpi_info *acpi_info(void);

#endif
