/* SPDX-License-Identifier: MIT */
#include "operator_fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include <quire/assert.h>
#include <quire/virt_ops.h>

#include "arch/x86_64/paging.h"
#include "kernel/heap.h"
#include "kernel/log_console.h"
#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"
#include "vm/load/module.h"
#include "vm/machine/vcpu.h"
#include "reclaim/zero_ahead.h"
#include "operator/operator.h"

#include "seam/seam.h"
#include "vm/vm_internal.h"

#define PROMPT "quire> "

struct error_text boot_error;
char guest_typed[4096];
unsigned guest_room;
struct exit_figures guest_exits[VMEXIT_KIND_COUNT];
uint64_t guest_ticks;
struct share_scan_stats scan_stats;
struct share_scan_config scan_config;
bool scan_is_on;
unsigned scan_cpu_percent;
q_status_t scan_start_status, zero_ahead_start_status;
char log_command[16];
unsigned leaves_checked, machines_checked, scans_checked;

/* --- a machine that runs no guest ------------------------------------------------------------- */

static struct {
	struct machine *machine;
	enum vpc_power what;
	uint32_t value;
} pressed; /* whose power switch was used last */

static q_status_t vcpu_create_fake(struct machine *machine, unsigned index, void (*body)(void *))
{
	struct vcpu *vcpu = heap_alloc(sizeof(*vcpu));
	if (!vcpu)
		return Q_NO_MEMORY;
	vcpu->machine = machine;
	vcpu->index = index;
	vcpu->requests = VCPU_REQUEST_HOLD;
	if (thread_create("vcpu", THREAD_NORMAL, body, vcpu, &vcpu->thread) != Q_OK) {
		heap_free(vcpu, sizeof(*vcpu));
		return Q_NO_MEMORY;
	}
	machine->vcpus[machine->vcpu_count++] = vcpu;
	return Q_OK;
}

static q_status_t vcpus_create_fake(struct machine *machine, const struct machine_config *config)
{
	q_status_t status = Q_OK;
	for (unsigned i = 0; i < config->vcpu_count && status == Q_OK; i++)
		status = vcpu_create_fake(machine, i, config->vcpu_run);
	return status;
}

q_status_t machine_init(struct machine *machine, const struct machine_config *config,
			const struct virt_ops *ops)
{
	struct pgm_config memory = config->memory;
	memory.format = &slat_npt;
	machine->name = config->name;
	machine->ops = ops;
	machine->is_fresh = true;
	q_status_t status = serial_init(&machine->serial, config->name, config->serial);
	if (status != Q_OK)
		return status;
	status = pgm_create(&memory, &machine->pgm);
	if (status == Q_OK)
		status = vcpus_create_fake(machine, config);
	if (status != Q_OK)
		machine_fini(machine);
	return status;
}

void machine_fini(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		vcpu_request(machine->vcpus[i], VCPU_REQUEST_END);
		thread_join(machine->vcpus[i]->thread);
		heap_free(machine->vcpus[i], sizeof(struct vcpu));
	}
	if (machine->pgm)
		pgm_destroy(machine->pgm);
	serial_fini(&machine->serial);
}

void machine_power_on(struct machine *machine)
{
	if (!machine->is_fresh)
		pgm_reset(machine->pgm);
	machine->is_fresh = false;
}

void machine_power_off(struct machine *machine)
{
	pgm_reset(machine->pgm);
	machine->is_fresh = true;
}

bool machine_power_request_take(struct machine *machine, enum vpc_power *out_what,
				uint32_t *out_value)
{
	if (pressed.machine != machine)
		return false;
	*out_what = pressed.what;
	*out_value = pressed.value;
	pressed.machine = NULL;
	return true;
}

unsigned machine_serial_input(struct machine *machine, const uint8_t *bytes, unsigned count)
{
	unsigned taken = count < guest_room ? count : guest_room;
	size_t used = strlen(guest_typed);
	(void)machine;
	Q_ASSERT(used + taken < sizeof(guest_typed));
	memcpy(guest_typed + used, bytes, taken);
	guest_typed[used + taken] = 0;
	guest_room -= taken;
	return taken;
}

uint64_t machine_cpu_ticks(const struct machine *machine)
{
	(void)machine;
	return guest_ticks;
}

void machine_exit_figures(const struct machine *machine, struct exit_figures *out_figures)
{
	(void)machine;
	memcpy(out_figures, guest_exits, sizeof(guest_exits));
}

void machine_check(struct machine *machine)
{
	pgm_check(machine->pgm);
	machines_checked++;
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
	vcpu_request_self(vcpu, requests);
	if (vcpu->thread)
		thread_unpark(vcpu->thread);
}

