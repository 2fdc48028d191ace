/* SPDX-License-Identifier: MIT */
/*
 * The fault path: classify, back, map.
 *
 *   classify  the record says whether there is memory, and for this access
 *   back      a write needs a page of the VM's own, see pgm_back.c
 *   map       the nested tables get what the record says now
 *
 * Reading never allocates: the zero page or the shared one is mapped read-only. A fault
 * that another vCPU has resolved meanwhile passes through all three steps and
 * changes nothing.
 *
 * Each step leaves the books right, so a failure in one needs no undoing: the
 * retry finds what is done and goes on from there.
 */
#include "mm/pgm/pgm.h"

#include <quire/assert.h>

#include "pgm_internal.h"

static enum pgm_outcome fault_classify(const struct pgm_record *record, enum mem_access access)
{
	if (!record)
		return PGM_MMIO;
	switch (pgm_record_type(*record)) {
	case PGM_TYPE_RAM: return PGM_RESOLVED;
	case PGM_TYPE_ROM: return access == MEM_WRITE ? PGM_DENIED : PGM_RESOLVED;
	case PGM_TYPE_RESERVED:
	case PGM_TYPE_MMIO:
	case PGM_TYPE_DEVICE:
	case PGM_TYPE_ROM_SHADOWED: return PGM_MMIO;
	}
	Q_ASSERT(!"a record's type is one of these");
	return PGM_MMIO;
}

static enum pgm_outcome fault_map(struct pgm *pgm, gfn_t gfn, struct pgm_record record)
{
	uint8_t permission = pgm_record_is_read_only(record) ? SLAT_READ_EXEC : SLAT_ALL;
	q_status_t status = slat_map(&pgm->slat, gfn, pgm_record_frame(record), permission, 1);

	/* Tables were set aside for all RAM and ROM; a caller that pauses and retries is safe. */
	return status == Q_OK ? PGM_RESOLVED : PGM_NO_MEMORY;
}

static enum pgm_outcome fault_handle_locked(struct pgm *pgm, const struct pgm_fault *fault)
{
	gfn_t gfn = gpa_to_gfn(fault->addr);
	struct pgm_record *record = pgm_record_find(pgm, gfn);

	enum pgm_outcome outcome = fault_classify(record, fault->access);
	if (outcome != PGM_RESOLVED)
		return outcome;
	if (fault->access == MEM_WRITE) {
		pgm->faults_write++;
		if (!pgm_page_back(pgm, gfn, record))
			return PGM_NO_MEMORY;
	} else {
		pgm->faults_read++;
	}
	return fault_map(pgm, gfn, *record);
}

enum pgm_outcome pgm_fault_handle(struct pgm *pgm, const struct pgm_fault *fault)
{
	spin_lock(&pgm->lock);
	enum pgm_outcome outcome = fault_handle_locked(pgm, fault);
	spin_unlock(&pgm->lock);
	return outcome;
}
