/* SPDX-License-Identifier: MIT */
/* Status values in words. */
#include <quire/status.h>

const char *q_status_text(q_status_t status)
{
	switch (status) {
	case Q_OK: return "ok";
	case Q_NO_MEMORY: return "out of memory";
	case Q_LIMIT: return "limit reached";
	case Q_DECLINED:
		return "declined: all reservations together would exceed the memory of the machine";
	case Q_INVALID: return "invalid";
	case Q_RANGE: return "out of range";
	case Q_CONFLICT: return "overlaps something that exists";
	case Q_NOT_FOUND: return "not found";
	case Q_EXISTS: return "exists already";
	case Q_STATE: return "not allowed in the present state";
	case Q_NOT_OWNER: return "owned by another VM";
	case Q_UNSUPPORTED: return "not supported";
	case Q_DENIED: return "access denied";
	case Q_TIMEOUT: return "timed out";
	case Q_HANDLER: return "the page has a handler";
	case Q_CANCELLED: return "cancelled";
	}
	/* Only a wrong cast leads here. A message is no reason to panic. */
	return "unknown status";
}
