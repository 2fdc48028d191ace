/* SPDX-License-Identifier: MIT */
/* Jumps to where there is no memory. Nothing but this VM may suffer from that. */

#include "guest.h"

#define NOTHING_THERE 0xd0000000ull

uint32_t guest_main(void)
{
	print("lost: jumping\n");
	__asm__ volatile("jmp *%0" : : "r"(NOTHING_THERE));
	return 1;
}
