/* SPDX-License-Identifier: MIT */
/* A VM's birth and end, and its figures. What happens between is vm_life.c. */
#include "vm/vm.h"

#include <quire/assert.h>

#include "lib/string.h"
#include "kernel/cmdline.h"
#include "kernel/heap.h"
#include "kernel/thread.h"
#include "kernel/time.h"
#include "vm/request.h"
#include "vm/scan.h"

#include "cpuid_policy.h"
#include "memory_wait.h"
#include "vcpu.h"
#include "vm_boot.h"

static const struct virt_ops *system_ops;
static const struct module_table *system_modules;

#define VM_PAGES        (unsigned)((sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE)
#define BIOS_AREA_START 0xc0000ull /* where the ROMs of devices begin */
#define BIOS_AREA_END   0x100000ull
#define BIOS_AREA_PAGES (unsigned)((BIOS_AREA_END - BIOS_AREA_START) / PAGE_SIZE)

void vm_system_init(const struct virt_ops *ops, const struct module_table *modules)
{
	system_ops = ops;
	system_modules = modules;
}

const struct module_table *vm_modules(void)
{
	return system_modules;
}

static unsigned vpc_pages(const struct vm *vm)
{
	return (unsigned)pages_from_bytes(vpc_size_bytes(vm->config.vcpu_count));
}

/* --- parts --------------------------------------------------------------------------- */

static q_status_t memory_build(struct vm *vm)
{
	const struct pgm_config config = {
		.format = vm->ops->slat_kind == SLAT_NPT ? &slat_npt : &slat_ept,
		.ram_bytes = vm->config.memory_bytes,
		.guaranteed_bytes = vm->config.reserve_bytes,
		.overcommit = vm->config.overcommit,
		.has_dirty_bits = vm->ops->slat_notes_dirty(),
		.works_ahead = options()->works_ahead,
		.priority = vm->config.priority,
		.is_bound = vm->config.is_bound,
		.bound_range = { hpa(vm->config.bound_start), hpa(vm->config.bound_end) },
	};
	return pgm_create(&config, &vm->pgm);
}

/*
 * The ACPI tables lie in the BIOS area, which is ROM for as long as the VM is
 * there. Guests search all of it for tables of other kinds, so the rest reads as
 * zeros; as device memory, each of those thousands of reads would be an exit.
 */
static q_status_t bios_area_build(struct vm *vm)
{
	uint8_t *area = pages_alloc(BIOS_AREA_PAGES);
	if (!area)
		return Q_NO_MEMORY;
	(void)vpc_acpi_build(vm->config.vcpu_count, area + (VPC_ACPI_START - BIOS_AREA_START));
	q_status_t status =
		pgm_rom_add(vm->pgm, gpa(BIOS_AREA_START), area, BIOS_AREA_END - BIOS_AREA_START);
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

static q_status_t cpuid_build(struct vm *vm)
{
	_Static_assert(sizeof(struct cpuid_table) <= PAGE_SIZE, "one heap object");
	vm->cpuid = heap_alloc(sizeof(*vm->cpuid));
	if (!vm->cpuid)
		return Q_NO_MEMORY;
	const struct cpuid_limits limits = {
		.vcpu_count = vm->config.vcpu_count,
		.physical_address_bits = PGM_GPA_BITS,
		.tsc_hz = time_tsc_hz(),
		.xcr0 = lazy_xcr0_supported(),
	};
	cpuid_read(vm->cpuid);
	cpuid_policy_apply(vm->cpuid, &limits);
	return Q_OK;
}

static q_status_t devices_build(struct vm *vm)
{
	vm->vpc = pages_alloc(vpc_pages(vm));
	if (!vm->vpc)
		return Q_NO_MEMORY;
	vm_devices_init(vm);
	return Q_OK;
}

/* Their threads wait at once, since the VM is held, and look at nothing else. */
static q_status_t vcpus_build(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpu_count; i++) {
		q_status_t status = vcpu_create(vm, i, &vm->vcpus[i]);
		if (status != Q_OK)
			return status;
		vm->vcpu_count++;
	}
	return Q_OK;
}

static q_status_t build(struct vm *vm)
{
	q_status_t (*const steps[])(struct vm *) = { memory_build, bios_area_build, cpuid_build,
						     vcpus_build,  devices_build,   vm_table_add };
	for (unsigned i = 0; i < ARRAY_COUNT(steps); i++) {
		q_status_t status = steps[i](vm);
		if (status != Q_OK)
			return status;
	}
	return Q_OK;
}

