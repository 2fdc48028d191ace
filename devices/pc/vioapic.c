/* SPDX-License-Identifier: MIT */
/*
 * I/O APIC, version 0x20: 24 inputs and an end-of-interrupt register.
 *
 * An edge is sent when it comes, and lost if its input is masked, as the data sheet
 * says. A level-triggered input is sent when its line is up, it is not masked, and
 * its last message has been ended; level_evaluate() checks this after each change of
 * any of the three. The polarity bit is stored and has no effect: a line is active or
 * not, whatever its voltage.
 *
 * Invariants, asserted by check():
 *   O1  Only level-triggered inputs have remote IRR set.
 *   O2  Entries have no reserved bit set, and not the delivery status bit.
 *
 * Reference: 82093AA data sheet; ICH9 data sheet, "Advanced Programmable
 * Interrupt Controller" (EOI register).
 */
#include "vioapic.h"

#include <quire/assert.h>

#include "vpc_internal.h"

/* Registers are 16 bytes apart and 32 bits wide. */
#define REGISTER_DISTANCE 16u
#define REGISTER_SIZE     4u

#define OFFSET_SELECT 0x00u
#define OFFSET_WINDOW 0x10u
#define OFFSET_EOI    0x40u

#define INDEX_ID          0x00u
#define INDEX_VERSION     0x01u
#define INDEX_ARBITRATION 0x02u
#define INDEX_ENTRIES     0x10u
#define VERSION           (0x20u | (VIOAPIC_PIN_COUNT - 1) << 16)
#define ID_MASK           0x0fu
#define ID_SHIFT          24u

#define ENTRY_VECTOR      MASK64(7, 0)
#define ENTRY_MODE        MASK64(10, 8)
#define ENTRY_LOGICAL     BIT64(11)
#define ENTRY_REMOTE_IRR  BIT64(14)
#define ENTRY_LEVEL       BIT64(15)
#define ENTRY_MASKED      BIT64(16)
#define ENTRY_DESTINATION MASK64(63, 56)
/* Delivery status (12) and remote IRR (14) are read only. */
#define ENTRY_WRITABLE (ENTRY_DESTINATION | MASK64(16, 15) | BIT64(13) | MASK64(11, 0))

static struct vioapic *ioapic_of(const struct vdev *dev)
{
	return container_of(dev, struct vioapic, dev);
}

static void reset(struct vdev *dev, uint64_t now)
{
	struct vioapic *ioapic = ioapic_of(dev);
	(void)now;
	*ioapic = (struct vioapic){ .dev = ioapic->dev };
	for (unsigned pin = 0; pin < VIOAPIC_PIN_COUNT; pin++)
		ioapic->entries[pin] = ENTRY_MASKED;
}

/* Sends the message of an entry. True if a local APIC took it. */
static bool send(const struct vioapic *ioapic, uint64_t entry)
{
	struct vlapic_message message = {
		.destination = (uint32_t)field_get(entry, ENTRY_DESTINATION),
		.is_logical = entry & ENTRY_LOGICAL,
		.mode = (uint8_t)field_get(entry, ENTRY_MODE),
		.vector = (uint8_t)field_get(entry, ENTRY_VECTOR),
		.is_level = entry & ENTRY_LEVEL,
	};
	return vlapic_message_send(vpc_of(&ioapic->dev), &message);
}

/* Sends the message of a level-triggered input if it is due. */
static void level_evaluate(struct vioapic *ioapic, unsigned pin)
{
	uint64_t entry = ioapic->entries[pin];
	bool is_up = ioapic->lines & BIT32(pin);

	if (!is_up || !(entry & ENTRY_LEVEL) || (entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)))
		return;
	if (send(ioapic, entry))
		ioapic->entries[pin] |= ENTRY_REMOTE_IRR;
}

void vioapic_pin_set(struct vioapic *ioapic, unsigned pin, bool level)
{
	uint32_t bit = BIT32(pin);
	bool was_up = ioapic->lines & bit;

	if (was_up == level)
		return;
	ioapic->lines ^= bit;
	if (!level)
		return;
	uint64_t entry = ioapic->entries[pin];
	if (entry & ENTRY_LEVEL)
		level_evaluate(ioapic, pin);
	else if (!(entry & ENTRY_MASKED))
		(void)send(ioapic, entry);
}

void vioapic_eoi(struct vioapic *ioapic, uint8_t vector)
{
	for (unsigned pin = 0; pin < VIOAPIC_PIN_COUNT; pin++) {
		uint64_t *entry = &ioapic->entries[pin];
		if (!(*entry & ENTRY_REMOTE_IRR) || field_get(*entry, ENTRY_VECTOR) != vector)
			continue;
		*entry &= ~ENTRY_REMOTE_IRR;
		level_evaluate(ioapic, pin);
	}
}

