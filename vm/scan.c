/* SPDX-License-Identifier: MIT */
/*
 * The sharing scanner.
 *
 * A pass goes over all VMs, a block of pages at a time. For each block the VM
 * moves its nested tables' dirty bits into its records (a request). Then the
 * scanner reads the records, without a lock: what is not a private page, or was
 * written since the last pass, is left alone; of all others it looks at the
 * content. Pages of zeros are given back (a request). Pages that look like
 * another one are noted, and when there are enough of them they are merged
 * (scan_merge.c).
 *
 * The scanner changes no VM. It proposes, the VM's thread decides, so all that is
 * seen may be stale. A VM is looked at under a reference, which is held for as
 * long as one block takes and never across a sleep: a VM may be gone after any
 * sleep, so pages are remembered by the VM's number.
 *
 * It runs only when nobody else wants the CPU, and then for no more than its
 * share. The share is halved after a pass that gained nothing, down to a
 * sixteenth and to 1.5 percent of a CPU, and doubled after one that did. While a
 * VM waits for memory the share is all there is.
 */
#include "vm/scan.h"

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/log.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "kernel/heap.h"
#include "kernel/thread.h"
#include "kernel/time.h"

#include "memory_wait.h"
#include "scan_internal.h"
#include "vm_internal.h"

#define BLOCK_PAGES    VM_REQUEST_RANGE_MAX
#define STRETCH_PAGES  16384u /* how far it looks for a page before others may run */
#define GROUP_MAX      64u
#define SIZE_MAX_BYTES (4ull << 20) /* of the working set, if the configuration does not say */
#define ENTRY_BYTES    16u
#define RATE_MAX       10000u /* hundredths of a percent */
#define RATE_STEPS     16u    /* the slowest is this part of the fastest */
#define RATE_AT_REST   150u   /* it is no faster than this where there is nothing to gain */
#define REST_US        20000u /* between passes */
#define GAIN_WORTH     256u   /* one page in so many makes a pass worth repeating soon */

struct scan_stats scan_figures;

/* Written by the operator's thread, read by the scanner's. */
static struct {
	struct thread *thread;
	bool is_on;
	unsigned cpu_percent;
} settings;

static char group_names[GROUP_MAX][CONFIG_NAME_BYTES];

/* --- groups --------------------------------------------------------------------------------- */

/* By the operator's thread only. Names are never forgotten: they are few. */
share_group_t scan_group(const char *name)
{
	if (name[0] == 0)
		return SHARE_GROUP_NONE;
	for (unsigned i = 0; i < GROUP_MAX; i++) {
		if (group_names[i][0] == 0)
			string_copy(group_names[i], sizeof(group_names[i]), name);
		if (strcmp(group_names[i], name) == 0)
			return (share_group_t)(i + 1);
	}
	log_notice("scan: more than %u sharing groups: '%s' shares nothing", GROUP_MAX, name);
	return SHARE_GROUP_NONE;
}

/* --- asking ------------------------------------------------------------------------------------ */

struct vm *scan_vm_get(uint64_t number)
{
	struct vm *vm = vm_get_after(number - 1);

	if (vm && vm_number(vm) == number)
		return vm;
	if (vm)
		vm_put(vm);
	return NULL;
}

struct vm *scan_vm_of(gmm_vm_t handle)
{
	uint64_t number = 0;

	for (struct vm *vm = vm_get_after(0); vm; vm = vm_get_after(number)) {
		if (pgm_vm(vm->machine.pgm) == handle)
			return vm;
		number = vm_number(vm);
		vm_put(vm);
	}
	return NULL;
}

/* Q_CANCELLED: the VM is gone. */
static q_status_t request_carry_out(uint64_t vm_number, struct vm_request *request)
{
	struct vm *vm = scan_vm_get(vm_number);
	if (!vm)
		return Q_CANCELLED;
	vm_request_post(vm, request);
	vm_put(vm);
	return vm_request_wait(request);
}

/* Up to VM_REQUEST_PAGES_MAX pages of one VM. */
static void pages_ask(enum vm_request_kind kind, struct scan_page *const *pages,
		      const page_id_t *shared, unsigned count)
{
	struct vm_request_page asked[VM_REQUEST_PAGES_MAX];
	struct vm_request request = { .kind = kind, .pages = asked, .count = count };

	for (unsigned i = 0; i < count; i++)
		asked[i] = (struct vm_request_page){ .gfn = pages[i]->gfn,
						     .expected = pages[i]->id,
						     .shared = shared ? shared[i] : PAGE_ID_NIL };
	q_status_t status = request_carry_out(pages[0]->vm_number, &request);
	for (unsigned i = 0; i < count; i++)
		pages[i]->status = status == Q_OK ? asked[i].status : status;
}

