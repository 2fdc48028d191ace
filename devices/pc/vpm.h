/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: PM1a event and control blocks, PM timer; see vpm.c. */
#ifndef DEVICES_PC_VPM_H
#define DEVICES_PC_VPM_H

#include <quire/compiler.h>

struct vpc;

#define VPM_FIRST_PORT     0x600u
#define VPM_SIZE           16u
#define VPM_EVENT_OFFSET   0u
#define VPM_EVENT_SIZE     4u
#define VPM_CONTROL_OFFSET 4u
#define VPM_CONTROL_SIZE   2u
#define VPM_TIMER_OFFSET   8u
#define VPM_TIMER_SIZE     4u
#define VPM_TIMER_HZ       3579545u
#define VPM_IRQ            9u /* the SCI */
/* SLP_TYP of S5, as the DSDT's \_S5 says. */
#define VPM_SLEEP_OFF 5u

struct vpm {
	uint64_t half_periods; /* of the timer, when its status was last brought up to date */
	uint16_t status, enable, control;
};

void vpm_reset(struct vpc *vpc, uint64_t now);
/* One byte of the registers; `offset` is 0..15. */
uint8_t vpm_read(struct vpc *vpc, unsigned offset, uint64_t now);
void vpm_write(struct vpc *vpc, unsigned offset, uint8_t value, uint64_t now);
/* The whole timer. */
uint32_t vpm_timer_read(const struct vpc *vpc, uint64_t now);
void vpm_timer(struct vpc *vpc, uint64_t now);
void vpm_check(const struct vpc *vpc);

#endif
