/* SPDX-License-Identifier: MIT */
/*
 * What may happen to a page: the one table of legal transitions. Pure. Functions that
 * are asked to change a page look into the table first and refuse what it does not
 * list. The fault path, pgm_ahead.c, reset and restore make only listed transitions.
 */
#ifndef MM_PGM_PGM_TRANSITION_H
#define MM_PGM_PGM_TRANSITION_H

#include <stdbool.h>

#include "mm/pgm/pgm_record.h"

enum pgm_operation {
	PGM_OP_WRITE,     /* the guest or Quire writes it: it is backed first, see pgm_back.c */
	PGM_OP_ZERO,      /* the zero page replaces its page, which is freed */
	PGM_OP_SHARE,     /* a shared page replaces its page, which is freed */
	PGM_OP_MONITOR,   /* its next write is to be noted */
	PGM_OP_UNMONITOR, /* its next write is no longer to be noted */
	PGM_OP_MOVE,      /* its content moves to another frame */
	PGM_OP_BALLOON,   /* the guest gives it up */
	PGM_OP_DEFLATE,   /* the guest takes it out of the balloon */
	PGM_OP_HANDLE,    /* it gets a handler, or loses it */
	PGM_OP_ROM_MODE,  /* the mode of shadowed ROM is set */
	PGM_OP_COUNT,
};

bool pgm_transition_is_legal(struct pgm_record record, enum pgm_operation operation);

/* The state after a legal operation. PGM_OP_ROM_MODE may also swap the halves of shadowed ROM. */
enum pgm_state pgm_transition_state(struct pgm_record record, enum pgm_operation operation);

#endif
