/* SPDX-License-Identifier: MIT */
/* Creates and destroys VMs, and gives their figures. vm_life.c has what happens between. */
#include "vm/vm.h"

#include <quire/assert.h>

#include "lib/error_text.h"
#include "kernel/heap.h"
#include "vm/request.h"

#include "memory_wait.h"
#include "vm_boot.h"
#include "vm_internal.h"

static const struct virt_ops *system_ops;
static const struct module_table *system_modules;

#define VM_PAGES (unsigned)((sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE)

void vm_system_init(const struct virt_ops *ops, const struct module_table *modules)
{
	system_ops = ops;
	system_modules = modules;
}

static struct pgm_config memory_config_of(const struct vm_config *config)
{
	return (struct pgm_config){
		.ram_bytes = config->memory_bytes,
		.guaranteed_bytes = config->reserve_bytes,
		.overcommit = config->overcommit,
		.priority = config->priority,
		.is_bound = config->bound.is_bound,
		.bound_range = { hpa(config->bound.start), hpa(config->bound.end) },
	};
}

static struct machine_config machine_config_of(const struct vm *vm)
{
	const struct vm_config *config = &vm->config;
	return (struct machine_config){
		.name = config->name,
		.vcpu_count = config->vcpu_count,
		.memory = memory_config_of(config),
		.serial = config->serial,
		.has_debug_exit = config->debug_exit,
		.has_debug_console = config->debug_console,
		.vcpu_run = vm_loop,
	};
}

/* Sets all but the machine. The VM is held, so its vCPUs' threads wait from the start. */
static void fields_init(struct vm *vm, const struct vm_config *config)
{
	list_init(&vm->node);
	vm->config = *config;
	vm->modules = system_modules;
	vm->hold = VM_HOLD_CREATED;
	spin_init(&vm->lock, LOCK_RANK_VM, "vm");
}

static q_status_t build(struct vm *vm)
{
	const struct machine_config config = machine_config_of(vm);
	q_status_t status = machine_init(&vm->machine, &config, system_ops);
	if (status != Q_OK)
		return status;
	status = vm_table_add(vm);
	if (status != Q_OK)
		machine_fini(&vm->machine);
	return status;
}

static unsigned long long mib_up(uint64_t pages)
{
	return ((pages << PAGE_SHIFT) + (1u << 20) - 1) >> 20;
}

static unsigned long long mib_down(uint64_t pages)
{
	return pages << PAGE_SHIFT >> 20;
}

static q_status_t reservation_refuse(const struct vm_config *config, struct error_text *error)
{
	const struct pgm_config memory = memory_config_of(config);
	struct gmm_claims needed = pgm_claims(&memory);
	struct gmm_claims left = gmm_claims_left(needed.kernel);
	struct gmm_stats gmm;
	gmm_stats(&gmm);
	return refuse(
		error, Q_DECLINED,
		"reservation of %lluM refused: the VM needs %lluM, and %lluM for tables; of "
		"the machine's %lluM, %lluM and %lluM can still be promised; set 'reserve' or "
		"'memory' lower%s",
		mib_down(config->reserve_bytes >> PAGE_SHIFT), mib_up(needed.base),
		mib_up(needed.kernel), mib_down(gmm.machine_pages), mib_down(left.base),
		mib_down(left.kernel),
		config->bound.is_bound ? ", or 'bound' to memory that is free" : "");
}

static q_status_t create_refuse(const struct vm_config *config, q_status_t status,
				struct error_text *error)
{
	if (status == Q_DECLINED)
		return reservation_refuse(config, error);
	if (status == Q_LIMIT)
		return refuse(error, status,
			      "there are %u VMs, as many as this build can tell apart",
			      GMM_VM_LAST);
	return refuse(error, status, "cannot be created: %s", q_status_text(status));
}

q_status_t vm_create(const struct vm_config *config, struct vm **out_vm, struct error_text *error)
{
	q_status_t status = vm_config_check(config, system_modules, error);
	if (status == Q_OK)
		status = vm_boot_check(config, system_modules, error);
	if (status != Q_OK)
		return status;
	if (vm_find(config->name))
		return refuse(error, Q_EXISTS, "there is a VM of this name already");

	struct vm *vm = pages_alloc(VM_PAGES);
	if (!vm)
		return create_refuse(config, Q_NO_MEMORY, error);
	fields_init(vm, config);
	status = build(vm);
	if (status != Q_OK) {
		pages_free(vm, VM_PAGES);
		return create_refuse(config, status, error);
	}
	*out_vm = vm;
	return Q_OK;
}

q_status_t vm_destroy(struct vm *vm)
{
	enum vm_state state = vm_state(vm);
	if (state != VM_CREATED && state != VM_STOPPED)
		return Q_STATE;
	vm_table_remove(vm);
	vm_requests_close(vm);
	vm_references_wait(vm);
	machine_fini(&vm->machine);
	pages_free(vm, VM_PAGES);
	vm_memory_freed();
	return Q_OK;
}

/* --- figures ---------------------------------------------------------------------------------- */

const char *vm_name(const struct vm *vm)
{
	return vm->config.name;
}

const struct vm_config *vm_configuration(const struct vm *vm)
{
	return &vm->config;
}

uint64_t vm_cpu_ticks(const struct vm *vm)
{
	return machine_cpu_ticks(&vm->machine);
}

void vm_exit_figures(const struct vm *vm, struct exit_figures *out_figures)
{
	machine_exit_figures(&vm->machine, out_figures);
}

struct pgm *vm_pgm(const struct vm *vm)
{
	return vm->machine.pgm;
}

share_group_t vm_share_group(const struct vm *vm)
{
	return vm->config.share_group;
}

void vm_memory_figures(const struct vm *vm, struct pgm_stats *out_stats)
{
	pgm_stats(vm->machine.pgm, out_stats);
}

void vm_check(struct vm *vm)
{
	machine_check(&vm->machine);
	spin_lock(&vm->lock);
	Q_ASSERT((vm->wait.vcpu != NULL) == ((vm->hold & VM_HOLD_MEMORY) != 0));
	spin_unlock(&vm->lock);
}

void vm_serial_attach(struct vm *vm)
{
	serial_attach(&vm->machine.serial);
}

void vm_serial_detach(struct vm *vm)
{
	serial_detach(&vm->machine.serial);
}

unsigned vm_serial_input(struct vm *vm, const uint8_t *bytes, unsigned count)
{
	enum vm_state state = vm_state(vm);
	if (state == VM_CREATED || state == VM_STOPPED)
		return count;
	return machine_serial_input(&vm->machine, bytes, count);
}