static void release(struct vm *vm)
{
	timer_cancel(&vm->timer);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		vcpu_destroy(vm->vcpus[i]);
	pages_free(vm->vpc, vpc_pages(vm));
	heap_free(vm->cpuid, sizeof(*vm->cpuid));
	if (vm->pgm)
		pgm_destroy(vm->pgm);
	serial_fini(&vm->serial);
	pages_free(vm, VM_PAGES);
}

static struct vm *allocate(const struct vm_config *config)
{
	struct vm *vm = pages_alloc(VM_PAGES);
	if (!vm)
		return NULL;
	list_init(&vm->node);
	vm->config = *config;
	vm->share_group = scan_group(config->share);
	vm->ops = system_ops;
	vm->hold = VM_HOLD_CREATED;
	vm->is_fresh = true;
	spin_init(&vm->lock, LOCK_RANK_VM, "vm");
	spin_init(&vm->devices_lock, LOCK_RANK_DEVICES, "devices");
	timer_init(&vm->timer, vm_devices_timer_fired);
	if (serial_init(&vm->serial, vm->config.name, vm->config.serial) != Q_OK) {
		pages_free(vm, VM_PAGES);
		return NULL;
	}
	return vm;
}

q_status_t vm_create(const struct vm_config *config, struct vm **out_vm, struct error_text *error)
{
	q_status_t status = config_vm_check(config, system_modules, error);
	if (status == Q_OK)
		status = vm_boot_check(config, system_modules, error);
	if (status != Q_OK)
		return status;
	if (vm_find(config->name))
		return refuse(error, Q_EXISTS, "there is a VM of this name already");

	struct vm *vm = allocate(config);
	if (!vm)
		return refuse(error, Q_NO_MEMORY, "no memory for its records");
	status = build(vm);
	if (status != Q_OK) {
		release(vm);
		return refuse(error, status, "cannot be created: %s",
			      status == Q_LIMIT ? "there are as many VMs as GMM can tell apart"
						: q_status_text(status));
	}
	*out_vm = vm;
	return Q_OK;
}

q_status_t vm_destroy(struct vm *vm)
{
	enum vm_state state = vm_state(vm);
	if (state != VM_CREATED && state != VM_STOPPED)
		return Q_STATE;
	vm_table_remove(vm);
	vm_requests_close(vm);
	vm_references_wait(vm);
	release(vm);
	memory_wait_wake();
	return Q_OK;
}

/* --- figures ---------------------------------------------------------------------------- */

const char *vm_name(const struct vm *vm)
{
	return vm->config.name;
}

const struct vm_config *vm_configuration(const struct vm *vm)
{
	return &vm->config;
}

uint64_t vm_cpu_ticks(const struct vm *vm)
{
	uint64_t ticks = 0;
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		ticks += thread_cpu_ticks(vm->vcpus[i]->thread);
	return ticks;
}

void vm_exit_figures(const struct vm *vm, struct vm_exit_figures *out_figures)
{
	memset(out_figures, 0, VMEXIT_KIND_COUNT * sizeof(*out_figures));
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		const struct vm_exit_figures *figures = vm->vcpus[i]->figures;
		for (unsigned kind = 0; kind < VMEXIT_KIND_COUNT; kind++) {
			out_figures[kind].count += figures[kind].count;
			out_figures[kind].ticks += figures[kind].ticks;
		}
	}
}

void vm_memory_figures(const struct vm *vm, struct pgm_stats *out_stats)
{
	pgm_stats(vm->pgm, out_stats);
}

void vm_check(struct vm *vm)
{
	pgm_check(vm->pgm);
	spin_lock(&vm->lock);
	Q_ASSERT((vm->wait.vcpu != NULL) == ((vm->hold & VM_HOLD_MEMORY) != 0));
	spin_unlock(&vm->lock);
	spin_lock(&vm->devices_lock);
	vpc_check(vm->vpc);
	spin_unlock(&vm->devices_lock);
}

struct serial *vm_serial(struct vm *vm)
{
	return &vm->serial;
}

unsigned vm_serial_input(struct vm *vm, const uint8_t *bytes, unsigned count)
{
	enum vm_state state = vm_state(vm);
	if (state == VM_CREATED || state == VM_STOPPED)
		return count;
	vm_devices_enter(vm);
	unsigned taken = vpc_serial_input(vm->vpc, bytes, count, vm_now(vm));
	vm_devices_leave(vm, NULL);
	return taken;
}
