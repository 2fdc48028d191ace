/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration mechanism 1, with one function on the bus: 00:00.0, an
 * Intel 440FX host bridge, which every system knows and leaves alone. Its
 * configuration space cannot be written. Everything else reads all ones.
 *
 * Reference: PCI Local Bus Specification 3.0, "Software Generation of
 * Configuration Transactions", "Configuration Space Organization".
 */
#include "vpci.h"

#include <quire/bits.h>

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

uint32_t vpci_read(const struct vpci *pci, unsigned offset, unsigned size)
{
	/* The address register answers to whole double words only. */
	if (offset < 4)
		return size == 4 ? pci->address : ~0u;
	return config_load(pci->address) >> 8 * (offset - 4);
}

void vpci_write(struct vpci *pci, unsigned offset, unsigned size, uint32_t value)
{
	if (offset == 0 && size == 4)
		pci->address = value & ADDRESS_WRITABLE;
}
