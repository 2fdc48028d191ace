/* SPDX-License-Identifier: MIT */
/*
 * The single ports of a PC's chip set.
 *
 * There is no keyboard controller; only its reset line is there. Its status
 * reads "output full" for ever, so that a probe that drains it gives up after
 * one buffer, and never "input full", so that nobody waits before the reset
 * pulse. Address line 20 cannot be turned off.
 *
 * Reference: 82371AB data sheet, "NMI Status and Control Register", "Port 92
 * Register", "Reset Control Register".
 */
#include "vsys.h"

#include "vpc_internal.h"

#define PORT_B_GATE    BIT32(0) /* of PIT channel 2 */
#define PORT_B_KEPT    0x0fu
#define PORT_B_REFRESH BIT32(4) /* toggles with each memory refresh */
#define PORT_B_OUTPUT  BIT32(5) /* of PIT channel 2 */
#define REFRESH_SHIFT  4u       /* 16 PIT ticks, 13.4 us; the real one takes 15 us */

#define PORT_A_RESET BIT32(0)
#define PORT_A_A20   BIT32(1)
#define RESET_CPU    BIT32(2)
#define RESET_KEPT   0x0eu

#define KEYBOARD_ABSENT      0xfdu /* all but "input full" */
#define KEYBOARD_PULSE       0xf0u /* commands that pulse the lines whose bits are 0 */
#define KEYBOARD_PULSE_RESET BIT32(0)

#define DEBUG_CONSOLE_PRESENT 0xe9u

void vsys_reset(struct vpc *vpc)
{
	vpc->sys = (struct vsys){ .port_a = PORT_A_A20 };
}

static uint8_t read_port_b(const struct vpc *vpc, uint64_t now)
{
	uint64_t refreshes = vclock_apply(&vpc->pit_per_tsc, now) >> REFRESH_SHIFT;
	uint8_t value = vpc->sys.port_b;
	if (refreshes & 1)
		value |= PORT_B_REFRESH;
	if (vpit_output(vpc, VPIT_SPEAKER, now))
		value |= PORT_B_OUTPUT;
	return value;
}

uint8_t vsys_read(struct vpc *vpc, uint16_t port, uint64_t now)
{
	switch (port) {
	case VSYS_PORT_B: return read_port_b(vpc, now);
	case VSYS_KEYBOARD_STATUS: return KEYBOARD_ABSENT;
	case VSYS_PORT_A: return vpc->sys.port_a;
	case VSYS_RESET: return vpc->sys.reset;
	case VSYS_DEBUG_CONSOLE: return vpc->has_debug_console ? DEBUG_CONSOLE_PRESENT : 0xff;
	default: return 0xff;
	}
}

static void reset_machine(struct vpc *vpc)
{
	vpc->host->power(vpc->vm, VPC_POWER_RESET, 0);
}

static void write_port_a(struct vpc *vpc, uint8_t value)
{
	bool is_pulse = value & (uint8_t)~vpc->sys.port_a & PORT_A_RESET;
	vpc->sys.port_a = (value & PORT_A_RESET) | PORT_A_A20;
	if (is_pulse)
		reset_machine(vpc);
}

static void write_reset(struct vpc *vpc, uint8_t value)
{
	bool is_rising = value & (uint8_t)~vpc->sys.reset & RESET_CPU;
	vpc->sys.reset = value & RESET_KEPT;
	if (is_rising)
		reset_machine(vpc);
}

void vsys_write(struct vpc *vpc, uint16_t port, uint8_t value, uint64_t now)
{
	switch (port) {
	case VSYS_PORT_B:
		vpc->sys.port_b = value & PORT_B_KEPT;
		vpit_gate_set(vpc, VPIT_SPEAKER, value & PORT_B_GATE, now);
		break;
	case VSYS_KEYBOARD_STATUS:
		if ((value & KEYBOARD_PULSE) == KEYBOARD_PULSE && !(value & KEYBOARD_PULSE_RESET))
			reset_machine(vpc);
		break;
	case VSYS_PORT_A: write_port_a(vpc, value); break;
	case VSYS_RESET: write_reset(vpc, value); break;
	case VSYS_DEBUG_CONSOLE:
		if (vpc->has_debug_console)
			vpc->host->serial_output(vpc->vm, &value, 1);
		break;
	default: break;
	}
}

void vsys_debug_exit(struct vpc *vpc, uint32_t value)
{
	if (vpc->has_debug_exit)
		vpc->host->power(vpc->vm, VPC_POWER_DEBUG_EXIT, value);
}
