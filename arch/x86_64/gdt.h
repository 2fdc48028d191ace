/* SPDX-License-Identifier: MIT */
/* Flat ring-0 segments, and a task-state segment with separate stacks for #DF, NMI and #MC. */
#ifndef ARCH_X86_64_GDT_H
#define ARCH_X86_64_GDT_H

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x18

/* Interrupt stack table slots, 1-based as in the TSS. */
#define IST_DOUBLE_FAULT  1
#define IST_NMI           2
#define IST_MACHINE_CHECK 3

/* Loads GDT and TSS on the boot CPU. GS base may be lost, so call percpu_install() afterwards. */
void gdt_load(void);

#endif
