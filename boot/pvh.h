/* SPDX-License-Identifier: MIT */
/* Xen's PVH direct boot ("x86/HVM direct boot ABI"), which QEMU's -kernel uses. Pure. */
#ifndef BOOT_PVH_H
#define BOOT_PVH_H

#include "raw.h"

struct error_text;

/*
 * Collects what the start information block at `start_info` says. `map` turns an
 * address into a pointer to `size_bytes` readable bytes, or NULL if there are none.
 * Q_INVALID: something in the block makes no sense; `error` says what.
 */
q_status_t pvh_read(uint64_t start_info, const void *(*map)(uint64_t address, uint64_t size_bytes),
		    struct boot_raw *out_raw, struct error_text *error) Q_MUST_USE;

#endif
