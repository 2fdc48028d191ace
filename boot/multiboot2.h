/* SPDX-License-Identifier: MIT */
/* Reads a multiboot2 loader's information, which is not trusted. Pure. */
#ifndef BOOT_MULTIBOOT2_H
#define BOOT_MULTIBOOT2_H

#include "raw.h"

struct error_text;

#define MULTIBOOT2_MAGIC 0x36d76289u

/*
 * Collects memory map, modules, command line and RSDP from the block at
 * `information`, of which `size_bytes` can be read. Q_INVALID: the block or a tag
 * is larger than what holds it, a tag makes no sense, or there is no memory map;
 * `error` says which. Multiboot2 specification, "Boot information format".
 */
q_status_t multiboot2_read(const void *information, size_t size_bytes, struct boot_raw *out_raw,
			   struct error_text *error) Q_MUST_USE;

#endif
