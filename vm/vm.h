/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine's life, as its operator sees it.
 *
 *             start                    guest powers off, stop, failure
 *   CREATED ---------> RUNNING -------------------------------> STOPPED
 *                       ^  |  pause, or out of memory              |
 *                resume |  v                                       |
 *                      PAUSED              start                   |
 *                       RUNNING <----------------------------------+
 *
 * Nothing here waits for the guest: a call posts what is wanted, the vCPUs'
 * threads do it, and an event tells when it is done. Only the operator's thread
 * creates and destroys VMs, so its pointers stay good; other threads take
 * references.
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

/* Once, before anything else here; both outlive every VM. */
void vm_system_init(const struct virt_ops *ops, const struct module_table *modules);

/*
 * Checks the configuration, reserves the memory (admission) and builds the VM.
 * On failure `error` says in words what was wrong, and nothing is left.
 */
q_status_t vm_create(const struct vm_config *config, struct vm **out_vm,
		     struct error_text *error) Q_MUST_USE;
/* Says why a reservation was declined (Q_DECLINED), with figures and what to do. */
void vm_reservation_refuse(const struct vm_config *config, struct error_text *error);
/* Waits for references and its threads; Q_STATE unless it is created or stopped. */
q_status_t vm_destroy(struct vm *vm) Q_MUST_USE;

/* Q_STATE: not possible in its present state. */
q_status_t vm_start(struct vm *vm) Q_MUST_USE;
q_status_t vm_pause(struct vm *vm) Q_MUST_USE;
q_status_t vm_resume(struct vm *vm) Q_MUST_USE;
q_status_t vm_reset(struct vm *vm) Q_MUST_USE;
q_status_t vm_stop(struct vm *vm) Q_MUST_USE;

/* Wakes `watcher` at the end of each run of the VM. There is one at most; NULL: none. */
void vm_watcher_set(struct vm *vm, struct thread *watcher);

/* Carries out exit= of the command line if no VM is alive; returns otherwise. */
void vm_exit_if_idle(void);

/* --- the table ----------------------------------------------------------------- */

struct vm *vm_find(const char *name);
/* In the order of creation: the first after NULL, and NULL after the last. */
struct vm *vm_next(const struct vm *previous);
/*
 * For threads other than the operator's: the VM of the lowest number above
 * `number`, or NULL. It stays until vm_put(), though it may stop and start. For
 * a moment only: whoever holds a reference neither parks nor yields, since the
 * operator waits for it. Requests need none once they are posted.
 */
struct vm *vm_get_after(uint64_t number);
void vm_put(struct vm *vm);
/* In the order of creation, from 1; never used again. */
uint64_t vm_number(const struct vm *vm);

/* It runs, is paused, or is about to start. */
bool vm_is_alive(const struct vm *vm);
bool vm_any_alive(void);
/* OK unless some VM's last run failed. */
enum exit_status vm_exit_status(void);

/* --- for the threads that get memory back ------------------------------------------ */

/*
 * Its memory. Its records may be read without a lock (mm/pgm/pgm.h says what may be stale);
 * changes are requested (vm/request.h).
 */
struct pgm *vm_pgm(const struct vm *vm);
/* Which VMs it may share pages with; SHARE_GROUP_NONE: none. */
share_group_t vm_share_group(const struct vm *vm);
/* Memory was given back, or may be had by another VM than before: the first waiter looks. */
void vm_memory_freed(void);

/* --- figures --------------------------------------------------------------------- */

const char *vm_name(const struct vm *vm);
const struct vm_config *vm_configuration(const struct vm *vm);
enum vm_state vm_state(const struct vm *vm);
/* "created", "running", "paused (out of memory)" and so on. */
const char *vm_state_text(const struct vm *vm);
uint64_t vm_cpu_ticks(const struct vm *vm);
/* Summed over the vCPUs; VMEXIT_KIND_COUNT entries. */
void vm_exit_figures(const struct vm *vm, struct exit_figures *out_figures);
void vm_memory_figures(const struct vm *vm, struct pgm_stats *out_stats);
/* Asserts every invariant of its memory and devices. */
void vm_check(struct vm *vm);

/* From here on its serial output goes to the console, beginning with the last 64 KiB. */
void vm_serial_attach(struct vm *vm);
void vm_serial_detach(struct vm *vm);
/* Bytes for its first serial port; returns how many it took. A VM that is off loses them. */
unsigned vm_serial_input(struct vm *vm, const uint8_t *bytes, unsigned count);

#endif
