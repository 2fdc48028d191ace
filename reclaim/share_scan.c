/* SPDX-License-Identifier: MIT */
/*
 * The sharing scanner.
 *
 * A pass goes over all VMs that are alive, a block of pages at a time. For each block, the VM
 * first moves the dirty bits of its nested tables into its records (a request). Then the scanner
 * reads the records, without a lock. It leaves alone every page that is not private or was
 * written since the last pass, and looks at the content of all others. The VM gives pages of
 * zeros back (a request). Pages that look like another one are noted, and merged when there are
 * enough of them (share_merge.c).
 *
 * The scanner changes no VM. It proposes and the VM's thread decides, so all that the scanner
 * sees may be stale. It looks at a VM under a reference, which it keeps for no longer than one
 * block and never across a sleep. After a sleep the VM may be gone, so the scanner remembers VMs
 * by number.
 *
 * The scanner runs only when no other thread wants the CPU, and then it keeps to a rate, which
 * starts at the share of a CPU that the operator sets. A pass that gained less than one page in
 * GAIN_WORTH halves the rate, down to a sixteenth of that share or to 1.5 percent of a CPU,
 * whichever is less. A pass that gained more doubles it. While a VM waits for memory there is no
 * limit: the scanner takes all idle time.
 */
#include "reclaim/share_scan.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/log.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/heap.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "reclaim_internal.h"

#define BLOCK_PAGES    VM_REQUEST_RANGE_MAX
#define STRETCH_PAGES  16384u       /* how far to look for a page before other threads may run */
#define SIZE_MAX_BYTES (4ull << 20) /* of the working set, if the configuration does not say */
#define ENTRY_BYTES    16u
#define RATE_MAX       10000u /* hundredths of a percent */
#define RATE_STEPS     16u    /* the fastest rate is this many times the slowest */
#define RATE_AT_REST   150u   /* where passes gain nothing, the rate falls at least to this */
#define REST_US        20000u /* between passes */
#define GAIN_WORTH     256u   /* one page gained in this many makes a pass worth repeating soon */

struct share_scan_stats scan_figures;

/* Written by the operator's thread, read by the scanner's. */
static struct {
	struct thread *thread;
	bool is_on;
	unsigned cpu_percent;
} settings;

/* --- one block -------------------------------------------------------------------------------- */

/* The pages of zeros that were found in a block. */
struct zeros {
	struct reclaim_page pages[VM_REQUEST_PAGES_MAX];
	unsigned count;
};

static struct zeros zeros;

static void zeros_ask(void)
{
	struct reclaim_page *pages[VM_REQUEST_PAGES_MAX];

	for (unsigned i = 0; i < zeros.count; i++)
		pages[i] = &zeros.pages[i];
	reclaim_ask(VM_REQUEST_ZERO, pages, NULL, zeros.count);
	for (unsigned i = 0; i < zeros.count; i++)
		scan_figures.zeroed += zeros.pages[i].status == Q_OK;
	zeros.count = 0;
}

/* True if the page's content is worth a look. The view may be stale. */
static bool page_is_worth(const struct pgm_page_view *view)
{
	if (view->kind != PGM_PAGE_NORMAL || view->has_handler) {
		scan_figures.skipped_state++;
		return false;
	}
	scan_figures.skipped_lately += view->was_written_lately;
	return !view->was_written_lately;
}

static void match_note(uint64_t vm_number, const struct share_page *looked,
		       const struct share_match *match)
{
	struct reclaim_page page = {
		.vm_number = vm_number,
		.gfn = looked->gfn,
		.id = looked->id,
		.as_shared = *looked,
	};

	if (match->advice == SHARE_ZERO)
		zeros.pages[zeros.count++] = page;
	else
		share_merge_add(&page, match);
}

/* `page` already has what is the same for all pages of the VM. */
static void page_scan(const struct pgm *pgm, uint64_t vm_number, gfn_t gfn, struct share_page *page)
{
	struct pgm_page_view view;

	if (!pgm_page_look(pgm, gfn, &view) || !page_is_worth(&view))
		return;
	page->gfn = gfn;
	page->id = view.id;
	struct share_match match = share_look(page);
	if (match.advice != SHARE_NOTHING)
		match_note(vm_number, page, &match);
}

