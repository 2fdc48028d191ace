/* SPDX-License-Identifier: MIT */
/*
 * The output of a VM's serial port: keeps the last 64 KiB, and passes on what is new to where it
 * is wanted. The ring has one page from the start and gets each other page when it first needs
 * it. While there is no memory for a page, the ring keeps less.
 *
 * Devices append under the devices lock. serial_drain() passes on without that lock, because
 * Quire's console may have to wait for its UART. One thread drains at a time, so order is kept.
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

/*
 * An attached terminal gets all output. Where else it goes: CONSOLE, nowhere; LOG, line by line to
 * Quire's console while no terminal is attached; COM2, raw to the machine's second serial port.
 */
enum serial_mode { SERIAL_CONSOLE, SERIAL_LOG, SERIAL_COM2 };

struct serial {
	/* Fixed by serial_init(). */
	const char *name;
	enum serial_mode mode;

	/* LOCK_RANK_SERIAL. With interrupts off, because handlers take locks that rank below. */
	struct spinlock lock;
	/* Guarded by lock; written under the devices lock as well. */
	uint8_t *pages[SERIAL_PAGE_COUNT];
	unsigned page_count;
	/* Guarded by lock. Free-running byte counts. */
	uint64_t origin; /* `written` when the ring last began at its front */
	uint64_t oldest; /* the oldest byte that is kept */
	uint64_t written;
	uint64_t drained;
	bool is_attached;
	bool is_draining;

	/* Owned by the thread that drains: the unfinished line of mode LOG. */
	char line[SERIAL_LINE_BYTES];
	unsigned line_length;
};

/* `name` must outlive it. Q_NO_MEMORY: no first page; then serial_fini() must not follow. */
q_status_t serial_init(struct serial *serial, const char *name, enum serial_mode mode) Q_MUST_USE;
void serial_fini(struct serial *serial);

/* Appends output. The caller holds the devices lock. */
void serial_append(struct serial *serial, const uint8_t *bytes, unsigned count);
/* Passes on what is new. No lock held. */
void serial_drain(struct serial *serial);
/* Call at the end of a run: passes on all that is left, also an unfinished line of mode LOG. */
void serial_finish(struct serial *serial);

/* Attaches the terminal: it gets the last 64 KiB, and then all output. No lock held. */
void serial_attach(struct serial *serial);
void serial_detach(struct serial *serial);

/* True if there is output to pass on. No lock needed: a thread that appends later also drains. */
static inline bool serial_has_new(const struct serial *serial)
{
	return serial->written != serial->drained;
}

#endif
