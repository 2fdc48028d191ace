/* SPDX-License-Identifier: MIT */
/* Commands about VMs' lives: list them, start, stop, create and destroy them, attach, ping. */
#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/string.h"
#include "lib/words.h"
#include "arch/x86_64/cpu.h"
#include "kernel/console.h"
#include "kernel/heap.h"
#include "kernel/time.h"
#include "vm/request.h"
#include "vm/vm.h"
#include "vm/vm_config.h"
#include "operator/commands.h"
#include "operator/config.h"
#include "operator/prompt.h"
#include "operator/listing.h"

#include "config_words.h"

/* --- list ------------------------------------------------------------------------------------- */

struct list_row {
	const char *name, *state, *priority;
	uint64_t vcpus, cpu_us, exits;
	struct pgm_stats memory;
};

static const struct listing_column list_rows[] = {
	{ "name", "NAME", LISTING_NAME, offsetof(struct list_row, name) },
	{ "state", "STATE", LISTING_STATE, offsetof(struct list_row, state) },
	{ "vcpus", "VCPUS", LISTING_COUNT, offsetof(struct list_row, vcpus) },
	{ "priority", NULL, LISTING_NAME, offsetof(struct list_row, priority) },
	{ "pages", "MEMORY", LISTING_PAGES, offsetof(struct list_row, memory.pages) },
	{ "private", "PRIVATE", LISTING_PAGES, offsetof(struct list_row, memory.private_pages) },
	{ "shared", "SHARED", LISTING_PAGES, offsetof(struct list_row, memory.shared) },
	{ "zero", "ZERO", LISTING_PAGES, offsetof(struct list_row, memory.zero) },
	{ "ballooned", "BALLOONED", LISTING_PAGES, offsetof(struct list_row, memory.ballooned) },
	{ "cpu_us", "CPU", LISTING_TIME, offsetof(struct list_row, cpu_us) },
	{ "exits", "EXITS", LISTING_COUNT, offsetof(struct list_row, exits) },
};
static const struct listing_columns list_columns = LISTING_COLUMNS(list_rows);

static uint64_t exits_total(const struct vm *vm)
{
	struct exit_figures figures[VMEXIT_KIND_COUNT];
	uint64_t total = 0;
	vm_exit_figures(vm, figures);
	for (unsigned i = 0; i < VMEXIT_KIND_COUNT; i++)
		total += figures[i].count;
	return total;
}

static void list_row(struct listing *listing, const struct vm *vm)
{
	const struct vm_config *config = vm_configuration(vm);
	char priority[16];
	struct list_row row = {
		.name = vm_name(vm),
		.state = vm_state_text(vm),
		.priority =
			words_at(VM_PRIORITY_WORDS, config->priority, priority, sizeof(priority)),
		.vcpus = config->vcpu_count,
		.cpu_us = time_us_from_ticks(vm_cpu_ticks(vm)),
		.exits = exits_total(vm),
	};
	vm_memory_figures(vm, &row.memory);
	listing_row(listing, &row);
}

static void command_list(const struct command_words *words)
{
	struct listing listing;
	listing_begin(&listing, words->is_json);
	listing_table_open(&listing, "vms", &list_columns);
	for (struct vm *vm = vm_next(NULL); vm; vm = vm_next(vm))
		list_row(&listing, vm);
	listing_table_close(&listing);
	listing_end(&listing);
}

/* --- life cycle ------------------------------------------------------------------------------- */

static void life(const struct command_words *words, q_status_t (*change)(struct vm *))
{
	char reserved[16], left[16];
	struct vm *vm = command_vm(words);
	q_status_t status = vm ? change(vm) : Q_OK;
	if (status == Q_DECLINED) {
		listing_size_text(vm_configuration(vm)->reserve_bytes, reserved, sizeof(reserved));
		listing_size_text(gmm_claims_left(0).base << PAGE_SHIFT, left, sizeof(left));
		console_print("%s: not possible: %s reserves %s, of which %s can be promised now; "
			      "stop or destroy another VM\n",
			      words->word[0], vm_name(vm), reserved, left);
	} else if (status != Q_OK) {
		console_print("%s: not possible: %s is %s\n", words->word[0], vm_name(vm),
			      vm_state_text(vm));
	}
}

static void command_start(const struct command_words *words)
{
	life(words, vm_start);
}

static void command_pause(const struct command_words *words)
{
	life(words, vm_pause);
}

static void command_resume(const struct command_words *words)
{
	life(words, vm_resume);
}

static void command_reset(const struct command_words *words)
{
	life(words, vm_reset);
}

