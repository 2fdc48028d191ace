/* SPDX-License-Identifier: MIT */
/*
 * The two 8259A of a PC; the slave's output is the master's input 2.
 *
 * Each chip chooses the request with the highest priority, unless a request in
 * service blocks it. The slave's choice drives the master's input 2, the master's
 * choice drives `intr`. update() works out both after each change, so neither is
 * ever stale. An edge stays latched when its line falls before the acknowledge:
 * the guest may see a request twice, but never loses one.
 *
 * Invariants, asserted by check():
 *   I1  `intr` follows from the master's registers.
 *   I2  The master's request bit 2 follows from the slave's registers.
 *   I3  The request bit of a level-triggered input equals its line.
 *
 * Reference: 8259A data sheet; 82371AB data sheet, "Edge/Level Control Registers".
 */
#include "vpic.h"

#include <quire/assert.h>

#include "vpc_internal.h"

#define MASTER_PORT 0x20u /* command; data follows */
#define SLAVE_PORT  0xa0u
#define ELCR_PORT   0x4d0u /* the master's; the slave's follows */

#define INPUT_COUNT    8u
#define CASCADE_INPUT  2u
#define CASCADE_BIT    BIT32(CASCADE_INPUT)
#define SPURIOUS_INPUT 7u

#define ICW1          BIT32(4)
#define ICW1_NEEDS_4  BIT32(0)
#define ICW1_SINGLE   BIT32(1)
#define ICW4_AUTO_EOI BIT32(1)
#define ICW4_SFNM     BIT32(4) /* special fully nested mode */
#define OCW3          BIT32(3)
#define OCW3_READ     BIT32(1)
#define OCW3_READ_ISR BIT32(0)
#define OCW3_POLL     BIT32(2)
#define OCW3_SMM_SET  BIT32(6) /* bit 5 is valid and sets or ends the special mask mode */
#define OCW3_SMM      BIT32(5)
#define POLL_FOUND    BIT32(7)

/* OCW2 bits 7:5: rotate, specific, end of interrupt. */
enum ocw2_command {
	OCW2_ROTATE_AUTO_CLEAR = 0,
	OCW2_EOI = 1,
	OCW2_NOTHING = 2,
	OCW2_EOI_SPECIFIC = 3,
	OCW2_ROTATE_AUTO_SET = 4,
	OCW2_EOI_ROTATE = 5,
	OCW2_PRIORITY = 6,
	OCW2_EOI_SPECIFIC_ROTATE = 7,
};

/* The other inputs are always edges: timer, keyboard, cascade; RTC, FPU. */
static const uint8_t elcr_writable[VPIC_CHIP_COUNT] = { 0xf8, 0xde };

static struct vpic *pic_of(const struct vdev *dev)
{
	return container_of(dev, struct vpic, dev);
}

/* Returns how many steps the best input in `set` is below the highest priority, or INPUT_COUNT. */
static unsigned best(const struct vpic_chip *chip, uint8_t set)
{
	if (set == 0)
		return INPUT_COUNT;
	unsigned doubled = (unsigned)set << INPUT_COUNT | set;
	return (unsigned)__builtin_ctz(doubled >> chip->highest);
}

static unsigned input_at(const struct vpic_chip *chip, unsigned steps)
{
	return (chip->highest + steps) % INPUT_COUNT;
}

/* The input to serve now, or INPUT_COUNT. */
static unsigned choose(const struct vpic_chip *chip, bool is_master)
{
	unsigned request = best(chip, chip->irr & (uint8_t)~chip->imr);
	if (request == INPUT_COUNT)
		return INPUT_COUNT;
	uint8_t blocking = chip->isr;
	if (chip->has_special_mask)
		blocking &= (uint8_t)~chip->imr;
	/* In this mode a higher request of the slave passes while a lower one is served. */
	if (chip->is_fully_nested_special && is_master)
		blocking &= (uint8_t)~CASCADE_BIT;
	if (request >= best(chip, blocking))
		return INPUT_COUNT;
	return input_at(chip, request);
}

static void input_set(struct vpic_chip *chip, unsigned input, bool level)
{
	uint8_t bit = (uint8_t)BIT32(input);
	bool was = chip->lines & bit;
	if (level && (!was || (chip->elcr & bit)))
		chip->irr |= bit;
	if (!level && (chip->elcr & bit))
		chip->irr &= (uint8_t)~bit;
	chip->lines = level ? chip->lines | bit : chip->lines & (uint8_t)~bit;
}

