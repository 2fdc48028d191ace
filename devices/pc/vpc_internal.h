/* SPDX-License-Identifier: MIT */
/*
 * What the files of devices/pc share. All are pure: they touch only memory that the
 * caller provides, and act on the VM through struct vpc_host.
 *
 *   vpc.c             the PC put together: reset, timers, interrupts for a vCPU, check
 *   vpc_access.c      where an access goes: the bus, or the vCPU's own local APIC
 *   vpc_lines.c       ISA interrupt lines: to the PICs and the I/O APIC
 *   vpic.c            two 8259A: ports 0x20, 0xa0, 0x4d0
 *   vpit.c            8254: ports 0x40 to 0x43, IRQ 0; timer: channel 0's next edge
 *   vsys.c            chip set: ports 0x61, 0x64, 0x92, 0xcf9; debug ports 0xe9, 0xf4
 *   vrtc.c            MC146818: ports 0x70 and 0x71, IRQ 8; timer: its next event
 *   vuart.c           16550A: ports 0x3f8 to 0x3ff, IRQ 4
 *   vpm.c             ACPI fixed hardware: ports 0x600 to 0x60f, IRQ 9; timer: the carry
 *   vpci.c            PCI host bridge: ports 0xcf8 to 0xcff, except 0xcf9
 *   vioapic.c         I/O APIC: memory at VPC_IOAPIC_BASE
 *   vlapic.c          local APIC, one for each vCPU: memory at VPC_LAPIC_BASE; timer
 *   vlapic_timer.c    its timer: one-shot, periodic and TSC-deadline
 *   vlapic_message.c  messages between local APICs, and from the I/O APIC to them
 *   vlapic_msr.c      its MSRs: base, x2APIC registers
 *   vacpi.c, vdsdt.c  ACPI tables that describe all this
 *   vclock.c          ratios of clock frequencies
 *   vcalendar.c       seconds and dates
 *
 * Locks: none. The caller of vpc.h serialises.
 */
#ifndef DEVICES_PC_VPC_INTERNAL_H
#define DEVICES_PC_VPC_INTERNAL_H

#include <quire/bits.h>

#include "devices/bus.h"
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

/* RAM ends here at the latest and continues at 4 GiB; devices have the space between. */
#define VPC_PCI_HOLE_START 0xc0000000ull

/* A timer interrupts at most this often by itself, whatever a guest programs. */
#define VPC_TIMER_HZ_MAX 100000u

struct vpc {
	struct bus bus;

	/* Fixed by vpc_init(). */
	const struct vpc_host *host;
	void *vm;
	unsigned vcpu_count;
	uint64_t tsc_hz;
	uint64_t timer_gap; /* guest TSC ticks; see VPC_TIMER_HZ_MAX */
	struct vclock_ratio lapic_per_tsc, tsc_per_lapic; /* the local APICs' timers */

	struct vpit pit;
	struct vpic pic;
	struct vuart uart;
	struct vpci pci;
	struct vpm pm;
	struct vsys sys;
	struct vioapic ioapic;
	struct vrtc rtc;
	struct vlapic lapics[]; /* vcpu_count of them; the bus's slots follow */
};

/* The PC that a device is part of. */
static inline struct vpc *vpc_of(const struct vdev *dev)
{
	return container_of(dev->bus, struct vpc, bus);
}

/* --- vpc_lines.c --------------------------------------------------------------- */

/* Sets the level of ISA interrupt `irq` at the PICs and at the I/O APIC (IRQ 0 at its pin 2). */
void vpc_irq_set(struct vpc *vpc, unsigned irq, bool level);
bool vpc_irq_level(const struct vpc *vpc, unsigned irq);
void vpc_lines_check(const struct vpc *vpc);

/* The later of `deadline` and the first time after `now` at which a timer may interrupt again. */
static inline uint64_t vpc_not_before(const struct vpc *vpc, uint64_t deadline, uint64_t now)
{
	uint64_t earliest = vclock_add(now, vpc->timer_gap);
	return deadline > earliest ? deadline : earliest;
}

#endif