/* How many of the first pages belong to the same VM and fit one request. */
static unsigned run_length(struct scan_page *const *pages, unsigned count)
{
	unsigned length = 1;

	while (length < count && length < VM_REQUEST_PAGES_MAX &&
	       pages[length]->vm_number == pages[0]->vm_number)
		length++;
	return length;
}

void scan_ask(enum vm_request_kind kind, struct scan_page *const *pages, const page_id_t *shared,
	      unsigned count)
{
	for (unsigned i = 0; i < count;) {
		unsigned length = run_length(&pages[i], count - i);
		pages_ask(kind, &pages[i], shared ? &shared[i] : NULL, length);
		i += length;
	}
}

/* --- one block ----------------------------------------------------------------------------------- */

/* Pages of zeros that were found in a block. */
struct zeros {
	struct scan_page pages[VM_REQUEST_PAGES_MAX];
	unsigned count;
};

static struct zeros zeros;

static void zeros_ask(void)
{
	struct scan_page *pages[VM_REQUEST_PAGES_MAX];

	for (unsigned i = 0; i < zeros.count; i++)
		pages[i] = &zeros.pages[i];
	scan_ask(VM_REQUEST_ZERO, pages, NULL, zeros.count);
	for (unsigned i = 0; i < zeros.count; i++)
		scan_figures.zeroed += zeros.pages[i].status == Q_OK;
	zeros.count = 0;
}

/* Whether there is something to look at; the view is of that moment. */
static bool page_is_worth(const struct pgm_page_view *view)
{
	if (view->kind != PGM_PAGE_NORMAL || view->is_watched) {
		scan_figures.skipped_state++;
		return false;
	}
	scan_figures.skipped_lately += view->was_written_lately;
	return !view->was_written_lately;
}

static void match_note(const struct vm *vm, const struct share_page *looked,
		       const struct share_match *match)
{
	struct scan_page page = {
		.vm_number = vm_number(vm),
		.gfn = looked->gfn,
		.id = looked->id,
		.as_shared = *looked,
	};

	if (match->advice == SHARE_ZERO)
		zeros.pages[zeros.count++] = page;
	else
		scan_merge_add(&page, match);
}

static void page_scan(const struct vm *vm, gfn_t gfn)
{
	struct pgm_page_view view;

	if (!pgm_page_look(vm->machine.pgm, gfn, &view) || !page_is_worth(&view))
		return;
	struct share_page page = { .vm = pgm_vm(vm->machine.pgm),
				   .group = vm->share_group,
				   .gfn = gfn,
				   .id = view.id,
				   .is_settled = pgm_has_dirty_bits(vm->machine.pgm) };
	struct share_match match = share_look(&page);
	if (match.advice != SHARE_NOTHING)
		match_note(vm, &page, &match);
}

/* Looks at pages from *at on, until the end or until something has to be carried out. */
static void block_look(uint64_t vm_number, gfn_t *at, gfn_t end)
{
	struct vm *vm = scan_vm_get(vm_number);

	if (!vm) {
		*at = end;
		return;
	}
	while (at->raw < end.raw && zeros.count < VM_REQUEST_PAGES_MAX && !scan_merge_is_full()) {
		gfn_t next = pgm_page_next_private(vm->machine.pgm, *at, end);
		scan_figures.skipped_state += next.raw - at->raw;
		if (next.raw < end.raw)
			page_scan(vm, next);
		*at = gfn_next(next);
	}
	vm_put(vm);
}

static void block_scan(uint64_t vm_number, gfn_t first, unsigned count)
{
	struct vm_request note = { .kind = VM_REQUEST_NOTE_DIRTY, .first = first, .count = count };
	gfn_t at = first, end = gfn(first.raw + count);

	if (request_carry_out(vm_number, &note) != Q_OK)
		return;
	for (;;) {
		block_look(vm_number, &at, end);
		if (zeros.count > 0)
			zeros_ask();
		if (scan_merge_is_full())
			scan_merge_run();
		if (at.raw >= end.raw)
			return;
	}
}

/* --- one pass -------------------------------------------------------------------------------------- */

/* In hundredths of a percent of one CPU. */
static unsigned rate_now(void)
{
	unsigned most = atomic_load_relaxed(&settings.cpu_percent) * 100;

	if (gmm_wait_first() != GMM_VM_QUIRE)
		return RATE_MAX;
	if (scan_figures.rate_percent > most)
		scan_figures.rate_percent = most;
	return scan_figures.rate_percent;
}

static void rate_adapt(uint64_t gained, uint64_t looked)
{
	unsigned most = atomic_load_relaxed(&settings.cpu_percent) * 100;
	unsigned least = most / RATE_STEPS < RATE_AT_REST ? most / RATE_STEPS : RATE_AT_REST;
	unsigned rate = scan_figures.rate_percent;

	rate = gained * GAIN_WORTH >= looked && gained > 0 ? rate * 2 : rate / 2;
	scan_figures.rate_percent = rate > most ? most : rate < least ? least : rate;
}

