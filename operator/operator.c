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
#include "operator/console.h"

#define CONFIG_MODULE "quire.conf"
#define VM_MAX        32u /* in quire.conf; more can be created at the console */

/* What the idle thread hands to the operator's, and gets back. */
struct loading {
	const struct module_table *modules;
	struct error_text *error;
	q_status_t status;
	bool is_done;
};

static struct config config;

static struct vm *vm_attached_first(void)
{
	return config.system.attach[0] ? vm_find(config.system.attach) : NULL;
}

static q_status_t vms_create(const struct loading *loading)
{
	for (unsigned i = 0; i < config.vm_count; i++) {
		struct error_text reason;
		struct vm *vm;
		q_status_t status = vm_create(&config.vms[i], &vm, &reason);
		if (status != Q_OK)
			return refuse(loading->error, status, CONFIG_MODULE ": vm %s: %s",
				      config.vms[i].name, reason.text);
	}
	return Q_OK;
}

/* Everything is judged, and all memory promised, before the first VM starts. */
static q_status_t load(const struct loading *loading)
{
	const struct module *module = module_find(loading->modules, CONFIG_MODULE);
	if (!module)
		return refuse(loading->error, Q_NOT_FOUND,
			      "there is no boot module " CONFIG_MODULE);
	q_status_t status = config_parse(module->data, module->size_bytes, &config, loading->error);
	if (status != Q_OK)
		return status;
	const struct share_scan_config scan = { .is_on = config.system.scan,
						.cpu_percent = config.system.scan_cpu_percent,
						.size_bytes = config.system.scan_memory_bytes };
	if (share_scan_start(&scan) != Q_OK || zero_ahead_start() != Q_OK)
		return refuse(loading->error, Q_NO_MEMORY,
			      "no memory for the threads that use idle time");
	return vms_create(loading);
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
	unsigned page_count = (unsigned)pages_from_bytes(VM_MAX * sizeof(struct vm_config));
	config.vms = pages_alloc(page_count);
	config.vm_max = VM_MAX;
	loading->status =
		config.vms ? load(loading)
			   : refuse(loading->error, Q_NO_MEMORY, "no memory for the configuration");
	pages_free(config.vms, page_count);
	bool is_loaded = loading->status == Q_OK;
	/* Pairs with operator_start(); from here on `loading` may be gone. */
	atomic_store_release(&loading->is_done, true);
	if (!is_loaded)
		return;
	struct vm *attach = vm_attached_first();
	vms_start();
	console_run(attach);
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
	/* The idle thread cannot sleep; it runs only when the operator's thread waits or is done. */
	while (!atomic_load_acquire(&loading.is_done))
		thread_yield();
	return loading.status;
}
