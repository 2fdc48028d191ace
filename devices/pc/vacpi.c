/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables of the PC: RSDP (at the start), XSDT, FADT, FACS, DSDT, MADT.
 *
 * The FADT describes hardware that starts in ACPI mode (no SMI port), has neither
 * keyboard controller nor VGA, powers off by PM1a and resets by port 0xcf9. The MADT
 * has one local APIC for each vCPU, whose ID is the vCPU's index. The code writes
 * field by field at the offsets of the specification, so alignment and padding of C
 * structs do not matter.
 *
 * Reference: ACPI specification 6.0, "ACPI Software Programming Model".
 */
#include "devices/pc/vpc.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "vdsdt.h"
#include "vpc_internal.h"

#define HEADER_SIZE      36u
#define HEADER_LENGTH    4u
#define HEADER_REVISION  8u
#define HEADER_CHECKSUM  9u
#define HEADER_OEM       10u
#define HEADER_OEM_TABLE 16u
#define HEADER_CREATOR   28u
#define OEM_ID           "QUIRE "
#define OEM_TABLE_ID     "QUIREPC "
#define CREATOR_ID       "QUIR"

#define RSDP_SIZE     36u
#define RSDP_V1_SIZE  20u
#define XSDT_REVISION 1u
#define FADT_REVISION 6u
#define FADT_SIZE     276u
#define FACS_SIZE     64u
#define FACS_VERSION  2u
#define DSDT_REVISION 2u
#define MADT_REVISION 4u

/* FADT fields, by offset. */
enum fadt_field {
	FADT_FACS = 36,
	FADT_DSDT = 40,
	FADT_SCI = 46,
	FADT_PM1A_EVENT = 56,
	FADT_PM1A_CONTROL = 64,
	FADT_PM_TIMER = 76,
	FADT_PM1_EVENT_SIZE = 88,
	FADT_PM1_CONTROL_SIZE = 89,
	FADT_PM_TIMER_SIZE = 91,
	FADT_C2_LATENCY = 96,
	FADT_C3_LATENCY = 98,
	FADT_CENTURY = 108,
	FADT_BOOT_FLAGS = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REGISTER = 116,
	FADT_RESET_VALUE = 128,
	FADT_X_DSDT = 140,
	FADT_X_PM1A_EVENT = 148,
	FADT_X_PM1A_CONTROL = 172,
	FADT_X_PM_TIMER = 208,
};

#define BOOT_LEGACY_DEVICES  BIT32(0)
#define BOOT_NO_VGA          BIT32(2)
#define FLAG_WBINVD          BIT32(0)
#define FLAG_C1              BIT32(2) /* HLT on every processor */
#define FLAG_NO_POWER_BUTTON BIT32(4)
#define FLAG_NO_SLEEP_BUTTON BIT32(5)
#define FLAG_NO_FIXED_RTC    BIT32(6)
#define FLAG_TIMER_32_BITS   BIT32(8)
#define FLAG_RESET_REGISTER  BIT32(10)
#define LATENCY_NO_C2        101u
#define LATENCY_NO_C3        1001u

#define GAS_IO    1u
#define GAS_BYTE  1u
#define GAS_WORD  2u
#define GAS_DWORD 3u

#define MADT_LAPIC_ADDRESS  36u
#define MADT_FLAGS          40u
#define MADT_ENTRIES        44u
#define MADT_HAS_PIC        BIT32(0)
#define MADT_LAPIC          0u
#define MADT_IOAPIC         1u
#define MADT_OVERRIDE       2u
#define MADT_LAPIC_NMI      4u
#define MADT_LAPIC_ENABLED  BIT32(0)
#define MADT_ALL_PROCESSORS 0xffu
#define INTI_BUS_DEFAULT    0x0u
#define INTI_ACTIVE_HIGH    0x1u
#define INTI_LEVEL_HIGH     0xdu
#define PIT_PIN             2u

/* The place of the next table within the block for VPC_ACPI_START. */
struct cursor {
	uint8_t *block;
	uint32_t offset;
};

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static void put_checksum(const uint8_t *table, uint32_t size, uint8_t *at)
{
	uint8_t sum = 0;
	*at = 0;
	for (uint32_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + table[i]);
	*at = (uint8_t)-sum;
}

