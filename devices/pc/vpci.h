/* SPDX-License-Identifier: MIT */
/* PCI configuration ports and the host bridge, the only function there is; see vpci.c. */
#ifndef DEVICES_PC_VPCI_H
#define DEVICES_PC_VPCI_H

#include <quire/compiler.h>

#define VPCI_ADDRESS_PORT 0xcf8u
#define VPCI_DATA_PORT    0xcfcu

struct vpci {
	uint32_t address;
};

/* `offset` is from VPCI_ADDRESS_PORT, 0..7; the access does not pass 7. */
uint32_t vpci_read(const struct vpci *pci, unsigned offset, unsigned size);
void vpci_write(struct vpci *pci, unsigned offset, unsigned size, uint32_t value);

#endif
