/* SPDX-License-Identifier: MIT */
/*
 * Local APIC with xAPIC and x2APIC mode: its registers, the memory through which a
 * guest reaches them, and interrupts (vlapic.c), its timer (vlapic_timer.c), messages
 * between APICs (vlapic_message.c), its MSRs (vlapic_msr.c).
 */
#ifndef DEVICES_PC_VLAPIC_H
#define DEVICES_PC_VLAPIC_H

#include "devices/vdev.h"

struct vpc;

/*
 * The frequency of the manual's bus clock, which the timer counts through the divide
 * register. In TSC-deadline mode the timer compares with the guest's TSC instead.
 */
#define VLAPIC_TIMER_HZ 1000000000u

#define VLAPIC_REG_COUNT 0x40u
/* The address bits that select a register in memory. Registers are 16 bytes apart. */
#define LAPIC_MMIO_REGISTERS ((VLAPIC_REG_COUNT - 1) * 16ull)

/* Registers by number: the offset in memory / 16, or the x2APIC MSR - 0x800. */
enum vlapic_register {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10,
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_ICR = 0x30,
	LAPIC_ICR_HIGH = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_COUNTER = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_TIMER_INITIAL = 0x38,
	LAPIC_TIMER_CURRENT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};

#define LAPIC_LVT_FIRST LAPIC_LVT_TIMER
#define LAPIC_LVT_LAST  LAPIC_LVT_ERROR

#define LAPIC_SVR_ENABLED  BIT32(8)
#define LAPIC_LVT_MASKED   BIT32(16)
#define LAPIC_LVT_MODE     MASK64(10, 8)
#define LAPIC_ICR_MODE     MASK64(10, 8)
#define LAPIC_ICR_WRITABLE 0x000ccfffu
#define LAPIC_VECTOR       MASK64(7, 0)
#define LAPIC_VECTOR_MIN   16u

#define LAPIC_ERROR_SEND_VECTOR    BIT32(5)
#define LAPIC_ERROR_RECEIVE_VECTOR BIT32(6)
#define LAPIC_ERROR_REGISTER       BIT32(7)

enum vlapic_delivery {
	DELIVERY_FIXED = 0,
	DELIVERY_LOWEST = 1,
	DELIVERY_SMI = 2,
	DELIVERY_RESERVED = 3,
	DELIVERY_NMI = 4,
	DELIVERY_INIT = 5,
	DELIVERY_STARTUP = 6,
	DELIVERY_EXTINT = 7,
};

#define LAPIC_BASE_BSP     BIT64(8)
#define LAPIC_BASE_X2APIC  BIT64(10)
#define LAPIC_BASE_ENABLED BIT64(11)

/* Bits of `pending`. */
#define LAPIC_PENDING_APIC   BIT32(0)
#define LAPIC_PENDING_EXTINT BIT32(1)

struct vlapic {
	struct vdev dev;     /* its deadline is that of the timer */
	uint8_t pending;     /* LAPIC_PENDING_ bits; see vpc_interrupt_pending() */
	uint8_t irr_summary; /* bit n: word n of IRR is not zero */
	uint8_t isr_summary;
	bool is_nmi_pending;
	uint32_t index;  /* of the vCPU; also the APIC ID */
	uint32_t errors; /* those since ESR was last written */
	uint64_t base;   /* IA32_APIC_BASE */
	uint64_t period; /* guest TSC ticks; 0 unless periodic */
	uint32_t regs[VLAPIC_REG_COUNT];
};

struct vlapic_message {
	uint32_t destination;
	bool is_logical;
	bool is_level;
	uint8_t mode; /* enum vlapic_delivery */
	uint8_t vector;
};

static inline bool vlapic_is_enabled(const struct vlapic *lapic)
{
	return lapic->base & LAPIC_BASE_ENABLED;
}

static inline bool vlapic_is_x2apic(const struct vlapic *lapic)
{
	return lapic->base & LAPIC_BASE_X2APIC;
}

