/* SPDX-License-Identifier: MIT */
/* The single ports of a PC's chip set: reset in its three forms, port 0x61, debug; see vsys.c. */
#ifndef DEVICES_PC_VSYS_H
#define DEVICES_PC_VSYS_H

#include <quire/compiler.h>

struct vpc;

#define VSYS_PORT_B          0x61u
#define VSYS_KEYBOARD_STATUS 0x64u
#define VSYS_PORT_A          0x92u
#define VSYS_RESET           0xcf9u
#define VSYS_RESET_VALUE     0x06u /* what the ACPI tables tell systems to write */
#define VSYS_DEBUG_CONSOLE   0xe9u
#define VSYS_DEBUG_EXIT      0xf4u

struct vsys {
	uint8_t port_b; /* bits 3:0, as written */
	uint8_t port_a;
	uint8_t reset;
};

void vsys_reset(struct vpc *vpc);
uint8_t vsys_read(struct vpc *vpc, uint16_t port, uint64_t now);
void vsys_write(struct vpc *vpc, uint16_t port, uint8_t value, uint64_t now);
/* The whole value written to the debug exit port. */
void vsys_debug_exit(struct vpc *vpc, uint32_t value);

#endif
