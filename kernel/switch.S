/* SPDX-License-Identifier: MIT */
/*
 * void thread_switch(uint64_t *save_rsp, uint64_t load_rsp)
 *
 * The registers that a C function must preserve go on the old stack; the caller
 * expects nothing of the others. Interrupts are disabled.
 */
	.text
	.global thread_switch
thread_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret

/* A new thread begins here: thread_switch() returns to it, with the scheduler's lock held. */
	.global thread_start
thread_start:
	xorl %ebp, %ebp			/* the backtrace ends here */
	call thread_main
	ud2

	.section .note.GNU-stack, "", @progbits
