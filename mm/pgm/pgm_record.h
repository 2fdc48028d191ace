/* SPDX-License-Identifier: MIT */
/*
 * The record of one guest page: 16 bytes, pure encode and decode.
 *
 *   q0  63:48  page id, bits 27:12      \
 *       47:12  machine frame             > both, so that a look-up need not ask GMM
 *       11:0   page id, bits 11:0       /
 *   d2  0      read-only: nested tables must not map it writable
 *       3:1    type
 *       5:4    physical handler: none, write, all
 *       10:8   state
 *       11     written to while it was monitored
 *       13:12  migration
 *       14     written lately: the dirty bit was set when pgm_dirty_note() last looked
 *       16:15  mode of shadowed ROM; 0 for all other types
 *       17     handed out ahead and not known to be used, see pgm_ahead.c
 *   d3         reserved for tracking
 *
 * A page of device memory is a kernel page, which has no id.
 *
 * The read-only bit follows from type, state, handler and mode. It is kept so
 * that mapping a page tests one bit and not a list of reasons.
 *
 * Records are values: a transition writes a whole new record, under the PGM
 * lock. A reader without the lock may see a stale record, and must check again.
 */
#ifndef MM_PGM_PGM_RECORD_H
#define MM_PGM_PGM_RECORD_H

#include <quire/addr.h>
#include <quire/bits.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"

struct pgm_record {
	uint64_t q0;
	uint32_t d2;
	uint32_t d3;
};

_Static_assert(sizeof(struct pgm_record) == 16, "256 records fill a page");

#define PGM_RECORD_ID_HIGH    MASK64(63, 48)
#define PGM_RECORD_FRAME      MASK64(47, 12)
#define PGM_RECORD_ID_LOW     MASK64(11, 0)
#define PGM_RECORD_ID_SHIFT   12 /* id bits in PGM_RECORD_ID_LOW */
#define PGM_RECORD_READ_ONLY  BIT32(0)
#define PGM_RECORD_TYPE       MASK64(3, 1)
#define PGM_RECORD_HANDLER    MASK64(5, 4)
#define PGM_RECORD_STATE      MASK64(10, 8)
#define PGM_RECORD_WRITTEN_TO BIT32(11)
#define PGM_RECORD_MIGRATION  MASK64(13, 12)
#define PGM_RECORD_LATELY     BIT32(14)
#define PGM_RECORD_ROM_MODE   MASK64(16, 15)
#define PGM_RECORD_AHEAD      BIT32(17)

_Static_assert((PGM_RECORD_ID_HIGH ^ PGM_RECORD_FRAME ^ PGM_RECORD_ID_LOW) == ~0ull,
	       "the fields of q0 fill it and do not overlap");
_Static_assert((PGM_RECORD_READ_ONLY ^ PGM_RECORD_TYPE ^ PGM_RECORD_HANDLER ^ PGM_RECORD_STATE ^
		PGM_RECORD_WRITTEN_TO ^ PGM_RECORD_MIGRATION ^ PGM_RECORD_LATELY ^
		PGM_RECORD_ROM_MODE ^ PGM_RECORD_AHEAD) == 0x3ff3f,
	       "the fields of d2 do not overlap");
_Static_assert(GMM_PAGE_ID_LAST >> 28 == 0, "a page id has 28 bits: 16 above, 12 below");

/* A record page starts all zero: RESERVED, which means that there is no memory. */
enum pgm_type {
	PGM_TYPE_RESERVED,
	PGM_TYPE_MMIO,   /* in no record: MMIO needs none */
	PGM_TYPE_DEVICE, /* RAM that belongs to a device */
	PGM_TYPE_ROM,
	PGM_TYPE_ROM_SHADOWED,
	PGM_TYPE_RAM,
};

