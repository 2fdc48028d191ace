/* SPDX-License-Identifier: MIT */
/*
 * The operator: quire.conf, and then the console. This header is all that kernel/main.c needs of
 * the folder. One thread, the operator's, runs everything here, and no file has a lock. The files:
 *
 *   operator.c         reads quire.conf, creates and starts its VMs, then serves the prompt
 *   config.c           quire.conf: from text to sections and keys
 *   config_vm.c        the keys of one VM: defaults, and what follows from given values
 *   config_words.c     pure: a key is a row; the readers of values
 *   prompt.c           the prompt for commands, or the console of an attached VM
 *   prompt_line.c      pure: the input line with editing and history
 *   commands.c         finds, runs, completes and explains commands
 *   command_words.c    pure: splits a command line into words
 *   command_vms.c      the VMs that a command names
 *   commands_life.c    list, start, pause, resume, reset, stop, create, destroy, attach, ping
 *   commands_memory.c  memory
 *   commands_share.c   share, scan-cpu, hashes
 *   commands_system.c  exits, check, log, reboot, poweroff
 *   listing.c          writes a listing as text or as JSON, from rows of columns
 *   address_space.c    for check: what each mapping of Quire's page tables may lead to
 */
#ifndef OPERATOR_OPERATOR_H
#define OPERATOR_OPERATOR_H

#include <quire/status.h>

struct error_text;
struct module_table;
struct virt_ops;

/*
 * Starts the operator's thread. The thread reads the configuration and creates its VMs; only if
 * nothing is wrong with any of it, it starts them and serves the console. Returns when all VMs are
 * created. On failure `error` says why, no VM was started, and Quire cannot go on: Q_NOT_FOUND (no
 * quire.conf), Q_NO_MEMORY, or like config_parse() or vm_create(). To be called by the idle
 * thread, once, when threads can run.
 */
q_status_t operator_start(const struct virt_ops *ops, const struct module_table *modules,
			  struct error_text *error) Q_MUST_USE;

#endif
