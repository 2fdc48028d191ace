/* SPDX-License-Identifier: MIT */
/*
 * A VM's birth and end: what is refused, in which words; that a creation which fails leaves
 * nothing, wherever it fails; references, requests and waiters at the end; figures.
 */
#include "vm_fixture.h"

static bool error_is(const char *text)
{
	if (strcmp(error.text, text) == 0)
		return true;
	print_message("refused with '%s'\n", error.text);
	return false;
}

static struct gmm_stats machine(void)
{
	struct gmm_stats figures;

	gmm_stats(&figures);
	return figures;
}

/* --- refusals ----------------------------------------------------------------------------- */

static q_status_t refused(const struct vm_config *config)
{
	struct vm *vm = (struct vm *)&hog;

	error.text[0] = 0;
	q_status_t status = vm_create(config, &vm, &error);
	EXPECT(status != Q_OK && vm == (struct vm *)&hog);
	EXPECT(machines == 0 && fake_heap_blocks() == 0 && vm_next(NULL) == NULL);
	return status;
}

TEST(vm_create, values_that_do_not_go_together_are_refused)
{
	set_up();
	struct vm_config config = config_named("a");
	config.reserve_bytes = config.memory_bytes + PAGE_SIZE;
	EXPECT(refused(&config) == Q_INVALID && error_is("'reserve' is more than 'memory'"));
	config = config_named("a");
	config.memory_bytes = PGM_RAM_BYTES_MAX + PAGE_SIZE;
	EXPECT(refused(&config) == Q_INVALID && strstr(error.text, "'memory' must be "));
	config = config_named("a");
	config.kernel[0] = 0;
	EXPECT(refused(&config) == Q_INVALID && error_is("'kernel' is missing"));
}

TEST(vm_create, each_problem_of_a_configuration_has_words)
{
	const struct vm_config good = config_named("a");
	struct vm_config config = good;

	EXPECT(vm_config_problem(&good) == NULL);
	strcpy(config.firmware, "f");
	EXPECT(strstr(vm_config_problem(&config), "exclude each other"));
	config.kernel[0] = 0;
	EXPECT(vm_config_problem(&config) == NULL);
	strcpy(config.cmdline, "c");
	EXPECT(strstr(vm_config_problem(&config), "need a 'kernel'"));
	config.cmdline[0] = 0;
	strcpy(config.initrd, "i");
	EXPECT(strstr(vm_config_problem(&config), "need a 'kernel'"));
	config = good;
	config.memory_bytes = VM_MEMORY_MIN - 1;
	EXPECT(strstr(vm_config_problem(&config), "at least 1M"));
	config.memory_bytes = config.reserve_bytes = VM_MEMORY_MIN;
	EXPECT(vm_config_problem(&config) == NULL);
	config.memory_bytes = PGM_RAM_BYTES_MAX;
	EXPECT(vm_config_problem(&config) == NULL);
	config = good;
	config.memory_bytes += 1024;
	EXPECT(strstr(vm_config_problem(&config), "multiples of 4K"));
	config = good;
	config.reserve_bytes += 1024;
	EXPECT(strstr(vm_config_problem(&config), "multiples of 4K"));
	config = good;
	config.bound.is_bound = true;
	EXPECT(strstr(vm_config_problem(&config), "'bound' needs"));
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.reserve_bytes = config.memory_bytes;
	EXPECT(vm_config_problem(&config) == NULL);
	strcpy(config.share, "lab");
	EXPECT(strstr(vm_config_problem(&config), "'bound' needs"));
	config.bound.is_bound = false;
	EXPECT(vm_config_problem(&config) == NULL);
	config.reserve_bytes -= PAGE_SIZE;
	EXPECT(strstr(vm_config_problem(&config), "reserves all memory"));
}

