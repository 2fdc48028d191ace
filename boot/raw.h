/* SPDX-License-Identifier: MIT */
/* What a loader said, copied from the loader's memory and not yet checked. */
#ifndef BOOT_RAW_H
#define BOOT_RAW_H

#include <quire/bootinfo.h>
#include <quire/status.h>

#include "memmap.h"

#define BOOT_RAW_ENTRY_MAX 160u
#define BOOT_RAW_TEXT_MAX  256u

struct boot_raw_module {
	uint64_t start, end;
	char text[BOOT_RAW_TEXT_MAX]; /* the module string */
};

struct boot_raw {
	const char *loader;
	char command_line[BOOTINFO_TEXT_MAX];
	struct memmap_entry entries[BOOT_RAW_ENTRY_MAX];
	unsigned entry_count;
	struct boot_raw_module modules[BOOTINFO_MODULE_MAX];
	unsigned module_count;
	uint64_t rsdp; /* address of the RSDP or of the loader's copy; 0: none */
};

#endif
