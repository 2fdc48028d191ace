/* SPDX-License-Identifier: MIT */
/*
 * Builds a machine from nothing: memory, the BIOS area, CPUID, CPUs and devices. Power-on puts
 * all of them into their state after power-on, whatever state they were in. So what a guest sees
 * after a reset never depends on what it did before.
 */
#include "vm/machine/machine.h"

#include "lib/string.h"
#include "kernel/cmdline.h"
#include "kernel/heap.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "cpuid_policy.h"
#include "machine_internal.h"
#include "vcpu.h"

#define BIOS_AREA_START 0xc0000ull /* the ROMs of devices begin here */
#define BIOS_AREA_END   0x100000ull
#define BIOS_AREA_PAGES (unsigned)((BIOS_AREA_END - BIOS_AREA_START) / PAGE_SIZE)

/* --- parts ------------------------------------------------------------------------------------ */

static q_status_t memory_build(struct machine *machine, const struct machine_config *config)
{
	struct pgm_config memory = config->memory;
	memory.format = machine->ops->slat_kind == SLAT_NPT ? &slat_npt : &slat_ept;
	memory.has_dirty_bits = machine->ops->slat_notes_dirty();
	memory.works_ahead = options()->works_ahead;
	return pgm_create(&memory, &machine->pgm);
}

/*
 * The ACPI tables lie in the BIOS area, which is ROM for as long as the machine exists. Guests
 * also search the rest of the area for tables of other kinds. As ROM it reads as zeros; as device
 * memory, each of those thousands of reads would be an exit.
 */
static q_status_t bios_area_build(struct machine *machine, const struct machine_config *config)
{
	uint8_t *area = pages_alloc(BIOS_AREA_PAGES);
	if (!area)
		return Q_NO_MEMORY;
	(void)vpc_acpi_build(config->vcpu_count, area + (VPC_ACPI_START - BIOS_AREA_START));
	q_status_t status = pgm_rom_add(machine->pgm, gpa(BIOS_AREA_START), area,
					BIOS_AREA_END - BIOS_AREA_START);
	pages_free(area, BIOS_AREA_PAGES);
	return status;
}

static void cpuid_read(struct cpuid_table *table)
{
	for (unsigned i = 0; i < CPUID_BASIC_COUNT; i++)
		cpu_cpuid(i, 0, &table->basic[i].regs);
	for (unsigned i = 0; i < CPUID_EXTENDED_COUNT; i++)
		cpu_cpuid(CPUID_EXTENDED + i, 0, &table->extended[i].regs);
	for (unsigned i = 0; i < CPUID_CACHE_COUNT; i++)
		cpu_cpuid(4, i, &table->caches[i]);
	for (unsigned i = 0; i < CPUID_XSAVE_COUNT; i++)
		cpu_cpuid(0xd, i, &table->xsave[i]);
}

static q_status_t cpuid_build(struct machine *machine, const struct machine_config *config)
{
	_Static_assert(sizeof(struct cpuid_table) <= PAGE_SIZE, "one heap object");
	machine->cpuid = heap_alloc(sizeof(*machine->cpuid));
	if (!machine->cpuid)
		return Q_NO_MEMORY;
	const struct cpuid_limits limits = {
		.vcpu_count = config->vcpu_count,
		.physical_address_bits = PGM_GPA_BITS,
		.tsc_hz = time_tsc_hz(),
		.xcr0 = lazy_xcr0_supported(),
	};
	cpuid_read(machine->cpuid);
	cpuid_policy_apply(machine->cpuid, &limits);
	return Q_OK;
}

static q_status_t vcpus_build(struct machine *machine, const struct machine_config *config)
{
	for (unsigned i = 0; i < config->vcpu_count; i++) {
		q_status_t status = vcpu_create(machine, i, config->vcpu_run, &machine->vcpus[i]);
		if (status != Q_OK)
			return status;
		machine->vcpu_count++;
	}
	return Q_OK;
}

static unsigned vpc_pages(unsigned vcpu_count)
{
	return (unsigned)pages_from_bytes(vpc_size_bytes(vcpu_count));
}

