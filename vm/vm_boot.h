/* SPDX-License-Identifier: MIT */
/* What a VM starts from: the boot modules that its configuration names. */
#ifndef VM_VM_BOOT_H
#define VM_VM_BOOT_H

#include <quire/status.h>

struct error_text;
struct module_table;
struct vm;
struct vm_config;

/*
 * Checks, after vm_config_check(), whether this configuration can be started: what its modules
 * contain, and whether they fit into the guest's memory. Q_UNSUPPORTED: firmware, or several
 * initrds; else like linux_fit(). `error` says why.
 */
q_status_t vm_boot_check(const struct vm_config *config, const struct module_table *modules,
			 struct error_text *error) Q_MUST_USE;

/*
 * Puts the kernel into the guest's memory after machine_power_on(), and sets vCPU 0 to start it.
 * In vCPU 0's thread, while every vCPU is held. Q_NO_MEMORY: what was written stays. The next call
 * writes the same bytes to the same pages, so it costs only the pages that were missing. Else it
 * fails like linux_load().
 */
q_status_t vm_boot_load(struct vm *vm, struct error_text *error) Q_MUST_USE;
/* Returns how many pages vm_boot_load() still needs at most; at least 1. */
uint64_t vm_boot_pages_max(const struct vm *vm);

#endif
