/* SPDX-License-Identifier: MIT */
/*
 * The machine that a guest sees: its memory, its CPUs and the devices of a PC.
 *
 * A machine knows no operator and no other machine, and does not decide whether it runs. It is
 * the part of a VM that a clone or a saved image would copy. An exit handler can neither wait for
 * memory nor end the run: it leaves a wish in its vCPU (vcpu.h). What the guest asks of the power
 * switch is kept in `power_request`. The loop of the layer above (vm/vm_loop.c) carries out both.
 *
 * Logs call a machine by its VM's name. Times are guest TSC ticks since power-on, unless they say
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
	const char *name; /* the caller's; must outlive the machine */
	unsigned vcpu_count;
	/* machine_init() sets `format`, `has_dirty_bits` and `works_ahead` itself. */
	struct pgm_config memory;
	enum serial_mode serial;
	bool has_debug_exit, has_debug_console;
	/* The body of each vCPU's thread. Its argument is the vCPU. */
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
	uint64_t armed_deadline; /* of `timer`; VPC_DEADLINE_NONE: it is not armed */
	struct vcpu *timer_vcpu; /* the timer wakes it: the last one that armed the timer */
	struct timer timer;

	struct serial serial; /* has its own lock */

	/* Written by machine_power_on() and machine_power_off(), while every vCPU is held. */
	uint64_t start_tsc; /* host TSC at power-on */
	bool is_fresh;      /* the RAM is untouched since machine_init() or power-off */

	/* Atomic. What the guest last asked of the power switch, or 0; see machine_host.c. */
	uint64_t power_request;
	/* Any vCPU's thread writes it unlocked: a lost update costs a second line in the log. */
	bool has_reported_emulation;
};

/*
 * Builds the machine in zeroed storage, switched off. The vCPUs' threads begin to run
 * `vcpu_run` at once. Fails with Q_NO_MEMORY, or like pgm_create(); then nothing is left.
 */
q_status_t machine_init(struct machine *machine, const struct machine_config *config,
			const struct virt_ops *ops) Q_MUST_USE;
/* Ends the vCPUs' threads, waits for them, and frees everything but the storage. No lock held. */
void machine_fini(struct machine *machine);

/*
 * Makes all RAM zero and puts devices and CPUs into their state after power-on. The other vCPUs
 * reset themselves before they run. A reset of the machine is the same. Only vCPU 0's thread may
 * call this, and only while every vCPU is held.
 */
void machine_power_on(struct machine *machine);
/* Gives all RAM back and stops the devices' timer. To be called like machine_power_on(). */
void machine_power_off(struct machine *machine);

/*
 * Takes the guest's last request to the power switch. False: there was none since the last call.
 * *out_value is the status of a debug exit. VCPU_REQUEST_POWER says when to call. Any thread.
 */
bool machine_power_request_take(struct machine *machine, enum vpc_power *out_what,
				uint32_t *out_value);

/* Passes bytes to the guest's first serial port; returns how many it took. No lock held. */
unsigned machine_serial_input(struct machine *machine, const uint8_t *bytes, unsigned count);

/* Returns for how many host TSC ticks the vCPUs' threads have run, all together. */
uint64_t machine_cpu_ticks(const struct machine *machine);

/* Exits of one kind, and the host TSC ticks that their handlers took. */
struct exit_figures {
	uint64_t count, ticks;
};
/*
 * Adds up the figures of all vCPUs, without a lock: a vCPU that runs may be an exit ahead.
 * `out_figures` has VMEXIT_KIND_COUNT entries.
 */
void machine_exit_figures(const struct machine *machine, struct exit_figures *out_figures);

/* Asserts every invariant of memory and devices. No lock held. */
void machine_check(struct machine *machine);

/* Returns the devices' time: guest TSC ticks since power-on. */
static inline uint64_t machine_now(const struct machine *machine)
{
	return cpu_rdtsc() - machine->start_tsc;
}

#endif