static q_status_t devices_build(struct machine *machine, const struct machine_config *config)
{
	machine->vpc = pages_alloc(vpc_pages(config->vcpu_count));
	if (!machine->vpc)
		return Q_NO_MEMORY;
	machine_devices_init(machine);
	return Q_OK;
}

/* Must succeed before the other steps: machine_fini() undoes those, and relies on this one. */
static q_status_t fields_build(struct machine *machine, const struct machine_config *config,
			       const struct virt_ops *ops)
{
	machine->name = config->name;
	machine->ops = ops;
	machine->memory_bytes = config->memory.ram_bytes;
	machine->has_debug_exit = config->has_debug_exit;
	machine->has_debug_console = config->has_debug_console;
	machine->is_fresh = true;
	spin_init(&machine->devices_lock, LOCK_RANK_DEVICES, "devices");
	timer_init(&machine->timer, machine_devices_timer_fired);
	return serial_init(&machine->serial, config->name, config->serial);
}

q_status_t machine_init(struct machine *machine, const struct machine_config *config,
			const struct virt_ops *ops)
{
	/* The devices come after the vCPUs, which they may interrupt. */
	static q_status_t (*const steps[])(struct machine *, const struct machine_config *) = {
		memory_build, bios_area_build, cpuid_build, vcpus_build, devices_build,
	};
	q_status_t status = fields_build(machine, config, ops);
	if (status != Q_OK)
		return status;
	for (unsigned i = 0; i < ARRAY_COUNT(steps) && status == Q_OK; i++)
		status = steps[i](machine, config);
	if (status != Q_OK)
		machine_fini(machine);
	return status;
}

void machine_fini(struct machine *machine)
{
	timer_cancel(&machine->timer);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		vcpu_destroy(machine->vcpus[i]);
	pages_free(machine->vpc, vpc_pages(machine->vcpu_count));
	heap_free(machine->cpuid, sizeof(*machine->cpuid));
	if (machine->pgm)
		pgm_destroy(machine->pgm);
	serial_fini(&machine->serial);
}

/* --- power ------------------------------------------------------------------------------------ */

/* Drops IPIs of the previous run, and asks the other vCPUs to reset themselves. */
static void requests_renew(struct machine *machine)
{
	const uint32_t stale = VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP;
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		atomic_and_acq_rel(&machine->vcpus[i]->requests, ~stale);
		if (i != 0)
			vcpu_request(machine->vcpus[i], VCPU_REQUEST_RESET);
	}
}

void machine_power_on(struct machine *machine)
{
	if (!machine->is_fresh)
		pgm_reset(machine->pgm);
	machine->is_fresh = false;
	machine->start_tsc = cpu_rdtsc();
	machine->has_reported_emulation = false;
	machine_devices_power_on(machine);
	requests_renew(machine);
	vcpu_power_on(machine->vcpus[0]);
}

void machine_power_off(struct machine *machine)
{
	machine_devices_power_off(machine);
	pgm_reset(machine->pgm);
	machine->is_fresh = true;
}

/* --- from outside ----------------------------------------------------------------------------- */

unsigned machine_serial_input(struct machine *machine, const uint8_t *bytes, unsigned count)
{
	machine_devices_enter(machine);
	unsigned taken = vpc_serial_input(machine->vpc, bytes, count, machine_now(machine));
	machine_devices_leave(machine, NULL);
	return taken;
}

uint64_t machine_cpu_ticks(const struct machine *machine)
{
	uint64_t ticks = 0;
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		ticks += thread_cpu_ticks(machine->vcpus[i]->thread);
	return ticks;
}

void machine_exit_figures(const struct machine *machine, struct exit_figures *out_figures)
{
	memset(out_figures, 0, VMEXIT_KIND_COUNT * sizeof(*out_figures));
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		const struct exit_figures *figures = machine->vcpus[i]->figures;
		for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
			out_figures[kind].count += figures[kind].count;
			out_figures[kind].ticks += figures[kind].ticks;
		}
	}
}

void machine_check(struct machine *machine)
{
	pgm_check(machine->pgm);
	spin_lock(&machine->devices_lock);
	vpc_check(machine->vpc);
	spin_unlock(&machine->devices_lock);
}
