/* SPDX-License-Identifier: MIT */
/*
 * Reads every port, the registers of local APIC and IOAPIC, and three blocks of
 * model-specific registers, and writes garbage to them. It leaves out only what
 * ends the VM by design, so that it can report at its end that it got that far.
 */

#include "guest.h"

#define PORT_COUNT         0x10000u
#define SERIAL             0x3f8u
#define SERIAL_COUNT       8u
#define LAPIC              0xfee00000ull
#define LAPIC_SIZE         0x400u
#define LAPIC_ICR_LOW      0x300u
#define IOAPIC             0xfec00000ull
#define IOAPIC_DATA        0x10u
#define IOAPIC_INDEX_COUNT 0x40u
#define MSR_APIC_BASE      0x1bu
#define MSR_BLOCK          0x2000u

/*
 * Bits 5, 13, 21 and 29 stay clear: bit 13 of the power-management control
 * register would put the machine to sleep.
 */
#define HARMLESS 0xdfdfdfdfu

static uint64_t random_state = 0x2545f4914f6cdd1dull;

/* xorshift64: the same garbage in every run. */
static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* True for ports where a write resets or ends the machine, and for our own output. */
static bool is_spared(uint32_t port)
{
	return port == 0x64 || port == 0x92 || port == 0xcf9 || port == 0xe9 ||
	       (port >= 0xf4 && port < 0xf8) || (port >= SERIAL && port < SERIAL + SERIAL_COUNT);
}

static bool is_access_spared(uint32_t port, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		if (is_spared(port + i))
			return true;
	return false;
}

static void ports_read(void)
{
	for (uint32_t port = 0; port < PORT_COUNT; port++) {
		(void)in8((uint16_t)port);
		(void)in16((uint16_t)port);
		(void)in32((uint16_t)port);
	}
}

static void ports_write(void)
{
	for (uint32_t port = 0; port < PORT_COUNT; port++) {
		uint32_t value = (uint32_t)random_next() & HARMLESS;

		if (!is_access_spared(port, 1))
			out8((uint16_t)port, (uint8_t)value);
		if (!is_access_spared(port, 2))
			out16((uint16_t)port, (uint16_t)value);
		if (!is_access_spared(port, 4))
			out32((uint16_t)port, value);
	}
}

/* String instructions, to memory and from it. */
static void ports_string(void)
{
	static uint8_t buffer[4096];
	void *where = buffer;
	uint64_t count = sizeof(buffer);

	__asm__ volatile("rep insb" : "+D"(where), "+c"(count) : "d"(0x61) : "memory");
	where = buffer;
	count = sizeof(buffer) / 4;
	__asm__ volatile("rep outsl" : "+S"(where), "+c"(count) : "d"(0x2e0) : "memory");
}

static void serial_write(void)
{
	for (unsigned i = 0; i < 4096; i++) {
		uint16_t port = (uint16_t)(SERIAL + 1 + i % (SERIAL_COUNT - 1));
		out8(port, (uint8_t)random_next());
		(void)in8(port);
	}
	/* The state at the start: 8 bits, no interrupts, FIFOs empty, no loop-back. */
	out8(SERIAL + 3, 0x03);
	out8(SERIAL + 1, 0x00);
	out8(SERIAL + 2, 0x07);
	out8(SERIAL + 4, 0x03);
}

static void device_memory_write(void)
{
	for (uint32_t offset = 0; offset < LAPIC_SIZE; offset += 4) {
		volatile uint32_t *reg = (volatile uint32_t *)(LAPIC + offset);
		uint32_t value = *reg;

		/* Garbage could send an INIT to this CPU, which is a reset. */
		if (offset != LAPIC_ICR_LOW)
			*reg = value ^ (uint32_t)random_next();
	}
	/* Sizes and alignments that no driver uses. */
	(void)*(volatile uint8_t *)(LAPIC + 0x21);
	(void)*(volatile uint16_t *)(LAPIC + 0x22);
	(void)*(volatile uint64_t *)(LAPIC + 0x34);
	*(volatile uint64_t *)(LAPIC + 0x7e) = random_next();
	for (unsigned i = 0; i < IOAPIC_INDEX_COUNT; i++) {
		*(volatile uint32_t *)IOAPIC = (uint32_t)random_next();
		*(volatile uint32_t *)(IOAPIC + IOAPIC_DATA) = (uint32_t)random_next();
		(void)*(volatile uint32_t *)(IOAPIC + IOAPIC_DATA);
		*(volatile uint8_t *)(IOAPIC + i) = (uint8_t)random_next();
	}
}

static bool msr_touch(uint32_t msr)
{
	uint64_t vector = FAULTING("rdmsr", "c"(msr));

	if (vector != NO_FAULT && vector != VECTOR_GP)
		return false;
	if (msr == MSR_APIC_BASE)
		return true;
	uint64_t garbage = random_next();
	vector = FAULTING("movq %1, %%rax; movq %1, %%rdx; shrq $32, %%rdx; wrmsr", "r"(garbage),
			  "c"(msr));
	return vector == NO_FAULT || vector == VECTOR_GP;
}

static bool msrs_touch(uint32_t first)
{
	for (uint32_t i = 0; i < MSR_BLOCK; i++)
		if (!msr_touch(first + i))
			return false;
	return true;
}

uint32_t guest_main(void)
{
	ports_read();
	print("ok badio.ports_read\n");
	ports_write();
	print("ok badio.ports_written\n");
	ports_string();
	print("ok badio.strings\n");
	device_memory_write();
	print("ok badio.device_memory\n");
	serial_write();
	print("ok badio.serial\n");
	expect(msrs_touch(0), "badio.msrs_intel");
	expect(msrs_touch(0xc0000000u), "badio.msrs_long_mode");
	expect(msrs_touch(0xc0010000u), "badio.msrs_amd");
	expect(msr_touch(0x12345678u), "badio.msr_nowhere");
	return failures();
}
