/* SPDX-License-Identifier: MIT */
/*
 * One stub for each vector, and a common path that saves the general registers
 * and calls trap_handle(). The stub of an exception without an error code pushes
 * a zero in its place. The stack is 16-byte aligned at the call, because the CPU
 * aligned it before it pushed its part of the frame.
 */
	.text

	.macro isr_stub vector
	.align 16
isr_\vector:
	.if !(\vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \
	      \vector == 29 || \vector == 30)
	pushq $0
	.endif
	pushq $\vector
	jmp isr_common
	.endm

	.altmacro
	.set i, 0
	.rept 256
	isr_stub %i
	.set i, i + 1
	.endr

isr_common:
	cld
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, %rdi
	call trap_handle
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

	.section .rodata, "a"
	.align 8
	.global isr_entries
isr_entries:
	.macro isr_pointer vector
	.quad isr_\vector
	.endm
	.set i, 0
	.rept 256
	isr_pointer %i
	.set i, i + 1
	.endr

	.section .note.GNU-stack, "", @progbits
