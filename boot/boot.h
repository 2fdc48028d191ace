/* SPDX-License-Identifier: MIT */
/* Turns what the loader left into a bootinfo that the kernel can trust. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <quire/bootinfo.h>
#include <quire/status.h>

struct error_text;

/*
 * Fills *out_info, and claims the image and every module in its memory map. `magic`
 * and `information` are what boot/start.S got from the loader. boot/start.S's
 * identity mapping must still be in use. On failure `error` says why.
 */
q_status_t boot_collect(uint32_t magic, uint32_t information, struct bootinfo *out_info,
			struct error_text *error) Q_MUST_USE;

#endif
