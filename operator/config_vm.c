/* SPDX-License-Identifier: MIT */
/*
 * One VM's keys: what values they take, what they mean by default, and which
 * do not go together. quire.conf and the console's `create` both end here.
 *
 * A value is stored only when it is good, so after a refused key the
 * configuration is as it was before.
 */
#include "operator/config.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/number.h"
#include "lib/string.h"
#include "mm/pgm/pgm.h"

#include "config_internal.h"

#define SHARE_DEFAULT    "default"
#define SHARE_GROUP_MAX  64u
#define RESERVE_FRACTION 4u /* of the memory, when not given */

/* --- values ------------------------------------------------------------------------ */

const char *const config_words_switch[] = { "off", "on", NULL };
static const char *const words_yes_no[] = { "no", "yes", NULL };
static const char *const words_serial[] = { "console", "log", "com2", NULL };
static const char *const words_on_reset[] = { "restart", "stop", NULL };
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
	return length >= 1 && length < VM_NAME_BYTES;
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
	return is_name(value) ? text_parse(value, to, VM_NAME_BYTES) : Q_INVALID;
}

/* yes, no, or a range of machine addresses. */
static q_status_t bound_parse(const char *value, struct vm_config *vm)
{
	char start[VM_NAME_BYTES];
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
		status = config_word_parse(value, vm_priority_words, &index);
		if (status == Q_OK)
			vm->priority = (enum gmm_priority)index;
		return status;
	case KEY_BOUND: return bound_parse(value, vm);
	case KEY_SHARE: return share_parse(value, vm->share);
	case KEY_VCPUS: return config_count_parse(value, MACHINE_VCPU_MAX, &vm->vcpu_count);
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
_Static_assert(VM_CMDLINE_BYTES == 2048 && MACHINE_VCPU_MAX == 32, "as vm_value_help() says");

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

/* Names are never forgotten, so a number always means the same group. */
static q_status_t share_group_find(const char *name, share_group_t *out_group)
{
	static char names[SHARE_GROUP_MAX][VM_NAME_BYTES];
	*out_group = SHARE_GROUP_NONE;
	if (name[0] == 0)
		return Q_OK;
	for (unsigned i = 0; i < SHARE_GROUP_MAX; i++) {
		if (names[i][0] == 0)
			string_copy(names[i], sizeof(names[i]), name);
		if (strcmp(names[i], name) == 0) {
			*out_group = (share_group_t)(i + 1);
			return Q_OK;
		}
	}
	return Q_LIMIT;
}

q_status_t config_vm_complete(struct vm_config *vm, struct error_text *error)
{
	if (!is_given(vm, KEY_RESERVE)) {
		vm->reserve_bytes = vm->memory_bytes;
		if (vm->overcommit != GMM_OVERCOMMIT_NONE)
			vm->reserve_bytes = pages_from_bytes(vm->memory_bytes / RESERVE_FRACTION)
					    << PAGE_SHIFT;
	}
	const char *problem = vm_config_problem(vm);
	if (problem)
		return refuse(error, Q_INVALID, "vm '%s': %s", vm->name, problem);
	if (share_group_find(vm->share, &vm->share_group) != Q_OK)
		return refuse(error, Q_LIMIT,
			      "vm '%s': 'share = %s' would be one sharing group more than %u",
			      vm->name, vm->share, SHARE_GROUP_MAX);
	return Q_OK;
}
