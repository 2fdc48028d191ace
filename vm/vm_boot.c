/* SPDX-License-Identifier: MIT */
#include "vm_boot.h"

#include <quire/assert.h>

#include "lib/error_text.h"
#include "lib/string.h"
#include "vm/load/linux.h"

#include "vm_internal.h"

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
	if (strchr(config->initrd, ','))
		return refuse(error, Q_UNSUPPORTED, "Linux takes one initrd only");
	/* The modules exist: vm_config_check() has checked that. */
	const struct linux_request request = request_of(config, modules);
	return linux_fit(&request, error);
}

q_status_t vm_boot_load(struct vm *vm, struct error_text *error)
{
	const struct linux_request request = request_of(&vm->config, vm->modules);
	const struct machine *machine = &vm->machine;
	struct vcpu *vcpu = machine->vcpus[0];
	struct guest_state state;
	machine->ops->state_get(vcpu->virt, &state);
	q_status_t status = linux_load(machine->pgm, &request, &state, &vcpu->regs, error);
	vcpu_memory_used(vcpu);
	return status == Q_OK ? machine->ops->state_set(vcpu->virt, &state) : status;
}

uint64_t vm_boot_pages_max(const struct vm *vm)
{
	const struct linux_request request = request_of(&vm->config, vm->modules);
	struct pgm_stats stats;

	Q_ASSERT(request.kernel); /* vm_config_check() */
	uint64_t pages = pages_from_bytes(request.kernel->size_bytes) + LINUX_OWN_PAGES;
	if (request.initrd)
		pages += pages_from_bytes(request.initrd->size_bytes);
	pgm_stats(vm->machine.pgm, &stats);
	return pages > stats.private_pages ? pages - stats.private_pages : 1;
}
