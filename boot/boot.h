/* SPDX-License-Identifier: MIT */
/* From whatever the loader left to a bootinfo that the rest can believe. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <quire/bootinfo.h>
#include <quire/status.h>

struct error_text;

/*
 * `magic` and `information` as boot/start.S got them. The loader's identity
 * mapping must still be in use. The image and every module are claimed in the
 * memory map.
 */
q_status_t boot_collect(uint32_t magic, uint32_t information, struct bootinfo *out_info,
			struct error_text *error) Q_MUST_USE;

#endif