static uint32_t read_window(const struct vioapic *ioapic)
{
	unsigned index = ioapic->select;
	switch (index) {
	case INDEX_ID:
	case INDEX_ARBITRATION: return (uint32_t)ioapic->id << ID_SHIFT;
	case INDEX_VERSION: return VERSION;
	default: break;
	}
	if (index < INDEX_ENTRIES || index >= INDEX_ENTRIES + 2 * VIOAPIC_PIN_COUNT)
		return 0;
	uint64_t entry = ioapic->entries[(index - INDEX_ENTRIES) / 2];
	return (uint32_t)(index % 2 != 0 ? entry >> 32 : entry);
}

static void write_entry(struct vioapic *ioapic, unsigned pin, bool is_high, uint32_t value)
{
	uint64_t *entry = &ioapic->entries[pin];
	uint64_t wanted = is_high ? (*entry & MASK64(31, 0)) | (uint64_t)value << 32
				  : (*entry & MASK64(63, 32)) | value;

	*entry = (wanted & ENTRY_WRITABLE) | (*entry & ENTRY_REMOTE_IRR);
	/* Drivers end an interrupt that is stuck by switching its input to edge and back. */
	if (!(*entry & ENTRY_LEVEL))
		*entry &= ~ENTRY_REMOTE_IRR;
	level_evaluate(ioapic, pin);
}

static void write_window(struct vioapic *ioapic, uint32_t value)
{
	unsigned index = ioapic->select;
	if (index == INDEX_ID)
		ioapic->id = value >> ID_SHIFT & ID_MASK;
	if (index < INDEX_ENTRIES || index >= INDEX_ENTRIES + 2 * VIOAPIC_PIN_COUNT)
		return;
	write_entry(ioapic, (index - INDEX_ENTRIES) / 2, index % 2 != 0, value);
}

static uint32_t register_read(const struct vioapic *ioapic, unsigned offset)
{
	switch (offset) {
	case OFFSET_SELECT: return ioapic->select;
	case OFFSET_WINDOW: return read_window(ioapic);
	default: return 0;
	}
}

/* The bytes between the registers read zero. */
static uint64_t memory_read(struct vdev *dev, unsigned offset, unsigned size, uint64_t now)
{
	unsigned byte = offset % REGISTER_DISTANCE;

	(void)now;
	if (byte >= REGISTER_SIZE)
		return 0;
	return vdev_bytes(register_read(ioapic_of(dev), offset - byte) >> 8 * byte, size);
}

/* A write must cover the whole register. The selector has only one byte. */
static void memory_write(struct vdev *dev, unsigned offset, unsigned size, uint64_t value,
			 uint64_t now)
{
	struct vioapic *ioapic = ioapic_of(dev);

	(void)now;
	if (offset != OFFSET_SELECT && size < REGISTER_SIZE)
		return;
	switch (offset) {
	case OFFSET_SELECT: ioapic->select = (uint8_t)value; break;
	case OFFSET_WINDOW: write_window(ioapic, (uint32_t)value); break;
	case OFFSET_EOI: vioapic_eoi(ioapic, (uint8_t)value); break;
	default: break;
	}
}

static void check(const struct vdev *dev)
{
	const struct vioapic *ioapic = ioapic_of(dev);

	Q_ASSERT(ioapic->id <= ID_MASK);
	Q_ASSERT((ioapic->lines >> VIOAPIC_PIN_COUNT) == 0);
	for (unsigned pin = 0; pin < VIOAPIC_PIN_COUNT; pin++) {
		uint64_t entry = ioapic->entries[pin];
		Q_ASSERT((entry & ENTRY_LEVEL) || !(entry & ENTRY_REMOTE_IRR)); /* O1 */
		Q_ASSERT((entry & ~(ENTRY_WRITABLE | ENTRY_REMOTE_IRR)) == 0);  /* O2 */
	}
}

static const struct vdev_ops ioapic_ops = {
	.name = "ioapic",
	.reset = reset,
	.memory_read = memory_read,
	.memory_write = memory_write,
	.check = check,
};

void vioapic_init(struct vioapic *ioapic, struct vpc *vpc)
{
	bus_add(&vpc->bus, &ioapic->dev, &ioapic_ops);
	bus_memory_claim(&vpc->bus, &ioapic->dev, gpa_to_gfn(gpa(VPC_IOAPIC_BASE)));
}
