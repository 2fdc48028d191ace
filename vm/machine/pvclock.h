/* SPDX-License-Identifier: MIT */
/*
 * The paravirtual clock of the KVM interface: a structure in guest memory that tells the guest how
 * to convert its TSC to nanoseconds, so that it need not measure the TSC's rate. Layout and
 * arithmetic are those of Linux's "Documentation/virt/kvm/x86/msr.rst", "KVM-specific MSRs".
 *
 * Guest TSC and Quire's time are the same counter. So the structure is written when the guest
 * names its address, and again only if the guest sets its TSC. Pure.
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

/* Fills in the clock: it shows 0 when the guest TSC is `tsc_at_zero`. */
void pvclock_time_fill(struct pvclock_time *time, uint64_t tsc_hz, uint64_t tsc_at_zero);
/*
 * Fills in what Unix time it was when the clock showed 0. `start_tsc`: host TSC at that moment;
 * `epoch_seconds`: Unix time at host TSC 0.
 */
void pvclock_wall_fill(struct pvclock_wall *wall, uint64_t tsc_hz, uint64_t start_tsc,
		       uint64_t epoch_seconds);

#endif
