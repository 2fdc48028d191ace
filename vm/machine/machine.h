/* SPDX-License-Identifier: MIT */
/*
 * The machine that a guest sees: its memory, its CPUs and the devices of a PC.
 *
 * A machine knows no operator and no other machine, and it never decides whether it
 * runs: it is the part of a VM that a clone or a saved image would copy. What an exit
 * handler cannot do itself (wait for memory, end the run) it leaves as a wish in its
 * vCPU, see vcpu.h; what the guest asks of the power switch is kept in `power_request`.
 * The loop of the layer above carries both out.
 *
 * Names in logs are the VM's. Times are guest TSC ticks since power-on unless they say
 * "host TSC".
 */
#ifndef VM_MACHINE_MACHINE_H
#define VM_MACHINE_MACHINE_H

#include <quire/lock.h>
#include <quire/virt_ops.h>

#include "arch/x86_64/cpu.h"
#include "kernel/timer.h"
#include "mm/pgm/pgm.h"
#include "devices/pc/vpc.h"
#include "vm/machine/serial.h"

struct cpuid_table;
struct vcpu;

#define MACHINE_VCPU_MAX 32u
_Static_assert(MACHINE_VCPU_MAX <= VPC_VCPU_MAX, "each vCPU has a local APIC");

struct machine_config {
	const char *name; /* stays the caller's, for as long as the machine exists */
	unsigned vcpu_count;
	/* The machine sets the format and what the CPU can do. */
	struct pgm_config memory;
	enum serial_mode serial;
	bool has_debug_exit, has_debug_console;
	/* The body of each vCPU's thread; its argument is the vCPU. */
	void (*vcpu_run)(void *vcpu);
};

struct machine {
	/* Fixed by machine_init(). */
	const char *name;
	const struct virt_ops *ops;
	struct pgm *pgm;
	struct cpuid_table *cpuid;
	struct vcpu *vcpus[MACHINE_VCPU_MAX];
	unsigned vcpu_count;
	uint64_t memory_bytes;
	bool has_debug_exit, has_debug_console;

	struct spinlock devices_lock; /* LOCK_RANK_DEVICES */
	/* Guarded by devices_lock. */
	struct vpc *vpc;
	uint64_t armed_deadline; /* that `timer` stands for */
	struct vcpu *timer_vcpu; /* that the timer wakes: the last one to arm it */
	struct timer timer;

	struct serial serial; /* has its own lock */

	/* Written by machine_power_on() and machine_power_off(), while every vCPU is held. */
	uint64_t start_tsc; /* host TSC at power-on */
	bool is_fresh;      /* the memory was not touched since machine_init() or power-off */

	/* Atomic. What the guest asked of the power switch, see machine_power_request_take(). */
	uint64_t power_request;
	/* Any vCPU; a lost update costs a second line in the log. */
	bool has_reported_emulation;
};

/*
 * Builds the machine in zeroed storage; it is off. The vCPUs' threads start in their body
 * at once. On failure nothing is left. Q_NO_MEMORY; else what pgm_create() returns.
 */
q_status_t machine_init(struct machine *machine, const struct machine_config *config,
			const struct virt_ops *ops) Q_MUST_USE;
/* Ends the vCPUs' threads and frees everything but the storage. */
void machine_fini(struct machine *machine);

/*
 * In vCPU 0's thread, while every vCPU is held: memory all zero, devices and CPUs as after
 * power-on. The other vCPUs reset themselves before they run. A reset is the same thing.
 */
void machine_power_on(struct machine *machine);
/* Likewise: gives the memory back and stops the devices' timer. */
void machine_power_off(struct machine *machine);

/*
 * Takes what the guest asked of the power switch last; false if it asked nothing since the
 * last call. *out_value is the status of a debug exit. VCPU_REQUEST_POWER says when to look.
 */
bool machine_power_request_take(struct machine *machine, enum vpc_power *out_what,
				uint32_t *out_value);

/* Bytes for the first serial port; returns how many it took. Any thread, no lock held. */
unsigned machine_serial_input(struct machine *machine, const uint8_t *bytes, unsigned count);

/* Host TSC ticks that the vCPUs' threads have run. */
uint64_t machine_cpu_ticks(const struct machine *machine);

struct exit_figures {
	uint64_t count, ticks;
};
/* Sums over the vCPUs; VMEXIT_KIND_COUNT entries. */
void machine_exit_figures(const struct machine *machine, struct exit_figures *out_figures);

/* Asserts every invariant of its memory and devices. */
void machine_check(struct machine *machine);

/* Guest TSC ticks since power-on: the devices' time. */
static inline uint64_t machine_now(const struct machine *machine)
{
	return cpu_rdtsc() - machine->start_tsc;
}

#endif
