/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor reads and writes guest memory.
 *
 * The rules are those of the guest's own accesses: reading allocates nothing,
 * writing makes the page the VM's own first. Unlike a fault, an access may refill
 * the stock, because its callers may wait. It stops at a page with a handler that
 * wants the access, unless the caller acts for that handler (pgm_handler_read(),
 * pgm_handler_write()).
 *
 * The PGM lock is held for one page at a time, so that large copies do not
 * keep vCPUs waiting; a range is not written atomically.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/physmem.h>

#include "lib/string.h"

#include "pgm_internal.h"
#include "pgm_transition.h"

/* In front of the handlers, which may want the access first, or behind them. */
enum side { SIDE_FRONT, SIDE_BEHIND };

/* The part of a range that lies in one page. */
struct piece {
	gfn_t gfn;
	uint64_t offset, size_bytes;
	enum side side;
};

static struct piece piece_at(gpa_t addr, uint64_t bytes_left, enum side side)
{
	struct piece piece = { .gfn = gpa_to_gfn(addr), .offset = gpa_offset(addr), .side = side };
	uint64_t room = PAGE_SIZE - piece.offset;

	piece.size_bytes = bytes_left < room ? bytes_left : room;
	return piece;
}

/* The content of the page that a record names, valid for as long as gmm_page_map() says. */
static void *record_page(struct pgm_record record)
{
	if (pgm_record_type(record) == PGM_TYPE_DEVICE)
		return physmem_kernel_ptr(hfn_to_hpa(pgm_record_frame(record)));
	return gmm_page_map(pgm_record_id(record));
}

static q_status_t piece_read_locked(const struct pgm *pgm, struct piece piece, void *to)
	Q_REQUIRES(pgm->lock)
{
	const struct pgm_record *record = pgm_record_find_memory(pgm, piece.gfn);
	if (!record)
		return Q_RANGE;
	if (piece.side == SIDE_FRONT && pgm_handler_wants(*record, MEM_READ))
		return Q_HANDLER;
	if (pgm_record_reads_zero(*record)) {
		memset(to, 0, piece.size_bytes);
		return Q_OK;
	}
	const uint8_t *page = record_page(*record);
	memcpy(to, page + piece.offset, piece.size_bytes);
	return Q_OK;
}

q_status_t pgm_word_read_locked(const struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				uint64_t *out_word)
{
	const struct pgm_record *record = pgm_record_find_memory(pgm, gpa_to_gfn(addr));
	if (!record)
		return Q_RANGE;
	if (pgm_record_reads_zero(*record)) {
		*out_word = 0;
		return Q_OK;
	}
	const uint8_t *page = record_page(*record);
	const void *word = page + gpa_offset(addr);
	*out_word =
		size_bytes == sizeof(uint64_t) ? *(const uint64_t *)word : *(const uint32_t *)word;
	return Q_OK;
}

static q_status_t piece_read(struct pgm *pgm, struct piece piece, void *to) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = piece_read_locked(pgm, piece, to);
	spin_unlock(&pgm->lock);
	return status;
}

static q_status_t range_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes,
			     enum side side, uint64_t *out_done) Q_EXCLUDES(pgm->lock)
{
	q_status_t status = Q_OK;
	uint64_t done = 0;

	while (done < size_bytes && status == Q_OK) {
		/* No overflow: all bytes before it were below PGM_GPA_LIMIT. */
		struct piece piece = piece_at(gpa_add(from, done), size_bytes - done, side);
		status = piece_read(pgm, piece, (uint8_t *)to + done);
		if (status == Q_OK)
			done += piece.size_bytes;
	}
	if (out_done)
		*out_done = done;
	return status;
}

q_status_t pgm_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes, uint64_t *out_done)
	Q_EXCLUDES(pgm->lock)
{
	return range_read(pgm, from, to, size_bytes, SIDE_FRONT, out_done);
}

q_status_t pgm_handler_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes,
			    uint64_t *out_done) Q_EXCLUDES(pgm->lock)
{
	return range_read(pgm, from, to, size_bytes, SIDE_BEHIND, out_done);
}

/* Makes a page that is not NORMAL the VM's own, and removes its translation. */
static q_status_t page_own(struct pgm *pgm, gfn_t gfn, struct pgm_record *record)
	Q_REQUIRES(pgm->lock)
{
	if (pgm_page_needs_stock(*record) && pgm->handy_count <= PGM_HANDY_SYNC) {
		q_status_t status = pgm_handy_refill_locked(pgm);
		if (status != Q_OK && pgm->handy_count == 0)
			return status;
	}
	if (!pgm_page_back(pgm, gfn, record))
		return Q_NO_MEMORY;
	/* The page is not mapped: that could need a table, and the guest may never access it. */
	slat_unmap(&pgm->slat, gfn, gfn_next(gfn));
	return Q_OK;
}

