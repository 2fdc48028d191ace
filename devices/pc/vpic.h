/* SPDX-License-Identifier: MIT */
/* The pair of 8259A interrupt controllers; see vpic.c. */
#ifndef DEVICES_PC_VPIC_H
#define DEVICES_PC_VPIC_H

#include "devices/vdev.h"

struct vpc;

#define VPIC_MASTER     0u
#define VPIC_SLAVE      1u
#define VPIC_CHIP_COUNT 2u

/* What the next byte to the data port means. */
enum vpic_expect { VPIC_OCW1, VPIC_ICW2, VPIC_ICW3, VPIC_ICW4 };

struct vpic_chip {
	uint8_t irr, isr, imr;
	uint8_t lines;   /* levels of the eight inputs */
	uint8_t elcr;    /* 1: level triggered */
	uint8_t base;    /* vector of input 0 */
	uint8_t highest; /* input with the highest priority; rotation moves it */
	uint8_t expect;  /* enum vpic_expect */
	bool is_single, needs_icw4;
	bool has_auto_eoi, rotates_on_auto_eoi;
	bool has_special_mask, is_fully_nested_special;
	bool reads_isr, is_polled;
};

struct vpic {
	struct vdev dev;
	struct vpic_chip chip[VPIC_CHIP_COUNT];
	bool intr; /* output of the master */
};

void vpic_init(struct vpic *pic, struct vpc *vpc);
/* `irq` is 0..15, not 2. */
void vpic_line_set(struct vpic *pic, unsigned irq, bool level);
/* The CPU's acknowledge cycle: puts the input in service and returns its vector. */
uint8_t vpic_acknowledge(struct vpic *pic);

#endif
