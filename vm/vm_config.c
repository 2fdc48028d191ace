/* SPDX-License-Identifier: MIT */
/* Checks a VM's configuration: which values do not go together, and which modules must exist. */
#include "vm/vm_config.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/pgm/pgm.h"
#include "vm/load/module.h"

/* All RAM needs guest addresses: what is above the hole for devices moves above 4 GiB. */
#define MEMORY_MAX_TEXT                                                             \
	(GMM_WORD_BITS == 64 ? "'memory' must be at most 255G"                      \
			     : "'memory' must be less than 63G: this build tracks " \
			       "guest addresses of 36 bits")
_Static_assert(PGM_RAM_BYTES_MAX == (GMM_WORD_BITS == 64 ? 255ull << 30 : (63ull << 30) - 8192),
	       "as the text says");

const char *vm_config_problem(const struct vm_config *vm)
{
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
	if (vm->bound.is_bound && (vm->overcommit != GMM_OVERCOMMIT_NONE || vm->share[0]))
		return "'bound' needs 'overcommit = none' and 'share = none'";
	if (vm->overcommit == GMM_OVERCOMMIT_NONE && vm->reserve_bytes != vm->memory_bytes)
		return "'overcommit = none' reserves all memory, so 'reserve' cannot be less";
	return NULL;
}

/* Refuses a module, and says which ones there are, as many as fit. */
static q_status_t module_refuse(const char *key, const char *name,
				const struct module_table *modules, struct error_text *error)
{
	char names[128] = "none";
	size_t used = 0;
	for (unsigned i = 0; i < modules->count && used < sizeof(names); i++)
		used += format_text(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
				    modules->entries[i].name);
	return refuse(error, Q_NOT_FOUND, "%s = %.48s: there is no such boot module; there are %s",
		      key, name, names);
}

static q_status_t module_check(const char *key, const char *name,
			       const struct module_table *modules, struct error_text *error)
{
	if (!name[0] || module_find(modules, name))
		return Q_OK;
	return module_refuse(key, name, modules, error);
}

/* Checks each name of the list. */
static q_status_t initrd_check(const struct vm_config *vm, const struct module_table *modules,
			       struct error_text *error)
{
	vm_module_list_t names;
	string_copy(names, sizeof(names), vm->initrd);
	char *name = names;
	while (name) {
		char *comma = strchr(name, ',');
		if (comma)
			*comma++ = 0;
		if (comma && (!name[0] || !comma[0]))
			return refuse(error, Q_INVALID, "a name is missing in 'initrd'");
		q_status_t status = module_check("initrd", name, modules, error);
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
		return refuse(error, Q_INVALID, "%s", problem);
	q_status_t status = module_check("kernel", vm->kernel, modules, error);
	if (status == Q_OK)
		status = module_check("firmware", vm->firmware, modules, error);
	if (status == Q_OK)
		status = initrd_check(vm, modules, error);
	return status;
}
