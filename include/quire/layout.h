/* SPDX-License-Identifier: MIT */
/* Symbols that linker.ld exports. All page aligned but where said. */
#ifndef INCLUDE_QUIRE_LAYOUT_H
#define INCLUDE_QUIRE_LAYOUT_H

#include <quire/compiler.h>

extern const uint8_t layout_image_start[], layout_image_end[];
extern const uint8_t layout_text_start[], layout_text_end[];
extern const uint8_t layout_rodata_start[], layout_rodata_end[];
extern const uint8_t layout_data_start[], layout_data_end[]; /* with .bss */
/* Exception stacks: an unmapped page, then a page of stack, and so on. */
extern const uint8_t layout_stacks_start[], layout_stacks_end[];
/* The unmapped page under the boot stack. */
extern const uint8_t layout_boot_stack_guard[];

#endif
