/* SPDX-License-Identifier: MIT */
/*
 * What test guests share: output through the first serial port, the end through
 * the debug exit port, instructions that may fault, a second CPU, and what the
 * loader gave: the memory map, the command line and an initrd.
 *
 * A guest defines guest_main(); the value it returns is its exit status.
 */
#ifndef GUESTS_LIB_GUEST_H
#define GUESTS_LIB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One image, no shared objects: symbols are reached relative to RIP. */
#pragma GCC visibility push(hidden)

#define GUEST_PAGE_SIZE 4096ull

/* Each guest defines it. Returns 0 for success. */
uint32_t guest_main(void);

/* Ends the VM with `status`. */
__attribute__((noreturn)) void guest_exit(uint32_t status);

/* Text to the serial port; '\n' ends a line. */
void print(const char *text);
void print_number(uint64_t value);
void print_hex(uint64_t value);
/* One whole line: text, number. */
void print_result(const char *text, uint64_t value);

/* Prints "ok NAME" or "not ok NAME", and counts the latter. */
void expect(bool is_true, const char *name);
/* How many expect() failed. */
uint32_t failures(void);

/* The number in the command line's word NAME=NUMBER, or `otherwise` if there is no such word. */
uint64_t option_number(const char *name, uint64_t otherwise);
/* True if the command line has the word NAME=VALUE. */
bool option_is(const char *name, const char *value);

/* Where the loader put the initrd. False: there is none. */
bool initrd_find(uint64_t *out_start, uint64_t *out_size_bytes);

/* Starts the VM's second CPU in body(argument); it halts when that returns. */
void second_cpu_start(void (*body)(void *argument), void *argument);

/* Prints the prompt and sleeps until a key is typed. */
void key_wait(const char *prompt);

/* The end of the RAM that starts at 1 MiB or below, as the loader says; at most 4 GiB. */
uint64_t ram_end(void);
/* The first page after the image. */
uint64_t image_memory_end(void);
/* Halts for `ticks` of the TSC, and up to a timer period longer. Other VMs may use the CPU. */
void halt_for(uint64_t ticks);

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline volatile uint64_t *word_at(uint64_t address)
{
	return (volatile uint64_t *)address;
}

/* The vector of the exception that the last FAULTING() raised, or NO_FAULT. */
#define NO_FAULT ~0ull
extern uint64_t trap_vector;
/* The address at which the exception handler goes on. 0: the exception ends the guest. */
extern uint64_t trap_resume;

/*
 * Runs one instruction that may fault, and returns the vector or NO_FAULT. RAX,
 * RBX and RDX may change; operands must be in other registers.
 */
#define FAULTING(instruction, ...)                                                  \
	({                                                                          \
		uint64_t scratch_;                                                  \
		trap_vector = NO_FAULT;                                             \
		__asm__ volatile("leaq 1f(%%rip), %0\n\t"                           \
				 "movq %0, trap_resume(%%rip)\n\t" instruction "\n" \
				 "1:\tmovq $0, trap_resume(%%rip)"                  \
				 : "=&r"(scratch_)                                  \
				 : __VA_ARGS__                                      \
				 : "rax", "rbx", "rdx", "memory", "cc");            \
		trap_vector;                                                        \
	})

#define VECTOR_UD 6
#define VECTOR_GP 13
#define VECTOR_PF 14

#pragma GCC visibility pop

#endif
