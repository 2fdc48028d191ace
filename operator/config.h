/* SPDX-License-Identifier: MIT */
/*
 * What the operator asks for: quire.conf, and the same keys in the console's `create`.
 * docs/operating.md explains keys, values and defaults.
 */
#ifndef OPERATOR_CONFIG_H
#define OPERATOR_CONFIG_H

#include <quire/status.h>

#include "vm/vm_config.h"

struct config_key;
struct error_text;

#define CONFIG_TEXT_MAX 65536u /* bytes of quire.conf */

/* The keys of a VM, as far as they were given. */
struct config_vm {
	struct vm_config config;
	uint64_t given;       /* a bit for each row of VM_KEYS */
	unsigned line_number; /* of its section in quire.conf; 0: it has none */
};

/* The keys of the section [machine], a row each, like VM_KEYS. */
#define SYSTEM_KEYS(KEY)                                                                \
	KEY("scan", scan, bool, ON_OFF)                                                 \
	KEY("scan-cpu", scan_cpu_percent, unsigned, COUNT(1, 100))                      \
	KEY("scan-memory", scan_memory_bytes, uint64_t, SIZE_RANGE(4u << 10, 4u << 20)) \
	KEY("attach", attach, vm_name_t, NAME)

struct system_config {
#define SYSTEM_KEY_FIELD(key, field, type, ...) type field;
	SYSTEM_KEYS(SYSTEM_KEY_FIELD)
#undef SYSTEM_KEY_FIELD
};

struct config {
	struct system_config system;
	struct config_vm *vms; /* the caller's storage, for vm_max VMs */
	unsigned vm_max, vm_count;
};

/* Returns how many VMs config_parse() can find in the text at most. */
unsigned config_vm_sections(const void *text, uint64_t size_bytes);

/*
 * Reads quire.conf into `config`, whose `vms` and `vm_max` the caller has set. Goes on after an
 * error, to find all errors at once. The status and `error` are those of the first one; the others
 * are logged. Each text begins with "quire.conf:LINE: ". Q_INVALID, Q_RANGE, Q_NOT_FOUND, Q_EXISTS,
 * Q_LIMIT: nothing in `config` may be used. That modules exist is for vm_config_check().
 */
q_status_t config_parse(const void *text, uint64_t size_bytes, struct config *config,
			struct error_text *error) Q_MUST_USE;

/* --- one VM; `error` gets only the reason, no place ------------------------------------------- */

/* Sets the name, and the defaults of all keys. Q_INVALID: not a good name. */
q_status_t config_vm_init(struct config_vm *vm, const char *name,
			  struct error_text *error) Q_MUST_USE;

/* Sets a key. Q_NOT_FOUND: no such key; Q_EXISTS: given before; Q_INVALID, Q_RANGE: a bad value. */
q_status_t config_vm_set(struct config_vm *vm, const char *key, const char *value,
			 struct error_text *error) Q_MUST_USE;

/*
 * Call after the last key: fills in what follows from other values, and refuses what is missing or
 * does not go together. Q_INVALID; Q_LIMIT: too many sharing groups.
 */
q_status_t config_vm_complete(struct config_vm *vm, struct error_text *error) Q_MUST_USE;

/* Returns the key at `index`, for listing the keys; NULL after the last. */
const struct config_key *config_vm_key(unsigned index);

#endif
