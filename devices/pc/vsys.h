/* SPDX-License-Identifier: MIT */
/* The single ports of a PC's chip set: three ways to reset, port 0x61, debug; see vsys.c. */
#ifndef DEVICES_PC_VSYS_H
#define DEVICES_PC_VSYS_H

#include "devices/vdev.h"

struct vpc;
struct vpc_config;

#define VSYS_RESET       0xcf9u
#define VSYS_RESET_VALUE 0x06u /* the ACPI tables tell guests to write it */

struct vsys {
	struct vdev dev;
	bool has_debug_exit, has_debug_console;
	uint8_t port_b; /* bits 3:0, as written */
	uint8_t port_a;
	uint8_t reset;
};

void vsys_init(struct vsys *sys, struct vpc *vpc, const struct vpc_config *config);

#endif
