/* SPDX-License-Identifier: MIT */
/* PCI configuration ports and the only function, the host bridge; see vpci.c. */
#ifndef DEVICES_PC_VPCI_H
#define DEVICES_PC_VPCI_H

#include "devices/vdev.h"

struct vpc;

struct vpci {
	struct vdev dev;
	uint32_t address; /* CONFIG_ADDRESS */
};

void vpci_init(struct vpci *pci, struct vpc *vpc);

#endif
