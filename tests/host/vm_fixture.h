/* SPDX-License-Identifier: MIT */
/*
 * What tests of a VM's life start from: the real files of vm/ on the real memory manager
 * over fake RAM, with a machine that is a stand-in. Its vCPUs' threads are real loops
 * (vm/vm_loop.c) that run when the test lets them; a guest only does what the test tells
 * it to, see guest_do().
 */
#ifndef TESTS_HOST_VM_FIXTURE_H
#define TESTS_HOST_VM_FIXTURE_H

#include "fake_cmdline.h"
#include "fake_console.h"
#include "fake_heap.h"
#include "fake_power.h"
#include "fake_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quire/assert.h>

#include "lib/error_text.h"
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_internal.h"
#include "vm/load/linux.h"
#include "vm/load/module.h"
#include "vm/memory_wait.h"
#include "vm/notice.h"
#include "vm/request.h"
#include "vm/vm.h"
#include "vm/vm_boot.h"
#include "vm/vm_internal.h"

#include "seam/seam.h"
#include "test.h"

#define MIB(n)      ((uint64_t)(n) << 20)
#define VM_BYTES    MIB(8)
#define VM_RESERVE  MIB(1)
#define FRAME_FIRST 1024u /* the first frame that a guest touches; its kernel is below */

/* --- the stand-in for vm/machine ----------------------------------------------------------- */

struct fake_vcpu {
	struct vcpu vcpu;
	bool is_in_guest;
	unsigned entries;
	/* What the guest does next, again and again until this returns true. NULL: nothing. */
	bool (*does)(struct fake_vcpu *vcpu);
	uint64_t count;
};

/* Stands for the devices. */
struct fake_pc {
	bool is_on, is_fresh;
	unsigned power_ons, power_offs;
	bool has_power_request;
	enum vpc_power power_what;
	uint32_t power_value;
	uint64_t touched; /* pages, since power-on */
	unsigned serial_input, serial_finishes;
	bool is_attached;
};

static unsigned machine_init_fail_at; /* which of its steps fails; 0: none */
static q_status_t machine_init_status;
static void (*machine_hook)(struct vm *vm); /* in machine_init(), power-on and -off; NULL: none */
static unsigned machines;
static bool state_is_refused;

static inline struct fake_vcpu *fake_of(const struct vcpu *vcpu)
{
	return container_of(vcpu, struct fake_vcpu, vcpu);
}

static inline struct fake_pc *pc_of(const struct vm *vm)
{
	return (struct fake_pc *)vm->machine.vpc;
}

static inline struct vm *machine_vm(struct machine *machine)
{
	return container_of(machine, struct vm, machine);
}

static inline q_status_t fake_vcpu_create(struct machine *machine, unsigned index,
					  void (*body)(void *vcpu))
{
	struct fake_vcpu *vcpu = calloc(1, sizeof(*vcpu));

	vcpu->vcpu.machine = machine;
	vcpu->vcpu.ops = machine->ops;
	vcpu->vcpu.index = index;
	vcpu->vcpu.requests = VCPU_REQUEST_HOLD;
	char name[64];
	snprintf(name, sizeof(name), "%s.%u", machine->name, index);
	q_status_t status =
		thread_create(name, THREAD_NORMAL, body, &vcpu->vcpu, &vcpu->vcpu.thread);
	if (status != Q_OK) {
		free(vcpu);
		return status;
	}
	machine->vcpus[index] = &vcpu->vcpu;
	machine->vcpu_count++;
	return Q_OK;
}

q_status_t machine_init(struct machine *machine, const struct machine_config *config,
			const struct virt_ops *ops)
{
	if (machine_init_fail_at == 1)
		return machine_init_status;
	machine->name = config->name;
	machine->ops = ops;
	machine->memory_bytes = config->memory.ram_bytes;
	machine->has_debug_exit = config->has_debug_exit;
	machine->has_debug_console = config->has_debug_console;
	machines++;
	struct pgm_config memory = config->memory;
	memory.format = &slat_npt;
	memory.has_dirty_bits = true;
	machine->vpc = calloc(1, sizeof(struct fake_pc));
	pc_of(machine_vm(machine))->is_fresh = true;
	q_status_t status = pgm_create(&memory, &machine->pgm);
	for (unsigned i = 0; status == Q_OK && i < config->vcpu_count; i++)
		status = fake_vcpu_create(machine, i, config->vcpu_run);
	if (status == Q_OK && machine_hook)
		machine_hook(machine_vm(machine));
	if (status != Q_OK)
		machine_fini(machine);
	return status;
}