/* The record of the page that a write to this address reaches, or NULL. */
static struct pgm_record *record_written(const struct pgm *pgm, gfn_t gfn,
					 struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	if (pgm_record_type(*record) == PGM_TYPE_ROM_SHADOWED)
		return pgm_rom_written(pgm, gfn, record);
	return pgm_transition_is_legal(*record, PGM_OP_WRITE) ? record : NULL;
}

/* Makes the page that a write reaches ready for it, and returns its record. */
static q_status_t write_prepare(struct pgm *pgm, gfn_t gfn, enum side side,
				struct pgm_record **out_record) Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record = pgm_record_find(pgm, gfn);
	if (!record || !pgm_record_is_memory(*record))
		return Q_RANGE;
	if (side == SIDE_FRONT && pgm_handler_wants(*record, MEM_WRITE))
		return Q_HANDLER;
	record = record_written(pgm, gfn, record);
	if (!record)
		return Q_RANGE;
	if (pgm_record_state(*record) != PGM_STATE_NORMAL) {
		q_status_t status = page_own(pgm, gfn, record);
		if (status != Q_OK)
			return status;
	}
	/* This write sets no dirty bit in the nested tables. */
	pgm_ahead_use(record);
	*out_record = record;
	return Q_OK;
}

/* Atomic: the guest's CPUs may change the word at the same time. True: it was `expected`. */
static bool word_exchange(void *word, unsigned size_bytes, uint64_t expected, uint64_t value)
{
	uint32_t expected_32 = (uint32_t)expected;

	if (size_bytes == sizeof(uint64_t))
		return atomic_cas_acq_rel((uint64_t *)word, &expected, value);
	return atomic_cas_acq_rel((uint32_t *)word, &expected_32, (uint32_t)value);
}

q_status_t pgm_word_exchange_locked(struct pgm *pgm, gpa_t addr, unsigned size_bytes,
				    uint64_t expected, uint64_t word)
{
	struct pgm_record *record = pgm_record_find(pgm, gpa_to_gfn(addr));

	/* Reads go to ROM and writes to its shadow, so no word can be compared and exchanged. */
	if (record && pgm_record_rom_mode(*record) == PGM_ROM_READ_ROM_WRITE_RAM)
		return Q_RANGE;
	q_status_t status = write_prepare(pgm, gpa_to_gfn(addr), SIDE_FRONT, &record);
	if (status != Q_OK)
		return status;
	uint8_t *page = record_page(*record);
	if (!word_exchange(page + gpa_offset(addr), size_bytes, expected, word))
		return Q_CONFLICT;
	return Q_OK;
}

static q_status_t piece_write_locked(struct pgm *pgm, struct piece piece, const void *from)
	Q_REQUIRES(pgm->lock)
{
	struct pgm_record *record;

	q_status_t status = write_prepare(pgm, piece.gfn, piece.side, &record);
	if (status != Q_OK)
		return status;
	uint8_t *page = record_page(*record);
	memcpy(page + piece.offset, from, piece.size_bytes);
	return Q_OK;
}

static q_status_t piece_write(struct pgm *pgm, struct piece piece, const void *from)
	Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	q_status_t status = piece_write_locked(pgm, piece, from);
	spin_unlock(&pgm->lock);
	return status;
}

static q_status_t range_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
			      enum side side, uint64_t *out_done) Q_EXCLUDES(pgm->lock)
{
	q_status_t status = Q_OK;
	uint64_t done = 0;

	while (done < size_bytes && status == Q_OK) {
		/* No overflow: all bytes before it were below PGM_GPA_LIMIT. */
		struct piece piece = piece_at(gpa_add(to, done), size_bytes - done, side);
		status = piece_write(pgm, piece, (const uint8_t *)from + done);
		if (status == Q_OK)
			done += piece.size_bytes;
	}
	if (out_done)
		*out_done = done;
	return status;
}

q_status_t pgm_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
		     uint64_t *out_done) Q_EXCLUDES(pgm->lock)
{
	return range_write(pgm, to, from, size_bytes, SIDE_FRONT, out_done);
}

q_status_t pgm_handler_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
			     uint64_t *out_done) Q_EXCLUDES(pgm->lock)
{
	return range_write(pgm, to, from, size_bytes, SIDE_BEHIND, out_done);
}
