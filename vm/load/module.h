/* SPDX-License-Identifier: MIT */
/*
 * The files that came with the boot: kernels, initrds, firmware, quire.conf. The table is filled
 * once, at start, and constant from then on. Names and data point into boot memory, which stays.
 */
#ifndef VM_LOAD_MODULE_H
#define VM_LOAD_MODULE_H

#include <quire/status.h>

#include "lib/string.h"

#define MODULE_MAX 64u

struct module {
	const char *name;
	const uint8_t *data;
	uint64_t size_bytes;
};

struct module_table {
	struct module entries[MODULE_MAX];
	unsigned count;
};

/* Returns the module of that name, or NULL. */
static inline const struct module *module_find(const struct module_table *table, const char *name)
{
	for (unsigned i = 0; i < table->count; i++) {
		if (strcmp(table->entries[i].name, name) == 0)
			return &table->entries[i];
	}
	return NULL;
}

/* Q_EXISTS: the name is taken; Q_LIMIT: the table is full. */
static inline Q_MUST_USE q_status_t module_add(struct module_table *table,
					       const struct module *module)
{
	if (module_find(table, module->name))
		return Q_EXISTS;
	if (table->count == MODULE_MAX)
		return Q_LIMIT;
	table->entries[table->count++] = *module;
	return Q_OK;
}

#endif
