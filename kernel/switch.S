/* SPDX-License-Identifier: MIT */
/*
 * void thread_switch(uint64_t *save_rsp, uint64_t load_rsp)
 *
 * What the C calling convention lets a function keep goes on the old stack;
 * the rest is dead at a call. Interrupts are disabled.
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

/* Where a new thread begins: the switch returns here, still under the scheduler's lock. */
	.global thread_start
thread_start:
	xorl %ebp, %ebp			/* the backtrace ends here */
	call thread_main
	ud2

	.section .note.GNU-stack, "", @progbits
