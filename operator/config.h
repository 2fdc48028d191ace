/* SPDX-License-Identifier: MIT */
/*
 * What the operator asked for: quire.conf, and the same keys from the console's
 * `create`. Keys, values and defaults are explained in docs/operating.md.
 */
#ifndef OPERATOR_CONFIG_H
#define OPERATOR_CONFIG_H

#include <quire/status.h>

#include "vm/vm_config.h"

struct error_text;

#define CONFIG_TEXT_MAX 65536u /* bytes of quire.conf */

struct system_config {
	bool scan;
	unsigned scan_cpu_percent;
	uint64_t scan_memory_bytes; /* 0: chosen by the size of the machine */
	char attach[VM_NAME_BYTES]; /* empty: nobody's console */
};

struct config {
	struct system_config system;
	struct vm_config *vms; /* the caller's storage for vm_max of them */
	unsigned vm_max, vm_count;
};

/*
 * Fills `config`, whose `vms` and `vm_max` the caller has set. On failure
 * `error` has "quire.conf:LINE: reason" and nothing in `config` may be used.
 * Modules are not looked at: that is vm_config_check().
 */
q_status_t config_parse(const void *text, uint64_t size_bytes, struct config *config,
			struct error_text *error) Q_MUST_USE;

/* --- one VM; `error` gets the reason alone ------------------------------------- */

/* Defaults for all keys. Q_INVALID: not a name. */
q_status_t config_vm_init(struct vm_config *vm, const char *name,
			  struct error_text *error) Q_MUST_USE;

/* Q_NOT_FOUND: no such key; Q_EXISTS: given before; Q_INVALID, Q_RANGE: a bad value. */
q_status_t config_set_key(struct vm_config *vm, const char *key, const char *value,
			  struct error_text *error) Q_MUST_USE;

/* After the last key: fills in what follows from others, refuses what is missing. */
q_status_t config_vm_complete(struct vm_config *vm, struct error_text *error) Q_MUST_USE;

#endif
