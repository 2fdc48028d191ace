/* SPDX-License-Identifier: MIT */
/* The AML of the DSDT, without its table header; see vdsdt.c. */
#ifndef DEVICES_PC_VDSDT_H
#define DEVICES_PC_VDSDT_H

#include <quire/compiler.h>

extern const uint8_t vdsdt_aml[];
extern const size_t vdsdt_aml_size;

#endif