static void update(struct vpic *pic)
{
	struct vpic_chip *master = &pic->chip[VPIC_MASTER];

	bool slave_output = choose(&pic->chip[VPIC_SLAVE], false) != INPUT_COUNT;
	/* Input 2 follows the level, because a slave with automatic EOI makes no new edge. */
	if (slave_output)
		master->irr |= CASCADE_BIT;
	else
		master->irr &= (uint8_t)~CASCADE_BIT;
	bool intr = choose(master, true) != INPUT_COUNT;
	if (intr == pic->intr)
		return;
	pic->intr = intr;
	vlapic_extint_update(vpc_of(&pic->dev));
}

/* The state that firmware leaves: vectors 8 and 0x70, all inputs masked. */
static void reset(struct vdev *dev, uint64_t now)
{
	struct vpic *pic = pic_of(dev);
	(void)now;
	pic->intr = false;
	pic->chip[VPIC_MASTER] = (struct vpic_chip){ .imr = 0xff, .base = 0x08 };
	pic->chip[VPIC_SLAVE] = (struct vpic_chip){ .imr = 0xff, .base = 0x70 };
}

void vpic_line_set(struct vpic *pic, unsigned irq, bool level)
{
	input_set(&pic->chip[irq / INPUT_COUNT], irq % INPUT_COUNT, level);
	update(pic);
}

/* Puts `input` in service. */
static void serve(struct vpic_chip *chip, unsigned input)
{
	uint8_t bit = (uint8_t)BIT32(input);
	if (!(chip->elcr & bit))
		chip->irr &= (uint8_t)~bit;
	if (!chip->has_auto_eoi)
		chip->isr |= bit;
	else if (chip->rotates_on_auto_eoi)
		chip->highest = (uint8_t)((input + 1) % INPUT_COUNT);
}

uint8_t vpic_acknowledge(struct vpic *pic)
{
	struct vpic_chip *master = &pic->chip[VPIC_MASTER];
	struct vpic_chip *slave = &pic->chip[VPIC_SLAVE];

	unsigned input = choose(master, true);
	if (input == INPUT_COUNT)
		return master->base | SPURIOUS_INPUT;
	serve(master, input);
	uint8_t vector = master->base | (uint8_t)input;
	if (input == CASCADE_INPUT) {
		unsigned slave_input = choose(slave, false);
		if (slave_input != INPUT_COUNT)
			serve(slave, slave_input);
		else
			slave_input = SPURIOUS_INPUT;
		vector = slave->base | (uint8_t)slave_input;
	}
	update(pic);
	return vector;
}

/* The read after a poll command acknowledges, like the CPU does. */
static uint8_t poll(struct vpic *pic, struct vpic_chip *chip, bool is_master)
{
	chip->is_polled = false;
	unsigned input = choose(chip, is_master);
	if (input == INPUT_COUNT)
		return 0;
	serve(chip, input);
	update(pic);
	return POLL_FOUND | (uint8_t)input;
}

/* The chip that a command or data port belongs to. */
static unsigned index_of(uint16_t port)
{
	return port < SLAVE_PORT ? VPIC_MASTER : VPIC_SLAVE;
}

static bool is_data(uint16_t port)
{
	return port & 1;
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	struct vpic *pic = pic_of(dev);

	(void)size, (void)now;
	if (port >= ELCR_PORT)
		return pic->chip[port - ELCR_PORT].elcr;
	unsigned index = index_of(port);
	struct vpic_chip *chip = &pic->chip[index];
	if (chip->is_polled)
		return poll(pic, chip, index == VPIC_MASTER);
	if (is_data(port))
		return chip->imr;
	return chip->reads_isr ? chip->isr : chip->irr;
}

/* The initialisation command: clears what the data sheet says, and keeps the rest. */
static void write_icw1(struct vpic_chip *chip, uint8_t value)
{
	*chip = (struct vpic_chip){
		.irr = chip->lines & chip->elcr,
		.lines = chip->lines,
		.elcr = chip->elcr,
		.base = chip->base,
		.expect = VPIC_ICW2,
		.is_single = value & ICW1_SINGLE,
		.needs_icw4 = value & ICW1_NEEDS_4,
	};
}

static void end_of_interrupt(struct vpic_chip *chip, unsigned input, bool rotates)
{
	if (input == INPUT_COUNT)
		return;
	chip->isr &= (uint8_t)~BIT32(input);
	if (rotates)
		chip->highest = (uint8_t)((input + 1) % INPUT_COUNT);
}

/* The input that a non-specific end of interrupt ends, or INPUT_COUNT. */
static unsigned in_service(const struct vpic_chip *chip)
{
	uint8_t candidates = chip->isr;
	if (chip->has_special_mask)
		candidates &= (uint8_t)~chip->imr;
	unsigned steps = best(chip, candidates);
	return steps == INPUT_COUNT ? INPUT_COUNT : input_at(chip, steps);
}

