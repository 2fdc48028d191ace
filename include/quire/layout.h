/* SPDX-License-Identifier: MIT */
/* Symbols that linker.ld exports, all page aligned. */
#ifndef INCLUDE_QUIRE_LAYOUT_H
#define INCLUDE_QUIRE_LAYOUT_H

#include <quire/compiler.h>

extern const uint8_t layout_image_start[], layout_image_end[];
extern const uint8_t layout_text_start[], layout_text_end[];
extern const uint8_t layout_rodata_start[], layout_rodata_end[];
extern const uint8_t layout_data_start[], layout_data_end[]; /* .bss included */
/* The exception stacks: for each, an unmapped guard page, then one page of stack. */
extern const uint8_t layout_stacks_start[], layout_stacks_end[];
/* The unmapped guard page below the boot stack. */
extern const uint8_t layout_boot_stack_guard[];

#endif
