/* SPDX-License-Identifier: MIT */
/* A boot module that is a cpio archive (newc) stands for the files in it. */
#ifndef VM_LOAD_CPIO_H
#define VM_LOAD_CPIO_H

#include "vm/load/module.h"

struct error_text;

/* True if the module begins like an archive. */
bool cpio_is_archive(const struct module *module);

/*
 * Adds the archive's regular files to the table, each under its base name. The archive must stay
 * in memory, because names and data are used where they lie. Q_INVALID: damaged; Q_EXISTS: a name
 * is taken; Q_LIMIT: too many files. Then `error` says where and why, and the table is unchanged.
 */
q_status_t cpio_expand(const struct module *archive, struct module_table *table,
		       struct error_text *error) Q_MUST_USE;

#endif
