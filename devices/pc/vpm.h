/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: PM1a event and control blocks, PM timer; see vpm.c. */
#ifndef DEVICES_PC_VPM_H
#define DEVICES_PC_VPM_H

#include "devices/vdev.h"

#include "vclock.h"

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
/* SLP_TYP of S5, which the DSDT's \_S5 names. */
#define VPM_SLEEP_OFF 5u

struct vpm {
	struct vdev dev;
	struct vclock_ratio ticks_per_tsc, tsc_per_tick;
	uint64_t half_periods; /* of the timer: how many `status` accounts for */
	uint16_t status, enable, control;
};

void vpm_init(struct vpm *pm, struct vpc *vpc);

#endif