void machine_fini(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = machine->vcpus[i];
		vcpu_request(vcpu, VCPU_REQUEST_END);
		thread_join(vcpu->thread);
		free(fake_of(vcpu));
	}
	if (machine->pgm)
		pgm_destroy(machine->pgm);
	free(machine->vpc);
	machines--;
}

/* Asserts that vCPU 0 does the job, and that no vCPU is in the guest or can enter it. */
static inline void job_check(const struct vm *vm)
{
	Q_ASSERT(thread_self() == vm->machine.vcpus[0]->thread);
	Q_ASSERT((vm->hold & VM_HOLD_JOB) && vm->held_count == vm->machine.vcpu_count);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
		Q_ASSERT(!fake_of(vm->machine.vcpus[i])->is_in_guest);
}

void machine_power_on(struct machine *machine)
{
	struct fake_pc *pc = pc_of(machine_vm(machine));

	job_check(machine_vm(machine));
	if (!pc->is_fresh)
		pgm_reset(machine->pgm);
	pc->is_fresh = false;
	pc->is_on = true;
	pc->power_ons++;
	pc->touched = 0;
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		fake_of(machine->vcpus[i])->does = NULL;
	if (machine_hook)
		machine_hook(machine_vm(machine));
}

void machine_power_off(struct machine *machine)
{
	struct fake_pc *pc = pc_of(machine_vm(machine));

	job_check(machine_vm(machine));
	pgm_reset(machine->pgm);
	pc->is_fresh = true;
	pc->is_on = false;
	pc->power_offs++;
	if (machine_hook)
		machine_hook(machine_vm(machine));
}

bool machine_power_request_take(struct machine *machine, enum vpc_power *out_what,
				uint32_t *out_value)
{
	struct fake_pc *pc = pc_of(machine_vm(machine));

	if (!pc->has_power_request)
		return false;
	pc->has_power_request = false;
	*out_what = pc->power_what;
	*out_value = pc->power_value;
	return true;
}

unsigned machine_serial_input(struct machine *machine, const uint8_t *bytes, unsigned count)
{
	(void)bytes;
	pc_of(machine_vm(machine))->serial_input += count;
	return count - 1;
}

uint64_t machine_cpu_ticks(const struct machine *machine)
{
	return 1000 + machine->vcpu_count;
}

void machine_exit_figures(const struct machine *machine, struct exit_figures *out_figures)
{
	memset(out_figures, 0, VMEXIT_KIND_COUNT * sizeof(*out_figures));
	out_figures[0].count = machine->vcpu_count;
}

void machine_check(struct machine *machine)
{
	pgm_check(machine->pgm);
}

static inline struct fake_pc *pc_with(struct serial *serial)
{
	return pc_of(container_of(serial, struct vm, machine.serial));
}

void serial_attach(struct serial *serial)
{
	pc_with(serial)->is_attached = true;
}

void serial_detach(struct serial *serial)
{
	pc_with(serial)->is_attached = false;
}

void serial_finish(struct serial *serial)
{
	pc_with(serial)->serial_finishes++;
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
	atomic_or_acq_rel(&vcpu->requests, requests);
	if (vcpu->thread)
		thread_unpark(vcpu->thread);
}

/* The vCPU is in the guest until something is requested; the guest does what it was told. */
void vcpu_run(struct vcpu *vcpu)
{
	struct fake_vcpu *fake = fake_of(vcpu);

	fake->entries++;
	while (!atomic_load_acquire(&vcpu->requests)) {
		fake->is_in_guest = true;
		if (!fake->does)
			thread_park();
		fake->is_in_guest = false;
		if (fake->does && fake->does(fake))
			fake->does = NULL;
	}
}

void vcpu_requests_serve(struct vcpu *vcpu, uint32_t requests)
{
	if (requests & VCPU_REQUEST_REFILL)
		(void)!pgm_handy_refill(vcpu->machine->pgm);
}

bool vcpu_is_awake(struct vcpu *vcpu)
{
	return vcpu->activity == VCPU_RUNNABLE;
}

static void state_get(struct virt_vcpu *vcpu, struct guest_state *out_state)
{
	(void)vcpu;
	memset(out_state, 0, sizeof(*out_state));
}

static q_status_t state_set(struct virt_vcpu *vcpu, const struct guest_state *state)
{
	(void)vcpu;
	(void)state;
	return state_is_refused ? Q_INVALID : Q_OK;
}

/* --- the files that VMs start from ------------------------------------------------------------- */

#define SETUP_BYTES  1024u
#define CODE_BYTES   0x100000u
#define KERNEL_BYTES (SETUP_BYTES + CODE_BYTES)
#define KERNEL_PAGES (CODE_BYTES / PAGE_SIZE) /* none of them is all zero */
#define INITRD_BYTES 5000u

