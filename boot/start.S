/* SPDX-License-Identifier: MIT */
/*
 * From the loader to C. There are two entry points, both in 32-bit protected mode
 * without paging: multiboot2 (GRUB under BIOS and UEFI) and PVH (QEMU's -kernel).
 * There is no multiboot1 header on purpose: QEMU would use it and refuse the
 * 64-bit ELF.
 *
 * The first page tables map the first 4 GiB at their own address, to reach tables
 * and modules that the loader left, and the first GiB also at -2 GiB, where the
 * image is linked. arch/x86_64/paging.c replaces them.
 */
#define MB2_MAGIC     0xe85250d6
#define MB2_TAG_END   0
#define MB2_TAG_ALIGN 6

#define PTE_PRESENT_WRITE 0x3
#define PTE_LARGE	  0x80
#define CR4_PAE		  0x20
#define MSR_EFER	  0xc0000080
#define EFER_LME	  0x100
#define CR0_PG		  0x80000000
#define IMAGE_BASE	  0xffffffff80000000

	.section .boot.header, "a"
	.align 8
mb2_header:
	.long MB2_MAGIC
	.long 0				/* i386 protected mode */
	.long mb2_end - mb2_header
	.long -(MB2_MAGIC + 0 + (mb2_end - mb2_header))
	/* Asks the loader for modules on page boundaries. */
	.word MB2_TAG_ALIGN, 0
	.long 8
	.word MB2_TAG_END, 0
	.long 8
mb2_end:

	/* The PVH entry point: Xen's XEN_ELFNOTE_PHYS32_ENTRY. */
	.section .note.Xen, "a", @note
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.long pvh_entry

	.section .boot.text, "ax"
	.code32
	.global boot_entry
boot_entry:
	movl %eax, %edi			/* the loader's magic number */
	jmp 1f
pvh_entry:
	xorl %edi, %edi			/* 0: PVH */
1:	movl %ebx, %esi			/* the address of the loader's information */
	cld
	cli
	rdtsc				/* the start of Quire's run, for time_start() */
	movl %eax, boot_start_tsc
	movl %edx, boot_start_tsc + 4

	/* Without long mode Quire cannot go on. */
	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb no_long_mode
	movl $0x80000001, %eax
	cpuid
	testl $(1 << 29), %edx
	jz no_long_mode

	/* Clears the upper three tables, so that nothing depends on a loader that clears .bss. */
	movl %edi, %ebp
	movl $boot_pml4, %edi
	movl $((3 * 4096) / 4), %ecx
	xorl %eax, %eax
	rep stosl
	movl %ebp, %edi

	/* Page directories: 2048 large pages, 4 GiB. */
	movl $boot_directories, %ebx
	movl $(PTE_PRESENT_WRITE | PTE_LARGE), %eax
	movl $2048, %ecx
2:	movl %eax, (%ebx)
	movl $0, 4(%ebx)
	addl $0x200000, %eax
	addl $8, %ebx
	loop 2b

	movl $(boot_directories + PTE_PRESENT_WRITE), %eax
	movl %eax, boot_pdpt_low
	addl $0x1000, %eax
	movl %eax, boot_pdpt_low + 8
	addl $0x1000, %eax
	movl %eax, boot_pdpt_low + 16
	addl $0x1000, %eax
	movl %eax, boot_pdpt_low + 24
	movl $(boot_directories + PTE_PRESENT_WRITE), boot_pdpt_high + 510 * 8
	movl $(boot_pdpt_low + PTE_PRESENT_WRITE), boot_pml4
	movl $(boot_pdpt_high + PTE_PRESENT_WRITE), boot_pml4 + 511 * 8

	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl $boot_pml4, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG, %eax
	movl %eax, %cr0
	lgdt boot_gdt_pointer
	ljmp $8, $boot_long_mode

no_long_mode:
	movl $no_long_mode_text, %ebx
	movw $0x3f8, %dx
3:	movb (%ebx), %al
	testb %al, %al
	jz 4f
	outb %al, %dx
	incl %ebx
	jmp 3b
4:	movb $0x12, %al			/* exit status 2, for an emulator's exit device */
	movw $0xf4, %dx
	outb %al, %dx
5:	hlt
	jmp 5b

	.code64
boot_long_mode:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movabsq $boot_high, %rax
	jmpq *%rax

	.section .boot.data, "aw"
no_long_mode_text:
	.asciz "quire: the CPU has no 64-bit long mode\r\nquire: exit status 2\r\n"
	.align 8
boot_gdt:
	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
boot_start_tsc:
	.quad 0
boot_gdt_pointer:
	.word . - boot_gdt - 1
	.long boot_gdt

	.section .boot.bss, "aw", @nobits
	.align 4096
boot_pml4:
	.skip 4096
boot_pdpt_low:
	.skip 4096
boot_pdpt_high:
	.skip 4096
boot_directories:			/* after the three tables that are cleared at first */
	.skip 4 * 4096

	.text
boot_high:
	movabsq $boot_stack_top, %rsp
	xorl %ebp, %ebp
	movl %edi, %edi			/* clears the upper halves */
	movl %esi, %esi
	movq boot_start_tsc, %rdx	/* third argument; %rdi and %rsi are in place */
	pushq %rdi
	pushq %rsi
	leaq layout_bss_start(%rip), %rdi
	leaq layout_data_end(%rip), %rcx
	subq %rdi, %rcx
	shrq $3, %rcx
	/* The boot stack lies below layout_bss_start, so this does not clear it. */
	xorl %eax, %eax
	rep stosq
	popq %rsi
	popq %rdi
	call kernel_main
6:	cli
	hlt
	jmp 6b

	.section .bss.boot_stack, "aw", @nobits
	.align 4096
	.skip 4096			/* guard */
	.skip 16384
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