/* Looks at pages from *at on, until `end` or until there is enough to be carried out. */
static void block_look(uint64_t vm_number, gfn_t *at, gfn_t end)
{
	struct vm *vm = reclaim_vm_get(vm_number);

	if (!vm) {
		*at = end;
		return;
	}
	const struct pgm *pgm = vm_pgm(vm);
	struct share_page page = { .vm = pgm_vm(pgm),
				   .group = vm_share_group(vm),
				   .is_settled = pgm_has_dirty_bits(pgm) };
	while (at->raw < end.raw && zeros.count < VM_REQUEST_PAGES_MAX && !share_merge_is_full()) {
		gfn_t next = pgm_page_next_private(pgm, *at, end);
		scan_figures.skipped_state += next.raw - at->raw;
		if (next.raw < end.raw)
			page_scan(pgm, vm_number, next, &page);
		*at = gfn_next(next);
	}
	vm_put(vm);
}

static void block_scan(uint64_t vm_number, gfn_t first, unsigned count)
{
	struct vm_request note = { .kind = VM_REQUEST_NOTE_DIRTY, .first = first, .count = count };
	gfn_t at = first, end = gfn(first.raw + count);

	if (reclaim_request(vm_number, &note) != Q_OK)
		return;
	for (;;) {
		block_look(vm_number, &at, end);
		if (zeros.count > 0)
			zeros_ask();
		if (share_merge_is_full())
			share_merge_run();
		if (at.raw >= end.raw)
			return;
	}
}

/* --- one pass --------------------------------------------------------------------------------- */

/* Returns the rate to keep to, in hundredths of a percent of one CPU. */
static unsigned rate_now(void)
{
	unsigned most = atomic_load_relaxed(&settings.cpu_percent) * 100;

	if (gmm_wait_first() != GMM_VM_QUIRE)
		return RATE_MAX;
	if (scan_figures.rate_hundredths > most)
		scan_figures.rate_hundredths = most;
	return scan_figures.rate_hundredths;
}

static void rate_adapt(uint64_t gained, uint64_t looked)
{
	unsigned most = atomic_load_relaxed(&settings.cpu_percent) * 100;
	unsigned least = most / RATE_STEPS < RATE_AT_REST ? most / RATE_STEPS : RATE_AT_REST;
	unsigned rate = scan_figures.rate_hundredths;

	rate = gained * GAIN_WORTH >= looked && gained > 0 ? rate * 2 : rate / 2;
	scan_figures.rate_hundredths = rate > most ? most : rate < least ? least : rate;
}

/* Sleeps for so long that the CPU time used since `start_ticks` keeps to the rate. */
static void rate_keep(uint64_t start_ticks)
{
	uint64_t used = thread_cpu_ticks(thread_self()) - start_ticks;
	unsigned rate = rate_now();

	scan_figures.ticks += used;
	if (rate < RATE_MAX)
		thread_park_until(cpu_rdtsc() + used * (RATE_MAX - rate) / rate);
	else if (thread_should_yield())
		thread_yield();
}

/* Scans the next block with a private page, if one is not far. False: the VM has no more pages. */
static bool stretch_scan(uint64_t number, gfn_t *at)
{
	struct vm *vm = reclaim_vm_get(number);

	if (!vm)
		return false;
	gfn_t end = pgm_ram_end(vm_pgm(vm));
	gfn_t limit = gfn(at->raw + STRETCH_PAGES < end.raw ? at->raw + STRETCH_PAGES : end.raw);
	*at = pgm_page_next_private(vm_pgm(vm), *at, limit);
	vm_put(vm);
	if (at->raw < limit.raw) {
		block_scan(number, *at, BLOCK_PAGES);
		at->raw += BLOCK_PAGES;
	}
	return at->raw < end.raw;
}

static void vm_scan(uint64_t number)
{
	gfn_t at = gfn(0);
	bool is_more = true;

	while (is_more && atomic_load_relaxed(&settings.is_on)) {
		uint64_t start = thread_cpu_ticks(thread_self());
		is_more = stretch_scan(number, &at);
		rate_keep(start);
	}
}