TEST(vm_create, modules_that_are_missing_are_refused_with_those_that_are_there)
{
	set_up();
	struct vm_config config = config_named("a");
	strcpy(config.kernel, "vmlinuz");
	EXPECT(refused(&config) == Q_NOT_FOUND &&
	       error_is("kernel = vmlinuz: there is no such boot module; there are k, rd"));
	config = config_named("a");
	strcpy(config.initrd, "rd,none");
	EXPECT(refused(&config) == Q_NOT_FOUND && strstr(error.text, "initrd = none: "));
	strcpy(config.initrd, "rd,");
	EXPECT(refused(&config) == Q_INVALID && error_is("a name is missing in 'initrd'"));
	strcpy(config.initrd, ",rd");
	EXPECT(refused(&config) == Q_INVALID && error_is("a name is missing in 'initrd'"));
	config = config_named("a");
	config.kernel[0] = 0;
	strcpy(config.firmware, "bios");
	EXPECT(refused(&config) == Q_NOT_FOUND && strstr(error.text, "firmware = bios: "));
	modules.count = 0;
	EXPECT(refused(&config) == Q_NOT_FOUND && strstr(error.text, "there are none"));
}

TEST(vm_create, a_long_list_of_modules_is_cut)
{
	set_up();
	struct vm_config config = config_named("a");
	while (modules.count < MODULE_MAX)
		modules.entries[modules.count++] =
			(struct module){ .name = "a-module-of-that-name" };
	strcpy(config.kernel, "vmlinuz");
	EXPECT(refused(&config) == Q_NOT_FOUND && strstr(error.text, "there are k, rd, a-module-"));
	EXPECT(strlen(error.text) < 200);
}

TEST(vm_create, what_this_build_cannot_start_is_refused)
{
	set_up();
	struct vm_config config = config_named("a");
	config.kernel[0] = 0;
	strcpy(config.firmware, "k");
	EXPECT(refused(&config) == Q_UNSUPPORTED &&
	       error_is("this build starts kernels only, not firmware"));
	config = config_named("a");
	strcpy(config.initrd, "rd,rd");
	EXPECT(refused(&config) == Q_UNSUPPORTED && error_is("Linux takes one initrd only"));
	config = config_named("a");
	strcpy(config.kernel, "rd");
	EXPECT(refused(&config) == Q_INVALID && strstr(error.text, "no Linux bzImage"));
	config = config_named("a");
	config.memory_bytes = MIB(2);
	EXPECT(refused(&config) == Q_RANGE && strstr(error.text, "the VM has 2M"));
}

TEST(vm_create, a_name_that_is_taken_is_refused)
{
	struct vm *other;

	set_up();
	struct vm *vm = create("a");
	struct vm_config config = config_named("a");
	EXPECT(vm_create(&config, &other, &error) == Q_EXISTS);
	EXPECT(error_is("there is a VM of this name already"));
	EXPECT(vm_find("a") == vm && machines == 1 && vm_next(vm) == NULL);
}

TEST(vm_create, a_reserve_that_does_not_fit_is_refused_with_figures)
{
	set_up();
	struct vm_config config = config_named("a");
	config.memory_bytes = config.reserve_bytes = MIB(40);
	EXPECT(refused(&config) == Q_DECLINED);
	EXPECT(error_is("reservation of 40M refused: the VM needs 41M, and 1M for tables; of the "
			"machine's 32M, 30M and 32M can still be promised; set 'reserve' or "
			"'memory' lower"));

	/* Another VM was promised 8 MiB, and has some kernel memory. */
	struct vm_config other = config_named("b");
	struct vm *vm;
	other.reserve_bytes = MIB(8);
	create_with(&other);
	EXPECT(vm_create(&config, &vm, &error) == Q_DECLINED);
	EXPECT(strstr(error.text, "of the machine's 32M, 21M and 21M can still be promised"));

	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.bound.is_bound = true;
	EXPECT(vm_create(&config, &vm, &error) == Q_DECLINED);
	EXPECT(strstr(error.text, " lower, or 'bound' to memory that is free"));
}

/* What is promised counts, though it is free at the moment. */
TEST(vm_create, what_was_promised_to_another_vm_is_not_left)
{
	set_up();
	struct vm_config config = config_named("a");
	config.memory_bytes = config.reserve_bytes = MIB(24);
	create_with(&config);
	strcpy(config.name, "b");
	struct vm *vm;
	EXPECT(vm_create(&config, &vm, &error) == Q_DECLINED);
	EXPECT(strstr(error.text, "32M, 5M and 5M can still be promised"));
}

/* --- failures in the middle ------------------------------------------------------------------ */

static bool stats_are_equal(const struct gmm_stats *a, const struct gmm_stats *b)
{
	/* Chunks that were taken from the machine may stay taken. */
	return a->private_pages == b->private_pages && a->shared_pages == b->shared_pages &&
	       a->reserved_pages == b->reserved_pages && a->vm_count == b->vm_count &&
	       a->claimed_pages == b->claimed_pages;
}

