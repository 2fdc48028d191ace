/* SPDX-License-Identifier: MIT */
#include "operator/operator.h"

#include <quire/atomic.h>
#include <quire/log.h>

#include "lib/error_text.h"
#include "lib/string.h"
#include "kernel/heap.h"
#include "kernel/thread.h"
#include "vm/load/module.h"
#include "vm/vm.h"
#include "reclaim/share_scan.h"
#include "reclaim/zero_ahead.h"
#include "operator/config.h"
#include "operator/prompt.h"

#define CONFIG_MODULE "quire.conf"

/* What the idle thread hands to the operator's thread, and gets back. */
struct loading {
	const struct module_table *modules;
	struct error_text *error;
	q_status_t status;
	bool is_done;
};

/* `vms` is freed once the VMs are created. */
static struct config config;

/* Tries to create all VMs, so that all errors are known at once: logs all but the first. */
static q_status_t vms_create(struct error_text *error)
{
	q_status_t first = Q_OK;
	for (unsigned i = 0; i < config.vm_count; i++) {
		const struct config_vm *wanted = &config.vms[i];
		struct error_text reason;
		struct vm *vm;
		q_status_t status = vm_create(&wanted->config, &vm, &reason);
		if (status == Q_OK)
			continue;
		if (first == Q_OK)
			first = refuse(error, status, CONFIG_MODULE ":%u: vm %s: %s",
				       wanted->line_number, wanted->config.name, reason.text);
		else
			log_error(CONFIG_MODULE ":%u: vm %s: %s", wanted->line_number,
				  wanted->config.name, reason.text);
	}
	return first;
}

static q_status_t threads_start(struct error_text *error)
{
	const struct share_scan_config scan = { .is_on = config.system.scan,
						.cpu_percent = config.system.scan_cpu_percent,
						.size_bytes = config.system.scan_memory_bytes };
	if (share_scan_start(&scan) == Q_OK && zero_ahead_start() == Q_OK)
		return Q_OK;
	return refuse(error, Q_NO_MEMORY, "no memory for the threads that use idle time");
}

/* Checks everything, and reserves all memory, before the first VM starts. */
static q_status_t load_into(const struct module *module, struct error_text *error)
{
	q_status_t status = config_parse(module->data, module->size_bytes, &config, error);
	if (status == Q_OK)
		status = threads_start(error);
	return status == Q_OK ? vms_create(error) : status;
}

static q_status_t load(const struct loading *loading)
{
	const struct module *module = module_find(loading->modules, CONFIG_MODULE);
	if (!module)
		return refuse(loading->error, Q_NOT_FOUND,
			      "there is no boot module " CONFIG_MODULE);
	config.vm_max = config_vm_sections(module->data, module->size_bytes);
	if (config.vm_max > GMM_VM_LAST)
		config.vm_max = GMM_VM_LAST;
	unsigned pages = (unsigned)pages_from_bytes((config.vm_max + 1) * sizeof(*config.vms));
	config.vms = pages_alloc(pages);
	if (!config.vms)
		return refuse(loading->error, Q_NO_MEMORY,
			      "no memory for the configuration of %u VMs", config.vm_max);
	q_status_t status = load_into(module, loading->error);
	pages_free(config.vms, pages);
	return status;
}

static struct vm *vm_attached_first(void)
{
	return config.system.attach[0] ? vm_find(config.system.attach) : NULL;
}

static void vms_start(void)
{
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		if (vm_configuration(vm)->autostart && vm_start(vm) != Q_OK)
			log_error("vm %s: cannot be started", vm_name(vm));
	vm_exit_if_idle();
}

static void operator_run(void *argument)
{
	struct loading *loading = argument;
	loading->status = load(loading);
	bool is_loaded = loading->status == Q_OK;
	/* Pairs with operator_start(); from here on `loading` may be gone. */
	atomic_store_release(&loading->is_done, true);
	if (!is_loaded)
		return;
	struct vm *attach = vm_attached_first();
	vms_start();
	prompt_run(attach);
}

q_status_t operator_start(const struct virt_ops *ops, const struct module_table *modules,
			  struct error_text *error)
{
	struct loading loading = { .modules = modules, .error = error };
	struct thread *thread;
	vm_system_init(ops, modules);
	q_status_t status =
		thread_create("operator", THREAD_INTERACTIVE, operator_run, &loading, &thread);
	if (status != Q_OK)
		return refuse(error, status, "no memory for the operator's thread");
	/* The idle thread cannot sleep. It runs only when the operator's thread waits or ends. */
	while (!atomic_load_acquire(&loading.is_done))
		thread_yield();
	return loading.status;
}