void vcpu_run(struct vcpu *vcpu)
{
	(void)vcpu;
}

void vcpu_requests_serve(struct vcpu *vcpu, uint32_t requests)
{
	(void)vcpu;
	(void)requests;
}

bool vcpu_is_awake(struct vcpu *vcpu)
{
	(void)vcpu;
	return false;
}

static void state_get(struct virt_vcpu *virt, struct guest_state *out_state)
{
	(void)virt;
	memset(out_state, 0, sizeof(*out_state));
}

static q_status_t state_set(struct virt_vcpu *virt, const struct guest_state *state)
{
	(void)virt;
	(void)state;
	return Q_OK;
}

static const struct virt_ops ops = { .state_get = state_get, .state_set = state_set };

/* --- what guests do ------------------------------------------------------------------------------ */

struct vm *vm_named(const char *name)
{
	struct vm *vm = vm_find(name);
	assert_non_null(vm);
	return vm;
}

void guest_prints(const char *name, const char *text)
{
	struct serial *serial = &vm_named(name)->machine.serial;
	serial_append(serial, (const uint8_t *)text, (unsigned)strlen(text));
	serial_drain(serial);
}

void guest_power(const char *name, enum vpc_power what, uint32_t value)
{
	struct machine *machine = &vm_named(name)->machine;
	pressed.machine = machine;
	pressed.what = what;
	pressed.value = value;
	vcpu_request(machine->vcpus[0], VCPU_REQUEST_POWER);
	fake_threads_run_all();
}

void guest_wants_memory(const char *name, uint64_t page_count)
{
	struct vcpu *vcpu = vm_named(name)->machine.vcpus[0];
	vcpu_wish_memory(vcpu, page_count);
	vcpu_request(vcpu, VCPU_REQUEST_WISH);
	fake_threads_run_all();
}

/* No two pages that were touched are equal. */
static q_status_t touch(const char *name, uint64_t number)
{
	uint64_t content = number + 1;
	return pgm_write(vm_pgm(vm_named(name)), gpa(number << PAGE_SHIFT), &content,
			 sizeof(content), NULL);
}

void guest_touches(const char *name, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		EXPECT(touch(name, first + i) == Q_OK);
}

void guest_takes_all(const char *name)
{
	uint64_t number = 0x100000 >> PAGE_SHIFT;
	q_status_t status;
	while ((status = touch(name, number)) == Q_OK)
		number++;
	EXPECT(status == Q_NO_MEMORY);
}

/* --- reclaim/ --------------------------------------------------------------------------------------- */

q_status_t share_scan_start(const struct share_scan_config *config)
{
	scan_config = *config;
	scan_is_on = config->is_on;
	scan_cpu_percent = config->cpu_percent;
	return scan_start_status;
}

q_status_t zero_ahead_start(void)
{
	return zero_ahead_start_status;
}

void share_scan_switch(bool is_on)
{
	scan_is_on = is_on;
}

void share_scan_cpu_set(unsigned percent)
{
	scan_cpu_percent = percent;
}

void share_scan_stats(struct share_scan_stats *out_stats)
{
	*out_stats = scan_stats;
	out_stats->is_on = scan_is_on;
	out_stats->cpu_percent = scan_cpu_percent;
}

const char *share_scan_rejection_text(enum share_scan_rejection rejection)
{
	static const char *const texts[SCAN_REJECTION_COUNT] = { "changed", "different", "written",
								 "no_memory" };
	return texts[rejection];
}

void share_scan_check(void)
{
	scans_checked++;
}

/* --- <kernel/log_console.h> ----------------------------------------------------------------------- */

void log_show(void)
{
	snprintf(log_command, sizeof(log_command), "show");
}

void log_level_set(enum log_level level)
{
	snprintf(log_command, sizeof(log_command), "level %d", level);
}

/* --- Quire's own address space: an image of two pages, mapped as one ------------------------------- */

asm(".section .rodata, \"a\"\n"
    ".globl layout_image_start, layout_image_end\n"
    "layout_image_start: .skip 0x2000\n"
    "layout_image_end: .byte 0\n"
    ".previous");

uint64_t paging_bytes(void)
{
	return 5 * PAGE_SIZE;
}

bool paging_leaf_next(uint64_t from, struct paging_leaf *out_leaf)
{
	if (from >= 0x2000)
		return false;
	*out_leaf = (struct paging_leaf){ .size_bytes = 0x2000, .start = hpa(0x100000) };
	return true;
}

enum paging_kind paging_leaf_kind(const struct paging_leaf *leaf)
{
	(void)leaf;
	leaves_checked++;
	return PAGING_IMAGE;
}

/* --- the scene ---------------------------------------------------------------------------------------- */