TEST(vm_create, a_creation_that_fails_at_any_step_leaves_nothing)
{
	static const q_status_t statuses[] = { Q_NO_MEMORY, Q_LIMIT, Q_RANGE };

	set_up();
	struct vm_config config = config_named("a");
	const struct gmm_stats nothing = machine();

	fake_heap_fail_at(1);
	EXPECT(refused(&config) == Q_NO_MEMORY && error_is("cannot be created: out of memory"));
	for (unsigned i = 0; i < ARRAY_COUNT(statuses); i++) {
		machine_init_fail_at = 1;
		machine_init_status = statuses[i];
		EXPECT(refused(&config) == statuses[i]);
	}
	machine_init_fail_at = 0;
	for (unsigned thread = 1; thread <= config.vcpu_count; thread++) {
		fake_thread_create_fail_at(thread);
		EXPECT(refused(&config) == Q_NO_MEMORY);
		struct gmm_stats now = machine();
		EXPECT(stats_are_equal(&now, &nothing));
		gmm_check();
	}
	/* Kernel memory for its tables and records cannot be mapped. */
	struct vm *vm = NULL;
	unsigned failures = 0;
	for (unsigned map = 1; !vm; map++) {
		fake_kernel_map_fail_at(map);
		if (vm_create(&config, &vm, &error) == Q_OK)
			break;
		failures++;
		struct gmm_stats now = machine();
		EXPECT(stats_are_equal(&now, &nothing) && machines == 0);
		gmm_check();
	}
	fake_kernel_map_fail_at(0);
	EXPECT(failures > 0);
	settle();
}

TEST(vm_create, the_reason_is_in_the_refusal)
{
	set_up();
	struct vm_config config = config_named("a");
	machine_init_fail_at = 1;
	machine_init_status = Q_LIMIT;
	EXPECT(refused(&config) == Q_LIMIT);
	char text[100];
	snprintf(text, sizeof(text), "there are %u VMs, as many as this build can tell apart",
		 GMM_VM_LAST);
	EXPECT(error_is(text));
	machine_init_status = Q_RANGE;
	EXPECT(refused(&config) == Q_RANGE && strstr(error.text, "cannot be created: "));
}

static void name_take(struct vm *vm)
{
	(void)vm;
	machine_hook = NULL;
	create("a");
}

/* vm_create() looks for the name first, and the table looks again. */
TEST(vm_create, a_name_that_is_taken_in_the_last_moment_is_refused)
{
	struct vm *vm;

	set_up();
	struct vm_config config = config_named("a");
	machine_hook = name_take;
	EXPECT(vm_create(&config, &vm, &error) == Q_EXISTS);
	EXPECT(strstr(error.text, "cannot be created: ") && machines == 1);
	settle();
}

/* --- a VM that was created -------------------------------------------------------------------- */

TEST(vm_create, its_configuration_arrives)
{
	set_up();
	struct vm_config config = config_named("a");
	config.vcpu_count = 3;
	config.debug_exit = true;
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.reserve_bytes = config.memory_bytes;
	config.priority = GMM_PRIORITY_HIGH;
	struct vm *vm = create_with(&config);
	settle();
	EXPECT(strcmp(vm_name(vm), "a") == 0 && vm->machine.vcpu_count == 3);
	EXPECT(vm->machine.has_debug_exit && !vm->machine.has_debug_console);
	EXPECT(vm->machine.memory_bytes == VM_BYTES && vm_configuration(vm)->vcpu_count == 3);
	EXPECT(vm_share_group(vm) == 5 && vm_pgm(vm) == vm->machine.pgm);
	EXPECT(gmm.vms[pgm_vm(vm_pgm(vm))].priority == GMM_PRIORITY_HIGH);
	EXPECT(state_is(vm, "created") && vm_state(vm) == VM_CREATED && !vm_any_alive());
}

