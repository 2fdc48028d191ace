/* SPDX-License-Identifier: MIT */
/* What `git describe` calls this tree. The Makefile passes it to version.c alone. */
#ifndef KERNEL_VERSION_H
#define KERNEL_VERSION_H

extern const char *const quire_version;

#endif