/* Sleeps so long that what was used since `start_ticks` is the share of all that passed. */
static void share_keep(uint64_t start_ticks)
{
	uint64_t used = thread_cpu_ticks(thread_self()) - start_ticks;
	unsigned rate = rate_now();

	scan_figures.ticks += used;
	if (rate < RATE_MAX)
		thread_park_until(cpu_rdtsc() + used * (RATE_MAX - rate) / rate);
	else if (thread_should_yield())
		thread_yield();
}

/* The next block with a private page that is not far. False: there is no more of this VM. */
static bool stretch_scan(uint64_t number, gfn_t *at)
{
	struct vm *vm = scan_vm_get(number);

	if (!vm)
		return false;
	gfn_t end = pgm_ram_end(vm->machine.pgm);
	gfn_t limit = gfn(at->raw + STRETCH_PAGES < end.raw ? at->raw + STRETCH_PAGES : end.raw);
	*at = pgm_page_next_private(vm->machine.pgm, *at, limit);
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
		share_keep(start);
	}
}

static void pass(void)
{
	uint64_t gained = scan_figures.merged + scan_figures.zeroed;
	uint64_t looked = scan_figures.share.looked, start = scan_figures.ticks;
	uint64_t number = 0, at = thread_cpu_ticks(thread_self());

	share_pass_begin();
	share_keep(at);
	for (struct vm *vm = vm_get_after(number); vm; vm = vm_get_after(number)) {
		number = vm_number(vm);
		bool is_scanned = vm_is_alive(vm);
		vm_put(vm);
		if (is_scanned)
			vm_scan(number);
	}
	at = thread_cpu_ticks(thread_self());
	scan_merge_run();
	share_keep(at);
	share_stats(&scan_figures.share);
	/*
	 * What was given back may be what somebody waits for. Not before: what a waiter
	 * takes at once would only have to be moved when a chunk is emptied for sharing.
	 */
	memory_wait_wake();
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
		/* Also when nothing was there to be scanned: never without a rest. */
		thread_park_until(cpu_rdtsc() + time_ticks_from_us(REST_US));
	}
}

/* --- start, switch, figures ---------------------------------------------------------------------------- */

static uint64_t size_choose(const struct system_config *config)
{
	struct gmm_stats machine;

	if (config->scan_memory_bytes)
		return config->scan_memory_bytes & ~PAGE_MASK;
	gmm_stats(&machine);
	uint64_t size_bytes = machine.machine_pages * ENTRY_BYTES & ~PAGE_MASK;
	return size_bytes < SIZE_MAX_BYTES ? size_bytes : SIZE_MAX_BYTES;
}

static void is_on_set(bool is_on)
{
	atomic_store_relaxed(&settings.is_on, is_on);
	gmm_shared_keep(is_on ? GMM_PAGES_PER_CHUNK : 0);
}

q_status_t scan_start(const struct system_config *config)
{
	struct share_config share = { .size_bytes = size_choose(config), .key_mask = ~0ull };
	unsigned page_count = (unsigned)(share.size_bytes / PAGE_SIZE);

	is_on_set(config->scan);
	settings.cpu_percent = config->scan_cpu_percent;
	scan_figures.rate_percent = settings.cpu_percent * 100;
	void *memory = pages_alloc(page_count);
	if (!memory)
		return Q_NO_MEMORY;
	share_init(&share, memory);
	q_status_t status = thread_create("scan", THREAD_IDLE, run, NULL, &settings.thread);
	if (status != Q_OK)
		pages_free(memory, page_count);
	return status;
}

void scan_switch(bool is_on)
{
	is_on_set(is_on);
	if (settings.thread)
		thread_unpark(settings.thread);
}

void scan_cpu_set(unsigned percent)
{
	atomic_store_relaxed(&settings.cpu_percent, percent);
	/* From the fastest on again. */
	scan_figures.rate_percent = percent * 100;
	if (settings.thread)
		thread_unpark(settings.thread);
}

void scan_stats(struct scan_stats *out_stats)
{
	if (settings.thread)
		share_stats(&scan_figures.share);
	*out_stats = scan_figures;
	out_stats->is_on = settings.is_on;
	out_stats->cpu_percent = settings.cpu_percent;
}

const char *scan_rejection_text(enum scan_rejection rejection)
{
	static const char *const texts[SCAN_REJECTION_COUNT] = {
		[SCAN_CHANGED] = "changed",
		[SCAN_DIFFERENT] = "different",
		[SCAN_WRITTEN] = "written",
		[SCAN_NO_MEMORY] = "no_memory",
	};
	return texts[rejection];
}

void scan_check(void)
{
	if (settings.thread)
		share_check();
}
