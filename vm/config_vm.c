/* SPDX-License-Identifier: MIT */
/*
 * One VM's keys: what values they take, what they mean by default, and which
 * do not go together. quire.conf and the console's `create` both end here.
 *
 * A value is stored only when it is good, so after a refused key the
 * configuration is as it was before.
 */
#include "vm/config.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/number.h"
#include "mm/pgm/pgm.h"

#include "config_internal.h"

#define SHARE_DEFAULT    "default"
#define RESERVE_FRACTION 4u /* of the memory, when not given */

/* All guest RAM must have an address; what is in the way of devices goes above 4 GiB. */
#define MEMORY_MAX_TEXT                                                             \
	(GMM_WORD_BITS == 64 ? "'memory' must be at most 255G"                      \
			     : "'memory' must be less than 63G: this build tracks " \
			       "guest addresses of 36 bits")
_Static_assert(PGM_RAM_BYTES_MAX == (GMM_WORD_BITS == 64 ? 255ull << 30 : (63ull << 30) - 8192),
	       "as the text says");

/* --- values ------------------------------------------------------------------------ */

const char *const config_words_switch[] = { "off", "on", NULL };
static const char *const words_yes_no[] = { "no", "yes", NULL };
static const char *const words_serial[] = { "console", "log", "com2", NULL };
static const char *const words_on_reset[] = { "restart", "stop", NULL };
static const char *const words_priority[] = { "low", "normal", "high", NULL };
static const char *const words_overcommit[] = { "none", "zero-and-shared", "full", NULL };

/* 1 to 31 of a-z, 0-9, '-'. */
static bool is_name(const char *text)
{
	size_t length = 0;
	for (; text[length]; length++) {
		char c = text[length];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return length >= 1 && length < CONFIG_NAME_BYTES;
}

q_status_t config_word_parse(const char *value, const char *const *words, unsigned *out_index)
{
	for (unsigned i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0) {
			*out_index = i;
			return Q_OK;
		}
	}
	return Q_INVALID;
}

q_status_t config_bool_parse(const char *value, const char *const *words, bool *out_value)
{
	unsigned index;
	q_status_t status = config_word_parse(value, words, &index);
	if (status == Q_OK)
		*out_value = index != 0;
	return status;
}

q_status_t config_count_parse(const char *value, unsigned max, unsigned *out_count)
{
	uint64_t count;
	q_status_t status = number_parse(value, max, &count);
	if (status != Q_OK)
		return status;
	if (count == 0)
		return Q_RANGE;
	*out_count = (unsigned)count;
	return Q_OK;
}

static q_status_t text_parse(const char *value, char *to, size_t size_bytes)
{
	if (strlen(value) >= size_bytes)
		return Q_RANGE;
	string_copy(to, size_bytes, value);
	return Q_OK;
}

static q_status_t module_parse(const char *value, char *to, size_t size_bytes)
{
	return value[0] ? text_parse(value, to, size_bytes) : Q_INVALID;
}

q_status_t config_name_parse(const char *value, char *to)
{
	return is_name(value) ? text_parse(value, to, CONFIG_NAME_BYTES) : Q_INVALID;
}

/* yes, no, or a range of machine addresses. */
static q_status_t bound_parse(const char *value, struct vm_config *vm)
{
	char start[CONFIG_NAME_BYTES];
	const char *dash = strchr(value, '-');

	if (!dash)
		return config_bool_parse(value, words_yes_no, &vm->is_bound);
	if ((size_t)(dash - value) >= sizeof(start))
		return Q_INVALID;
	string_copy(start, (size_t)(dash - value) + 1, value);
	q_status_t status = size_parse(start, &vm->bound_start);
	if (status == Q_OK)
		status = size_parse(dash + 1, &vm->bound_end);
	if (status == Q_OK && vm->bound_start >= vm->bound_end)
		status = Q_INVALID;
	vm->is_bound = status == Q_OK;
	return status;
}

static q_status_t share_parse(const char *value, char *to)
{
	if (strcmp(value, "none") != 0)
		return config_name_parse(value, to);
	to[0] = 0;
	return Q_OK;
}

const char *config_priority_text(enum gmm_priority priority)
{
	return words_priority[priority];
}

/* --- keys of a VM -------------------------------------------------------------------- */

enum vm_key {
	KEY_KERNEL,
	KEY_INITRD,
	KEY_CMDLINE,
	KEY_FIRMWARE,
	KEY_MEMORY,
	KEY_RESERVE,
	KEY_OVERCOMMIT,
	KEY_PRIORITY,
	KEY_BOUND,
	KEY_SHARE,
	KEY_VCPUS,
	KEY_SERIAL,
	KEY_AUTOSTART,
	KEY_ON_RESET,
	KEY_DEBUG_EXIT,
	KEY_DEBUG_CONSOLE,
};