void vlapic_init(struct vlapic *lapic, struct vpc *vpc, unsigned index);
/* Sets the registers to their state after INIT. The mode and the ID stay. */
void vlapic_registers_reset(struct vpc *vpc, struct vlapic *lapic);
/* Works out PPR and `pending`, and tells the host if an interrupt became pending. */
void vlapic_update(struct vpc *vpc, struct vlapic *lapic);
/* Sets or clears one LAPIC_PENDING_ bit. */
void vlapic_pending_set(struct vpc *vpc, struct vlapic *lapic, uint8_t bit, bool is_pending);
/* A fixed interrupt arrives. False if the APIC does not take it. */
bool vlapic_accept(struct vpc *vpc, struct vlapic *lapic, uint8_t vector, bool is_level);
void vlapic_nmi(struct vpc *vpc, struct vlapic *lapic);
/* A local interrupt source fires. `lvt` is its register. */
void vlapic_lvt_fire(struct vpc *vpc, struct vlapic *lapic, enum vlapic_register lvt);
void vlapic_error(struct vpc *vpc, struct vlapic *lapic, uint32_t error);
/* Moves the highest interrupt from IRR to ISR and returns its vector; only while one is pending. */
uint8_t vlapic_acknowledge(struct vpc *vpc, struct vlapic *lapic);
/* Call this when the PICs' output, or vCPU 0's use of it (ExtINT), may have changed. */
void vlapic_extint_update(struct vpc *vpc);

/* The bits of a local vector entry that software can set. */
uint32_t vlapic_lvt_writable(unsigned number);

/* Writes one register. The caller has made the checks of its way in, memory or MSR. */
void vlapic_register_write(struct vpc *vpc, struct vlapic *lapic, unsigned number, uint32_t value,
			   uint64_t now);
uint64_t vlapic_mmio_read(struct vpc *vpc, struct vlapic *lapic, unsigned offset, unsigned size,
			  uint64_t now);
void vlapic_mmio_write(struct vpc *vpc, struct vlapic *lapic, unsigned offset, unsigned size,
		       uint64_t value, uint64_t now);

/* Writes of the registers that the timer depends on. Each arms the timer or stops it. */
void vlapic_timer_lvt_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value);
void vlapic_timer_initial_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value,
				uint64_t now);
void vlapic_timer_divide_write(struct vpc *vpc, struct vlapic *lapic, uint32_t value, uint64_t now);
uint32_t vlapic_timer_current(const struct vpc *vpc, const struct vlapic *lapic, uint64_t now);
uint64_t vlapic_timer_deadline_read(const struct vlapic *lapic);
void vlapic_timer_deadline_write(struct vpc *vpc, struct vlapic *lapic, uint64_t value,
				 uint64_t now);
void vlapic_timer_stop(struct vlapic *lapic);
/* The deadline has come, or the guest has set one in the past. */
void vlapic_timer_fire(struct vpc *vpc, struct vlapic *lapic, uint64_t now);

/* Sends a message to the APICs that it addresses. True if one of them took it. */
bool vlapic_message_send(struct vpc *vpc, const struct vlapic_message *message);
/* Carries out an interrupt command. `destination` is in the format of the sender's mode. */
void vlapic_icr_send(struct vpc *vpc, struct vlapic *lapic, uint32_t command, uint32_t destination);

static inline uint32_t vlapic_register_read(const struct vpc *vpc, const struct vlapic *lapic,
					    unsigned number, uint64_t now)
{
	if (number == LAPIC_TIMER_CURRENT)
		return vlapic_timer_current(vpc, lapic, now);
	return lapic->regs[number];
}

bool vlapic_base_write(struct vpc *vpc, struct vlapic *lapic, uint64_t value);
bool vlapic_x2apic_read(const struct vpc *vpc, const struct vlapic *lapic, unsigned number,
			uint64_t *out_value, uint64_t now);
bool vlapic_x2apic_write(struct vpc *vpc, struct vlapic *lapic, unsigned number, uint64_t value,
			 uint64_t now);

#endif
