/* SPDX-License-Identifier: MIT */
/*
 * What the operator asked for: quire.conf, and the same keys from the console's
 * `create`. Keys, values and defaults are explained in docs/operating.md.
 */
#ifndef VM_CONFIG_H
#define VM_CONFIG_H

#include <quire/status.h>

#include "mm/gmm/gmm.h"
#include "vm/load/module.h"
#include "vm/machine/machine.h"

struct error_text;

#define CONFIG_TEXT_MAX      65536u /* bytes of quire.conf */
#define CONFIG_NAME_BYTES    SERIAL_NAME_BYTES
#define CONFIG_MODULE_BYTES  64u
#define CONFIG_INITRD_BYTES  512u /* a list, for multiboot kernels */
#define CONFIG_CMDLINE_BYTES 2048u
#define CONFIG_VCPU_MAX      MACHINE_VCPU_MAX
#define CONFIG_MEMORY_MIN    (1ull << 20)

enum vm_on_reset { VM_ON_RESET_RESTART, VM_ON_RESET_STOP };

/* Texts that were not given are empty. */
struct vm_config {
	char name[CONFIG_NAME_BYTES];
	char kernel[CONFIG_MODULE_BYTES];
	char firmware[CONFIG_MODULE_BYTES];
	char initrd[CONFIG_INITRD_BYTES]; /* comma separated */
	char cmdline[CONFIG_CMDLINE_BYTES];
	uint64_t memory_bytes;
	uint64_t reserve_bytes;
	enum gmm_overcommit overcommit;
	enum gmm_priority priority;
	bool is_bound;                   /* to machine memory of its own */
	uint64_t bound_start, bound_end; /* machine addresses; both 0: anywhere */
	char share[CONFIG_NAME_BYTES];   /* empty: shares with nobody */
	unsigned vcpu_count;
	enum serial_mode serial;
	enum vm_on_reset on_reset;
	bool autostart, debug_exit, debug_console;
	uint32_t keys_given; /* a bit per key; the parser's */
};

struct system_config {
	bool scan;
	unsigned scan_cpu_percent;
	uint64_t scan_memory_bytes;     /* 0: chosen by the size of the machine */
	char attach[CONFIG_NAME_BYTES]; /* empty: nobody's console */
};

struct config {
	struct system_config system;
	struct vm_config *vms; /* the caller's storage for vm_max of them */
	unsigned vm_max, vm_count;
};

/*
 * Fills `config`, whose `vms` and `vm_max` the caller has set. On failure
 * `error` has "quire.conf:LINE: reason" and nothing in `config` may be used.
 * Modules are not looked at: that is config_vm_check().
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

/* A completed configuration: all values, and that the modules that it names are there. */
q_status_t config_vm_check(const struct vm_config *vm, const struct module_table *modules,
			   struct error_text *error) Q_MUST_USE;

/* As the key's value. */
const char *config_priority_text(enum gmm_priority priority);

#endif
