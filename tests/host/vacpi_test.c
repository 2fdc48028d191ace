/* SPDX-License-Identifier: MIT */
/* The ACPI tables point to each other, and their checksums are right. */
#include <stdlib.h>
#include <string.h>

#include "pc.h"

static uint32_t word(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return value;
}

static uint8_t sum(const uint8_t *bytes, uint32_t size)
{
	uint8_t total = 0;
	for (uint32_t i = 0; i < size; i++)
		total = (uint8_t)(total + bytes[i]);
	return total;
}

/* Checks the signature and the checksum of the table at a guest address, and returns it. */
static const uint8_t *table_at(const uint8_t *block, uint64_t size, const uint8_t *pointer,
			       const char *signature)
{
	uint64_t offset = word(pointer) - VPC_ACPI_START;
	EXPECT(offset < size);
	const uint8_t *table = block + offset;
	EXPECT(memcmp(table, signature, 4) == 0);
	EXPECT(offset + word(table + 4) <= size);
	if (memcmp(signature, "FACS", 4) != 0)
		EXPECT(sum(table, word(table + 4)) == 0);
	return table;
}

TEST(vacpi, tables_link_and_add_up)
{
	static const unsigned counts[] = { 1, 2, 64 };
	for (unsigned i = 0; i < ARRAY_COUNT(counts); i++) {
		uint8_t *block = malloc(VPC_ACPI_SIZE);
		memset(block, 0xa5, VPC_ACPI_SIZE);
		uint64_t size = vpc_acpi_build(counts[i], block);
		EXPECT(size <= VPC_ACPI_SIZE);
		EXPECT(memcmp(block, "RSD PTR ", 8) == 0 && block[15] == 2);
		EXPECT(sum(block, 20) == 0 && sum(block, 36) == 0);
		const uint8_t *xsdt = table_at(block, size, block + 24, "XSDT");
		EXPECT(word(xsdt + 4) == 52);
		const uint8_t *fadt = table_at(block, size, xsdt + 36, "FACP");
		const uint8_t *madt = table_at(block, size, xsdt + 44, "APIC");
		const uint8_t *dsdt = table_at(block, size, fadt + 40, "DSDT");
		EXPECT(table_at(block, size, fadt + 140, "DSDT") == dsdt);
		const uint8_t *facs = table_at(block, size, fadt + 36, "FACS");
		EXPECT((facs - block) % 64 == 0);
		EXPECT(word(fadt + 4) == 276 && word(fadt + 76) == 0x608 && fadt[46] == 9);
		EXPECT(fadt[117] == 8 && word(fadt + 120) == 0xcf9 && fadt[128] == 6);
		EXPECT(word(madt + 4) == 44 + 8 * counts[i] + 12 + 10 + 10 + 6);
		unsigned lapics = 0;
		for (const uint8_t *e = madt + 44; e < madt + word(madt + 4); e += e[1])
			if (e[0] == 0)
				EXPECT(e[3] == lapics++);
		EXPECT(lapics == counts[i]);
		free(block);
	}
}
