/* SPDX-License-Identifier: MIT */
/*
 * ROM with RAM in its shadow, as in PC chipsets: each page exists twice, and a mode
 * says which of the two is read and whether writes reach the RAM. The design is in
 * pgm_rom_shadow.c; for plain ROM see pgm_rom_add() in pgm.h.
 */
#ifndef MM_PGM_PGM_ROM_SHADOW_H
#define MM_PGM_PGM_ROM_SHADOW_H

#include <quire/addr.h>
#include <quire/status.h>

struct pgm;

enum pgm_rom_mode {
	PGM_ROM_READ_ROM,           /* read ROM, writes ignored: as after a reset */
	PGM_ROM_READ_ROM_WRITE_RAM, /* read ROM, write RAM: to fill the shadow */
	PGM_ROM_READ_RAM,           /* read RAM, writes ignored */
	PGM_ROM_READ_RAM_WRITE_RAM,
};

/*
 * Adds shadowed ROM, filled from `image` (8-byte aligned); its shadow is all zero.
 * Ignored writes end as PGM_DENIED. Writes that reach RAM while ROM is read end as
 * PGM_EMULATE, and pgm_write() carries them out. Writes allocate the shadow's pages,
 * like those of RAM. Q_INVALID, Q_RANGE, Q_CONFLICT, Q_STATE and Q_LIMIT like
 * pgm_rom_add(); Q_STATE also if the VM is unreserved or bound; Q_DECLINED: admission;
 * Q_NO_MEMORY. After a failure nothing has changed.
 */
q_status_t pgm_rom_add_shadowed(struct pgm *pgm, gpa_t start, const void *image,
				uint64_t size_bytes) Q_MUST_USE;

/* Sets the mode of whole pages. Q_INVALID, Q_RANGE; Q_STATE: not all is shadowed ROM. */
q_status_t pgm_rom_mode_set(struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			    enum pgm_rom_mode mode) Q_MUST_USE;

#endif
