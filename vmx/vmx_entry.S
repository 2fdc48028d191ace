/* SPDX-License-Identifier: MIT */
/*
 * The world switch. For each register: what saves and loads it, and where it is kept:
 *
 *   register                              Quire's              the guest's
 *   RSP, RIP                              VM exit, VMCS        VMCS; vmx_run.c
 *   RFLAGS                                VM exit, constant    VMCS; vmx_run.c
 *   CR0, CR3, CR4, EFER, PAT, GDTR, IDTR, VM exit, VMCS        VMCS
 *     CS, DS, ES, SS, FS, GS, TR,
 *     SYSENTER_*
 *   DR7, LDTR                             VM exit, constants   VMCS
 *   CR2, DR6, KERNEL_GS_BASE, STAR,       never used           vmx_live.c
 *     LSTAR, CSTAR, SFMASK
 *   CR8                                   untouched            virtual-APIC page; vmx_run.c
 *   RBX, RBP, R12 to R15                  stack                struct guest_regs
 *   RAX, RCX, RDX, RSI, RDI, R8 to R11    lost, as in a call   struct guest_regs
 *   x87, SSE, AVX, XCR0, DR0 to DR3       never used           arch/x86_64/lazy.c
 *
 * VT-x leaves RAX to software and switches all segments itself. Interrupts stay disabled
 * throughout: an interrupt ends the guest's run whatever RFLAGS.IF is, and stays pending.
 * NMIs before the entry and after the exit go to Quire's handler as usual.
 */
#include "asm_offsets.h"

	.text

/* enum vmx_failure vmx_world_switch(struct guest_regs *, uint64_t *host_rsp, bool is_launched) */
	.globl	vmx_world_switch
	.type	vmx_world_switch, @function
vmx_world_switch:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi

	/* RSP nearly always equals that of the last entry: the vCPU's loop calls from one place. */
	cmpq	%rsp, (%rsi)
	je	1f
	movq	%rsp, (%rsi)
	movl	$FIELD_HOST_RSP, %eax
	vmwrite	%rsp, %rax
1:
	testb	%dl, %dl	/* for the jump below: MOV leaves the flags alone */

	movq	REGS_RAX(%rdi), %rax
	movq	REGS_RCX(%rdi), %rcx
	movq	REGS_RDX(%rdi), %rdx
	movq	REGS_RBX(%rdi), %rbx
	movq	REGS_RBP(%rdi), %rbp
	movq	REGS_RSI(%rdi), %rsi
	movq	REGS_R8(%rdi), %r8
	movq	REGS_R9(%rdi), %r9
	movq	REGS_R10(%rdi), %r10
	movq	REGS_R11(%rdi), %r11
	movq	REGS_R12(%rdi), %r12
	movq	REGS_R13(%rdi), %r13
	movq	REGS_R14(%rdi), %r14
	movq	REGS_R15(%rdi), %r15
	movq	REGS_RDI(%rdi), %rdi

	jz	2f
	vmresume
	jmp	3f
2:
	vmlaunch
3:
	/* Not entered: CF if no VMCS is current, ZF if the current one has an error number. */
	movl	$2, %eax	/* VMX_FAIL_INVALID */
	movl	$1, %ecx	/* VMX_FAIL_VALID */
	cmovzl	%ecx, %eax
	addq	$8, %rsp
	jmp	4f

	.globl	vmx_exit_arrival
vmx_exit_arrival:
	pushq	%rdi
	movq	8(%rsp), %rdi
	movq	%rax, REGS_RAX(%rdi)
	movq	%rcx, REGS_RCX(%rdi)
	movq	%rdx, REGS_RDX(%rdi)
	movq	%rbx, REGS_RBX(%rdi)
	movq	%rbp, REGS_RBP(%rdi)
	movq	%rsi, REGS_RSI(%rdi)
	movq	%r8, REGS_R8(%rdi)
	movq	%r9, REGS_R9(%rdi)
	movq	%r10, REGS_R10(%rdi)
	movq	%r11, REGS_R11(%rdi)
	movq	%r12, REGS_R12(%rdi)
	movq	%r13, REGS_R13(%rdi)
	movq	%r14, REGS_R14(%rdi)
	movq	%r15, REGS_R15(%rdi)
	popq	REGS_RDI(%rdi)
	addq	$8, %rsp
	xorl	%eax, %eax	/* VMX_ENTERED */
4:
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret
	.size	vmx_world_switch, . - vmx_world_switch

/* void vmx_machine_check_raise(void) */
	.globl	vmx_machine_check_raise
	.type	vmx_machine_check_raise, @function
vmx_machine_check_raise:
	int	$18
	ret
	.size	vmx_machine_check_raise, . - vmx_machine_check_raise

/* void vmx_nmi_raise(void) */
	.globl	vmx_nmi_raise
	.type	vmx_nmi_raise, @function
vmx_nmi_raise:
	int	$2	/* its IRET ends the blocking of NMIs */
	ret
	.size	vmx_nmi_raise, . - vmx_nmi_raise

	.section .note.GNU-stack, "", @progbits
