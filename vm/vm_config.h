/* SPDX-License-Identifier: MIT */
/*
 * What a VM is to be. The operator's words for it, and what is left out by default, are in
 * docs/operating.md; operator/config_vm.c turns words into this.
 */
#ifndef VM_VM_CONFIG_H
#define VM_VM_CONFIG_H

#include <quire/status.h>

#include "mm/gmm/gmm.h"
#include "mm/share/share.h"
#include "vm/machine/machine.h"

struct error_text;
struct module_table;

#define VM_NAME_BYTES    SERIAL_NAME_BYTES /* with the terminator, like all of these */
#define VM_MODULE_BYTES  64u
#define VM_INITRD_BYTES  512u /* a list, for multiboot kernels */
#define VM_CMDLINE_BYTES 2048u
#define VM_MEMORY_MIN    (1ull << 20)

enum vm_on_reset { VM_ON_RESET_RESTART, VM_ON_RESET_STOP };

/* Texts that were not given are empty. */
struct vm_config {
	char name[VM_NAME_BYTES];
	char kernel[VM_MODULE_BYTES];
	char firmware[VM_MODULE_BYTES];
	char initrd[VM_INITRD_BYTES]; /* comma separated */
	char cmdline[VM_CMDLINE_BYTES];
	uint64_t memory_bytes;
	uint64_t reserve_bytes;
	enum gmm_overcommit overcommit;
	enum gmm_priority priority;
	bool is_bound;                   /* to machine memory of its own */
	uint64_t bound_start, bound_end; /* machine addresses; both 0: anywhere */
	char share[VM_NAME_BYTES];       /* name of its sharing group; empty: none */
	share_group_t share_group;       /* that group's number */
	unsigned vcpu_count;
	enum serial_mode serial;
	enum vm_on_reset on_reset;
	bool autostart, debug_exit, debug_console;
	uint32_t keys_given; /* a bit per key; the parser's */
};

/* NULL, or what is wrong with the values together; static text. */
const char *vm_config_problem(const struct vm_config *config);

/*
 * Judges a completed configuration: its values, and that the modules that it names are there.
 * `error` gets the reason. Q_INVALID, Q_NOT_FOUND.
 */
q_status_t vm_config_check(const struct vm_config *config, const struct module_table *modules,
			   struct error_text *error) Q_MUST_USE;

/* "low", "normal", "high", NULL: the words of the key, in the order of enum gmm_priority. */
extern const char *const vm_priority_words[];

#endif
