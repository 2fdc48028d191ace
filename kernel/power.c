/* SPDX-License-Identifier: MIT */
/* Powers off, reboots or halts: by the emulator's exit device, ACPI, or ports of the PC. */
#include "power.h"

#include <quire/bits.h>

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/features.h"
#include "drivers/acpi.h"

#include "console.h"

/* QEMU's isa-debug-exit: the emulator exits with status (value << 1) | 1. */
#define DEBUG_EXIT_PORT 0xf4
#define DEBUG_EXIT_BASE 0x10u

/* ACPI specification, "PM1 Control Registers". */
#define PM1_SLEEP_TYPE_SHIFT 10
#define PM1_SLEEP_ENABLE     BIT32(13)

#define RESET_CONTROL        0xcf9
#define RESET_FULL           0x06
#define KEYBOARD_CONTROL     0x64
#define KEYBOARD_PULSE_RESET 0xfe

static void say(enum exit_status status)
{
	console_print("quire: exit status %d\n", status);
	console_flush();
}

static void stop_cpu(void)
{
	for (;;) {
		cpu_irq_disable();
		cpu_halt();
	}
}

void power_off(enum exit_status status)
{
	cpu_irq_disable();
	say(status);
	if (cpu_features()->is_emulated)
		cpu_out32(DEBUG_EXIT_PORT, DEBUG_EXIT_BASE + (uint32_t)status);
	const struct acpi_info *acpi = acpi_info();
	if (acpi->has_s5 && acpi->pm1a_control) {
		uint16_t type = (uint16_t)(acpi->s5_type << PM1_SLEEP_TYPE_SHIFT);
		cpu_out16(acpi->pm1a_control, type);
		cpu_out16(acpi->pm1a_control, type | (uint16_t)PM1_SLEEP_ENABLE);
	}
	stop_cpu();
	__builtin_unreachable();
}

void power_reboot(void)
{
	cpu_irq_disable();
	console_flush();
	const struct acpi_info *acpi = acpi_info();
	if (acpi->has_reset)
		cpu_out8(acpi->reset_port, acpi->reset_value);
	cpu_out8(RESET_CONTROL, RESET_FULL);
	cpu_out8(KEYBOARD_CONTROL, KEYBOARD_PULSE_RESET);
	stop_cpu();
	__builtin_unreachable();
}

void power_halt(enum exit_status status)
{
	cpu_irq_disable();
	say(status);
	stop_cpu();
	__builtin_unreachable();
}
