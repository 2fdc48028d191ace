/* SPDX-License-Identifier: MIT */
/*
 * The PC's devices in one struct, and what they ask of each other: interrupt
 * lines and timers. A device knows its own registers and this file.
 */
#ifndef DEVICES_PC_VPC_INTERNAL_H
#define DEVICES_PC_VPC_INTERNAL_H

#include <quire/bits.h>

#include "devices/pc/vpc.h"

#include "vclock.h"
#include "vioapic.h"
#include "vlapic.h"
#include "vpci.h"
#include "vpic.h"
#include "vpit.h"
#include "vpm.h"
#include "vrtc.h"
#include "vsys.h"
#include "vuart.h"

/* RAM ends here at the latest and goes on at 4 GiB; in between are devices. */
#define VPC_PCI_HOLE_START 0xc0000000ull

/* Timers that interrupt come no faster than this, whatever a guest programs. */
#define VPC_TIMER_HZ_MAX 100000u

enum vpc_timer {
	VPC_TIMER_PIT,
	VPC_TIMER_RTC,
	VPC_TIMER_PM,
	VPC_TIMER_LAPIC, /* and one for each further vCPU */
};

struct vpc {
	/* Each timer's deadline in guest TSC ticks, and the earliest of them. */
	uint64_t next_deadline;
	uint64_t deadlines[VPC_TIMER_LAPIC + VPC_VCPU_MAX];
	uint32_t changes; /* see vpc_changes() */

	const struct vpc_host *host;
	void *vm;
	unsigned vcpu_count;
	bool has_debug_exit, has_debug_console;
	uint64_t tsc_hz;
	uint64_t timer_gap; /* guest TSC ticks; see VPC_TIMER_HZ_MAX */
	struct vclock_ratio pit_per_tsc, tsc_per_pit;
	struct vclock_ratio pm_per_tsc, tsc_per_pm;
	struct vclock_ratio bus_per_tsc, tsc_per_bus;

	struct vpit pit;
	struct vpic pic;
	struct vuart uart;
	struct vpci pci;
	struct vpm pm;
	struct vsys sys;
	struct vioapic ioapic;
	struct vrtc rtc;
	struct vlapic lapics[]; /* vcpu_count of them */
};

/* Level of ISA interrupt `irq`: goes to the PICs and to the I/O APIC, 0 to its pin 2. */
void vpc_irq_set(struct vpc *vpc, unsigned irq, bool level);
/* The PICs' output, or whether vCPU 0 listens to it, may have changed. */
void vpc_extint_update(struct vpc *vpc);

/* `timer` is an enum vpc_timer, or VPC_TIMER_LAPIC + vCPU. */
void vpc_timer_set(struct vpc *vpc, unsigned timer, uint64_t deadline);

/* `deadline`, or the earliest time after `now` at which an interrupting timer may fire. */
static inline uint64_t vpc_not_before(const struct vpc *vpc, uint64_t deadline, uint64_t now)
{
	uint64_t earliest = vclock_add(now, vpc->timer_gap);
	return deadline > earliest ? deadline : earliest;
}

#endif