static void write_ocw2(struct vpic_chip *chip, uint8_t value)
{
	unsigned input = value % INPUT_COUNT;

	switch ((enum ocw2_command)(value >> 5)) {
	case OCW2_EOI: end_of_interrupt(chip, in_service(chip), false); break;
	case OCW2_EOI_SPECIFIC: end_of_interrupt(chip, input, false); break;
	case OCW2_EOI_ROTATE: end_of_interrupt(chip, in_service(chip), true); break;
	case OCW2_EOI_SPECIFIC_ROTATE: end_of_interrupt(chip, input, true); break;
	case OCW2_PRIORITY: chip->highest = (uint8_t)((input + 1) % INPUT_COUNT); break;
	case OCW2_ROTATE_AUTO_SET: chip->rotates_on_auto_eoi = true; break;
	case OCW2_ROTATE_AUTO_CLEAR: chip->rotates_on_auto_eoi = false; break;
	case OCW2_NOTHING: break;
	}
}

static void write_ocw3(struct vpic_chip *chip, uint8_t value)
{
	if (value & OCW3_POLL)
		chip->is_polled = true;
	if (value & OCW3_READ)
		chip->reads_isr = value & OCW3_READ_ISR;
	if (value & OCW3_SMM_SET)
		chip->has_special_mask = value & OCW3_SMM;
}

static void write_command(struct vpic_chip *chip, uint8_t value)
{
	if (value & ICW1)
		write_icw1(chip, value);
	else if (value & OCW3)
		write_ocw3(chip, value);
	else
		write_ocw2(chip, value);
}

static void write_data(struct vpic_chip *chip, uint8_t value)
{
	switch ((enum vpic_expect)chip->expect) {
	case VPIC_OCW1: chip->imr = value; break;
	case VPIC_ICW2:
		chip->base = value & 0xf8;
		chip->expect = chip->needs_icw4 ? VPIC_ICW4 : VPIC_OCW1;
		if (!chip->is_single)
			chip->expect = VPIC_ICW3;
		break;
	case VPIC_ICW3: /* the wiring is fixed */
		chip->expect = chip->needs_icw4 ? VPIC_ICW4 : VPIC_OCW1;
		break;
	case VPIC_ICW4:
		chip->has_auto_eoi = value & ICW4_AUTO_EOI;
		chip->is_fully_nested_special = value & ICW4_SFNM;
		chip->expect = VPIC_OCW1;
		break;
	}
}

static void write_elcr(struct vpic *pic, unsigned index, uint8_t value)
{
	struct vpic_chip *chip = &pic->chip[index];
	chip->elcr = value & elcr_writable[index];
	chip->irr = (chip->irr & (uint8_t)~chip->elcr) | (chip->lines & chip->elcr);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct vpic *pic = pic_of(dev);

	(void)size, (void)now;
	if (port >= ELCR_PORT)
		write_elcr(pic, port - ELCR_PORT, (uint8_t)value);
	else if (is_data(port))
		write_data(&pic->chip[index_of(port)], (uint8_t)value);
	else
		write_command(&pic->chip[index_of(port)], (uint8_t)value);
	update(pic);
}

static void check(const struct vdev *dev)
{
	const struct vpic *pic = pic_of(dev);
	const struct vpic_chip *master = &pic->chip[VPIC_MASTER];
	const struct vpic_chip *slave = &pic->chip[VPIC_SLAVE];

	Q_ASSERT(pic->intr == (choose(master, true) != INPUT_COUNT)); /* I1 */
	bool slave_output = choose(slave, false) != INPUT_COUNT;
	Q_ASSERT(((master->irr & CASCADE_BIT) != 0) == slave_output); /* I2 */
	for (unsigned i = 0; i < VPIC_CHIP_COUNT; i++) {
		const struct vpic_chip *chip = &pic->chip[i];
		Q_ASSERT(((chip->irr ^ chip->lines) & chip->elcr) == 0); /* I3 */
		Q_ASSERT(chip->highest < INPUT_COUNT);
	}
}

static const struct vdev_ops pic_ops = {
	.name = "pic",
	.reset = reset,
	.port_read = port_read,
	.port_write = port_write,
	.check = check,
};

void vpic_init(struct vpic *pic, struct vpc *vpc)
{
	bus_add(&vpc->bus, &pic->dev, &pic_ops);
	bus_ports_claim(&vpc->bus, &pic->dev, MASTER_PORT, 2, BUS_BYTES);
	bus_ports_claim(&vpc->bus, &pic->dev, SLAVE_PORT, 2, BUS_BYTES);
	bus_ports_claim(&vpc->bus, &pic->dev, ELCR_PORT, VPIC_CHIP_COUNT, BUS_BYTES);
}
