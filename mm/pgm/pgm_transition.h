/* SPDX-License-Identifier: MIT */
/*
 * What may happen to a page: the one table of legal transitions. Pure. Whoever
 * changes a record asks it first, and refuses with Q_STATE what it does not list.
 */
#ifndef MM_PGM_PGM_TRANSITION_H
#define MM_PGM_PGM_TRANSITION_H

#include <stdbool.h>

#include "mm/pgm/pgm_record.h"

enum pgm_operation {
	PGM_OP_WRITE,     /* the guest or Quire writes it: backed, copied or noted first */
	PGM_OP_ZERO,      /* its page goes back, the zero page takes its place */
	PGM_OP_SHARE,     /* a shared page takes its place */
	PGM_OP_MONITOR,   /* its next write must be noticed */
	PGM_OP_UNMONITOR, /* or not any more */
	PGM_OP_MOVE,      /* the same content in another frame */
	PGM_OP_BALLOON,   /* the guest gives it up */
	PGM_OP_DEFLATE,   /* and wants it again */
	PGM_OP_HANDLE,    /* it gets a handler, or loses it */
	PGM_OP_ROM_MODE,  /* the mode of shadowed ROM is set */
	PGM_OP_COUNT,
};

bool pgm_transition_is_legal(struct pgm_record record, enum pgm_operation operation);

/* The state after a legal operation. After PGM_OP_ROM_MODE: or that of the other half. */
enum pgm_state pgm_transition_state(struct pgm_record record, enum pgm_operation operation);

#endif
