/* SPDX-License-Identifier: MIT */
/* Spins for ever with interrupts off. Other VMs must get their share of the CPU all the same. */

#include "guest.h"

uint32_t guest_main(void)
{
	print("spin: spinning\n");
	for (;;)
		__asm__ volatile("");
}