TEST(vm_create, a_bound_vm_has_memory_of_its_own)
{
	set_up();
	struct vm_config config = config_named("a");
	config.overcommit = GMM_OVERCOMMIT_NONE;
	config.reserve_bytes = config.memory_bytes;
	config.bound = (struct vm_bound){ true, FAKE_RAM_BASE + MIB(16), FAKE_RAM_BASE + MIB(30) };
	struct vm *vm = create_with(&config);
	settle();
	EXPECT(gmm.vms[pgm_vm(vm_pgm(vm))].is_bound);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(vm_start(vm) == Q_OK);
		settle();
		EXPECT(state_is(vm, "running") && vm_stop(vm) == Q_OK);
		settle();
		EXPECT(state_is(vm, "stopped"));
	}
}

TEST(vm_create, vms_are_in_the_order_of_their_creation)
{
	set_up();
	struct vm *a = create("a"), *b = create("b"), *c = create("c");
	EXPECT(vm_next(NULL) == a && vm_next(a) == b && vm_next(b) == c && vm_next(c) == NULL);
	EXPECT(vm_number(b) == vm_number(a) + 1 && vm_number(c) == vm_number(b) + 1);
	EXPECT(vm_find("b") == b && vm_find("d") == NULL);
	EXPECT(vm_destroy(b) == Q_OK && vm_find("b") == NULL && vm_next(a) == c);
	/* A number is never used again. */
	uint64_t last = vm_number(c);
	b = create("b");
	EXPECT(vm_number(b) == last + 1 && vm_next(c) == b);
}

TEST(vm_create, an_initrd_is_loaded_as_well)
{
	uint8_t bytes[2];

	set_up();
	struct vm_config config = config_named("a");
	strcpy(config.initrd, "rd");
	strcpy(config.cmdline, "quiet");
	struct vm *vm = create_with(&config);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	uint64_t start = align_down(VM_BYTES - INITRD_BYTES, PAGE_SIZE);
	EXPECT(pgm_read(vm_pgm(vm), gpa(start), bytes, 2, NULL) == Q_OK && bytes[0] == 0x77);
	EXPECT(pgm_read(vm_pgm(vm), gpa(start + INITRD_BYTES - 1), bytes, 2, NULL) == Q_OK);
	EXPECT(bytes[0] == 0x77 && bytes[1] == 0);
	EXPECT(pgm_read(vm_pgm(vm), gpa(0x2000), bytes, 2, NULL) == Q_OK && bytes[0] == 'q');
	EXPECT(vm->machine.vcpus[0]->regs.rip == 0x100200);
}

/* That is: its files and what the loader makes, less what the VM has already. */
TEST(vm_create, the_memory_that_a_start_needs_is_known)
{
	set_up();
	struct vm_config config = config_named("a");
	struct vm *vm = create_with(&config);
	uint64_t most = pages_from_bytes(KERNEL_BYTES) + LINUX_OWN_PAGES;
	EXPECT(vm_boot_pages_max(vm) == most);
	strcpy(config.name, "b");
	strcpy(config.initrd, "rd");
	vm = create_with(&config);
	EXPECT(vm_boot_pages_max(vm) == most + 2);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(vm_boot_pages_max(vm) < 10);
	guest_do(vm, 0, touches, 100);
	settle();
	EXPECT(vm_boot_pages_max(vm) == 1);
}

/* --- figures ------------------------------------------------------------------------------------- */

TEST(vm_create, figures_are_the_machines)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	struct pgm_stats memory;

	set_up();
	struct vm *vm = create("a");
	EXPECT(vm_cpu_ticks(vm) == 1002);
	vm_exit_figures(vm, figures);
	EXPECT(figures[0].count == 2);
	vm_memory_figures(vm, &memory);
	EXPECT(memory.pages == VM_BYTES / PAGE_SIZE - 96);
	vm_serial_attach(vm);
	EXPECT(pc_of(vm)->is_attached);
	vm_serial_detach(vm);
	EXPECT(!pc_of(vm)->is_attached);
	settle();
}

/* A VM that is off loses what is typed. The stand-in for the port takes a byte less. */
TEST(vm_create, serial_input_reaches_a_vm_that_is_on)
{
	set_up();
	struct vm *vm = create("a");
	const uint8_t bytes[3] = { 1, 2, 3 };
	EXPECT(vm_serial_input(vm, bytes, 3) == 3 && pc_of(vm)->serial_input == 0);
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(vm_serial_input(vm, bytes, 3) == 2 && pc_of(vm)->serial_input == 3);
	EXPECT(vm_pause(vm) == Q_OK);
	settle();
	EXPECT(vm_serial_input(vm, bytes, 3) == 2 && pc_of(vm)->serial_input == 6);
	EXPECT(vm_stop(vm) == Q_OK);
	settle();
	EXPECT(vm_serial_input(vm, bytes, 3) == 3 && pc_of(vm)->serial_input == 6);
}

