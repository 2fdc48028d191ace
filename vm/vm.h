/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine's life, as its operator sees it.
 *
 *             start            power-off, stop, failure
 *   CREATED --------> RUNNING --------------------------> STOPPED
 *                      ^ ^ |                                | ^
 *                      | | |             start              | |
 *                      | +-|--------------------------------+ |
 *              resume, |   | pause,                           |
 *      there is memory |   | out of memory         stop       |
 *                      |   v                                  |
 *                     PAUSED ---------------------------------+
 *
 * A start whose kernel finds no memory leads to PAUSED, one that fails to STOPPED.
 *
 * Except for vm_destroy(), nothing here waits for the guest. A call posts what is wanted, the
 * vCPUs' threads do it, and a notice says when it is done. Only the operator's thread creates and
 * destroys VMs, so its pointers stay good. The functions here are for this thread, except those
 * marked "any thread" and vm_reset(), which a guest that resets itself also calls. No lock is held
 * at a call.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <quire/exit_status.h>
#include <quire/status.h>
#include <quire/vmexit.h>

#include "mm/share/share.h"
#include "mm/pgm/pgm.h"
#include "vm/machine/machine.h"

struct error_text;
struct module_table;
struct thread;
struct virt_ops;
struct vm;
struct vm_config;

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_STOPPED };

/* To be called once, before anything else here. Both must outlive every VM. */
void vm_system_init(const struct virt_ops *ops, const struct module_table *modules);

/*
 * Checks the configuration, reserves the memory (admission) and builds the VM. Fails like
 * vm_config_check() and vm_boot_check(), or with Q_EXISTS (the name is taken), Q_DECLINED (the
 * reservation), Q_LIMIT (too many VMs) or Q_NO_MEMORY. Then `error` says why, and nothing is left.
 */
q_status_t vm_create(const struct vm_config *config, struct vm **out_vm,
		     struct error_text *error) Q_MUST_USE;
/* Waits until the VM's references and threads are gone. Q_STATE unless it is created or stopped. */
q_status_t vm_destroy(struct vm *vm) Q_MUST_USE;

/*
 * Q_STATE: not possible in the VM's present state. vm_start() returns Q_DECLINED if the VM's
 * reservation, which it gave up when it stopped, cannot be had again.
 */
q_status_t vm_start(struct vm *vm) Q_MUST_USE;
q_status_t vm_pause(struct vm *vm) Q_MUST_USE;
q_status_t vm_resume(struct vm *vm) Q_MUST_USE;
q_status_t vm_reset(struct vm *vm) Q_MUST_USE;
q_status_t vm_stop(struct vm *vm) Q_MUST_USE;

/* From now on wakes the thread `watcher` at the end of each run. One at most; NULL: none. */
void vm_watcher_set(struct vm *vm, struct thread *watcher);

/* Carries out exit= of the command line if no VM is alive; else returns. Any thread. */
void vm_exit_if_idle(void);

/* --- the table -------------------------------------------------------------------------------- */

/* Returns the VM of that name, or NULL. */
struct vm *vm_find(const char *name);
/* Walks in the order of creation: returns the first VM after NULL, and NULL after the last. */
struct vm *vm_next(const struct vm *previous);
/*
 * Any thread. Returns the VM of the lowest number above `number` with a reference, or NULL. The VM
 * exists until vm_put(), though it may stop and start. Hold a reference only for a moment, and
 * neither park nor yield with it, since the operator waits for it. A request that is posted needs
 * no reference.
 */
struct vm *vm_get_after(uint64_t number);
void vm_put(struct vm *vm);
/* Numbers count from 1 in the order of creation, and are never used again. Any thread. */
uint64_t vm_number(const struct vm *vm);

/* True if the VM runs, is paused, or is about to start. Any thread; takes no lock. */
bool vm_is_alive(const struct vm *vm);
bool vm_any_alive(void);
/* EXIT_STATUS_OK unless some VM's last run failed. Any thread. */
enum exit_status vm_exit_status(void);

/* --- for the threads that get memory back ----------------------------------------------------- */

/*
 * Any thread. Returns the VM's memory. Its records may be read without a lock (mm/pgm/pgm.h says
 * what may be stale). For changes, post requests (vm/request.h).
 */
struct pgm *vm_pgm(const struct vm *vm);
/* Returns the group of VMs that it may share pages with; SHARE_GROUP_NONE: none. Any thread. */
share_group_t vm_share_group(const struct vm *vm);
/* Wakes the first waiter: memory was given back, or another VM is first. Any thread. */
void vm_memory_freed(void);

/* --- figures ---------------------------------------------------------------------------------- */

const char *vm_name(const struct vm *vm);
const struct vm_config *vm_configuration(const struct vm *vm);
/* Any thread; takes no lock; may be stale at once. */
enum vm_state vm_state(const struct vm *vm);
/* "created", "running", "paused (out of memory)" and so on. */
const char *vm_state_text(const struct vm *vm);
/* Returns for how many host TSC ticks its vCPUs' threads have run, all together. */
uint64_t vm_cpu_ticks(const struct vm *vm);
/* Adds up the figures of all vCPUs. `out_figures` has VMEXIT_KIND_COUNT entries. */
void vm_exit_figures(const struct vm *vm, struct exit_figures *out_figures);
void vm_memory_figures(const struct vm *vm, struct pgm_stats *out_stats);
/* Asserts every invariant of its memory and devices. */
void vm_check(struct vm *vm);

/* From here on the console gets the VM's serial output, beginning with the last 64 KiB. */
void vm_serial_attach(struct vm *vm);
void vm_serial_detach(struct vm *vm);
/* Passes bytes to its first serial port; returns how many it took. A VM that is off drops all. */
unsigned vm_serial_input(struct vm *vm, const uint8_t *bytes, unsigned count);

#endif