static uint64_t address_of(const struct cursor *cursor, const uint8_t *table)
{
	return VPC_ACPI_START + (uint64_t)(table - cursor->block);
}

/* Takes the next `size` bytes, aligned and zero. */
static uint8_t *take(struct cursor *cursor, uint32_t size, uint32_t alignment)
{
	uint32_t start = (uint32_t)align_up(cursor->offset, alignment);
	Q_ASSERT(start + size <= VPC_ACPI_SIZE);
	cursor->offset = start + size;
	return cursor->block + start;
}

/* Writes the header of a table whose other fields are complete. */
static void finish(uint8_t *table, const char *signature, uint32_t size, uint8_t revision)
{
	memcpy(table, signature, 4);
	put(table + HEADER_LENGTH, size, 4);
	table[HEADER_REVISION] = revision;
	memcpy(table + HEADER_OEM, OEM_ID, 6);
	memcpy(table + HEADER_OEM_TABLE, OEM_TABLE_ID, 8);
	put(table + HEADER_OEM_TABLE + 8, 1, 4);
	memcpy(table + HEADER_CREATOR, CREATOR_ID, 4);
	put(table + HEADER_CREATOR + 4, 1, 4);
	put_checksum(table, size, table + HEADER_CHECKSUM);
}

/* Writes a generic address structure for I/O port `port`, `bytes` wide. */
static void put_port(uint8_t *to, uint32_t port, unsigned bytes, uint8_t access)
{
	to[0] = GAS_IO;
	to[1] = (uint8_t)(bytes * 8);
	to[2] = 0;
	to[3] = access;
	put(to + 4, port, 8);
}

static uint64_t build_dsdt(struct cursor *cursor)
{
	uint32_t size = HEADER_SIZE + (uint32_t)vdsdt_aml_size;
	uint8_t *table = take(cursor, size, 16);
	memcpy(table + HEADER_SIZE, vdsdt_aml, vdsdt_aml_size);
	finish(table, "DSDT", size, DSDT_REVISION);
	return address_of(cursor, table);
}

/*
 * The FACS is not used: the PC has no sleep state to wake from, and no firmware that
 * takes the global lock. But some guests look for it.
 */
static uint64_t build_facs(struct cursor *cursor)
{
	uint8_t *table = take(cursor, FACS_SIZE, 64);
	memcpy(table, "FACS", 4);
	put(table + 4, FACS_SIZE, 4);
	table[32] = FACS_VERSION;
	return address_of(cursor, table);
}

static void put_fixed_hardware(uint8_t *table)
{
	const uint32_t event = VPM_FIRST_PORT + VPM_EVENT_OFFSET;
	const uint32_t control = VPM_FIRST_PORT + VPM_CONTROL_OFFSET;
	const uint32_t timer = VPM_FIRST_PORT + VPM_TIMER_OFFSET;

	put(table + FADT_SCI, VPM_IRQ, 2);
	put(table + FADT_PM1A_EVENT, event, 4);
	put(table + FADT_PM1A_CONTROL, control, 4);
	put(table + FADT_PM_TIMER, timer, 4);
	table[FADT_PM1_EVENT_SIZE] = VPM_EVENT_SIZE;
	table[FADT_PM1_CONTROL_SIZE] = VPM_CONTROL_SIZE;
	table[FADT_PM_TIMER_SIZE] = VPM_TIMER_SIZE;
	put_port(table + FADT_X_PM1A_EVENT, event, VPM_EVENT_SIZE, GAS_WORD);
	put_port(table + FADT_X_PM1A_CONTROL, control, VPM_CONTROL_SIZE, GAS_WORD);
	put_port(table + FADT_X_PM_TIMER, timer, VPM_TIMER_SIZE, GAS_DWORD);
	put_port(table + FADT_RESET_REGISTER, VSYS_RESET, 1, GAS_BYTE);
	table[FADT_RESET_VALUE] = VSYS_RESET_VALUE;
}

