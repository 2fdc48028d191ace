/* SPDX-License-Identifier: MIT */
/*
 * The keys of one VM: their defaults, and what follows from values that were given. Both
 * quire.conf and the console's `create` come here.
 */
#include "operator/config.h"

#include "lib/error_text.h"
#include "lib/string.h"

#include "config_words.h"

#define SHARE_DEFAULT    "default"
#define SHARE_GROUP_MAX  64u
#define RESERVE_FRACTION 4u /* by default a VM reserves a quarter of its memory */

#define VM_KEY_ROW(key, field, type, ...) CONFIG_KEY(struct vm_config, key, field, __VA_ARGS__),
static const struct config_key rows[] = { VM_KEYS(VM_KEY_ROW) };
static const struct config_keys keys = { rows, ARRAY_COUNT(rows) };

const struct config_key *config_vm_key(unsigned index)
{
	return index < ARRAY_COUNT(rows) ? &rows[index] : NULL;
}

q_status_t config_vm_init(struct config_vm *vm, const char *name, struct error_text *error)
{
	if (!config_is_name(name))
		return refuse(error, Q_INVALID, "'%.40s' is no name: it must be " CONFIG_NAME_GOOD,
			      name);
	*vm = (struct config_vm){
		.config = {
			.overcommit = GMM_OVERCOMMIT_FULL,
			.priority = GMM_PRIORITY_NORMAL,
			.share = SHARE_DEFAULT,
			.vcpu_count = 1,
			.autostart = true,
		},
	};
	string_copy(vm->config.name, sizeof(vm->config.name), name);
	return Q_OK;
}

q_status_t config_vm_set(struct config_vm *vm, const char *key, const char *value,
			 struct error_text *error)
{
	return config_key_set(&keys, key, value, &vm->config, &vm->given, error);
}

static bool is_given(const struct config_vm *vm, size_t offset)
{
	return config_key_is_given(&keys, offset, vm->given);
}

/* Gives each name a number. Names are never forgotten, so a number always means the same group. */
static q_status_t share_group_find(const char *name, share_group_t *out_group)
{
	static vm_name_t names[SHARE_GROUP_MAX];
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

static uint64_t reserve_default(const struct vm_config *config)
{
	if (config->overcommit == GMM_OVERCOMMIT_NONE)
		return config->memory_bytes;
	return pages_from_bytes(config->memory_bytes / RESERVE_FRACTION) << PAGE_SHIFT;
}

q_status_t config_vm_complete(struct config_vm *vm, struct error_text *error)
{
	struct vm_config *config = &vm->config;
	if (!is_given(vm, offsetof(struct vm_config, memory_bytes)))
		return refuse(error, Q_INVALID, "'memory' is missing");
	if (!is_given(vm, offsetof(struct vm_config, reserve_bytes)))
		config->reserve_bytes = reserve_default(config);
	const char *problem = vm_config_problem(config);
	if (problem)
		return refuse(error, Q_INVALID, "%s", problem);
	if (share_group_find(config->share, &config->share_group) != Q_OK)
		return refuse(error, Q_LIMIT, "share = %s: there are %u sharing groups already",
			      config->share, SHARE_GROUP_MAX);
	return Q_OK;
}
