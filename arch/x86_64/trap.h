/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts of the machine. isr.S saves a trap_frame and calls
 * trap_handle(), which kernel/interrupt.c defines.
 */
#ifndef ARCH_X86_64_TRAP_H
#define ARCH_X86_64_TRAP_H

#include <quire/compiler.h>

/* The registers in the order in which isr.S leaves them; the CPU's part is at the end. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

#define TRAP_EXCEPTION_COUNT 32u

/* Vectors of Quire's own interrupts. A higher vector is more urgent. */
#define TRAP_VECTOR_SERIAL   0x40u
#define TRAP_VECTOR_SERIAL2  0x41u
#define TRAP_VECTOR_TIMER    0x50u
#define TRAP_VECTOR_SPURIOUS 0xffu

/* Only isr.S calls it, with interrupts disabled. */
void trap_handle(struct trap_frame *frame);

/* Loads the interrupt descriptor table on this CPU. */
void idt_load(void);

#endif
