/* SPDX-License-Identifier: MIT */
/*
 * The world switch. For each register: what saves and loads it, and where it is kept:
 *
 *   register                              Quire's              the guest's
 *   RAX, RSP, RIP, RFLAGS                 VMRUN, HSAVE page    VMRUN, VMCB; svm_run.c
 *   CR0, CR3, CR4, EFER, GDTR, IDTR,      VMRUN, HSAVE page    VMRUN, VMCB
 *     CS, DS, ES, SS
 *   DR7, CPL                              #VMEXIT, constants   VMRUN, VMCB
 *   PAT                                   untouched            VMRUN, VMCB
 *   CR2, DR6                              never used           VMRUN, VMCB
 *   CR8                                   untouched            VMRUN, VMCB; svm_run.c
 *   FS, GS, TR, LDTR, KERNEL_GS_BASE,     VMLOAD, host area,   VMLOAD and VMSAVE,
 *     STAR, LSTAR, CSTAR, SFMASK,         filled once by         VMCB
 *     SYSENTER_*                          svm_host_save
 *   RBX, RBP, RSI, RDI, R12 to R15        stack                struct guest_regs
 *   RCX, RDX, R8 to R11                   lost, as in a call   struct guest_regs
 *   x87, SSE, AVX, XCR0, DR0 to DR3       never used           arch/x86_64/lazy.c
 *
 * With nested paging the guest has a PAT of its own beside the CPU's; with V_INTR_MASKING
 * it has a CR8 of its own, V_TPR.
 *
 * GIF is 0 from before Quire's TR and GS are replaced until they are back, so neither an
 * interrupt nor an NMI is taken in between. RFLAGS.IF is 1 at VMRUN: with V_INTR_MASKING
 * this lets the machine's interrupts end the guest's run. They stay pending: IF is 0 again
 * before GIF is 1. NMIs are taken at STGI.
 */
#include "asm_offsets.h"

	.text

/*
 * void svm_world_switch(struct virt_vcpu *vcpu, struct vmexit *out_exit)
 * Does not return: ends with a jump to svm_run_finish(), which gets the same arguments.
 */
	.globl	svm_world_switch
	.type	svm_world_switch, @function
svm_world_switch:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rsi
	pushq	%rdi
	movq	VCPU_VMCB_ADDR(%rdi), %rax
	movq	VCPU_REGS(%rdi), %rdi

	clgi
	sti

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

	vmload	%rax
	vmrun	%rax
	vmsave	%rax

	movq	(%rsp), %rax
	pushq	%rdi
	movq	VCPU_REGS(%rax), %rdi
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

	movq	VCPU_HOST_AREA(%rax), %rax
	vmload	%rax
	cli
	stgi

	popq	%rdi
	popq	%rsi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	jmp	svm_run_finish
	.size	svm_world_switch, . - svm_world_switch

/* void svm_host_save(hpa_t host_area) */
	.globl	svm_host_save
	.type	svm_host_save, @function
svm_host_save:
	movq	%rdi, %rax
	vmsave	%rax
	ret
	.size	svm_host_save, . - svm_host_save

/* void svm_machine_check_raise(void) */
	.globl	svm_machine_check_raise
	.type	svm_machine_check_raise, @function
svm_machine_check_raise:
	int	$18
	ret
	.size	svm_machine_check_raise, . - svm_machine_check_raise

	.section .note.GNU-stack, "", @progbits
