/* SPDX-License-Identifier: MIT */
/*
 * What a fallible function returns. Zero is success; each other value has one
 * meaning throughout the tree. Out parameters are written only on Q_OK.
 */
#ifndef INCLUDE_QUIRE_STATUS_H
#define INCLUDE_QUIRE_STATUS_H

#include <quire/compiler.h>

typedef enum q_status {
	Q_OK = 0,
	Q_NO_MEMORY,   /* the memory that no reservation claims is used up */
	Q_LIMIT,       /* a VM's promise, or what a table holds, would be exceeded */
	Q_DECLINED,    /* admission: the guarantees would exceed the machine */
	Q_INVALID,     /* an argument or input is malformed */
	Q_RANGE,       /* an address, size or count is out of range */
	Q_CONFLICT,    /* overlaps something that exists */
	Q_NOT_FOUND,   /* no such object */
	Q_EXISTS,      /* such an object exists already */
	Q_STATE,       /* not allowed in the object's present state */
	Q_NOT_OWNER,   /* the page belongs to another VM */
	Q_UNSUPPORTED, /* the CPU, firmware or this build cannot do it */
	Q_DENIED,      /* the access is not allowed */
	Q_TIMEOUT,     /* it did not happen in time */
	Q_HANDLER,     /* the page has a handler, which must see this access first */
	Q_CANCELLED,   /* given up, because the object is going away */
} q_status_t;

/* The status in words for messages, such as "out of memory". Never NULL. */
const char *q_status_text(q_status_t status);

#endif
