/* SPDX-License-Identifier: MIT */
/*
 * The sharing scanner: a thread that looks for pages of zeros and for equal pages of all VMs, and
 * asks their owners to exchange them. The design page is in share_scan.c. mm/share knows which
 * pages look alike. The operator's thread calls the functions here, with no lock held.
 */
#ifndef RECLAIM_SHARE_SCAN_H
#define RECLAIM_SHARE_SCAN_H

#include <quire/status.h>

#include "mm/share/share.h"

struct share_scan_config {
	bool is_on;
	unsigned cpu_percent; /* how much of one CPU it may use, 1 to 100 */
	uint64_t size_bytes;  /* of the working set; 0: chosen by the size of the machine */
};

/* Starts the thread. To be called once, first. Q_NO_MEMORY: for the working set or the thread. */
q_status_t share_scan_start(const struct share_scan_config *config) Q_MUST_USE;

/* Switches the scanner on or off. Off: it looks at no page, and what is shared stays shared. */
void share_scan_switch(bool is_on);
/* Sets how much of one CPU it may use, 1 to 100; it begins at that rate. */
void share_scan_cpu_set(unsigned percent);

/* Why a proposed merge came to nothing. */
enum share_scan_rejection {
	SCAN_CHANGED,   /* the other page was no candidate any more, or had other content */
	SCAN_DIFFERENT, /* the keys agree, the bytes do not */
	SCAN_WRITTEN,   /* a page was written while it was watched */
	SCAN_NO_MEMORY, /* there was none for the shared page */
	SCAN_REJECTION_COUNT,
};

struct share_scan_stats {
	struct share_stats share;
	bool is_on;
	unsigned cpu_percent;
	unsigned rate_hundredths;    /* its rate now: of a CPU, in hundredths of a percent */
	uint64_t ticks;              /* TSC ticks for which the thread has run */
	uint64_t passes, pass_ticks; /* pass_ticks: those of the last pass */
	/* Pages written since the pass before; pages that are not private, or have a handler. */
	uint64_t skipped_lately, skipped_state;
	uint64_t merged; /* pages that became references */
	uint64_t zeroed; /* pages that became the zero page */
	uint64_t rejected[SCAN_REJECTION_COUNT];
};
/* Copies the figures, some of which may be a little older than others. */
void share_scan_stats(struct share_scan_stats *out_stats);
/* Returns "changed", "different" and so on. */
const char *share_scan_rejection_text(enum share_scan_rejection rejection);

/* Asserts every invariant of the working set. */
void share_scan_check(void);

#endif
