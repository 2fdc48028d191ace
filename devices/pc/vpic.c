/* SPDX-License-Identifier: MIT */
/*
 * The two 8259A of a PC, the second one on input 2 of the first.
 *
 * Each chip picks the request with the highest priority that no request in
 * service blocks; the slave's choice drives the master's input 2, the master's
 * drives `intr`. Both are worked out again after each change (`update`), so
 * neither is ever stale. An edge stays latched when its line falls before the
 * acknowledge: a request is rather seen twice than lost.
 *
 * Invariants, asserted by vpic_check():
 *   I1  `intr` is what the master's registers say.
 *   I2  The master's request 2 is what the slave's registers say.
 *   I3  Level-triggered inputs have their line as their request bit.
 *
 * Reference: 8259A data sheet; 82371AB data sheet, "Edge/Level Control Registers".
 */
#include "vpic.h"

#include <quire/assert.h>

#include "vpc_internal.h"

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
#define OCW3_SMM_SET  BIT32(6) /* bit 5 is taken as the special mask mode */
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

/* Inputs that can never be level triggered: timer, keyboard, cascade; RTC, FPU. */
static const uint8_t elcr_writable[VPIC_CHIP_COUNT] = { 0xf8, 0xde };

/* Steps down from the highest priority to the best input in `set`, or INPUT_COUNT. */
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

/* The input to be served now, or INPUT_COUNT. */
static unsigned choose(const struct vpic_chip *chip, bool is_master)
{
	unsigned request = best(chip, chip->irr & (uint8_t)~chip->imr);
	if (request == INPUT_COUNT)
		return INPUT_COUNT;
	uint8_t blocking = chip->isr;
	if (chip->has_special_mask)
		blocking &= (uint8_t)~chip->imr;
	/* The slave may interrupt itself through the cascade in this mode. */
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

static void update(struct vpc *vpc)
{
	struct vpic *pic = &vpc->pic;
	struct vpic_chip *master = &pic->chip[VPIC_MASTER];

	bool slave_output = choose(&pic->chip[VPIC_SLAVE], false) != INPUT_COUNT;
	/* As if level triggered: a slave that ends interrupts by itself makes no new edge. */
	if (slave_output)
		master->irr |= CASCADE_BIT;
	else
		master->irr &= (uint8_t)~CASCADE_BIT;
	bool intr = choose(master, true) != INPUT_COUNT;
	if (intr == pic->intr)
		return;
	pic->intr = intr;
	vpc_extint_update(vpc);
}

/* As firmware leaves it: vectors 8 and 0x70, all inputs masked. */
void vpic_reset(struct vpc *vpc)
{
	vpc->pic = (struct vpic){ 0 };
	vpc->pic.chip[VPIC_MASTER] = (struct vpic_chip){ .imr = 0xff, .base = 0x08 };
	vpc->pic.chip[VPIC_SLAVE] = (struct vpic_chip){ .imr = 0xff, .base = 0x70 };
}

void vpic_line_set(struct vpc *vpc, unsigned irq, bool level)
{
	input_set(&vpc->pic.chip[irq / INPUT_COUNT], irq % INPUT_COUNT, level);
	update(vpc);
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

uint8_t vpic_acknowledge(struct vpc *vpc)
{
	struct vpic_chip *master = &vpc->pic.chip[VPIC_MASTER];
	struct vpic_chip *slave = &vpc->pic.chip[VPIC_SLAVE];

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
	update(vpc);
	return vector;
}

/* The read after a poll command acknowledges as the CPU would. */
static uint8_t poll(struct vpc *vpc, struct vpic_chip *chip, bool is_master)
{
	chip->is_polled = false;
	unsigned input = choose(chip, is_master);
	if (input == INPUT_COUNT)
		return 0;
	serve(chip, input);
	update(vpc);
	return POLL_FOUND | (uint8_t)input;
}

uint8_t vpic_read(struct vpc *vpc, unsigned index, unsigned offset)
{
	struct vpic_chip *chip = &vpc->pic.chip[index];
	if (chip->is_polled)
		return poll(vpc, chip, index == VPIC_MASTER);
	if (offset == 1)
		return chip->imr;
	return chip->reads_isr ? chip->isr : chip->irr;
}

/* The initialisation command: what it clears, and what it leaves, is the data sheet's. */
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

void vpic_write(struct vpc *vpc, unsigned index, unsigned offset, uint8_t value)
{
	struct vpic_chip *chip = &vpc->pic.chip[index];
	if (offset == 0)
		write_command(chip, value);
	else
		write_data(chip, value);
	update(vpc);
}

uint8_t vpic_elcr_read(const struct vpic *pic, unsigned index)
{
	return pic->chip[index].elcr;
}

void vpic_elcr_write(struct vpc *vpc, unsigned index, uint8_t value)
{
	struct vpic_chip *chip = &vpc->pic.chip[index];
	chip->elcr = value & elcr_writable[index];
	chip->irr = (chip->irr & (uint8_t)~chip->elcr) | (chip->lines & chip->elcr);
	update(vpc);
}

void vpic_check(const struct vpic *pic)
{
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
