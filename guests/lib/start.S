/* SPDX-License-Identifier: MIT */
/*
 * The head of a test guest: a Linux kernel image as far as a boot loader can
 * tell (Linux boot protocol 2.12, "The Real-mode Kernel Header"), so that the
 * guest is loaded in the same way as Linux. One setup sector, then the image.
 *
 * The image runs at any address: all addresses in it are relative to RIP.
 *
 * It is entered at image + 0x200 in 64-bit mode with RSI at the boot parameters
 * ("64-bit Boot Protocol"). Loaders map little memory, so the guest first makes an
 * identity map of the lowest 4 GiB in large pages, and loads its own GDT and stack.
 *
 * A PC's firmware takes the 16-bit entry, which only measures: it prints the time
 * stamp counter as 16 hexadecimal digits and ends the emulated machine. scripts/bench
 * subtracts this time, at which firmware is done, from Linux's on the same machine.
 */

#define PAGE_TABLE_COUNT 6 /* level 4, level 3, and four of level 2 */

#define PTE_PRESENT_WRITE 0x3
#define PTE_LARGE	  0x83

#define SERIAL_DATA  0x3f8
#define SERIAL_LCR   0x3fb
#define SERIAL_LSR   0x3fd
#define EXIT_PORT    0xf4
#define EXIT_SUCCESS 0x10

#define VECTOR_NMI 2

#define SECOND_START 0x8000 /* as in guest.c */
#define CR4_PAE	     0x20
#define CR0_PG_PE    0x80000001
#define MSR_EFER     0xc0000080
#define EFER_LME     0x100

#define PIC_COMMAND 0x20
#define PIC_END	    0x20

	.section .setup, "ax", @progbits
	.globl setup_start
setup_start:
	.org 0x1f1
	.byte 1			/* setup_sects */
	.word 0			/* root_flags */
	.long image_paragraphs	/* syssize */
	.word 0			/* ram_size */
	.word 0xffff		/* vid_mode: normal */
	.word 0			/* root_dev */
	.word 0xaa55		/* boot_flag */
	/* 0x200 */
	.byte 0xeb, setup_code - 1f
1:	.ascii "HdrS"
	.word 0x020f		/* version */
	.long 0			/* realmode_swtch */
	.word 0			/* start_sys_seg */
	.word 0			/* kernel_version: none */
	.byte 0			/* type_of_loader */
	.byte 0x01		/* loadflags: LOADED_HIGH */
	.word 0			/* setup_move_size */
	.long 0x100000		/* code32_start */
	.long 0, 0		/* ramdisk_image, ramdisk_size */
	.long 0			/* bootsect_kludge */
	.word 0			/* heap_end_ptr */
	.byte 0, 0		/* ext_loader_ver, ext_loader_type */
	.long 0			/* cmd_line_ptr */
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x200000		/* kernel_alignment */
	.byte 1			/* relocatable_kernel */
	.byte 21		/* min_alignment, log2 */
	.word 0x0001		/* xloadflags: XLF_KERNEL_64 */
	.long 0x7ff		/* cmdline_size */
	.long 0			/* hardware_subarch */
	.quad 0			/* hardware_subarch_data */
	.long 0, 0		/* payload_offset, payload_length */
	.quad 0			/* setup_data */
	.quad 0x1000000		/* pref_address */
	.long image_memory	/* init_size */
	.long 0			/* handover_offset */
	.long 0			/* kernel_info_offset */
	.org 0x270

	.code16
setup_code:
	rdtsc
	movl %eax, %esi
	movl %edx, %edi
	/* 8 data bits, no parity. */
	movw $SERIAL_LCR, %dx
	movb $3, %al
	outb %al, %dx
	movw $16, %cx
1:	/* The highest digit of EDI:ESI first. */
	movl %edi, %eax
	shrl $28, %eax
	shldl $4, %esi, %edi
	shll $4, %esi
	addb $'0', %al
	cmpb $'9', %al
	jbe 2f
	addb $('a' - '9' - 1), %al
2:	movb %al, %bl
	movw $SERIAL_LSR, %dx
3:	inb %dx, %al
	testb $0x20, %al
	jz 3b
	movb %bl, %al
	movw $SERIAL_DATA, %dx
	outb %al, %dx
	loop 1b
	movl $EXIT_SUCCESS, %eax
	outl %eax, $EXIT_PORT
4:	hlt
	jmp 4b
	.org 0x400

	.section .head, "ax", @progbits
	.code32
	/* The 32-bit entry, at offset 0, is not offered. */
1:	hlt
	jmp 1b

	.org 0x200
	.code64
	.globl start64
start64:
	cli
	cld
	/* The boot parameters stay where they are: the new map also contains them. */
	leaq page_tables(%rip), %rbx
	movq %rbx, %rdi
	xorl %eax, %eax
	movl $(PAGE_TABLE_COUNT * 512), %ecx
	rep stosq

	leaq (4096 + PTE_PRESENT_WRITE)(%rbx), %rax
	movq %rax, (%rbx)
	leaq (2 * 4096 + PTE_PRESENT_WRITE)(%rbx), %rax
	leaq 4096(%rbx), %rdi
	movl $4, %ecx
