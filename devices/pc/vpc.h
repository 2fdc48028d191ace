/* SPDX-License-Identifier: MIT */
/*
 * The PC that a guest sees, as one object: 16550, PIC pair, PIT, RTC, IOAPIC,
 * local APICs, PCI host bridge, ACPI fixed hardware, debug ports. Pure state
 * machines: time is passed in (guest TSC ticks), effects go out through
 * vpc_host. The caller serialises (LOCK_RANK_DEVICES).
 */
#ifndef DEVICES_PC_VPC_H
#define DEVICES_PC_VPC_H

#include <quire/addr.h>
#include <quire/status.h>

struct vpc;

#define VPC_VCPU_MAX      64u
#define VPC_LAPIC_BASE    0xfee00000ull
#define VPC_IOAPIC_BASE   0xfec00000ull
#define VPC_DEADLINE_NONE (~0ull)

enum vpc_power { VPC_POWER_OFF, VPC_POWER_RESET, VPC_POWER_DEBUG_EXIT };

/* What devices ask of the VM. Called with the devices lock held; must not call back. */
struct vpc_host {
	/* Something may be pending for this vCPU now: wake it, or kick it out of the guest. */
	void (*interrupt)(void *vm, unsigned vcpu);
	void (*serial_output)(void *vm, const uint8_t *bytes, unsigned count);
	/* `value` is the status of a debug exit. */
	void (*power)(void *vm, enum vpc_power what, uint32_t value);
	/* INIT and SIPI from one local APIC to another; entry = start-up page << 12. */
	void (*start_up)(void *vm, unsigned vcpu, bool is_init, uint32_t entry);
};

struct vpc_config {
	const struct vpc_host *host;
	void *vm;
	unsigned vcpu_count;
	uint64_t tsc_hz;
	uint64_t epoch_seconds; /* wall clock (Unix time) at guest TSC 0 */
	uint64_t ram_bytes;
	bool has_debug_exit, has_debug_console;
};

/* Storage for one vpc with its vCPUs; the caller allocates it, 64-byte aligned. */
uint64_t vpc_size_bytes(unsigned vcpu_count);
/* `storage` is zeroed memory of that size. Never fails. */
struct vpc *vpc_init(void *storage, const struct vpc_config *config);
void vpc_reset(struct vpc *vpc, uint64_t now);

/* Port I/O of 1, 2 or 4 bytes. Unclaimed ports read all ones and ignore writes. */
uint32_t vpc_pio_read(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint64_t now);
void vpc_pio_write(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint32_t value,
		   uint64_t now);

/* Device memory; false: nobody is there (reads give all ones, writes vanish). */
bool vpc_mmio_read(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t *out_value,
		   uint64_t now);
bool vpc_mmio_write(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t value,
		    uint64_t now);

/* APIC base, x2APIC registers, TSC deadline. False: #GP. */
bool vpc_msr_is_apic(uint32_t msr);
bool vpc_msr_read(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t *out_value, uint64_t now);
bool vpc_msr_write(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t value, uint64_t now);

/* Runs every timer that is due; returns the next deadline in guest TSC ticks, or NONE. */
uint64_t vpc_advance(struct vpc *vpc, uint64_t now);
/* The earliest deadline of all timers; changes only in calls of this interface. */
uint64_t vpc_next_deadline(const struct vpc *vpc);

/*
 * Rises whenever one of the following may have another answer than before, or
 * vpc_next_deadline() has: who saw this number last time need not ask again.
 */
uint32_t vpc_changes(const struct vpc *vpc);

/* Is an interrupt deliverable to this vCPU (local APIC over TPR, or PIC through LINT0)? Cheap. */
bool vpc_interrupt_pending(const struct vpc *vpc, unsigned vcpu);
/* Acknowledges it and returns its vector; only after vpc_interrupt_pending(). */
uint8_t vpc_interrupt_take(struct vpc *vpc, unsigned vcpu);
/* NMI waiting? Taking clears it. */
bool vpc_nmi_take(struct vpc *vpc, unsigned vcpu);

/* CR8 in step with the local APIC's task priority (bits 7:4). */
uint64_t vpc_cr8_get(const struct vpc *vpc, unsigned vcpu);
void vpc_cr8_set(struct vpc *vpc, unsigned vcpu, uint64_t value);

/* Bytes typed at the guest's first serial port; returns how many were taken. */
unsigned vpc_serial_input(struct vpc *vpc, const uint8_t *bytes, unsigned count, uint64_t now);

/* For CPUID leaf 1 and XSAVE-independent policy: is this vCPU's APIC enabled? */
bool vpc_apic_enabled(const struct vpc *vpc, unsigned vcpu);

/*
 * ACPI tables for this machine, to be placed at VPC_ACPI_START (in the BIOS
 * area, read-only memory); the RSDP is at its start. Returns the size used.
 */
#define VPC_ACPI_START 0xe0000ull
#define VPC_ACPI_SIZE  0x4000ull
uint64_t vpc_acpi_build(unsigned vcpu_count, void *to);

/* Asserts the devices' own invariants. */
void vpc_check(const struct vpc *vpc);

#endif
