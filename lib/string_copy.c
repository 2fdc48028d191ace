/* SPDX-License-Identifier: MIT */
/* The one function of lib/string.h that libc does not have, for the kernel and for host builds. */
#include "lib/string.h"

bool string_copy(char *to, size_t size_bytes, const char *from)
{
	if (size_bytes == 0)
		return false;
	size_t length = strlen(from);
	bool fits = length < size_bytes;
	size_t copied = fits ? length : size_bytes - 1;
	memcpy(to, from, copied);
	to[copied] = 0;
	return fits;
}
