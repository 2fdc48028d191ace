/* SPDX-License-Identifier: MIT */
/* The Multiboot2 specification, "Boot information format": read with distrust. Pure. */
#ifndef BOOT_MULTIBOOT2_H
#define BOOT_MULTIBOOT2_H

#include "raw.h"

struct error_text;

#define MULTIBOOT2_MAGIC 0x36d76289u

/*
 * Collects memory map, modules, command line and RSDP from the `size_bytes` of
 * memory at `information`, which must hold the block whole. Q_INVALID with a
 * text: a tag lies about its size, or there is no memory map.
 */
q_status_t multiboot2_read(const void *information, size_t size_bytes, struct boot_raw *out_raw,
			   struct error_text *error) Q_MUST_USE;

#endif
