/* SPDX-License-Identifier: MIT */
/*
 * The single ports of a PC's chip set.
 *
 * There is no keyboard controller, only its reset line. Its status always reads
 * "output full", so that a probe that drains the buffer gives up after one buffer's
 * worth of reads, and never "input full", so that a guest sends the reset pulse
 * without waiting. Address line 20 cannot be turned off.
 *
 * Reference: 82371AB data sheet, "NMI Status and Control Register", "Port 92
 * Register", "Reset Control Register".
 */
#include "vsys.h"

#include "vpc_internal.h"

#define PORT_B          0x61u
#define KEYBOARD_STATUS 0x64u
#define PORT_A          0x92u
#define DEBUG_CONSOLE   0xe9u
#define DEBUG_EXIT      0xf4u

#define PORT_B_GATE    BIT32(0) /* of PIT channel 2 */
#define PORT_B_KEPT    0x0fu
#define PORT_B_REFRESH BIT32(4) /* toggles with each memory refresh */
#define PORT_B_OUTPUT  BIT32(5) /* of PIT channel 2 */
#define REFRESH_SHIFT  4u       /* 16 PIT ticks, 13.4 us; on a PC 15 us */

#define PORT_A_RESET BIT32(0)
#define PORT_A_A20   BIT32(1)
#define RESET_CPU    BIT32(2)
#define RESET_KEPT   0x0eu

#define KEYBOARD_ABSENT      0xfdu /* all bits but "input full" */
#define KEYBOARD_PULSE       0xf0u /* commands that pulse the lines whose bits are 0 */
#define KEYBOARD_PULSE_RESET BIT32(0)

#define DEBUG_CONSOLE_PRESENT 0xe9u

static struct vsys *sys_of(struct vdev *dev)
{
	return container_of(dev, struct vsys, dev);
}

static void reset(struct vdev *dev, uint64_t now)
{
	struct vsys *sys = sys_of(dev);
	(void)now;
	sys->port_b = 0;
	sys->port_a = PORT_A_A20;
	sys->reset = 0;
}

static uint8_t read_port_b(const struct vsys *sys, uint64_t now)
{
	const struct vpit *pit = &vpc_of(&sys->dev)->pit;
	uint64_t refreshes = vpit_ticks(pit, now) >> REFRESH_SHIFT;
	uint8_t value = sys->port_b;
	if (refreshes & 1)
		value |= PORT_B_REFRESH;
	if (vpit_output(pit, VPIT_SPEAKER, now))
		value |= PORT_B_OUTPUT;
	return value;
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	const struct vsys *sys = sys_of(dev);

	switch (port) {
	case PORT_B: return read_port_b(sys, now);
	case KEYBOARD_STATUS: return KEYBOARD_ABSENT;
	case PORT_A: return sys->port_a;
	case VSYS_RESET: return sys->reset;
	case DEBUG_CONSOLE: return sys->has_debug_console ? DEBUG_CONSOLE_PRESENT : 0xff;
	default: return (uint32_t)vdev_bytes(~0u, size); /* the debug exit is write only */
	}
}

static void power(const struct vsys *sys, enum vpc_power what, uint32_t value)
{
	const struct vpc *vpc = vpc_of(&sys->dev);
	vpc->host->power(vpc->vm, what, value);
}

static void write_keyboard(const struct vsys *sys, uint8_t value)
{
	if ((value & KEYBOARD_PULSE) == KEYBOARD_PULSE && !(value & KEYBOARD_PULSE_RESET))
		power(sys, VPC_POWER_RESET, 0);
}

static void write_port_a(struct vsys *sys, uint8_t value)
{
	bool is_pulse = value & (uint8_t)~sys->port_a & PORT_A_RESET;
	sys->port_a = (value & PORT_A_RESET) | PORT_A_A20;
	if (is_pulse)
		power(sys, VPC_POWER_RESET, 0);
}

static void write_reset(struct vsys *sys, uint8_t value)
{
	bool is_rising = value & (uint8_t)~sys->reset & RESET_CPU;
	sys->reset = value & RESET_KEPT;
	if (is_rising)
		power(sys, VPC_POWER_RESET, 0);
}

static void write_debug_console(const struct vsys *sys, uint8_t value)
{
	const struct vpc *vpc = vpc_of(&sys->dev);
	if (sys->has_debug_console)
		vpc->host->serial_output(vpc->vm, &value, 1);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	struct vsys *sys = sys_of(dev);

	(void)size;
	switch (port) {
	case PORT_B:
		sys->port_b = value & PORT_B_KEPT;
		vpit_gate_set(&vpc_of(dev)->pit, VPIT_SPEAKER, value & PORT_B_GATE, now);
		break;
	case KEYBOARD_STATUS: write_keyboard(sys, (uint8_t)value); break;
	case PORT_A: write_port_a(sys, (uint8_t)value); break;
	case VSYS_RESET: write_reset(sys, (uint8_t)value); break;
	case DEBUG_CONSOLE: write_debug_console(sys, (uint8_t)value); break;
	case DEBUG_EXIT:
		if (sys->has_debug_exit)
			power(sys, VPC_POWER_DEBUG_EXIT, value);
		break;
	default: break;
	}
}

static const struct vdev_ops sys_ops = {
	.name = "sys",
	.reset = reset,
	.port_read = port_read,
	.port_write = port_write,
};

void vsys_init(struct vsys *sys, struct vpc *vpc, const struct vpc_config *config)
{
	static const uint16_t ports[] = { PORT_B, KEYBOARD_STATUS, PORT_A, DEBUG_CONSOLE,
					  VSYS_RESET };

	sys->has_debug_exit = config->has_debug_exit;
	sys->has_debug_console = config->has_debug_console;
	bus_add(&vpc->bus, &sys->dev, &sys_ops);
	for (unsigned i = 0; i < ARRAY_COUNT(ports); i++)
		bus_ports_claim(&vpc->bus, &sys->dev, ports[i], 1, BUS_BYTES);
	bus_ports_claim(&vpc->bus, &sys->dev, DEBUG_EXIT, 1, BUS_WHOLE);
}