/*
 * What a state guarantees, and what leaves it. pgm_transition.c lists what is legal.
 *
 *   ZERO       The frame is the VM's zero page, the id NIL. No translation is
 *              writable. GMM counts no page for it.
 *              Left by  pgm_page_back(), for a write or ahead of one;
 *                       pgm_large_back(), for all pages of a block;
 *                       pgm_restore_page(); pgm_balloon_inflate().
 *
 *   NORMAL     The page is the VM's own: id and frame are those of a private page
 *              that is in no other record (of a device: a kernel page, id NIL). It
 *              is the only state in which a translation may be writable. A page
 *              marked AHEAD is still all zero unless its leaf is dirty.
 *              Left by  pgm_page_monitor(); pgm_page_zero(); pgm_balloon_inflate();
 *                       pgm_ahead.c, which takes an unused page back;
 *                       pgm_device_track_start(), pgm_device_dirty_take(), of a
 *                       device; pgm_rom_reset(), of ROM's shadow.
 *
 *   MONITORED  As NORMAL, but no translation is writable: the content is what it was
 *              when monitoring began, except for a device's own writes to its memory.
 *              Left by  pgm_page_back(), for a write, which sets WRITTEN_TO;
 *                       pgm_page_unmonitor(); pgm_page_share(); pgm_page_zero();
 *                       pgm_balloon_inflate(); pgm_device_track_stop(), of a device.
 *
 *   SHARED     Id and frame are those of a shared page, to which this record is one
 *              reference. Its content never changes; no translation is writable.
 *              Left by  pgm_page_back(), for a write, which copies;
 *                       pgm_balloon_inflate().
 *
 *   BALLOONED  As ZERO, and GMM counts the page against the VM's promise.
 *              Left by  pgm_page_back(), for a write; pgm_balloon_deflate().
 *
 * pgm_reset() and pgm_restore_begin() make all RAM ZERO. pgm_page_move() changes id
 * and frame, but not the state. A page of an image of ROM never changes its state.
 */
enum pgm_state {
	PGM_STATE_ZERO,
	PGM_STATE_NORMAL,
	PGM_STATE_MONITORED,
	PGM_STATE_SHARED,
	PGM_STATE_BALLOONED,
};

static inline enum pgm_type pgm_record_type(struct pgm_record record)
{
	return (enum pgm_type)field_get(record.d2, PGM_RECORD_TYPE);
}

static inline enum pgm_state pgm_record_state(struct pgm_record record)
{
	return (enum pgm_state)field_get(record.d2, PGM_RECORD_STATE);
}

static inline enum pgm_handler_kind pgm_record_handler(struct pgm_record record)
{
	return (enum pgm_handler_kind)field_get(record.d2, PGM_RECORD_HANDLER);
}

static inline enum pgm_rom_mode pgm_record_rom_mode(struct pgm_record record)
{
	return (enum pgm_rom_mode)field_get(record.d2, PGM_RECORD_ROM_MODE);
}

/* `types` is a set of bits, so that this is one bit test: every fault asks it. */
static inline bool pgm_record_type_is_in(struct pgm_record record, uint32_t types)
{
	return types >> pgm_record_type(record) & 1;
}

/* True if type and mode let the guest write to the page, once it is the VM's own. */
static inline bool pgm_record_takes_writes(struct pgm_record record)
{
	return pgm_record_type_is_in(record, BIT32(PGM_TYPE_RAM) | BIT32(PGM_TYPE_DEVICE)) ||
	       pgm_record_rom_mode(record) == PGM_ROM_READ_RAM_WRITE_RAM;
}

/*
 * The record with its read-only bit as the rest of the record demands. After any
 * change of its record a page no longer counts as handed out ahead and unused.
 */
static inline struct pgm_record pgm_record_seal(struct pgm_record record)
{
	bool is_writable = pgm_record_takes_writes(record) &&
			   pgm_record_state(record) == PGM_STATE_NORMAL &&
			   pgm_record_handler(record) == PGM_HANDLER_NONE;

	record.d2 &= ~(PGM_RECORD_READ_ONLY | PGM_RECORD_AHEAD);
	record.d2 |= is_writable ? 0 : PGM_RECORD_READ_ONLY;
	return record;
}

