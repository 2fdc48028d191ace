/* SPDX-License-Identifier: MIT */
/*
 * The table: type, state, operation -> state. What is not in it is illegal. Pages
 * of type MMIO or RESERVED have no memory, and so no operation.
 *
 * Two operations are special. A write reaches shadowed ROM only in two of its modes,
 * see pgm_rom_written(). The guest's list says which pages to balloon and deflate, so
 * an illegal operation there, such as ballooning a page twice, is just skipped.
 */
#include "mm/pgm/pgm_transition.h"

#include <quire/assert.h>

#define TO(state) (1 + PGM_STATE_##state) /* 0: illegal */

#define TYPE_COUNT  (PGM_TYPE_RAM + 1)
#define STATE_COUNT (PGM_STATE_BALLOONED + 1)

static const uint8_t transitions[TYPE_COUNT][STATE_COUNT][PGM_OP_COUNT] = {
	[PGM_TYPE_RAM] = {
		[PGM_STATE_ZERO] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_ZERO] = TO(ZERO),
			[PGM_OP_BALLOON] = TO(BALLOONED),
			[PGM_OP_HANDLE] = TO(ZERO),
		},
		[PGM_STATE_NORMAL] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_ZERO] = TO(ZERO),
			[PGM_OP_MONITOR] = TO(MONITORED),
			[PGM_OP_MOVE] = TO(NORMAL),
			[PGM_OP_BALLOON] = TO(BALLOONED),
			[PGM_OP_HANDLE] = TO(NORMAL),
		},
		[PGM_STATE_MONITORED] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_ZERO] = TO(ZERO),
			[PGM_OP_SHARE] = TO(SHARED),
			[PGM_OP_UNMONITOR] = TO(NORMAL),
			[PGM_OP_MOVE] = TO(MONITORED),
			[PGM_OP_BALLOON] = TO(BALLOONED),
			[PGM_OP_HANDLE] = TO(MONITORED),
		},
		[PGM_STATE_SHARED] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_ZERO] = TO(ZERO),
			[PGM_OP_BALLOON] = TO(BALLOONED),
			[PGM_OP_HANDLE] = TO(SHARED),
		},
		[PGM_STATE_BALLOONED] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_ZERO] = TO(ZERO),
			[PGM_OP_DEFLATE] = TO(ZERO),
			[PGM_OP_HANDLE] = TO(BALLOONED),
		},
	},
	[PGM_TYPE_ROM] = {
		[PGM_STATE_ZERO] = { [PGM_OP_HANDLE] = TO(ZERO) },
		[PGM_STATE_NORMAL] = { [PGM_OP_HANDLE] = TO(NORMAL) },
	},
	[PGM_TYPE_ROM_SHADOWED] = {
		[PGM_STATE_ZERO] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_HANDLE] = TO(ZERO),
			[PGM_OP_ROM_MODE] = TO(ZERO),
		},
		[PGM_STATE_NORMAL] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_HANDLE] = TO(NORMAL),
			[PGM_OP_ROM_MODE] = TO(NORMAL),
		},
	},
	[PGM_TYPE_DEVICE] = {
		[PGM_STATE_NORMAL] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_MONITOR] = TO(MONITORED),
			[PGM_OP_UNMONITOR] = TO(NORMAL),
			[PGM_OP_HANDLE] = TO(NORMAL),
		},
		[PGM_STATE_MONITORED] = {
			[PGM_OP_WRITE] = TO(NORMAL),
			[PGM_OP_MONITOR] = TO(MONITORED),
			[PGM_OP_UNMONITOR] = TO(NORMAL),
			[PGM_OP_HANDLE] = TO(MONITORED),
		},
	},
};

static uint8_t transition(struct pgm_record record, enum pgm_operation operation)
{
	enum pgm_type type = pgm_record_type(record);
	enum pgm_state state = pgm_record_state(record);

	Q_ASSERT(type < TYPE_COUNT && state < STATE_COUNT && operation < PGM_OP_COUNT);
	return transitions[type][state][operation];
}

bool pgm_transition_is_legal(struct pgm_record record, enum pgm_operation operation)
{
	return transition(record, operation) != 0;
}

enum pgm_state pgm_transition_state(struct pgm_record record, enum pgm_operation operation)
{
	uint8_t to = transition(record, operation);

	Q_ASSERT(to != 0);
	return (enum pgm_state)(to - 1);
}
