/* SPDX-License-Identifier: MIT */
/*
 * What a VM is to be. Each key is one row of VM_KEYS. From the row come the field in the struct
 * below, the reader of its values in operator/config_vm.c, and its line in the console's `help
 * create`. docs/operating.md explains the keys to the operator.
 */
#ifndef VM_VM_CONFIG_H
#define VM_VM_CONFIG_H

#include <quire/status.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "vm/machine/machine.h"

struct error_text;
struct module_table;

#define VM_NAME_BYTES SERIAL_NAME_BYTES
#define VM_MEMORY_MIN (1ull << 20)

/* Texts with their terminators; empty if nothing was given. */
typedef char vm_name_t[VM_NAME_BYTES];
typedef char vm_module_t[64];
typedef char vm_module_list_t[512]; /* comma separated */
typedef char vm_cmdline_t[2048];

/* A VM may have machine memory of its own: in this range, or anywhere if both addresses are 0. */
struct vm_bound {
	bool is_bound;
	uint64_t start, end; /* machine addresses, half open */
};

enum vm_on_reset { VM_ON_RESET_RESTART, VM_ON_RESET_STOP };

#define VM_PRIORITY_WORDS "low|normal|high" /* enum gmm_priority */

/* The readers, WORD() to BOUND, are those of operator/config_words.h. */
#define VM_KEYS(KEY)                                                                          \
	/*  key, field, type, how its value is read */                                        \
	KEY("kernel", kernel, vm_module_t, MODULE)                                            \
	KEY("initrd", initrd, vm_module_list_t, MODULE)                                       \
	KEY("cmdline", cmdline, vm_cmdline_t, TEXT)                                           \
	KEY("firmware", firmware, vm_module_t, MODULE)                                        \
	KEY("memory", memory_bytes, uint64_t, SIZE)                                           \
	KEY("reserve", reserve_bytes, uint64_t, SIZE)                                         \
	KEY("overcommit", overcommit, enum gmm_overcommit, WORD("none|zero-and-shared|full")) \
	KEY("priority", priority, enum gmm_priority, WORD(VM_PRIORITY_WORDS))                 \
	KEY("bound", bound, struct vm_bound, BOUND)                                           \
	KEY("share", share, vm_name_t, GROUP)                                                 \
	KEY("vcpus", vcpu_count, unsigned, COUNT(1, MACHINE_VCPU_MAX))                        \
	KEY("serial", serial, enum serial_mode, WORD("console|log|com2"))                     \
	KEY("autostart", autostart, bool, YES_NO)                                             \
	KEY("on-reset", on_reset, enum vm_on_reset, WORD("restart|stop"))                     \
	KEY("debug-exit", debug_exit, bool, ON_OFF)                                           \
	KEY("debug-console", debug_console, bool, ON_OFF)

struct vm_config {
	vm_name_t name;
#define VM_KEY_FIELD(key, field, type, ...) type field;
	VM_KEYS(VM_KEY_FIELD)
#undef VM_KEY_FIELD
	share_group_t share_group; /* the number that the operator gave to the group `share` */
};

/* Returns NULL, or which values do not go together; static text. */
const char *vm_config_problem(const struct vm_config *config);

/*
 * Checks a complete configuration: its values, and that the modules that it names exist.
 * Q_INVALID, Q_NOT_FOUND: `error` says why.
 */
q_status_t vm_config_check(const struct vm_config *config, const struct module_table *modules,
			   struct error_text *error) Q_MUST_USE;

#endif