/* The same guest page with other memory: type, handler and mode stay, marks go. */
static inline struct pgm_record pgm_record_replace(struct pgm_record record, enum pgm_state state,
						   hfn_t frame, page_id_t id)
{
	uint64_t kept = record.d2 & (PGM_RECORD_TYPE | PGM_RECORD_HANDLER | PGM_RECORD_ROM_MODE);
	uint64_t q0 = field_set(0, PGM_RECORD_FRAME, frame.raw);

	q0 = field_set(q0, PGM_RECORD_ID_HIGH, id.raw >> PGM_RECORD_ID_SHIFT);
	q0 = field_set(q0, PGM_RECORD_ID_LOW, id.raw);
	return pgm_record_seal((struct pgm_record){
		.q0 = q0, .d2 = (uint32_t)field_set(kept, PGM_RECORD_STATE, state) });
}

/* A new record, without handler and mode. */
static inline struct pgm_record pgm_record_make(enum pgm_type type, enum pgm_state state,
						hfn_t frame, page_id_t id)
{
	struct pgm_record record = { .d2 = (uint32_t)field_set(0, PGM_RECORD_TYPE, type) };
	return pgm_record_replace(record, state, frame, id);
}

/* The same page and memory in another state. */
static inline struct pgm_record pgm_record_with_state(struct pgm_record record,
						      enum pgm_state state)
{
	record.d2 = (uint32_t)field_set(record.d2, PGM_RECORD_STATE, state);
	return pgm_record_seal(record);
}

static inline struct pgm_record pgm_record_with_handler(struct pgm_record record,
							enum pgm_handler_kind kind)
{
	record.d2 = (uint32_t)field_set(record.d2, PGM_RECORD_HANDLER, kind);
	return pgm_record_seal(record);
}

static inline struct pgm_record pgm_record_with_rom_mode(struct pgm_record record,
							 enum pgm_rom_mode mode)
{
	record.d2 = (uint32_t)field_set(record.d2, PGM_RECORD_ROM_MODE, mode);
	return pgm_record_seal(record);
}

static inline hfn_t pgm_record_frame(struct pgm_record record)
{
	return hfn(field_get(record.q0, PGM_RECORD_FRAME));
}

static inline page_id_t pgm_record_id(struct pgm_record record)
{
	uint64_t high = field_get(record.q0, PGM_RECORD_ID_HIGH);
	uint64_t low = field_get(record.q0, PGM_RECORD_ID_LOW);
	return (page_id_t){ (uint32_t)(high << PGM_RECORD_ID_SHIFT | low) };
}

/* True if the page is the VM's zero page. */
static inline bool pgm_record_reads_zero(struct pgm_record record)
{
	enum pgm_state state = pgm_record_state(record);
	return state == PGM_STATE_ZERO || state == PGM_STATE_BALLOONED;
}

static inline bool pgm_record_is_read_only(struct pgm_record record)
{
	return record.d2 & PGM_RECORD_READ_ONLY;
}

/* True for RAM without a handler. */
static inline bool pgm_record_is_plain_ram(struct pgm_record record)
{
	return (record.d2 & (PGM_RECORD_TYPE | PGM_RECORD_HANDLER)) ==
	       field_set(0, PGM_RECORD_TYPE, PGM_TYPE_RAM);
}

/* False: a handler wants every access, so no nested table may map the page. */
static inline bool pgm_record_is_mappable(struct pgm_record record)
{
	return pgm_record_handler(record) != PGM_HANDLER_ALL;
}

/* True if there is memory: something that can be read. */
static inline bool pgm_record_is_memory(struct pgm_record record)
{
	return pgm_record_type_is_in(record, BIT32(PGM_TYPE_RAM) | BIT32(PGM_TYPE_ROM) |
						     BIT32(PGM_TYPE_ROM_SHADOWED) |
						     BIT32(PGM_TYPE_DEVICE));
}

#endif
