/* SPDX-License-Identifier: MIT */
/*
 * Starts a Linux bzImage by the 64-bit boot protocol (Linux kernel
 * documentation, "The Linux/x86 Boot Protocol", version 2.12 and later).
 */
#ifndef VM_LOAD_LINUX_H
#define VM_LOAD_LINUX_H

#include <quire/addr.h>
#include <quire/guest_state.h>
#include <quire/status.h>

#include "mm/pgm/pgm.h"
#include "vm/load/module.h"

struct error_text;

/* Pages beyond those of the files, at most: boot_params, command line, page tables for 3 GiB. */
#define LINUX_OWN_PAGES 7u

struct linux_request {
	const struct module *kernel;
	const struct module *initrd; /* or NULL */
	const char *cmdline;
	uint64_t ram_bytes; /* as in struct pgm_config */
	gpa_t rsdp;         /* ACPI's root pointer; 0: none */
};

/* True if the module begins like a bzImage. */
bool linux_is_kernel(const struct module *module);

/*
 * Checks the kernel and that everything fits, without a guest. Refuses what linux_load() refuses,
 * with the same words, except for failures to write guest memory. Changes nothing.
 */
q_status_t linux_fit(const struct linux_request *request, struct error_text *error) Q_MUST_USE;

/*
 * Fills the guest's memory, and sets the state in which its first vCPU starts. The memory must be
 * as at power-on. Q_INVALID, Q_UNSUPPORTED: not such a kernel; Q_RANGE: the guest's memory is too
 * small, or the command line too long: nothing was written. Otherwise it fails like pgm_write():
 * after Q_NO_MEMORY the same request may be made again, after others the memory must be reset.
 * `error` says why. In a vCPU's thread, no lock held.
 */
q_status_t linux_load(struct pgm *pgm, const struct linux_request *request,
		      struct guest_state *out_state, struct guest_regs *out_regs,
		      struct error_text *error) Q_MUST_USE;

#endif
