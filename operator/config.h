/* SPDX-License-Identifier: MIT */
/*
 * What the operator asked for: quire.conf, and the same keys from the console's `create`.
 * docs/operating.md explains keys, values and defaults.
 */
#ifndef OPERATOR_CONFIG_H
#define OPERATOR_CONFIG_H

#include <quire/status.h>

#include "vm/vm_config.h"

struct config_key;
struct error_text;

#define CONFIG_TEXT_MAX 65536u /* bytes of quire.conf */

/* A VM's keys as far as they were given. */
struct config_vm {
	struct vm_config config;
	uint64_t given;       /* a bit for each row of VM_KEYS */
	unsigned line_number; /* of its section in quire.conf; 0: it has none */
};

/* The section [machine]; a key is a row of this, like VM_KEYS. */
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
	struct config_vm *vms; /* the caller's storage for vm_max of them */
	unsigned vm_max, vm_count;
};

/* How many sections [vm NAME] the text seems to have: at least as many as config_parse() fills. */
unsigned config_vm_sections(const void *text, uint64_t size_bytes);

/*
 * Fills `config`, whose `vms` and `vm_max` the caller has set. Reads on after an error, so that
 * all are found at once: the first one is what `error` and the status say, each further one is
 * logged. Each begins with "quire.conf:LINE: ". After an error nothing in `config` may be used.
 * Whether the modules exist, vm_config_check() says.
 */
q_status_t config_parse(const void *text, uint64_t size_bytes, struct config *config,
			struct error_text *error) Q_MUST_USE;

/* --- one VM; `error` gets the reason alone ---------------------------------------------- */

/* Defaults for all keys. Q_INVALID: not a name. */
q_status_t config_vm_init(struct config_vm *vm, const char *name,
			  struct error_text *error) Q_MUST_USE;

/* Q_NOT_FOUND: no such key; Q_EXISTS: given before; Q_INVALID, Q_RANGE: a bad value. */
q_status_t config_vm_set(struct config_vm *vm, const char *key, const char *value,
			 struct error_text *error) Q_MUST_USE;

/* After the last key: fills in what follows from other values, and refuses what is missing. */
q_status_t config_vm_complete(struct config_vm *vm, struct error_text *error) Q_MUST_USE;

/* The key at `index`, for listing them; NULL behind the last. */
const struct config_key *config_vm_key(unsigned index);

#endif
