/* SPDX-License-Identifier: MIT */
/* Finds the tables, checks them, and reads the MADT, the FADT and \_S5 of the DSDT. */
#include "acpi.h"

#include <quire/bits.h>
#include <quire/log.h>

#include "lib/string.h"

/* ACPI specification, "ACPI Software Programming Model". All fields little endian. */
struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length; /* this and all that follows: from revision 2 on */
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t rsvd_21[3];
} Q_PACKED;

struct table {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
} Q_PACKED;

struct madt {
	struct table table;
	uint32_t local_apic, flags;
} Q_PACKED;

struct madt_entry {
	uint8_t type, length;
} Q_PACKED;

enum madt_entry_type {
	MADT_LOCAL_APIC = 0,
	MADT_IOAPIC = 1,
	MADT_INTERRUPT_OVERRIDE = 2,
	MADT_LOCAL_APIC_ADDRESS = 5,
	MADT_LOCAL_X2APIC = 9,
};

/* Offsets into the FADT. */
#define FADT_DSDT         40u
#define FADT_PM1A_CONTROL 64u
#define FADT_FLAGS        112u
#define FADT_RESET_REG    116u
#define FADT_RESET_VALUE  128u
#define FADT_FLAG_RESET   BIT32(10)
#define ADDRESS_SPACE_IO  1

#define IDENTITY_END    (1ull << 32)
#define TABLE_BYTES_MAX (1u << 20)

static struct acpi_info info;

static bool sum_is_zero(const void *data, size_t size_bytes)
{
	const uint8_t *bytes = data;
	uint8_t sum = 0;
	for (size_t i = 0; i < size_bytes; i++)
		sum += bytes[i];
	return sum == 0;
}

/* The table at `address`, or NULL if it is out of reach or its checksum is wrong. */
static const struct table *table_at(uint64_t address)
{
	if (!address || range_exceeds(address, sizeof(struct table), IDENTITY_END))
		return NULL;
	const struct table *table = (const struct table *)address;
	if (table->length < sizeof(*table) || table->length > TABLE_BYTES_MAX ||
	    range_exceeds(address, table->length, IDENTITY_END) ||
	    !sum_is_zero(table, table->length)) {
		log_notice("acpi: table %.4s at %#llx is damaged; ignored", table->signature,
			   (unsigned long long)address);
		return NULL;
	}
	return table;
}

static bool rsdp_is_valid(const struct rsdp *rsdp)
{
	return memcmp(rsdp->signature, "RSD PTR ", 8) == 0 && sum_is_zero(rsdp, 20);
}

static const struct rsdp *rsdp_search(uint64_t start, uint64_t end)
{
	for (uint64_t at = start; at < end; at += 16)
		if (rsdp_is_valid((const struct rsdp *)at))
			return (const struct rsdp *)at;
	return NULL;
}

static const struct rsdp *rsdp_find(hpa_t given)
{
	if (given.raw && given.raw < IDENTITY_END - sizeof(struct rsdp)) {
		const struct rsdp *rsdp = (const struct rsdp *)given.raw;
		return rsdp_is_valid(rsdp) ? rsdp : NULL;
	}
	return rsdp_search(0xe0000, 0x100000);
}

static void add_cpu(uint32_t apic_id, uint32_t flags)
{
	if ((flags & 1) && info.cpu_count < ACPI_CPU_MAX)
		info.cpu_apic_ids[info.cpu_count++] = apic_id;
}

static void read_override(const uint8_t *entry)
{
	uint8_t irq = entry[3];
	uint16_t flags;
	if (irq >= ACPI_ISA_IRQ_MAX)
		return;
	memcpy(&info.isa_irqs[irq].gsi, entry + 4, 4);
	memcpy(&flags, entry + 8, 2);
	info.isa_irqs[irq].is_active_low = (flags & 3) == 3;
	info.isa_irqs[irq].is_level = (flags >> 2 & 3) == 3;
}

static void read_ioapic(const uint8_t *entry)
{
	uint32_t address, first_gsi;
	memcpy(&address, entry + 4, 4);
	memcpy(&first_gsi, entry + 8, 4);
	if (first_gsi == 0) {
		info.ioapic = (struct acpi_ioapic){ hpa(address), first_gsi };
		info.has_ioapic = true;
	}
}

