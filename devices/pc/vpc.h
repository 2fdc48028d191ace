/* SPDX-License-Identifier: MIT */
/*
 * The PC that a guest sees, as one object: 16550, PIC pair, PIT, RTC, I/O APIC,
 * local APICs, PCI host bridge, ACPI fixed hardware, debug ports. The devices are
 * pure state machines: the caller passes in the time (`now`, in guest TSC ticks),
 * and effects go out through vpc_host. The caller serialises all calls
 * (LOCK_RANK_DEVICES).
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
/* Rates of the guest's TSC. It is faster than the clocks of PIT, RTC and PM timer. */
#define VPC_TSC_HZ_MIN 10000000ull
#define VPC_TSC_HZ_MAX (1ull << 40)

enum vpc_power { VPC_POWER_OFF, VPC_POWER_RESET, VPC_POWER_DEBUG_EXIT };

/* What devices ask of the VM. They call with the devices lock held; calling back is forbidden. */
struct vpc_host {
	/* An interrupt or NMI may be pending for this vCPU now: wake it, or make it exit. */
	void (*interrupt)(void *vm, unsigned vcpu);
	void (*serial_output)(void *vm, const uint8_t *bytes, unsigned count);
	/* `value` is the status of a debug exit. */
	void (*power)(void *vm, enum vpc_power what, uint32_t value);
	/* An INIT (`is_init`) or a SIPI arrived; for a SIPI `entry` is the start-up page << 12. */
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

/* The size of a PC with this many vCPUs. The caller allocates it, 64-byte aligned. */
uint64_t vpc_size_bytes(unsigned vcpu_count);
/* `storage` is zeroed memory of that size. Never fails. */
struct vpc *vpc_init(void *storage, const struct vpc_config *config);
void vpc_reset(struct vpc *vpc, uint64_t now);

/* Port I/O of 1, 2 or 4 bytes. Unclaimed ports read all ones and ignore writes. */
uint32_t vpc_pio_read(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint64_t now);
void vpc_pio_write(struct vpc *vpc, unsigned vcpu, uint16_t port, unsigned size, uint32_t value,
		   uint64_t now);

/* Device memory. False: no device answers, so a read gives all ones and a write does nothing. */
bool vpc_mmio_read(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t *out_value,
		   uint64_t now);
bool vpc_mmio_write(struct vpc *vpc, unsigned vcpu, gpa_t addr, unsigned size, uint64_t value,
		    uint64_t now);

/* The MSRs of the local APIC: base, x2APIC registers, TSC deadline. False: #GP. */
bool vpc_msr_is_apic(uint32_t msr);
bool vpc_msr_read(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t *out_value, uint64_t now);
bool vpc_msr_write(struct vpc *vpc, unsigned vcpu, uint32_t msr, uint64_t value, uint64_t now);

/* Fires every timer that is due; returns the next deadline, or VPC_DEADLINE_NONE. */
uint64_t vpc_advance(struct vpc *vpc, uint64_t now);
/* The earliest deadline of all timers, in guest TSC ticks. Only calls of vpc.h change it. */
uint64_t vpc_next_deadline(const struct vpc *vpc);

/*
 * Rises when the answer of vpc_next_deadline() or of one of the functions below
 * may have changed. A caller that sees the same number again need not ask them.
 */
uint32_t vpc_changes(const struct vpc *vpc);

/*
 * True if an interrupt is deliverable: one that the local APIC's priorities let through,
 * or one of the PICs through LINT0. Cheap.
 */
bool vpc_interrupt_pending(const struct vpc *vpc, unsigned vcpu);
/* Acknowledges the deliverable interrupt and returns its vector. */
uint8_t vpc_interrupt_take(struct vpc *vpc, unsigned vcpu);
/* True if an NMI was waiting; it no longer is. */
bool vpc_nmi_take(struct vpc *vpc, unsigned vcpu);

/* CR8, which is bits 7:4 of the local APIC's task priority. */
uint64_t vpc_cr8_get(const struct vpc *vpc, unsigned vcpu);
void vpc_cr8_set(struct vpc *vpc, unsigned vcpu, uint64_t value);

/* Passes bytes to the guest's serial port; returns how many it took. */
unsigned vpc_serial_input(struct vpc *vpc, const uint8_t *bytes, unsigned count, uint64_t now);

/* True if this vCPU's local APIC is enabled, which CPUID leaf 1 reports. */
bool vpc_apic_enabled(const struct vpc *vpc, unsigned vcpu);

/*
 * Builds the ACPI tables of a PC in VPC_ACPI_SIZE bytes at `to`. The guest must
 * find them at VPC_ACPI_START, in the read-only BIOS area. The RSDP comes first.
 * Returns the size used.
 */
#define VPC_ACPI_START 0xe0000ull
#define VPC_ACPI_SIZE  0x4000ull
uint64_t vpc_acpi_build(unsigned vcpu_count, void *to);

/* Asserts the invariants of the PC and of all its devices. */
void vpc_check(const struct vpc *vpc);

#endif
