/* SPDX-License-Identifier: MIT */
/*
 * From nothing to the first instruction: memory all zero, devices and CPUs as
 * after power-on, the kernel in place. A reset is the same thing again, so what
 * a guest sees after it never depends on what was before.
 *
 * The kernel may not fit into the memory that there is just now. What was loaded
 * stays then, and the whole is loaded again when there is more: it writes the
 * same bytes to the same pages, and only those that were missing cost any.
 */
#include <quire/assert.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"

#include "vcpu.h"
#include "vm/load/linux.h"
#include "vm_boot.h"

static struct linux_request request_of(const struct vm_config *config,
				       const struct module_table *modules)
{
	return (struct linux_request){
		.kernel = module_find(modules, config->kernel),
		.initrd = config->initrd[0] ? module_find(modules, config->initrd) : NULL,
		.cmdline = config->cmdline,
		.ram_bytes = config->memory_bytes,
		.rsdp = gpa(VPC_ACPI_START),
	};
}

q_status_t vm_boot_check(const struct vm_config *config, const struct module_table *modules,
			 struct error_text *error)
{
	if (config->firmware[0])
		return refuse(error, Q_UNSUPPORTED, "this build starts kernels only, not firmware");
	if (config->vcpu_count > VPC_VCPU_MAX)
		return refuse(error, Q_RANGE, "at most %u vCPUs", VPC_VCPU_MAX);
	if (strchr(config->initrd, ','))
		return refuse(error, Q_UNSUPPORTED, "Linux takes one initrd only");
	/* config_vm_check() has seen that the modules are there. */
	const struct linux_request request = request_of(config, modules);
	return linux_fit(&request, error);
}

q_status_t vm_load(struct vm *vm, struct error_text *error)
{
	const struct linux_request request = request_of(&vm->config, vm_modules());
	struct vcpu *vcpu = vm->vcpus[0];
	struct guest_state state;
	vm->ops->state_get(vcpu->virt, &state);
	q_status_t status = linux_load(vm->pgm, &request, &state, &vcpu->regs, error);
	vcpu_memory_used(vcpu);
	return status == Q_OK ? vm->ops->state_set(vcpu->virt, &state) : status;
}

uint64_t vm_load_pages_max(const struct vm *vm)
{
	const struct linux_request request = request_of(&vm->config, vm_modules());
	struct pgm_stats stats;

	Q_ASSERT(request.kernel); /* config_vm_check() */
	uint64_t pages = pages_from_bytes(request.kernel->size_bytes) + LINUX_OWN_PAGES;
	if (request.initrd)
		pages += pages_from_bytes(request.initrd->size_bytes);
	pgm_stats(vm->pgm, &stats);
	return pages > stats.private_pages ? pages - stats.private_pages : 1;
}

/* Start-up IPIs of the run before are void; the other vCPUs reset themselves. */
static void requests_renew(struct vm *vm)
{
	const uint32_t stale = VCPU_REQUEST_INIT | VCPU_REQUEST_START_UP;
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		atomic_and_acq_rel(&vm->vcpus[i]->requests, ~stale);
		if (i != 0)
			vcpu_request(vm->vcpus[i], VCPU_REQUEST_RESET);
	}
}

void vm_power_on(struct vm *vm)
{
	if (!vm->is_fresh)
		pgm_reset(vm->pgm);
	vm->is_fresh = false;
	vm->start_tsc = cpu_rdtsc();
	vm->has_reported_emulation = false;
	vm_devices_power_on(vm);
	requests_renew(vm);
	vcpu_power_on(vm->vcpus[0]);
}

void vm_power_off(struct vm *vm)
{
	vm_devices_power_off(vm);
	pgm_reset(vm->pgm);
	pgm_unreserve(vm->pgm);
	vm->is_fresh = true;
}
