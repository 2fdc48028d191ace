/* SPDX-License-Identifier: MIT */
/*
 * Physical handlers: ranges of a VM's memory whose accesses somebody wants to
 * see before memory does. The design is in pgm_handler.c.
 */
#ifndef MM_PGM_PGM_HANDLER_H
#define MM_PGM_PGM_HANDLER_H

#include <quire/addr.h>
#include <quire/status.h>

struct pgm;

enum pgm_handler_kind {
	PGM_HANDLER_NONE,
	PGM_HANDLER_WRITE, /* wants writes; reads go to memory */
	PGM_HANDLER_ALL,   /* wants every access */
};

/*
 * From now on accesses of that kind to [start, start + size_bytes) end as
 * PGM_HANDLER with `tag` (which is the caller's), and in pgm_read() and
 * pgm_write() as Q_HANDLER. Whole pages, all of them RAM, ROM or a device's:
 * else Q_INVALID, Q_RANGE. Q_CONFLICT: some page has a handler already; Q_LIMIT:
 * no room for one more range.
 */
q_status_t pgm_handler_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			   enum pgm_handler_kind kind, uint32_t tag) Q_MUST_USE;

/*
 * Takes the handlers off [start, start + size_bytes): whole ranges, ends of them
 * or a piece from the middle. Q_INVALID, Q_RANGE; Q_NOT_FOUND: there is none;
 * Q_LIMIT: no room for the two halves.
 */
q_status_t pgm_handler_remove(struct pgm *pgm, gpa_t start, uint64_t size_bytes) Q_MUST_USE;

/*
 * As pgm_read() and pgm_write(), but to the memory behind the handlers: for
 * whoever they called.
 */
q_status_t pgm_handler_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes,
			    uint64_t *out_done) Q_MUST_USE;
q_status_t pgm_handler_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
			     uint64_t *out_done) Q_MUST_USE;

#endif
