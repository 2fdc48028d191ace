/* SPDX-License-Identifier: MIT */
/* Looks addresses up in the symbol table that scripts/make-symbols.py makes from the first link. */
#include "panic.h"

#include <quire/layout.h>

extern const uint32_t symbols_count;
extern const uint32_t symbols_starts[]; /* offsets from layout_text_start, ascending */
extern const uint16_t symbols_name_offsets[];
extern const char symbols_names[];

const char *symbol_find(uint64_t address, uint64_t *out_offset)
{
	uint64_t start = (uint64_t)layout_text_start, low = 0, high = symbols_count;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (start + symbols_starts[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return 0;
	*out_offset = address - start - symbols_starts[low - 1];
	return symbols_names + symbols_name_offsets[low - 1];
}
