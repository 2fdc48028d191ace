/* SPDX-License-Identifier: MIT */
/* The symbol table that scripts/make-symbols.py makes of the first link. */
#include "panic.h"

extern const uint64_t symbols_count;
extern const uint64_t symbols_addresses[];
extern const uint32_t symbols_offsets[];
extern const char symbols_names[];

const char *symbol_find(uint64_t address, uint64_t *out_offset)
{
	uint64_t low = 0, high = symbols_count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (symbols_addresses[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return 0;
	*out_offset = address - symbols_addresses[low - 1];
	return symbols_names + symbols_offsets[low - 1];
}
