/* SPDX-License-Identifier: MIT */
/*
 * What boot/ gives to the kernel: the checked memory map, the modules, the
 * command line and the address of ACPI's RSDP.
 */
#ifndef INCLUDE_QUIRE_BOOTINFO_H
#define INCLUDE_QUIRE_BOOTINFO_H

#include <quire/addr.h>

#define BOOTINFO_RANGE_MAX  128u
#define BOOTINFO_MODULE_MAX 32u
#define BOOTINFO_TEXT_MAX   2048u
#define BOOTINFO_NAME_MAX   64u

enum bootinfo_range_kind {
	BOOTINFO_USABLE,
	BOOTINFO_RESERVED,
	BOOTINFO_ACPI,
	BOOTINFO_QUIRE,  /* the image and the boot arena */
	BOOTINFO_MODULE, /* boot modules */
};

struct bootinfo_range {
	hpa_t start, end; /* half open, page aligned */
	enum bootinfo_range_kind kind;
};

struct bootinfo_module {
	hpa_t start;
	uint64_t size_bytes;
	char name[BOOTINFO_NAME_MAX]; /* base name of the first word of its string */
	const char *text;             /* the words after it; never NULL */
};

struct bootinfo {
	const char *loader; /* its name, for messages */
	char command_line[BOOTINFO_TEXT_MAX];
	struct bootinfo_range ranges[BOOTINFO_RANGE_MAX]; /* sorted, disjoint */
	unsigned range_count;
	struct bootinfo_module modules[BOOTINFO_MODULE_MAX];
	unsigned module_count;
	hpa_t rsdp; /* 0: none given */
};

#endif
