/* SPDX-License-Identifier: MIT */
/*
 * What a bzImage says about itself: "The Linux/x86 Boot Protocol", section "The Real-Mode Kernel
 * Header". The file comes from the operator, but it may be damaged, truncated, or something else
 * altogether. So every field is checked before it is used. For an accepted image this is true:
 *
 *  - setup header and kernel lie inside the file; the header has all our fields;
 *  - code_bytes is above ENTRY_64 and at most init_bytes;
 *  - load_address is page aligned and not below 1 MiB.
 */
#include <quire/addr.h>
#include <quire/bits.h>

#include "lib/error_text.h"
#include "vm/load/linux.h"

#include "linux_internal.h"

#define BOOT_FLAG       0xaa55u
#define MAGIC           "HdrS"
#define VERSION_MIN     0x020cu
#define LOADED_HIGH     BIT32(0)
#define XLF_KERNEL_64   BIT32(0)
#define SECTOR_BYTES    512u
#define SETUP_SECTS_OLD 4u /* the meaning of 0 */
#define PARAGRAPH_BYTES 16u
#define LOAD_DEFAULT    0x1000000ull

/* Fields are little-endian, like this machine. The caller knows that the field is in the file. */
static uint64_t field(const uint8_t *at, unsigned offset, unsigned size_bytes)
{
	uint64_t value = 0;
	memcpy(&value, at + offset, size_bytes);
	return value;
}

bool linux_is_kernel(const struct module *module)
{
	return module->size_bytes >= HDR_END_MIN &&
	       field(module->data, HDR_BOOT_FLAG, 2) == BOOT_FLAG &&
	       memcmp(module->data + HDR_MAGIC, MAGIC, 4) == 0;
}

/* Returns NULL, or what the kernel lacks. Reads only fields of the header. */
static const char *features_problem(const uint8_t *setup)
{
	if (field(setup, HDR_VERSION, 2) < VERSION_MIN)
		return "the boot protocol is older than 2.12";
	if (!(field(setup, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64))
		return "no 64-bit entry point";
	if (!(field(setup, HDR_LOADFLAGS, 1) & LOADED_HIGH))
		return "not a bzImage";
	return NULL;
}

/* Returns NULL, or which size is impossible. Sets where the parts of the file are. */
static const char *sizes_problem(const struct module *kernel, struct image *image)
{
	const uint8_t *setup = kernel->data;
	uint64_t sectors = field(setup, HDR_SETUP_SECTS, 1);
	uint64_t setup_bytes = ((sectors ? sectors : SETUP_SECTS_OLD) + 1) * SECTOR_BYTES;
	image->header_end = HDR_MAGIC + field(setup, HDR_JUMP_BYTES, 1);
	/* The length has one byte, so the header ends in the two sectors that setup always has. */
	if (image->header_end < HDR_END_MIN)
		return "the setup header's length is wrong";
	if (setup_bytes >= kernel->size_bytes)
		return "the file ends before the kernel starts";

	uint64_t rest = kernel->size_bytes - setup_bytes;
	uint64_t claimed = field(setup, HDR_SYSSIZE, 4) * PARAGRAPH_BYTES;
	if (claimed <= ENTRY_64)
		return "the kernel's size is wrong";
	/* The last paragraph may be incomplete, and a signature may follow the kernel. */
	if (claimed > align_up(rest, PARAGRAPH_BYTES))
		return "the file is truncated";
	image->setup = setup;
	image->code = setup + setup_bytes;
	image->code_bytes = claimed < rest ? claimed : rest;
	return NULL;
}

/* Returns NULL, or what is wrong with the place that the kernel asks for. */
static const char *placement_problem(struct image *image)
{
	const uint8_t *setup = image->setup;
	uint64_t alignment = field(setup, HDR_ALIGNMENT, 4);
	bool is_relocatable = field(setup, HDR_RELOCATABLE, 1);
	image->init_bytes = field(setup, HDR_INIT_SIZE, 4);
	image->load_address = field(setup, HDR_PREF_ADDRESS, 8);
	image->initrd_limit = field(setup, HDR_INITRD_ADDR_MAX, 4) + 1;
	image->cmdline_max = field(setup, HDR_CMDLINE_SIZE, 4);

	if (image->init_bytes < image->code_bytes)
		return "init_size is smaller than the kernel";
	if (is_relocatable && (!is_power_of_two(alignment) || alignment < PAGE_SIZE))
		return "kernel_alignment is no power of two of at least 4K";
	if (image->load_address >= PGM_RAM_HIGH_START &&
	    is_aligned(image->load_address, PAGE_SIZE) &&
	    (!is_relocatable || is_aligned(image->load_address, alignment)))
		return NULL;
	if (!is_relocatable)
		return "pref_address is no place for a kernel";
	image->load_address = align_up(LOAD_DEFAULT, alignment);
	return NULL;
}

q_status_t linux_image_read(const struct module *kernel, struct image *out_image,
			    struct error_text *error)
{
	struct image image = { 0 };
	if (!linux_is_kernel(kernel))
		return refuse(error, Q_INVALID, "'%s' is no Linux bzImage", kernel->name);
	const char *problem = features_problem(kernel->data);
	if (problem)
		return refuse(error, Q_UNSUPPORTED, "kernel '%s': %s", kernel->name, problem);
	problem = sizes_problem(kernel, &image);
	if (!problem)
		problem = placement_problem(&image);
	if (problem)
		return refuse(error, Q_INVALID, "kernel '%s': %s", kernel->name, problem);
	*out_image = image;
	return Q_OK;
}
