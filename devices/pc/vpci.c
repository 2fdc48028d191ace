/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration mechanism 1, with one function on the bus: 00:00.0, an Intel
 * 440FX host bridge, which every operating system knows and leaves alone. Its
 * configuration space is read only. All other functions read all ones.
 *
 * Reference: PCI Local Bus Specification 3.0, "Software Generation of
 * Configuration Transactions", "Configuration Space Organization".
 */
#include "vpci.h"

#include "vpc_internal.h"

#define ADDRESS_PORT 0xcf8u /* CONFIG_ADDRESS; the port of its second byte is VSYS_RESET */
#define DATA_PORT    0xcfcu /* CONFIG_DATA */
#define PORT_END     0xd00u

#define ADDRESS_ENABLE   BIT32(31)
#define ADDRESS_WRITABLE 0x80fffffcu
#define ADDRESS_FUNCTION 0x00ffff00u /* bus, device, function */
#define ADDRESS_REGISTER 0x000000fcu

#define REG_ID      0x00u
#define REG_COMMAND 0x04u
#define REG_CLASS   0x08u

#define BRIDGE_ID      0x12378086u
#define BRIDGE_COMMAND 0x02800006u /* memory, bus master; medium timing, fast back-to-back */
#define BRIDGE_CLASS   0x06000002u /* host bridge, revision 2 */

static uint32_t config_load(uint32_t address)
{
	if (!(address & ADDRESS_ENABLE) || (address & ADDRESS_FUNCTION) != 0)
		return ~0u;
	switch (address & ADDRESS_REGISTER) {
	case REG_ID: return BRIDGE_ID;
	case REG_COMMAND: return BRIDGE_COMMAND;
	case REG_CLASS: return BRIDGE_CLASS;
	default: return 0;
	}
}

static struct vpci *pci_of(struct vdev *dev)
{
	return container_of(dev, struct vpci, dev);
}

static void reset(struct vdev *dev, uint64_t now)
{
	(void)now;
	pci_of(dev)->address = 0;
}

static uint32_t port_read(struct vdev *dev, uint16_t port, unsigned size, uint64_t now)
{
	const struct vpci *pci = pci_of(dev);
	uint32_t value = ~0u;

	(void)now;
	/* The address register answers to accesses of four bytes only. */
	if (port == ADDRESS_PORT && size == 4)
		value = pci->address;
	else if (port >= DATA_PORT)
		value = config_load(pci->address) >> 8 * (port - DATA_PORT);
	return (uint32_t)vdev_bytes(value, size);
}

static void port_write(struct vdev *dev, uint16_t port, unsigned size, uint32_t value, uint64_t now)
{
	(void)now;
	if (port == ADDRESS_PORT && size == 4)
		pci_of(dev)->address = value & ADDRESS_WRITABLE;
}

static const struct vdev_ops pci_ops = {
	.name = "pci",
	.reset = reset,
	.port_read = port_read,
	.port_write = port_write,
};

void vpci_init(struct vpci *pci, struct vpc *vpc)
{
	struct bus *bus = &vpc->bus;

	bus_add(bus, &pci->dev, &pci_ops);
	bus_ports_claim(bus, &pci->dev, ADDRESS_PORT, VSYS_RESET - ADDRESS_PORT, BUS_WHOLE);
	bus_ports_claim(bus, &pci->dev, VSYS_RESET + 1, PORT_END - (VSYS_RESET + 1), BUS_WHOLE);
}
