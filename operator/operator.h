/* SPDX-License-Identifier: MIT */
/*
 * Everything that quire.conf asks for, and after that the console: the top of
 * vm/, and all of it that kernel/main.c needs.
 */
#ifndef OPERATOR_OPERATOR_H
#define OPERATOR_OPERATOR_H

#include <quire/status.h>

struct error_text;

struct module_table;
struct virt_ops;

/*
 * Reads the configuration and creates its VMs; only if nothing is wrong with
 * any of it starts them, and the operator's thread, which serves the console.
 * On failure `error` says why, no VM was started, and there is no way on. To be
 * called by the idle thread, once, when threads can run.
 */
q_status_t operator_start(const struct virt_ops *ops, const struct module_table *modules,
			  struct error_text *error) Q_MUST_USE;

#endif
