/* SPDX-License-Identifier: MIT */
/*
 * Physical handlers: ranges of a VM's memory whose accesses go to a handler before
 * they go to memory. The design is in pgm_handler.c.
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
 * From now on, faults of that kind in [start, start + size_bytes) end as PGM_HANDLER
 * with `tag`, whose meaning is the caller's, and pgm_read() and pgm_write() return
 * Q_HANDLER there. Q_INVALID: not whole pages; Q_RANGE: not all is RAM, ROM or device
 * memory; Q_CONFLICT: a page has a handler already; Q_LIMIT: no room for one more
 * range.
 */
q_status_t pgm_handler_add(struct pgm *pgm, gpa_t start, uint64_t size_bytes,
			   enum pgm_handler_kind kind, uint32_t tag) Q_MUST_USE;

/*
 * Removes the handlers of [start, start + size_bytes): whole ranges, ends of ranges or
 * a piece from the middle of one. Q_INVALID, Q_RANGE; Q_NOT_FOUND: there is none;
 * Q_LIMIT: no room for two halves.
 */
q_status_t pgm_handler_remove(struct pgm *pgm, gpa_t start, uint64_t size_bytes) Q_MUST_USE;

/*
 * Like pgm_read() and pgm_write(), but access the memory behind the handlers: for the
 * code that serves a handler.
 */
q_status_t pgm_handler_read(struct pgm *pgm, gpa_t from, void *to, uint64_t size_bytes,
			    uint64_t *out_done) Q_MUST_USE;
q_status_t pgm_handler_write(struct pgm *pgm, gpa_t to, const void *from, uint64_t size_bytes,
			     uint64_t *out_done) Q_MUST_USE;

#endif
