/* SPDX-License-Identifier: MIT */
/*
 * What a VM wrote to its serial port: the last 64 KiB, and on to where it is
 * wanted. The ring has a page from the start and gets the others when they are
 * first needed; while there is no memory for one, it keeps less.
 *
 * Devices append under the devices lock; serial_drain() passes on what is new,
 * without that lock, because a console may have to wait for its line. One
 * drainer at a time, so order is kept.
 */
#ifndef VM_MACHINE_SERIAL_H
#define VM_MACHINE_SERIAL_H

#include <quire/addr.h>
#include <quire/lock.h>
#include <quire/status.h>

#define SERIAL_BYTES      65536u
#define SERIAL_PAGE_COUNT (SERIAL_BYTES / PAGE_SIZE)
#define SERIAL_LINE_BYTES 200u
#define SERIAL_NAME_BYTES 32u /* the longest name, with its terminator */

/* Where output goes: to an attached terminal only; or to the console line by line; or to COM2. */
enum serial_mode { SERIAL_CONSOLE, SERIAL_LOG, SERIAL_COM2 };

struct serial {
	/* Fixed by serial_init(). */
	const char *name;
	enum serial_mode mode;

	/* LOCK_RANK_SERIAL, with interrupts off: their handlers take locks that rank below. */
	struct spinlock lock;
	/* Guarded by lock; written under the devices lock as well. */
	uint8_t *pages[SERIAL_PAGE_COUNT];
	unsigned page_count;
	/* Guarded by lock. Free-running byte counts. */
	uint64_t origin; /* the byte at the start of the ring: written last there, or next */
	uint64_t oldest; /* that is kept */
	uint64_t written;
	uint64_t drained;
	bool is_attached;
	bool is_draining;

	/* Owned by whoever is draining: the unfinished line of mode `log`. */
	char line[SERIAL_LINE_BYTES];
	unsigned line_length;
};

/* Q_NO_MEMORY: the first page; then there is nothing to end. */
q_status_t serial_init(struct serial *serial, const char *name, enum serial_mode mode) Q_MUST_USE;
void serial_fini(struct serial *serial);

/* Under the devices lock. */
void serial_append(struct serial *serial, const uint8_t *bytes, unsigned count);
/* Passes on what is new. Outside all locks. */
void serial_drain(struct serial *serial);
/* At the end of a run: an unfinished line of mode `log` goes out as it is. */
void serial_finish(struct serial *serial);

/* From here on output goes to Quire's console, beginning with the last 64 KiB. */
void serial_attach(struct serial *serial);
void serial_detach(struct serial *serial);

/* Something to pass on? Without a lock: whoever appends afterwards drains. */
static inline bool serial_has_new(const struct serial *serial)
{
	return serial->written != serial->drained;
}

#endif