static const char *const vm_keys[] = {
	[KEY_KERNEL] = "kernel",
	[KEY_INITRD] = "initrd",
	[KEY_CMDLINE] = "cmdline",
	[KEY_FIRMWARE] = "firmware",
	[KEY_MEMORY] = "memory",
	[KEY_RESERVE] = "reserve",
	[KEY_OVERCOMMIT] = "overcommit",
	[KEY_PRIORITY] = "priority",
	[KEY_BOUND] = "bound",
	[KEY_SHARE] = "share",
	[KEY_VCPUS] = "vcpus",
	[KEY_SERIAL] = "serial",
	[KEY_AUTOSTART] = "autostart",
	[KEY_ON_RESET] = "on-reset",
	[KEY_DEBUG_EXIT] = "debug-exit",
	[KEY_DEBUG_CONSOLE] = "debug-console",
	NULL,
};

static q_status_t vm_value_set(struct vm_config *vm, enum vm_key key, const char *value)
{
	unsigned index;
	q_status_t status;
	switch (key) {
	case KEY_KERNEL: return module_parse(value, vm->kernel, sizeof(vm->kernel));
	case KEY_INITRD: return module_parse(value, vm->initrd, sizeof(vm->initrd));
	case KEY_CMDLINE: return text_parse(value, vm->cmdline, sizeof(vm->cmdline));
	case KEY_FIRMWARE: return module_parse(value, vm->firmware, sizeof(vm->firmware));
	case KEY_MEMORY: return size_parse(value, &vm->memory_bytes);
	case KEY_RESERVE: return size_parse(value, &vm->reserve_bytes);
	case KEY_OVERCOMMIT:
		status = config_word_parse(value, words_overcommit, &index);
		if (status == Q_OK)
			vm->overcommit = (enum gmm_overcommit)index;
		return status;
	case KEY_PRIORITY:
		status = config_word_parse(value, words_priority, &index);
		if (status == Q_OK)
			vm->priority = (enum gmm_priority)index;
		return status;
	case KEY_BOUND: return bound_parse(value, vm);
	case KEY_SHARE: return share_parse(value, vm->share);
	case KEY_VCPUS: return config_count_parse(value, CONFIG_VCPU_MAX, &vm->vcpu_count);
	case KEY_SERIAL:
		status = config_word_parse(value, words_serial, &index);
		if (status == Q_OK)
			vm->serial = (enum serial_mode)index;
		return status;
	case KEY_AUTOSTART: return config_bool_parse(value, words_yes_no, &vm->autostart);
	case KEY_ON_RESET:
		status = config_word_parse(value, words_on_reset, &index);
		if (status == Q_OK)
			vm->on_reset = (enum vm_on_reset)index;
		return status;
	case KEY_DEBUG_EXIT: return config_bool_parse(value, config_words_switch, &vm->debug_exit);
	case KEY_DEBUG_CONSOLE:
		return config_bool_parse(value, config_words_switch, &vm->debug_console);
	}
	return Q_INVALID;
}

/* What a good value looks like, for the message about a bad one. */
static const char *vm_value_help(enum vm_key key)
{
	switch (key) {
	case KEY_KERNEL:
	case KEY_INITRD:
	case KEY_FIRMWARE: return "the name of a module";
	case KEY_CMDLINE: return "at most 2047 bytes";
	case KEY_MEMORY:
	case KEY_RESERVE: return "a number with K, M or G";
	case KEY_OVERCOMMIT: return "none, zero-and-shared or full";
	case KEY_PRIORITY: return "low, normal or high";
	case KEY_BOUND: return "yes, no, or START-END with K, M or G";
	case KEY_SHARE: return "none, or 1 to 31 of a-z, 0-9 and '-'";
	case KEY_VCPUS: return "a number from 1 to 32";
	case KEY_SERIAL: return "console, log or com2";
	case KEY_AUTOSTART: return "yes or no";
	case KEY_ON_RESET: return "restart or stop";
	case KEY_DEBUG_EXIT:
	case KEY_DEBUG_CONSOLE: return "on or off";
	}
	return "";
}
_Static_assert(CONFIG_CMDLINE_BYTES == 2048 && CONFIG_VCPU_MAX == 32, "as vm_value_help() says");

q_status_t config_vm_init(struct vm_config *vm, const char *name, struct error_text *error)
{
	if (!is_name(name))
		return refuse(error, Q_INVALID, "'%.40s' is no name: 1 to 31 of a-z, 0-9 and '-'",
			      name);
	*vm = (struct vm_config){
		.overcommit = GMM_OVERCOMMIT_FULL,
		.priority = GMM_PRIORITY_NORMAL,
		.share = SHARE_DEFAULT,
		.vcpu_count = 1,
		.autostart = true,
	};
	string_copy(vm->name, sizeof(vm->name), name);
	return Q_OK;
}