#define KERNEL_BYTES (1024u + 4096u) /* one sector of setup */

static uint8_t kernel[KERNEL_BYTES];
static char *conf_copy; /* of exactly its size, so that no byte behind it is read */
static struct module_table modules;

static void kernel_put(unsigned offset, uint64_t value, unsigned size_bytes)
{
	memcpy(kernel + offset, &value, size_bytes);
}

/* A bzImage that does nothing, for 1 MiB; the offsets are those of the boot protocol. */
static void kernel_make(void)
{
	memset(kernel + 1024, 0xf4, KERNEL_BYTES - 1024);
	kernel_put(0x1f1, 1, 1);
	kernel_put(0x1f4, 4096 / 16, 4);
	kernel_put(0x1fe, 0xaa55, 2);
	kernel_put(0x200, 0x6aeb, 2);
	memcpy(kernel + 0x202, "HdrS", 4);
	kernel_put(0x206, 0x020f, 2);
	kernel_put(0x211, 1, 1);
	kernel_put(0x22c, 0x7fffffff, 4);
	kernel_put(0x230, 0x1000, 4);
	kernel_put(0x234, 1, 1);
	kernel_put(0x236, 3, 2);
	kernel_put(0x238, 2047, 4);
	kernel_put(0x258, 0x100000, 8);
	kernel_put(0x260, 0x10000, 4);
}

static void memory_make(void)
{
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);
	fake_ram_create_sparse(MACHINE_BYTES);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	assert_non_null(metadata);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

/* Leaves the console as it was before it was first used: at no prompt, with an empty line. */
static void machine_switch_off(void)
{
	static const char leave[] = "\x1d\x15poweroff\r";
	if (!fake_power()[0])
		type_bytes(leave, sizeof(leave) - 1);
	fake_threads_reset();
	fake_power_on();
	fake_console_unplug();
	for (struct vm *vm; (vm = vm_next(NULL)) != NULL;)
		vm_table_remove(vm);
	fake_heap_clear();
}

static void guests_clear(void)
{
	memset(guest_typed, 0, sizeof(guest_typed));
	memset(guest_exits, 0, sizeof(guest_exits));
	memset(&scan_stats, 0, sizeof(scan_stats));
	memset(&scan_config, 0, sizeof(scan_config));
	guest_room = 0;
	guest_ticks = 0;
	log_command[0] = 0;
	pressed.machine = NULL;
	scan_start_status = zero_ahead_start_status = Q_OK;
	leaves_checked = machines_checked = scans_checked = 0;
}

void operator_set_up(void)
{
	machine_switch_off();
	guests_clear();
	memory_make();
	kernel_make();
	fake_options = (struct options){ .console_port = 1,
					 .log_level = LOG_NOTICE,
					 .exit_mode = EXIT_MODE_PROMPT };
	modules.count = 0;
	EXPECT(module_add(&modules, &(struct module){ "vmlinuz", kernel, KERNEL_BYTES }) == Q_OK);
	fake_log_clear();
	fake_console_clear();
}

q_status_t operator_boot(const char *conf)
{
	free(conf_copy);
	conf_copy = NULL;
	boot_error.text[0] = 0;
	if (conf) {
		size_t length = strlen(conf);
		conf_copy = malloc(length ? length : 1);
		memcpy(conf_copy, conf, length);
		EXPECT(module_add(&modules,
				  &(struct module){ "quire.conf", (const uint8_t *)conf_copy,
						    length }) == Q_OK);
	}
	q_status_t status = operator_start(&ops, &modules, &boot_error);
	fake_threads_run_all();
	return status;
}

/* --- the terminal --------------------------------------------------------------------------------------- */

void type_bytes(const void *bytes, size_t count)
{
	fake_console_type(bytes, count);
	fake_threads_run_all();
}

void time_passes(void)
{
	fake_clock_advance(1000000 * TICKS_PER_US);
	fake_threads_run_all();
}

void type(const char *text)
{
	type_bytes(text, strlen(text));
}

const char *answer(const char *line)
{
	size_t typed = strlen(line), prompt = strlen(PROMPT);
	fake_console_clear();
	type(line);
	type("\r");
	char *text = (char *)fake_console_text();
	size_t length = strlen(text);
	if (strncmp(text, line, typed) != 0 || text[typed] != '\n')
		fail_msg("'%s' was not echoed: '%s'", line, text);
	if (!fake_power()[0]) {
		if (length < typed + 1 + prompt || strcmp(text + length - prompt, PROMPT) != 0)
			fail_msg("no prompt after '%s': '%s'", line, text);
		text[length - prompt] = 0;
	}
	return text + typed + 1;
}
