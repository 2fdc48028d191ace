/* SPDX-License-Identifier: MIT */
/* The names of the kinds of exits. */
#include <quire/vmexit.h>

const char *vmexit_kind_name(enum vmexit_kind kind)
{
	static char const names[VMEXIT_KIND_COUNT][20] = {
#define VMEXIT_NAME(kind, handler, name, opcode, length) [VMEXIT_##kind] = name,
		VMEXIT_KINDS(VMEXIT_NAME)
	};
	return names[kind];
}