static void read_madt_entry(const uint8_t *entry, unsigned length)
{
	uint32_t id, flags;
	switch (entry[0]) {
	case MADT_LOCAL_APIC:
		if (length < 8)
			return;
		memcpy(&flags, entry + 4, 4);
		add_cpu(entry[3], flags);
		return;
	case MADT_LOCAL_X2APIC:
		if (length < 16)
			return;
		memcpy(&id, entry + 4, 4);
		memcpy(&flags, entry + 8, 4);
		add_cpu(id, flags);
		return;
	case MADT_IOAPIC:
		if (length >= 12)
			read_ioapic(entry);
		return;
	case MADT_INTERRUPT_OVERRIDE:
		if (length >= 10)
			read_override(entry);
		return;
	case MADT_LOCAL_APIC_ADDRESS:
		if (length >= 12)
			memcpy(&info.local_apic.raw, entry + 4, 8);
		return;
	default: return;
	}
}

static void read_madt(const struct table *table)
{
	if (table->length < sizeof(struct madt))
		return;
	info.has_madt = true;
	info.local_apic = hpa(((const struct madt *)table)->local_apic);
	const uint8_t *bytes = (const uint8_t *)table;
	for (uint32_t at = sizeof(struct madt); table->length - at >= 2;) {
		unsigned length = bytes[at + 1];
		if (length < 2 || length > table->length - at) {
			log_notice("acpi: MADT entry at byte %u is damaged; the rest is ignored",
				   at);
			return;
		}
		read_madt_entry(bytes + at, length);
		at += length;
	}
}

/*
 * \_S5 is a package whose first element is the sleep type of PM1a. The DSDT holds
 * it as a constant, so a search for its name finds it without an AML interpreter.
 */
static void read_s5(const struct table *dsdt)
{
	const uint8_t *bytes = (const uint8_t *)dsdt;
	for (uint32_t i = sizeof(*dsdt); i + 12 < dsdt->length; i++) {
		if (memcmp(bytes + i, "_S5_", 4) != 0 || bytes[i + 4] != 0x12)
			continue;
		uint32_t at = i + 5;
		at += (bytes[at] >> 6) + 1u; /* package length */
		at += 1;                     /* element count */
		if (at + 1 >= dsdt->length)
			return;
		info.s5_type =
			bytes[at] == 0x0a ? bytes[at + 1] : bytes[at]; /* BytePrefix, Zero, One */
		info.has_s5 = info.s5_type <= 7;
		return;
	}
}

static void read_fadt(const struct table *table)
{
	const uint8_t *bytes = (const uint8_t *)table;
	if (table->length < FADT_FLAGS + 4)
		return;
	uint32_t dsdt, pm1a, flags;
	memcpy(&dsdt, bytes + FADT_DSDT, 4);
	memcpy(&pm1a, bytes + FADT_PM1A_CONTROL, 4);
	memcpy(&flags, bytes + FADT_FLAGS, 4);
	info.has_fadt = true;
	info.pm1a_control = (uint16_t)pm1a;
	if ((flags & FADT_FLAG_RESET) && table->length > FADT_RESET_VALUE &&
	    bytes[FADT_RESET_REG] == ADDRESS_SPACE_IO) {
		memcpy(&info.reset_port, bytes + FADT_RESET_REG + 4, 2);
		info.reset_value = bytes[FADT_RESET_VALUE];
		info.has_reset = true;
	}
	const struct table *found = table_at(dsdt);
	if (found)
		read_s5(found);
}

static void read_table(uint64_t address)
{
	const struct table *table = table_at(address);
	if (!table)
		return;
	if (memcmp(table->signature, "APIC", 4) == 0)
		read_madt(table);
	else if (memcmp(table->signature, "FACP", 4) == 0)
		read_fadt(table);
}

/* RSDT and XSDT differ only in the size of their pointers. */
static void read_root(const struct table *root, unsigned pointer_bytes)
{
	const uint8_t *bytes = (const uint8_t *)root;
	for (uint32_t at = sizeof(*root); root->length - at >= pointer_bytes; at += pointer_bytes) {
		uint64_t address = 0;
		memcpy(&address, bytes + at, pointer_bytes);
		read_table(address);
	}
}

q_status_t acpi_init(hpa_t given)
{
	for (unsigned i = 0; i < ACPI_ISA_IRQ_MAX; i++)
		info.isa_irqs[i].gsi = i;
	const struct rsdp *rsdp = rsdp_find(given);
	if (!rsdp)
		return Q_NOT_FOUND;
	bool has_xsdt = rsdp->revision >= 2 && rsdp->xsdt && sum_is_zero(rsdp, sizeof(*rsdp));
	const struct table *root = table_at(has_xsdt ? rsdp->xsdt : rsdp->rsdt);
	if (!root)
		return Q_NOT_FOUND;
	read_root(root, has_xsdt ? 8 : 4);
	return Q_OK;
}

const struct acpi_info *acpi_info(void)
{
	return &info;
}