static void pass(void)
{
	uint64_t gained = scan_figures.merged + scan_figures.zeroed;
	uint64_t looked = scan_figures.share.looked, start = scan_figures.ticks;
	uint64_t number = 0, at = thread_cpu_ticks(thread_self());

	share_pass_begin();
	rate_keep(at);
	for (struct vm *vm = vm_get_after(number); vm; vm = vm_get_after(number)) {
		number = vm_number(vm);
		bool is_scanned = vm_is_alive(vm);
		vm_put(vm);
		if (is_scanned)
			vm_scan(number);
	}
	at = thread_cpu_ticks(thread_self());
	share_merge_run();
	rate_keep(at);
	share_stats(&scan_figures.share);
	/*
	 * A VM may be waiting for what was given back. It hears of it only now: pages that it
	 * took before would only have to be moved when a chunk is emptied for sharing.
	 */
	vm_memory_freed();
	rate_adapt(scan_figures.merged + scan_figures.zeroed - gained,
		   scan_figures.share.looked - looked);
	scan_figures.passes++;
	scan_figures.pass_ticks = scan_figures.ticks - start;
}

static void run(void *argument)
{
	(void)argument;
	for (;;) {
		if (atomic_load_relaxed(&settings.is_on))
			pass();
		/* Rest in any case, even if there was nothing to scan. */
		thread_park_until(cpu_rdtsc() + time_ticks_from_us(REST_US));
	}
}

/* --- start, switch, figures ------------------------------------------------------------------- */

static uint64_t size_choose(const struct share_scan_config *config)
{
	struct gmm_stats machine;

	if (config->size_bytes)
		return config->size_bytes & ~PAGE_MASK;
	gmm_stats(&machine);
	uint64_t size_bytes = machine.machine_pages * ENTRY_BYTES & ~PAGE_MASK;
	return size_bytes < SIZE_MAX_BYTES ? size_bytes : SIZE_MAX_BYTES;
}

static void is_on_set(bool is_on)
{
	atomic_store_relaxed(&settings.is_on, is_on);
	gmm_shared_keep(is_on ? GMM_PAGES_PER_CHUNK : 0);
}

q_status_t share_scan_start(const struct share_scan_config *config)
{
	struct share_config share = { .size_bytes = size_choose(config), .key_mask = ~0ull };
	unsigned page_count = (unsigned)(share.size_bytes / PAGE_SIZE);

	is_on_set(config->is_on);
	settings.cpu_percent = config->cpu_percent;
	scan_figures.rate_hundredths = settings.cpu_percent * 100;
	void *memory = pages_alloc(page_count);
	if (!memory)
		return Q_NO_MEMORY;
	share_init(&share, memory);
	q_status_t status = thread_create("scan", THREAD_IDLE, run, NULL, &settings.thread);
	if (status != Q_OK)
		pages_free(memory, page_count);
	return status;
}

void share_scan_switch(bool is_on)
{
	is_on_set(is_on);
	if (settings.thread)
		thread_unpark(settings.thread);
}

void share_scan_cpu_set(unsigned percent)
{
	atomic_store_relaxed(&settings.cpu_percent, percent);
	/* Begin at the fastest rate again. */
	scan_figures.rate_hundredths = percent * 100;
	if (settings.thread)
		thread_unpark(settings.thread);
}

void share_scan_stats(struct share_scan_stats *out_stats)
{
	if (settings.thread)
		share_stats(&scan_figures.share);
	*out_stats = scan_figures;
	out_stats->is_on = settings.is_on;
	out_stats->cpu_percent = settings.cpu_percent;
}

const char *share_scan_rejection_text(enum share_scan_rejection rejection)
{
	static const char *const texts[SCAN_REJECTION_COUNT] = {
		[SCAN_CHANGED] = "changed",
		[SCAN_DIFFERENT] = "different",
		[SCAN_WRITTEN] = "written",
		[SCAN_NO_MEMORY] = "no_memory",
	};
	return texts[rejection];
}

void share_scan_check(void)
{
	if (settings.thread)
		share_check();
}