q_status_t config_set_key(struct vm_config *vm, const char *key, const char *value,
			  struct error_text *error)
{
	unsigned index;
	if (config_word_parse(key, vm_keys, &index) != Q_OK)
		return refuse(error, Q_NOT_FOUND, "no key '%.40s' for a VM", key);
	if (vm->keys_given & BIT32(index))
		return refuse(error, Q_EXISTS, "'%s' is given twice", key);
	q_status_t status = vm_value_set(vm, (enum vm_key)index, value);
	if (status != Q_OK)
		return refuse(error, status, "%s = '%.40s': must be %s", key, value,
			      vm_value_help((enum vm_key)index));
	vm->keys_given |= BIT32(index);
	return Q_OK;
}

static bool is_given(const struct vm_config *vm, enum vm_key key)
{
	return vm->keys_given & BIT32(key);
}

/* NULL, or what is wrong with the values together. */
static const char *vm_problem(const struct vm_config *vm)
{
	if (!is_given(vm, KEY_MEMORY))
		return "'memory' is missing";
	if (!vm->kernel[0] && !vm->firmware[0])
		return "'kernel' is missing";
	if (vm->kernel[0] && vm->firmware[0])
		return "'kernel' and 'firmware' exclude each other";
	if (!vm->kernel[0] && (vm->initrd[0] || vm->cmdline[0]))
		return "'initrd' and 'cmdline' need a 'kernel'";
	if (vm->memory_bytes < CONFIG_MEMORY_MIN)
		return "'memory' must be at least 1M";
	if (vm->memory_bytes > PGM_RAM_BYTES_MAX)
		return MEMORY_MAX_TEXT;
	if (!is_aligned(vm->memory_bytes, PAGE_SIZE) || !is_aligned(vm->reserve_bytes, PAGE_SIZE))
		return "'memory' and 'reserve' must be multiples of 4K";
	if (vm->reserve_bytes > vm->memory_bytes)
		return "'reserve' is more than 'memory'";
	if (vm->is_bound && (vm->overcommit != GMM_OVERCOMMIT_NONE || vm->share[0]))
		return "'bound' needs 'overcommit = none' and 'share = none'";
	if (vm->overcommit == GMM_OVERCOMMIT_NONE && vm->reserve_bytes != vm->memory_bytes)
		return "'overcommit = none' reserves all memory, so 'reserve' cannot be less";
	return NULL;
}

q_status_t config_vm_complete(struct vm_config *vm, struct error_text *error)
{
	if (!is_given(vm, KEY_RESERVE)) {
		vm->reserve_bytes = vm->memory_bytes;
		if (vm->overcommit != GMM_OVERCOMMIT_NONE)
			vm->reserve_bytes = pages_from_bytes(vm->memory_bytes / RESERVE_FRACTION)
					    << PAGE_SHIFT;
	}
	const char *problem = vm_problem(vm);
	if (problem)
		return refuse(error, Q_INVALID, "vm '%s': %s", vm->name, problem);
	return Q_OK;
}

static q_status_t module_check(const struct vm_config *vm, const char *name,
			       const struct module_table *modules, struct error_text *error)
{
	if (!name[0] || module_find(modules, name))
		return Q_OK;
	return refuse(error, Q_NOT_FOUND, "vm '%s': there is no module '%.64s'", vm->name, name);
}

/* Each name in the comma-separated list. */
static q_status_t initrd_check(const struct vm_config *vm, const struct module_table *modules,
			       struct error_text *error)
{
	char names[CONFIG_INITRD_BYTES];
	string_copy(names, sizeof(names), vm->initrd);
	char *name = names;
	while (name) {
		char *comma = strchr(name, ',');
		if (comma)
			*comma++ = 0;
		if (comma && (!name[0] || !comma[0]))
			return refuse(error, Q_INVALID, "vm '%s': a name is missing in 'initrd'",
				      vm->name);
		q_status_t status = module_check(vm, name, modules, error);
		if (status != Q_OK)
			return status;
		name = comma;
	}
	return Q_OK;
}

q_status_t config_vm_check(const struct vm_config *vm, const struct module_table *modules,
			   struct error_text *error)
{
	const char *problem = vm_problem(vm);
	if (problem)
		return refuse(error, Q_INVALID, "vm '%s': %s", vm->name, problem);
	q_status_t status = module_check(vm, vm->kernel, modules, error);
	if (status == Q_OK)
		status = module_check(vm, vm->firmware, modules, error);
	if (status == Q_OK)
		status = initrd_check(vm, modules, error);
	return status;
}