static uint64_t build_fadt(struct cursor *cursor, uint64_t facs, uint64_t dsdt)
{
	uint8_t *table = take(cursor, FADT_SIZE, 16);
	put(table + FADT_FACS, facs, 4);
	put(table + FADT_DSDT, dsdt, 4);
	put(table + FADT_X_DSDT, dsdt, 8);
	put_fixed_hardware(table);
	put(table + FADT_C2_LATENCY, LATENCY_NO_C2, 2);
	put(table + FADT_C3_LATENCY, LATENCY_NO_C3, 2);
	table[FADT_CENTURY] = VRTC_REG_CENTURY;
	put(table + FADT_BOOT_FLAGS, BOOT_LEGACY_DEVICES | BOOT_NO_VGA, 2);
	put(table + FADT_FLAGS,
	    FLAG_WBINVD | FLAG_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON |
		    FLAG_NO_FIXED_RTC | FLAG_TIMER_32_BITS | FLAG_RESET_REGISTER,
	    4);
	finish(table, "FACP", FADT_SIZE, FADT_REVISION);
	return address_of(cursor, table);
}

/* Starts an entry of the MADT and returns the address of its fields. */
static uint8_t *madt_entry(struct cursor *cursor, uint8_t type, uint8_t size)
{
	uint8_t *entry = take(cursor, size, 1);
	entry[0] = type;
	entry[1] = size;
	return entry + 2;
}

static void put_override(struct cursor *cursor, uint8_t irq, uint32_t pin, uint16_t flags)
{
	uint8_t *fields = madt_entry(cursor, MADT_OVERRIDE, 10);
	fields[0] = 0; /* ISA */
	fields[1] = irq;
	put(fields + 2, pin, 4);
	put(fields + 6, flags, 2);
}

static uint64_t build_madt(struct cursor *cursor, unsigned vcpu_count)
{
	uint8_t *table = take(cursor, MADT_ENTRIES, 16);
	put(table + MADT_LAPIC_ADDRESS, VPC_LAPIC_BASE, 4);
	put(table + MADT_FLAGS, MADT_HAS_PIC, 4);
	for (unsigned i = 0; i < vcpu_count; i++) {
		uint8_t *fields = madt_entry(cursor, MADT_LAPIC, 8);
		fields[0] = fields[1] = (uint8_t)i; /* processor UID and APIC ID */
		put(fields + 2, MADT_LAPIC_ENABLED, 4);
	}
	uint8_t *ioapic = madt_entry(cursor, MADT_IOAPIC, 12);
	put(ioapic + 2, VPC_IOAPIC_BASE, 4); /* ID 0, first interrupt 0 */
	put_override(cursor, VPIT_IRQ, PIT_PIN, INTI_BUS_DEFAULT);
	put_override(cursor, VPM_IRQ, VPM_IRQ, INTI_LEVEL_HIGH);
	uint8_t *nmi = madt_entry(cursor, MADT_LAPIC_NMI, 6);
	nmi[0] = MADT_ALL_PROCESSORS;
	put(nmi + 1, INTI_ACTIVE_HIGH, 2);
	nmi[3] = 1; /* LINT1 */
	finish(table, "APIC", (uint32_t)(cursor->block + cursor->offset - table), MADT_REVISION);
	return address_of(cursor, table);
}

static void fill_rsdp(uint8_t *rsdp, uint64_t xsdt)
{
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2; /* revision 2: has an XSDT; there is no RSDT */
	put(rsdp + 20, RSDP_SIZE, 4);
	put(rsdp + 24, xsdt, 8);
	put_checksum(rsdp, RSDP_V1_SIZE, rsdp + 8);
	put_checksum(rsdp, RSDP_SIZE, rsdp + 32);
}

uint64_t vpc_acpi_build(unsigned vcpu_count, void *to)
{
	struct cursor cursor = { .block = to };

	Q_ASSERT(vcpu_count >= 1 && vcpu_count <= VPC_VCPU_MAX);
	memset(to, 0, VPC_ACPI_SIZE);
	uint8_t *rsdp = take(&cursor, RSDP_SIZE, 16);
	uint32_t xsdt_size = HEADER_SIZE + 2 * 8;
	uint8_t *xsdt = take(&cursor, xsdt_size, 16);
	uint64_t facs = build_facs(&cursor);
	uint64_t dsdt = build_dsdt(&cursor);
	put(xsdt + HEADER_SIZE, build_fadt(&cursor, facs, dsdt), 8);
	put(xsdt + HEADER_SIZE + 8, build_madt(&cursor, vcpu_count), 8);
	finish(xsdt, "XSDT", xsdt_size, XSDT_REVISION);
	fill_rsdp(rsdp, address_of(&cursor, xsdt));
	return cursor.offset;
}
