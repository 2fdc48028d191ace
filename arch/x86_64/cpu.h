/* SPDX-License-Identifier: MIT */
/*
 * Wrappers of one instruction each. Other files hold inline assembly only for what no
 * other file needs: loading descriptor tables, %gs, a fence, VMX, string instructions.
 */
#ifndef ARCH_X86_64_CPU_H
#define ARCH_X86_64_CPU_H

#include <quire/compiler.h>

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

static inline void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
	asm volatile("cpuid"
		     : "=a"(out->eax), "=b"(out->ebx), "=c"(out->ecx), "=d"(out->edx)
		     : "a"(leaf), "c"(subleaf));
}

static inline uint64_t cpu_rdtsc(void)
{
	uint32_t low, high;
	asm volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void cpu_irq_enable(void)
{
	asm volatile("sti" ::: "memory");
}

static inline void cpu_irq_disable(void)
{
	asm volatile("cli" ::: "memory");
}

/* Enables interrupts and halts. STI's shadow keeps an interrupt from coming in between. */
static inline void cpu_irq_enable_and_halt(void)
{
	asm volatile("sti; hlt" ::: "memory");
}

static inline uint64_t cpu_irq_save(void)
{
	uint64_t flags;
	asm volatile("pushfq; popq %0; cli" : "=r"(flags)::"memory");
	return flags;
}

static inline void cpu_irq_restore(uint64_t flags)
{
	asm volatile("pushq %0; popfq" ::"r"(flags) : "memory", "cc");
}

static inline void cpu_halt(void)
{
	asm volatile("hlt" ::: "memory");
}

static inline void cpu_pause(void)
{
	asm volatile("pause" ::: "memory");
}

static inline uint8_t cpu_in8(uint16_t port)
{
	uint8_t value;
	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void cpu_out8(uint16_t port, uint8_t value)
{
	asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void cpu_out16(uint16_t port, uint16_t value)
{
	asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void cpu_out32(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint64_t cpu_read_cr0(void)
{
	uint64_t value;
	asm volatile("movq %%cr0, %0" : "=r"(value));
	return value;
}

static inline void cpu_write_cr0(uint64_t value)
{
	asm volatile("movq %0, %%cr0" ::"r"(value) : "memory");
}

static inline uint64_t cpu_read_cr2(void)
{
	uint64_t value;
	asm volatile("movq %%cr2, %0" : "=r"(value));
	return value;
}

static inline void cpu_write_cr2(uint64_t value)
{
	asm volatile("movq %0, %%cr2" ::"r"(value));
}

static inline uint64_t cpu_read_cr3(void)
{
	uint64_t value;
	asm volatile("movq %%cr3, %0" : "=r"(value));
	return value;
}

static inline void cpu_write_cr3(uint64_t value)
{
	asm volatile("movq %0, %%cr3" ::"r"(value) : "memory");
}

static inline uint64_t cpu_read_cr4(void)
{
	uint64_t value;
	asm volatile("movq %%cr4, %0" : "=r"(value));
	return value;
}

static inline void cpu_write_cr4(uint64_t value)
{
	asm volatile("movq %0, %%cr4" ::"r"(value) : "memory");
}

static inline void cpu_invlpg(const void *address)
{
	asm volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static inline uint64_t cpu_xgetbv(uint32_t index)
{
	uint32_t low, high;
	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static inline void cpu_xsetbv(uint32_t index, uint64_t value)
{
	asm volatile("xsetbv" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(index));
}

static inline void cpu_xsave(void *area, uint64_t mask)
{
	asm volatile("xsave64 (%0)" ::"r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
		     : "memory");
}

static inline void cpu_xrstor(const void *area, uint64_t mask)
{
	asm volatile("xrstor64 (%0)" ::"r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
		     : "memory");
}

static inline void cpu_fxsave(void *area)
{
	asm volatile("fxsave64 (%0)" ::"r"(area) : "memory");
}

static inline void cpu_fxrstor(const void *area)
{
	asm volatile("fxrstor64 (%0)" ::"r"(area) : "memory");
}

/*
 * Overwrites the recorded addresses of the last x87 instruction and of its operand:
 * a restore need not load them (APM vol. 3, "FXRSTOR").
 */
static inline void cpu_x87_pointers_clear(void)
{
	static const uint32_t zero;
	asm volatile("fnclex; emms; fildl %0" ::"m"(zero));
}

/* DR7 is missing because the world switch handles it. On AMD-V it handles DR6 as well. */
#define CPU_DR_ACCESSORS(n)                                        \
	static inline uint64_t cpu_read_dr##n(void)                \
	{                                                          \
		uint64_t value;                                    \
		asm volatile("movq %%dr" #n ", %0" : "=r"(value)); \
		return value;                                      \
	}                                                          \
	static inline void cpu_write_dr##n(uint64_t value)         \
	{                                                          \
		asm volatile("movq %0, %%dr" #n ::"r"(value));     \
	}
CPU_DR_ACCESSORS(0)
CPU_DR_ACCESSORS(1)
CPU_DR_ACCESSORS(2)
CPU_DR_ACCESSORS(3)
CPU_DR_ACCESSORS(6)
#undef CPU_DR_ACCESSORS

/* What SGDT and SIDT store. */
struct cpu_table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static inline uint64_t cpu_gdt_base(void)
{
	struct cpu_table_register table;
	asm volatile("sgdt %0" : "=m"(table));
	return table.base;
}

static inline uint64_t cpu_idt_base(void)
{
	struct cpu_table_register table;
	asm volatile("sidt %0" : "=m"(table));
	return table.base;
}

static inline uint16_t cpu_task_selector(void)
{
	uint16_t selector;
	asm volatile("str %0" : "=r"(selector));
	return selector;
}

/* 32-bit device registers. */
static inline uint32_t mmio_read32(const volatile void *address)
{
	uint32_t value;
	asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void mmio_write32(volatile void *address, uint32_t value)
{
	asm volatile("movl %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

#endif
