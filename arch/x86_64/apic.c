/* SPDX-License-Identifier: MIT */
/* The local APIC's registers: MSRs in x2APIC mode, memory otherwise. */
#include "apic.h"

#include <quire/bits.h>

#include "cpu.h"
#include "features.h"
#include "msr.h"
#include "trap.h"

/* Intel SDM vol. 3, "Local APIC Register Address Map". */
#define APIC_ID            0x020
#define APIC_TASK_PRIORITY 0x080
#define APIC_EOI           0x0b0
#define APIC_SPURIOUS      0x0f0
#define APIC_LVT_TIMER     0x320
#define APIC_LVT_LINT0     0x350
#define APIC_LVT_LINT1     0x360
#define APIC_LVT_ERROR     0x370
#define APIC_TIMER_INITIAL 0x380
#define APIC_TIMER_CURRENT 0x390
#define APIC_TIMER_DIVIDE  0x3e0

#define SPURIOUS_ENABLE  BIT32(8)
#define LVT_MASKED       BIT32(16)
#define LVT_DELIVERY_NMI (4u << 8)
#define LVT_TSC_DEADLINE (2u << 17)
#define DIVIDE_BY_1      0xbu
#define APIC_BASE_X2APIC BIT64(10)
#define APIC_BASE_ENABLE BIT64(11)

static volatile uint8_t *apic_registers; /* NULL: x2APIC */

static uint32_t apic_read(unsigned reg)
{
	if (!apic_registers)
		return (uint32_t)msr_read(MSR_X2APIC_FIRST + (reg >> 4));
	return mmio_read32(apic_registers + reg);
}

static void apic_write(unsigned reg, uint32_t value)
{
	if (!apic_registers)
		msr_write(MSR_X2APIC_FIRST + (reg >> 4), value);
	else
		mmio_write32(apic_registers + reg, value);
}

void apic_init(volatile void *registers)
{
	apic_registers = registers;
	uint64_t base = msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE;
	msr_write(MSR_APIC_BASE, base);
	if (!registers)
		msr_write(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
	apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | TRAP_VECTOR_SPURIOUS);
	apic_write(APIC_TASK_PRIORITY, 0);
	apic_write(APIC_LVT_LINT0, LVT_MASKED);
	apic_write(APIC_LVT_LINT1, LVT_DELIVERY_NMI);
	apic_write(APIC_LVT_ERROR, LVT_MASKED);
	apic_write(APIC_TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(APIC_LVT_TIMER, LVT_MASKED | TRAP_VECTOR_TIMER);
}

uint32_t apic_id(void)
{
	uint32_t id = apic_read(APIC_ID);
	return apic_registers ? id >> 24 : id;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_timer_arm(uint32_t ticks)
{
	apic_write(APIC_LVT_TIMER, TRAP_VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, ticks ? ticks : 1);
}

void apic_timer_arm_deadline(uint64_t deadline_tsc)
{
	apic_write(APIC_LVT_TIMER, LVT_TSC_DEADLINE | TRAP_VECTOR_TIMER);
	/* The LVT write must take effect first: Intel SDM vol. 3, "TSC-Deadline Mode". */
	asm volatile("mfence" ::: "memory");
	msr_write(MSR_TSC_DEADLINE, deadline_tsc ? deadline_tsc : 1);
}

void apic_timer_stop(void)
{
	apic_write(APIC_LVT_TIMER, LVT_MASKED | TRAP_VECTOR_TIMER);
	apic_write(APIC_TIMER_INITIAL, 0);
}

uint32_t apic_timer_remaining(void)
{
	return apic_read(APIC_TIMER_CURRENT);
}
