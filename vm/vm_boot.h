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
 * Judges whether this configuration can be started at all: what its modules contain, and
 * whether the guest's memory has room for them. `error` says why not.
 */
q_status_t vm_boot_check(const struct vm_config *config, const struct module_table *modules,
			 struct error_text *error) Q_MUST_USE;

/*
 * In vCPU 0's thread, with every vCPU held, after machine_power_on(): puts the kernel in
 * place. Q_NO_MEMORY: what was written stays; the next call writes the same bytes to the same
 * pages, so only the pages that were missing cost any.
 */
q_status_t vm_boot_load(struct vm *vm, struct error_text *error) Q_MUST_USE;
/* At most how many pages vm_boot_load() still needs; at least 1. */
uint64_t vm_boot_pages_max(const struct vm *vm);

#endif
