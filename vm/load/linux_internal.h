/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of vm/load/, which turn the bytes of a kernel into a guest's memory and the
 * first registers of its vCPU 0.
 *
 *   module.h        the files that came with the boot, by name; constant once the table is filled
 *   cpio.c          pure: the files of a cpio archive, as modules
 *   linux_image.c   pure: checks a bzImage, and finds its parts
 *   linux.c         plans where a kernel goes, then writes guest memory; the PGM lock, piece by
 *                   piece, inside pgm_write()
 *
 * No locks of their own, no state. Any thread; linux_load() only in a vCPU's thread.
 */
#ifndef VM_LOAD_LINUX_INTERNAL_H
#define VM_LOAD_LINUX_INTERNAL_H

#include "vm/load/module.h"

struct error_text;

/*
 * Offsets in the file, and in boot_params: "The Linux/x86 Boot Protocol", section "The Real-Mode
 * Kernel Header".
 */
#define HDR_SETUP_SECTS     0x1f1u
#define HDR_SYSSIZE         0x1f4u
#define HDR_BOOT_FLAG       0x1feu
#define HDR_JUMP_BYTES      0x201u /* bytes from the next byte to the header's end */
#define HDR_MAGIC           0x202u
#define HDR_VERSION         0x206u
#define HDR_TYPE_OF_LOADER  0x210u
#define HDR_LOADFLAGS       0x211u
#define HDR_RAMDISK_IMAGE   0x218u
#define HDR_RAMDISK_SIZE    0x21cu
#define HDR_CMD_LINE_PTR    0x228u
#define HDR_INITRD_ADDR_MAX 0x22cu
#define HDR_ALIGNMENT       0x230u
#define HDR_RELOCATABLE     0x234u
#define HDR_XLOADFLAGS      0x236u
#define HDR_CMDLINE_SIZE    0x238u
#define HDR_PREF_ADDRESS    0x258u
#define HDR_INIT_SIZE       0x260u
#define HDR_END_MIN         0x264u /* the end of init_size */

#define ENTRY_64 0x200u /* offset in the kernel, not in the file */

/* A bzImage whose claims were all checked. */
struct image {
	const uint8_t *setup; /* the file's start */
	uint64_t header_end;  /* the offset at which the setup header ends */
	const uint8_t *code;  /* the protected-mode kernel */
	uint64_t code_bytes;
	uint64_t load_address;
	uint64_t init_bytes;
	uint64_t initrd_limit; /* exclusive */
	uint64_t cmdline_max;
};

/* Checks a kernel and finds its parts. Q_INVALID, Q_UNSUPPORTED: `error` says what is wrong. */
q_status_t linux_image_read(const struct module *kernel, struct image *out_image,
			    struct error_text *error) Q_MUST_USE;

#endif