static uint8_t kernel_image[KERNEL_BYTES], initrd_image[INITRD_BYTES];
static struct module_table modules;

static inline void image_put(unsigned offset, uint64_t value, unsigned size_bytes)
{
	memcpy(kernel_image + offset, &value, size_bytes);
}

/* A file that has a bzImage's header and nothing to run. It is loaded at 1 MiB. */
static inline void modules_make(void)
{
	memset(kernel_image, 0x5c, sizeof(kernel_image));
	memset(kernel_image, 0, SETUP_BYTES);
	memset(initrd_image, 0x77, sizeof(initrd_image));
	image_put(0x1f1, 1, 1);
	image_put(0x1f4, CODE_BYTES / 16, 4);
	image_put(0x1fe, 0xaa55, 2);
	image_put(0x200, 0x6aeb, 2);
	memcpy(kernel_image + 0x202, "HdrS", 4);
	image_put(0x206, 0x020f, 2);
	image_put(0x211, 1, 1);
	image_put(0x22c, 0x7fffffff, 4);
	image_put(0x230, 0x100000, 4);
	image_put(0x234, 1, 1);
	image_put(0x236, 3, 2);
	image_put(0x238, 2047, 4);
	image_put(0x258, 0x100000, 8);
	image_put(0x260, CODE_BYTES, 4);
	modules.count = 0;
	EXPECT(module_add(&modules, &(struct module){ "k", kernel_image, KERNEL_BYTES }) == Q_OK);
	EXPECT(module_add(&modules, &(struct module){ "rd", initrd_image, INITRD_BYTES }) == Q_OK);
}

/* --- the scene -------------------------------------------------------------------------------- */

static struct error_text error;
static gmm_vm_t hog;
static struct gmm_page hog_pages[MIB(64) / PAGE_SIZE];
static unsigned hog_count;

static inline void set_up_on(uint64_t machine_bytes)
{
	static const struct virt_ops ops = { .name = "fake",
					     .state_get = state_get,
					     .state_set = state_set };
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + machine_bytes) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);
	struct vm *vm;

	/* VMs that the test before has left; their threads end below. */
	while ((vm = vm_next(NULL)) != NULL) {
		vm_table_remove(vm);
		for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
			free(fake_of(vm->machine.vcpus[i]));
		free(vm->machine.vpc);
	}
	fake_threads_reset();
	fake_heap_clear();
	fake_log_clear();
	fake_kernel_map_fail_at(0);
	fake_ram_create_sparse(machine_bytes);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
	fake_options = (struct options){ .exit_mode = EXIT_MODE_PROMPT };
	fake_console_clear();
	fake_power_on();
	machine_init_fail_at = machines = hog_count = 0;
	machine_hook = NULL;
	state_is_refused = false;
	hog = GMM_VM_QUIRE;
	modules_make();
	vm_system_init(&ops, &modules);
}

static inline void set_up(void)
{
	set_up_on(MIB(32));
}

static inline struct vm_config config_named(const char *name)
{
	struct vm_config config = { .kernel = "k",
				    .memory_bytes = VM_BYTES,
				    .reserve_bytes = VM_RESERVE,
				    .overcommit = GMM_OVERCOMMIT_FULL,
				    .priority = GMM_PRIORITY_NORMAL,
				    .vcpu_count = 2,
				    .share_group = 5 };

	snprintf(config.name, sizeof(config.name), "%s", name);
	return config;
}

static inline struct vm *create_with(const struct vm_config *config)
{
	struct vm *vm = NULL;

	EXPECT(vm_create(config, &vm, &error) == Q_OK);
	return vm;
}

static inline struct vm *create(const char *name)
{
	struct vm_config config = config_named(name);

	return create_with(&config);
}

/* --- checks ------------------------------------------------------------------------------------- */

static inline bool is_queued(const struct vm *vm)
{
	return gmm.vms[pgm_vm(vm->machine.pgm)].wait_ticket != 0;
}

