/* SPDX-License-Identifier: MIT */
/* An event to deliver through the guest's IDT, in vendor-neutral form. */
#ifndef INCLUDE_QUIRE_EVENT_H
#define INCLUDE_QUIRE_EVENT_H

#include <quire/compiler.h>

enum guest_event_type {
	GUEST_EVENT_NONE,
	GUEST_EVENT_INTERRUPT, /* external, maskable */
	GUEST_EVENT_NMI,
	GUEST_EVENT_EXCEPTION,      /* #DE and so on */
	GUEST_EVENT_SOFT_INTERRUPT, /* INT n; insn_length matters on VT-x */
	GUEST_EVENT_SOFT_EXCEPTION, /* INT3, INTO */
};

struct guest_event {
	enum guest_event_type type;
	uint8_t vector;
	bool has_error_code;
	uint8_t insn_length; /* of the INT instruction; soft events only */
	uint32_t error_code; /* valid if has_error_code */
};

enum exception_vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
	VECTOR_XM = 19,
	VECTOR_EXCEPTION_COUNT = 32, /* from here on, interrupts only */
};

#endif
