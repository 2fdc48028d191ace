/* SPDX-License-Identifier: MIT */
/*
 * The fault path: classify, back, map.
 *
 *   classify  the record says whether there is memory that allows this access
 *   back      a write needs a page of the VM's own, see pgm_back.c, or a whole
 *             chunk for 512 of them (pgm_large.c)
 *   map       the nested tables get what the record says now, which is nothing
 *             where a handler wants every access
 *
 * Reading never allocates: the zero page or a shared page is mapped read-only. A
 * fault that another vCPU has resolved meanwhile passes through all three steps and
 * changes nothing.
 *
 * Each step leaves the books right, so a failure in one needs no undoing: the
 * retry finds what is done and goes on from there.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"

/* A write to shadowed ROM. */
static enum pgm_outcome rom_classify(struct pgm_record record)
{
	switch (pgm_record_rom_mode(record)) {
	case PGM_ROM_READ_ROM:
	case PGM_ROM_READ_RAM: return PGM_DENIED;
	case PGM_ROM_READ_ROM_WRITE_RAM: return PGM_EMULATE;
	case PGM_ROM_READ_RAM_WRITE_RAM: return PGM_RESOLVED;
	}
	return PGM_DENIED;
}

static enum pgm_outcome fault_classify(const struct pgm_record *record, enum mem_access access)
{
	switch (pgm_record_type(*record)) {
	case PGM_TYPE_RAM:
	case PGM_TYPE_DEVICE: return PGM_RESOLVED;
	case PGM_TYPE_ROM: return access == MEM_WRITE ? PGM_DENIED : PGM_RESOLVED;
	case PGM_TYPE_ROM_SHADOWED:
		return access == MEM_WRITE ? rom_classify(*record) : PGM_RESOLVED;
	case PGM_TYPE_RESERVED:
	case PGM_TYPE_MMIO: return PGM_MMIO;
	}
	Q_ASSERT(!"a record's type is one of these");
	return PGM_MMIO;
}

static enum pgm_outcome fault_map(struct pgm *pgm, gfn_t gfn, struct pgm_record record)
	Q_REQUIRES(pgm->lock)
{
	uint8_t permission = pgm_record_is_read_only(record) ? SLAT_READ_EXEC : SLAT_ALL;
	hfn_t frame = pgm_record_frame(record);
	q_status_t status;

	if (permission == SLAT_ALL && pgm_large_is_at_place(gfn, frame) &&
	    pgm_large_is_whole(pgm, gfn, frame))
		status = pgm_large_map(pgm, gfn, frame);
	else
		status = slat_map(&pgm->slat, gfn, frame, permission, 1);
	/* Tables for all memory are promised. Without one, the caller pauses the VM and retries. */
	return status == Q_OK ? PGM_RESOLVED : PGM_NO_MEMORY;
}

/* False: the stock is empty, nothing changed. */
static bool fault_back(struct pgm *pgm, gfn_t gfn, struct pgm_record *record,
		       enum mem_access access) Q_REQUIRES(pgm->lock)
{
	if (access != MEM_WRITE) {
		pgm->counters.faults_read++;
		return true;
	}
	pgm->counters.faults_write++;
	if (pgm_record_type(*record) == PGM_TYPE_ROM_SHADOWED)
		record = pgm_rom_written(pgm, gfn, record);
	return pgm_page_back(pgm, gfn, record);
}

/* The caller emulates the access and asks the handler, whose tag it gets here. */
static enum pgm_outcome fault_to_handler(struct pgm *pgm, struct pgm_fault *fault,
					 struct pgm_record record) Q_REQUIRES(pgm->lock)
{
	gfn_t gfn = gpa_to_gfn(fault->addr);

	fault->handler_tag = pgm_handler_find(pgm, gfn)->tag;
	/* Maps it for reads: the zero page, which fault_back() replaced, may still be mapped. */
	if (pgm_record_is_mappable(record) && fault_map(pgm, gfn, record) != PGM_RESOLVED)
		return PGM_NO_MEMORY;
	return PGM_HANDLER;
}

/* Handles a fault on any kind of memory, with or without a handler. */
Q_NOINLINE static enum pgm_outcome any_fault(struct pgm *pgm, struct pgm_fault *fault,
					     struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	gfn_t gfn = gpa_to_gfn(fault->addr);

	enum pgm_outcome outcome = fault_classify(record, fault->access);
	if (outcome == PGM_MMIO)
		return outcome;
	if (outcome != PGM_DENIED && !fault_back(pgm, gfn, record, fault->access))
		return PGM_NO_MEMORY;
	if (pgm_handler_wants(*record, fault->access))
		return fault_to_handler(pgm, fault, *record);
	return outcome == PGM_RESOLVED ? fault_map(pgm, gfn, *record) : outcome;
}

/* Maps RAM without a handler, once it is ready for the access. */
static enum pgm_outcome plain_map(struct pgm *pgm, const struct pgm_fault *fault,
				  struct pgm_record *record) Q_REQUIRES(pgm->lock)
{
	gfn_t gfn = gpa_to_gfn(fault->addr);

	/* The leaf is replaced, so its dirty bit tells nothing about the time before. */
	pgm_ahead_use(record);
	enum pgm_outcome outcome = fault_map(pgm, gfn, *record);
	if (outcome == PGM_RESOLVED && pgm->works_ahead)
		pgm_ahead_follow(pgm, gfn, fault->access);
	return outcome;
}

static enum pgm_outcome fault_handle_locked(struct pgm *pgm, struct pgm_fault *fault)
	Q_REQUIRES(pgm->lock)
{
	gfn_t gfn = gpa_to_gfn(fault->addr);
	struct pgm_record *record = pgm_record_find(pgm, gfn);

	if (!record)
		return PGM_MMIO;
	/* Nearly all faults are on RAM without a handler, which needs no classification. */
	if (!pgm_record_is_plain_ram(*record))
		return any_fault(pgm, fault, record);
	if (fault->access != MEM_WRITE) {
		pgm->counters.faults_read++;
		return plain_map(pgm, fault, record);
	}
	pgm->counters.faults_write++;
	return pgm_page_back(pgm, gfn, record) ? plain_map(pgm, fault, record) : PGM_NO_MEMORY;
}

bool pgm_zero_fill(struct pgm *pgm, gfn_t gfn) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	const struct pgm_record *record = pgm_record_find(pgm, gfn);
	bool is_zero = record && pgm_record_is_plain_ram(*record) &&
		       pgm_record_state(*record) == PGM_STATE_ZERO;
	pgm->counters.elided += is_zero;
	spin_unlock(&pgm->lock);
	return is_zero;
}

enum pgm_outcome pgm_fault_handle(struct pgm *pgm, struct pgm_fault *fault) Q_EXCLUDES(pgm->lock)
{
	spin_lock(&pgm->lock);
	enum pgm_outcome outcome = fault_handle_locked(pgm, fault);
	spin_unlock(&pgm->lock);
	return outcome;
}
