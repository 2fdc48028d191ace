/* SPDX-License-Identifier: MIT */
/* Which values of a VM's configuration do not go together, whoever made it. */
#include "vm/vm_config.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "mm/pgm/pgm.h"
#include "vm/load/module.h"

const char *const vm_priority_words[] = { "low", "normal", "high", NULL };

/* All guest RAM must have an address; what is in the way of devices goes above 4 GiB. */
#define MEMORY_MAX_TEXT                                                             \
	(GMM_WORD_BITS == 64 ? "'memory' must be at most 255G"                      \
			     : "'memory' must be less than 63G: this build tracks " \
			       "guest addresses of 36 bits")
_Static_assert(PGM_RAM_BYTES_MAX == (GMM_WORD_BITS == 64 ? 255ull << 30 : (63ull << 30) - 8192),
	       "as the text says");

const char *vm_config_problem(const struct vm_config *vm)
{
	if (vm->memory_bytes == 0)
		return "'memory' is missing";
	if (!vm->kernel[0] && !vm->firmware[0])
		return "'kernel' is missing";
	if (vm->kernel[0] && vm->firmware[0])
		return "'kernel' and 'firmware' exclude each other";
	if (!vm->kernel[0] && (vm->initrd[0] || vm->cmdline[0]))
		return "'initrd' and 'cmdline' need a 'kernel'";
	if (vm->memory_bytes < VM_MEMORY_MIN)
		return "'memory' must be at least 1M";
	if (vm->memory_bytes > PGM_RAM_BYTES_MAX)
		return MEMORY_MAX_TEXT;
	if (!is_aligned(vm->memory_bytes, PAGE_SIZE) || !is_aligned(vm->reserve_bytes, PAGE_SIZE))
		return "'memory' and 'reserve' must be multiples of 4K";
	if (vm->reserve_bytes > vm->memory_bytes)
		return "'reserve' is more than 'memory'";
	if (vm->is_bound && (vm->overcommit != GMM_OVERCOMMIT_NONE || vm->share[0]))
		return "'bound' needs 'overcommit = none' and 'share = none'";
	if (vm->overcommit == GMM_OVERCOMMIT_NONE && vm->reserve_bytes != vm->memory_bytes)
		return "'overcommit = none' reserves all memory, so 'reserve' cannot be less";
	return NULL;
}

static q_status_t module_check(const struct vm_config *vm, const char *name,
			       const struct module_table *modules, struct error_text *error)
{
	if (!name[0] || module_find(modules, name))
		return Q_OK;
	return refuse(error, Q_NOT_FOUND, "vm '%s': there is no module '%.64s'", vm->name, name);
}

/* Each name in the comma-separated list. */
static q_status_t initrd_check(const struct vm_config *vm, const struct module_table *modules,
			       struct error_text *error)
{
	char names[VM_INITRD_BYTES];
	string_copy(names, sizeof(names), vm->initrd);
	char *name = names;
	while (name) {
		char *comma = strchr(name, ',');
		if (comma)
			*comma++ = 0;
		if (comma && (!name[0] || !comma[0]))
			return refuse(error, Q_INVALID, "vm '%s': a name is missing in 'initrd'",
				      vm->name);
		q_status_t status = module_check(vm, name, modules, error);
		if (status != Q_OK)
			return status;
		name = comma;
	}
	return Q_OK;
}

q_status_t vm_config_check(const struct vm_config *vm, const struct module_table *modules,
			   struct error_text *error)
{
	const char *problem = vm_config_problem(vm);
	if (problem)
		return refuse(error, Q_INVALID, "vm '%s': %s", vm->name, problem);
	q_status_t status = module_check(vm, vm->kernel, modules, error);
	if (status == Q_OK)
		status = module_check(vm, vm->firmware, modules, error);
	if (status == Q_OK)
		status = initrd_check(vm, modules, error);
	return status;
}