static void command_stop(const struct command_words *words)
{
	life(words, vm_stop);
}

static void command_destroy(const struct command_words *words)
{
	life(words, vm_destroy);
}

/* --- create ----------------------------------------------------------------------------------- */

/* Reads the words after the name, each key=value, into a complete configuration. */
static q_status_t keys_read(const struct command_words *words, struct config_vm *vm,
			    struct error_text *error)
{
	q_status_t status = config_vm_init(vm, words->word[1], error);
	for (unsigned i = 2; i < words->count && status == Q_OK; i++) {
		char *value = strchr(words->word[i], '=');
		if (value)
			*value++ = 0;
		status = config_vm_set(vm, words->word[i], value ? value : "", error);
	}
	return status == Q_OK ? config_vm_complete(vm, error) : status;
}

static void create(const struct command_words *words, struct config_vm *wanted)
{
	struct error_text error;
	struct vm *vm;
	q_status_t status = keys_read(words, wanted, &error);
	if (status == Q_OK)
		status = vm_create(&wanted->config, &vm, &error);
	if (status != Q_OK)
		console_print("create: vm %.40s: %s\n", words->word[1], error.text);
	else if (wanted->config.autostart && vm_start(vm) != Q_OK)
		console_print("create: vm %s: cannot be started\n", vm_name(vm));
}

static void command_create(const struct command_words *words)
{
	if (words->count < 2) {
		console_print("create: which name?\n");
		return;
	}
	/* Too large for a thread's stack. */
	struct config_vm *wanted = heap_alloc(sizeof(*wanted));
	if (!wanted) {
		console_print("create: %s\n", q_status_text(Q_NO_MEMORY));
		return;
	}
	create(words, wanted);
	heap_free(wanted, sizeof(*wanted));
}

static void create_explain(void)
{
	char values[80];
	const struct config_key *key;
	for (unsigned i = 0; (key = config_vm_key(i)); i++)
		console_print("  %-14s %s\n", key->name,
			      config_key_values(key, values, sizeof(values)));
	console_print("'memory' and 'kernel' are required. A value with blanks is put in double "
		      "quotes: cmdline=\"console=ttyS0 quiet\"\n");
}

/* Completes keys: "memory=" and so on. */
static const char *create_candidate(unsigned position, unsigned index)
{
	static char text[24];
	/* The first argument is the name of a new VM, so there are no candidates. */
	const struct config_key *key = position > 1 ? config_vm_key(index) : NULL;
	if (!key)
		return NULL;
	format_text(text, sizeof(text), "%s=", key->name);
	return text;
}

/* --- attach, ping ----------------------------------------------------------------------------- */

static void command_attach(const struct command_words *words)
{
	struct vm *vm = command_vm(words);
	if (vm)
		prompt_attach(vm);
}

static void command_ping(const struct command_words *words)
{
	struct vm *vm = command_vm(words);
	if (!vm)
		return;
	struct vm_request request = { .kind = VM_REQUEST_PING };
	uint64_t start = cpu_rdtsc();
	vm_request_post(vm, &request);
	q_status_t status = vm_request_wait(&request);
	uint64_t us = time_us_from_ticks(cpu_rdtsc() - start);
	console_print("%s: %s after %llu us (%s)\n", vm_name(vm), q_status_text(status),
		      (unsigned long long)us, vm_state_text(vm));
}

static const struct command rows[] = {
	{ "list", "[--json]", "the VMs, their memory, CPU time and exits", command_list, NULL,
	  NULL },
	{ "start", "NAME", "starts a VM that is created or stopped", command_start,
	  command_candidate_vm, NULL },
	{ "pause", "NAME", "stops its CPUs until resume", command_pause, command_candidate_vm,
	  NULL },
	{ "resume", "NAME", "lets a paused VM go on", command_resume, command_candidate_vm, NULL },
	{ "reset", "NAME", "restarts a VM, like its reset button", command_reset,
	  command_candidate_vm, NULL },
	{ "stop", "NAME", "switches it off and frees its memory", command_stop,
	  command_candidate_vm, NULL },
	{ "create", "NAME key=value ...", "a new VM, with the keys of quire.conf", command_create,
	  create_candidate, create_explain },
	{ "destroy", "NAME", "forgets a VM that does not run", command_destroy,
	  command_candidate_vm, NULL },
	{ "attach", "NAME", "its serial console; Ctrl-] leaves", command_attach,
	  command_candidate_vm, NULL },
	{ "ping", "NAME", "asks its first CPU's thread for a sign of life", command_ping,
	  command_candidate_vm, NULL },
};
const struct command_table commands_life = { rows, ARRAY_COUNT(rows) };