/* Asserts what vm_internal.h says about `hold`. All threads sleep. */
static inline void hold_check(const struct vm *vm)
{
	const uint32_t off = VM_HOLD_CREATED | VM_HOLD_STOPPED;
	struct pgm_stats memory;

	EXPECT(vm->job == VM_JOB_NONE && !(vm->hold & VM_HOLD_JOB));
	EXPECT((vm->hold & off) != off && (!(vm->hold & off) || !(vm->hold & ~off)));
	EXPECT(vm->held_count == (vm->hold ? vm->machine.vcpu_count : 0));
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
		EXPECT(fake_of(vm->machine.vcpus[i])->is_in_guest == !vm->hold);
	EXPECT(is_queued(vm) == ((vm->hold & VM_HOLD_MEMORY) && !(vm->hold & VM_HOLD_OPERATOR)));
	EXPECT(pc_of(vm)->is_on == !(vm->hold & off));
	pgm_stats(vm->machine.pgm, &memory);
	if (vm->hold & off)
		EXPECT(memory.private_pages == 0 && memory.shared == 0);
	/* The reserve, the zero page and the stock; 384 KiB below 1 MiB are not RAM. */
	uint64_t ram_pages = vm->config.memory_bytes / PAGE_SIZE - 96;
	uint64_t pages = vm->config.reserve_bytes / PAGE_SIZE;
	pages = (pages < ram_pages ? pages : ram_pages) + 1 + PGM_HANDY_MAX;
	if (vm->hold & VM_HOLD_STOPPED)
		EXPECT(memory.reserved == 0);
	else if (vm->config.overcommit == GMM_OVERCOMMIT_NONE)
		EXPECT(memory.reserved >= pages); /* and the ROM that may be added */
	else
		EXPECT(memory.reserved == pages);
}

static inline void check(void)
{
	gmm_check();
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		vm_check(vm);
}

/* Runs all threads until they sleep, and checks everything. */
static inline void settle(void)
{
	fake_threads_run_all();
	check();
	for (struct vm *vm = vm_next(NULL); vm && !fake_power()[0]; vm = vm_next(vm))
		hold_check(vm);
}

static inline bool state_is(const struct vm *vm, const char *text)
{
	return strcmp(vm_state_text(vm), text) == 0;
}

/* --- guests --------------------------------------------------------------------------------------- */

/* Tells the guest what to do on that vCPU when it runs next. */
static inline void guest_do(struct vm *vm, unsigned index, bool (*does)(struct fake_vcpu *),
			    uint64_t count)
{
	struct fake_vcpu *vcpu = fake_of(vm->machine.vcpus[index]);

	vcpu->does = does;
	vcpu->count = count;
	thread_unpark(vcpu->vcpu.thread);
}

/* Writes to `count` pages that it has not touched so far. */
static inline bool touches(struct fake_vcpu *vcpu)
{
	struct fake_pc *pc = pc_of(vm_of(&vcpu->vcpu));
	struct pgm_fault fault = { .addr = gpa((FRAME_FIRST + pc->touched) << PAGE_SHIFT),
				   .access = MEM_WRITE };

	if (pgm_fault_handle(vcpu->vcpu.machine->pgm, &fault) == PGM_NO_MEMORY) {
		vcpu_wish_memory(&vcpu->vcpu, 1);
		return false;
	}
	pc->touched++;
	vcpu_memory_used(&vcpu->vcpu);
	return --vcpu->count == 0;
}

static inline bool fails(struct fake_vcpu *vcpu)
{
	vcpu_wish_stop(&vcpu->vcpu, "triple fault");
	return true;
}

/* The count for switches(): enum vpc_power, and the status of a debug exit above it. */
#define SWITCH(what, status) ((uint64_t)(status) << 32 | (what))

static inline bool switches(struct fake_vcpu *vcpu)
{
	struct vm *vm = vm_of(&vcpu->vcpu);
	struct fake_pc *pc = pc_of(vm);

	pc->has_power_request = true;
	pc->power_what = (enum vpc_power)vcpu->count;
	pc->power_value = (uint32_t)(vcpu->count >> 32);
	for (unsigned i = 0; i < vm->machine.vcpu_count; i++)
		vcpu_request(vm->machine.vcpus[i], VCPU_REQUEST_POWER);
	return true;
}

/* --- memory ---------------------------------------------------------------------------------------- */

/* A VM that is not in the table takes all memory but `left` pages. */
static inline void hog_take(uint64_t left)
{
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL,
					.priority = GMM_PRIORITY_HIGH };

	if (hog == GMM_VM_QUIRE)
		EXPECT(gmm_vm_create(&config, &hog) == Q_OK);
	while (gmm_pages_available(hog, left + 1) > left)
		EXPECT(gmm_pages_alloc(hog, &hog_pages[hog_count++], 1) == Q_OK);
}

/* It gives back some, and the first waiter is told. */
static inline void hog_give(unsigned count)
{
	unsigned done;

	while (count-- > 0)
		EXPECT(gmm_pages_free(hog, &hog_pages[--hog_count].id, 1, &done) == Q_OK);
	vm_memory_freed();
}

#endif