/* --- references, and the end -------------------------------------------------------------------- */

TEST(vm_destroy, nothing_is_left)
{
	set_up();
	const struct gmm_stats nothing = machine();
	struct vm *vm = create("a");
	EXPECT(vm_start(vm) == Q_OK);
	settle();
	EXPECT(vm_stop(vm) == Q_OK);
	settle();
	EXPECT(vm_destroy(vm) == Q_OK);
	struct gmm_stats now = machine();
	EXPECT(stats_are_equal(&now, &nothing));
	EXPECT(machines == 0 && fake_heap_blocks() == 0 && vm_next(NULL) == NULL);
	gmm_check();
}

TEST(vm_destroy, visitors_go_by_number)
{
	set_up();
	struct vm *a = create("a"), *b = create("b");
	uint64_t before = vm_number(a) - 1;
	EXPECT(vm_get_after(before) == a && a->reference_count == 1);
	EXPECT(vm_get_after(vm_number(a)) == b && b->reference_count == 1);
	EXPECT(vm_get_after(vm_number(b)) == NULL);
	EXPECT(vm_get_after(before) == a && a->reference_count == 2);
	vm_put(a);
	vm_put(a);
	vm_put(b);
	uint64_t of_a = vm_number(a);
	EXPECT(vm_destroy(a) == Q_OK);
	EXPECT(vm_get_after(before) == b && vm_get_after(of_a) == b);
	vm_put(b);
	vm_put(b);
}

static struct vm *visited;
static unsigned visits, machines_seen;

static void visitor_run(void *argument)
{
	(void)argument;
	visited = vm_get_after(0);
	thread_yield();
	/* It cannot be found any more, but it is there. */
	visits++;
	EXPECT(vm_get_after(0) == NULL && strcmp(vm_name(visited), "a") == 0);
	/* For longer than the VM's threads take to end. */
	while (visits < 50) {
		thread_yield();
		visits++;
	}
	machines_seen = machines;
	vm_put(visited);
}

TEST(vm_destroy, the_operator_waits_for_references)
{
	struct thread *visitor;

	set_up();
	struct vm *vm = create("a");
	settle();
	visits = 0;
	EXPECT(thread_create("visitor", THREAD_NORMAL, visitor_run, NULL, &visitor) == Q_OK);
	fake_thread_run(visitor);
	EXPECT(vm->reference_count == 1);
	/* Other threads run while the operator sleeps. */
	EXPECT(vm_destroy(vm) == Q_OK && visits == 50 && fake_thread_has_ended(visitor));
	EXPECT(machines_seen == 1 && machines == 0);
}

static struct vm *asked;
static q_status_t answer;

static void asker_run(void *argument)
{
	struct vm_request ping = { .kind = VM_REQUEST_PING };

	(void)argument;
	vm_request_post(asked, &ping);
	answer = vm_request_wait(&ping);
}

TEST(vm_destroy, requests_are_cancelled)
{
	struct thread *asker;

	set_up();
	asked = create("a");
	settle();
	EXPECT(thread_create("asker", THREAD_NORMAL, asker_run, NULL, &asker) == Q_OK);
	answer = Q_OK;
	fake_thread_run(asker);
	/* vCPU 0 has not looked so far. */
	EXPECT(!fake_thread_has_ended(asker) && vm_destroy(asked) == Q_OK);
	fake_threads_run_all();
	EXPECT(answer == Q_CANCELLED && fake_thread_has_ended(asker));
}

/* The job does not begin, and the guarantee goes with the VM. */
TEST(vm_destroy, a_start_that_has_not_begun_goes_with_the_vm)
{
	set_up();
	const struct gmm_stats nothing = machine();
	struct vm *vm = create("a");
	settle();
	EXPECT(vm_start(vm) == Q_OK && vm_destroy(vm) == Q_OK);
	struct gmm_stats now = machine();
	EXPECT(stats_are_equal(&now, &nothing) && !fake_log_contains("vm a: "));
}