1:	movq %rax, (%rdi)
	addq $4096, %rax
	addq $8, %rdi
	loop 1b

	leaq (2 * 4096)(%rbx), %rdi
	movl $PTE_LARGE, %eax
	movl $2048, %ecx
2:	movq %rax, (%rdi)
	addq $0x200000, %rax
	addq $8, %rdi
	loop 2b

	movq %rbx, %cr3
	leaq stack_end(%rip), %rsp

	leaq gdt(%rip), %rax
	movq %rax, gdt_pointer + 2(%rip)
	lgdt gdt_pointer(%rip)
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	pushq $0x08
	leaq 3f(%rip), %rax
	pushq %rax
	lretq

3:	movq %rsi, %rdi
	xorl %ebp, %ebp
	call guest_start
4:	cli
	hlt
	jmp 4b

/*
 * The second CPU. guest.c copies this code to low memory, where the CPU starts in
 * real mode. It goes straight to 64-bit mode, with the first CPU's page tables.
 */
	.globl second_start, second_start_end, second_page_table, second_entry_address
	.code16
	.balign 16
second_start:
	cli
	movw %cs, %ax
	movw %ax, %ds
	movl %cr4, %eax
	orl $CR4_PAE, %eax
	movl %eax, %cr4
	movl second_page_table - second_start, %eax
	movl %eax, %cr3
	movl $MSR_EFER, %ecx
	rdmsr
	orl $EFER_LME, %eax
	wrmsr
	movl %cr0, %eax
	orl $CR0_PG_PE, %eax
	lgdtl second_gdt_pointer - second_start
	movl %eax, %cr0
	ljmpl *(second_entry_address - second_start)
	.balign 8
second_page_table: .long 0
second_entry_address: .long 0
	.word 0x08
	.balign 8
second_gdt: .quad 0
	.quad 0x00af9b000000ffff /* 64-bit code */
	.quad 0x00cf93000000ffff /* data */
second_gdt_pointer:
	.word second_gdt_pointer - second_gdt - 1
	.long SECOND_START + second_gdt - second_start
second_start_end:

	.code64
	.globl second_entry
second_entry:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movq second_stack_end(%rip), %rsp
	call second_main
5:	cli
	hlt
	jmp 5b

/*
 * Exceptions. Before an instruction that may fault, a guest stores in trap_resume
 * the address at which to go on. Any other exception ends the guest.
 */
	.text
	.macro TRAP vector, has_error_code
	.balign 16
	.if \has_error_code == 0
	pushq $0
	.endif
	pushq $\vector
	jmp trap_common
	.endm

	.globl trap_stubs
	.balign 16
trap_stubs:
	.irp vector, 0, 1, 2, 3, 4, 5, 6, 7
	TRAP \vector, 0
	.endr
	TRAP 8, 1
	TRAP 9, 0
	.irp vector, 10, 11, 12, 13, 14
	TRAP \vector, 1
	.endr
	.irp vector, 15, 16
	TRAP \vector, 0
	.endr
	TRAP 17, 1
	.irp vector, 18, 19, 20
	TRAP \vector, 0
	.endr
	TRAP 21, 1
	.irp vector, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	TRAP \vector, 0
	.endr

trap_common:
	/* Stack: vector, error code, RIP, CS, RFLAGS, RSP, SS. */
	cmpq $VECTOR_NMI, (%rsp)
	je 2f
	pushq %rax
	movq trap_resume(%rip), %rax
	testq %rax, %rax
	jz 1f
	movq %rax, 24(%rsp)
	movq 8(%rsp), %rax
	movq %rax, trap_vector(%rip)
	movq $0, trap_resume(%rip)
	popq %rax
	addq $16, %rsp
	iretq
1:	movq 8(%rsp), %rdi
	movq 24(%rsp), %rsi
	call trap_unexpected
	/* An NMI is ignored: garbage in the interrupt controllers can cause one. */
2:	addq $16, %rsp
	iretq

	/* The interval timer's interrupt, through the first PIC, only wakes the CPU. */
	.globl timer_stub
	.balign 16
timer_stub:
	pushq %rax
	movb $PIC_END, %al
	outb %al, $PIC_COMMAND
	popq %rax
	iretq

	.section .data
	.balign 8
gdt:	.quad 0
	.quad 0x00af9b000000ffff /* 64-bit code */
	.quad 0x00cf93000000ffff /* data */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad 0
	.globl trap_resume, trap_vector, second_stack_end
	.balign 8
trap_resume: .quad 0
trap_vector: .quad 0
second_stack_end: .quad 0

	.section .bss
	.balign 4096
page_tables:
	.space PAGE_TABLE_COUNT * 4096
	.space 16384
stack_end:

	.section .note.GNU-stack, "", @progbits
