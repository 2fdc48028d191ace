/* SPDX-License-Identifier: MIT */
/* Triple-faults: an exception without any interrupt table. */

#include "guest.h"

uint32_t guest_main(void)
{
	static const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} nothing = { 0, 0 };

	print("triple: now\n");
	__asm__ volatile("lidt %0; ud2" : : "m"(nothing));
	return 1;
}
