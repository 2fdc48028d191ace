/* SPDX-License-Identifier: MIT */
/*
 * The paravirtual clock of the KVM interface: a page that tells the guest how
 * to make nanoseconds of its TSC, so it need not measure the TSC's rate.
 *
 * Guest TSC and Quire's time are the same counter, so the page is written when
 * the guest names its address, and again only if the guest sets its TSC. Layout and arithmetic
 * are those of Linux's "Documentation/virt/kvm/x86/msr.rst".
 */
#ifndef VM_MACHINE_PVCLOCK_H
#define VM_MACHINE_PVCLOCK_H

#include <quire/compiler.h>

struct pvclock_time {
	uint32_t version; /* odd while it is being written */
	uint32_t pad0;
	uint64_t tsc_timestamp; /* guest TSC at which the clock showed system_time */
	uint64_t system_time;   /* nanoseconds */
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad[2];
};
_Static_assert(sizeof(struct pvclock_time) == 32, "pvclock_vcpu_time_info of the KVM interface");

struct pvclock_wall {
	uint32_t version;
	uint32_t seconds; /* Unix time when system_time was 0 */
	uint32_t nanoseconds;
};
_Static_assert(sizeof(struct pvclock_wall) == 12, "pvclock_wall_clock of the KVM interface");

/* The clock starts at 0 when the guest TSC is `tsc_at_zero`. */
void pvclock_time_fill(struct pvclock_time *time, uint64_t tsc_hz, uint64_t tsc_at_zero);
/* `start_tsc`: host TSC when the clock was 0; `epoch_seconds`: Unix time at host TSC 0. */
void pvclock_wall_fill(struct pvclock_wall *wall, uint64_t tsc_hz, uint64_t start_tsc,
		       uint64_t epoch_seconds);

#endif
