/* SPDX-License-Identifier: MIT */
/* What a VM starts from: its modules, and whether it can. */
#ifndef VM_VM_BOOT_H
#define VM_VM_BOOT_H

#include "lib/error_text.h"
#include "vm/config.h"
#include "vm/load/module.h"

/* The boot modules given to vm_system_init(). */
const struct module_table *vm_modules(void);

/* Can this configuration be started at all? `error` says why not. */
q_status_t vm_boot_check(const struct vm_config *config, const struct module_table *modules,
			 struct error_text *error) Q_MUST_USE;

#endif
