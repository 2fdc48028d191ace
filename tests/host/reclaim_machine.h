/* SPDX-License-Identifier: MIT */
/*
 * What tests of reclaim/ start from: a machine of fake RAM and guests in the table of VMs,
 * with the real memory manager and the real requests. A guest has one vCPU, whose thread
 * is a name only: the test answers what the guest is asked, between two steps of the thread
 * under test.
 *
 * A step ends when the thread under test sleeps. Each step has two moments: before and after
 * the guests answer. At each the test may act (act_at_moment), and everything is checked.
 */
#ifndef TESTS_HOST_RECLAIM_MACHINE_H
#define TESTS_HOST_RECLAIM_MACHINE_H

#include "fake_heap.h"
#include "fake_thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quire/assert.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_internal.h"
#include "mm/share/share.h"
#include "vm/request.h"
#include "vm/vm_internal.h"
#include "reclaim/reclaim_internal.h"
#include "reclaim/share_scan.h"

#include "nested_walk.h"
#include "seam/seam.h"
#include "test.h"

#define MIB(n)      ((uint64_t)(n) << 20)
#define GUEST_BYTES MIB(4)
#define FRAMES_MAX  (MIB(16) >> PAGE_SHIFT) /* whose contents a test knows */
#define GUESTS_MAX  12u
#define GROUP       ((share_group_t)7)
#define REST_TICKS  (20000u * TICKS_PER_US) /* between two passes */
#define WATCH_TICKS (5000u * TICKS_PER_US)  /* for which a batch's pages are watched */

struct guest {
	struct vm vm;
	struct vcpu vcpu;
	bool is_asked;      /* vCPU 0 was told to look for requests */
	unsigned asks;      /* how often */
	uint64_t monitored; /* pages that the test itself has made MONITORED */
	/* What the frames hold that a test has filled, see content_write(). */
	uint64_t contents[FRAMES_MAX];
	bool is_filled[FRAMES_MAX];
};

static struct guest *guests[GUESTS_MAX]; /* NULL: none, or destroyed */
static unsigned guest_count;
static struct thread *stepped;      /* the thread under test */
static unsigned memory_freed;       /* how often waiters were told to look */
static uint64_t merged_when_freed;  /* how many pages were merged when they last were */
static unsigned moment;             /* counts them */
static void (*act_at_moment)(void); /* NULL: nothing happens */
static bool answers_at_once;        /* the guests answer while the thread still runs */

/* --- what reclaim/ calls of vm/ and the machine ------------------------------------------ */

struct pgm *vm_pgm(const struct vm *vm)
{
	Q_ASSERT(vm->reference_count > 0);
	return vm->machine.pgm;
}

share_group_t vm_share_group(const struct vm *vm)
{
	Q_ASSERT(vm->reference_count > 0);
	return vm->config.share_group;
}

void vm_memory_freed(void)
{
	memory_freed++;
	merged_when_freed = scan_figures.merged;
}

static inline void guest_answer(struct guest *guest)
{
	guest->is_asked = false;
	vm_requests_serve(&guest->vm);
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
	struct guest *guest = container_of(vcpu, struct guest, vcpu);

	Q_ASSERT(requests == VCPU_REQUEST_SERVE);
	guest->is_asked = true;
	guest->asks++;
	if (answers_at_once)
		guest_answer(guest);
}

/* --- the machine -------------------------------------------------------------------------- */

static inline void machine_set_up(uint64_t size_bytes)
{
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + size_bytes) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	/* Guests that the test before has left. */
	for (unsigned i = 0; i < guest_count; i++) {
		if (guests[i])
			vm_table_remove(&guests[i]->vm);
		free(guests[i]);
		guests[i] = NULL;
	}
	guest_count = moment = memory_freed = 0;
	act_at_moment = NULL;
	answers_at_once = false;
	stepped = NULL;
	fake_threads_reset();
	fake_heap_clear();
	fake_log_clear();
	fake_kernel_map_fail_at(0);
	fake_cpu_set(0);
	/* Scenes are made by the hundred, and junk would cost more than all that is tested. */
	fake_ram_create_sparse(size_bytes);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

static inline struct gmm_stats machine(void)
{
	struct gmm_stats figures;

	gmm_stats(&figures);
	return figures;
}

static inline struct pgm_config guest_config(void)
{
	return (struct pgm_config){ .format = &slat_npt,
				    .ram_bytes = GUEST_BYTES,
				    .overcommit = GMM_OVERCOMMIT_FULL,
				    .has_dirty_bits = true };
}

static inline struct guest *guest_create_with(share_group_t group, const struct pgm_config *config)
{
	struct guest *guest = calloc(1, sizeof(*guest));
	struct vm *vm = &guest->vm;

	EXPECT(guest_count < GUESTS_MAX);
	snprintf(vm->config.name, sizeof(vm->config.name), "g%u", guest_count);
	guests[guest_count++] = guest;
	list_init(&vm->node);
	spin_init(&vm->lock, LOCK_RANK_VM, "vm");
	vm->config.share_group = group;
	vm->machine.vcpu_count = 1;
	vm->machine.vcpus[0] = &guest->vcpu;
	guest->vcpu.thread = fake_thread_name_only();
	EXPECT(pgm_create(config, &vm->machine.pgm) == Q_OK);
	EXPECT(pgm_handy_refill(vm->machine.pgm) == Q_OK);
	EXPECT(vm_table_add(vm) == Q_OK);
	return guest;
}

static inline struct guest *guest_create(share_group_t group)
{
	struct pgm_config config = guest_config();

	return guest_create_with(group, &config);
}

/* Does what vm_destroy() does. The thread under test sleeps, so it has no reference. */
static inline void guest_destroy(struct guest *guest)
{
	for (unsigned i = 0; i < guest_count; i++)
		if (guests[i] == guest)
			guests[i] = NULL;
	vm_table_remove(&guest->vm);
	vm_requests_close(&guest->vm);
	EXPECT(guest->vm.reference_count == 0);
	vm_references_wait(&guest->vm);
	pgm_destroy(guest->vm.machine.pgm);
	free(guest);
}

/* --- contents --------------------------------------------------------------------------------- */

/*
 * Fills a page. 0: all zero. Contents that differ only in their upper half differ only where
 * the key of a sample of the page does not look.
 */
static inline void content_write(uint8_t *page, uint64_t content)
{
	memset(page, content ? 0x11 : 0, PAGE_SIZE);
	memcpy(page, &content, 4);
	memcpy(page + PAGE_SIZE / 2, (uint8_t *)&content + 4, 4);
}

static inline bool content_is(const uint8_t *page, uint64_t content)
{
	uint8_t expected[PAGE_SIZE];

	content_write(expected, content);
	return memcmp(page, expected, PAGE_SIZE) == 0;
}

static inline void content_note(struct guest *guest, uint64_t frame, uint64_t content)
{
	guest->contents[frame] = content;
	guest->is_filled[frame] = true;
}

/* Quire writes the page: it becomes private, and stays not dirty. */
static inline void page_put(struct guest *guest, uint64_t frame, uint64_t content)
{
	uint8_t page[PAGE_SIZE];

	content_write(page, content);
	content_note(guest, frame, content);
	EXPECT(pgm_write(guest->vm.machine.pgm, gpa(frame << PAGE_SHIFT), page, PAGE_SIZE, NULL) ==
	       Q_OK);
}

/* Does what a CPU does when the guest writes: a fault if need be, and the dirty bit. */
static inline void page_fault_write(struct guest *guest, uint64_t frame, uint64_t content)
{
	struct pgm *pgm = guest->vm.machine.pgm;
	struct pgm_fault fault = { .addr = gpa(frame << PAGE_SHIFT), .access = MEM_WRITE };
	struct nested_result at = nested_walk_npt(pgm_slat_root(pgm).raw, fault.addr.raw);

	if (!at.can_write)
		EXPECT(pgm_fault_handle(pgm, &fault) == PGM_RESOLVED);
	at = nested_walk_npt(pgm_slat_root(pgm).raw, fault.addr.raw);
	EXPECT(at.is_present && at.can_write);
	nested_dirty_set(pgm_slat_root(pgm).raw, fault.addr.raw, false);
	content_write(fake_ram_peek(hpa(at.machine)), content);
	content_note(guest, frame, content);
}

/* The same, with the safe point after it. */
static inline void page_write(struct guest *guest, uint64_t frame, uint64_t content)
{
	struct pgm *pgm = guest->vm.machine.pgm;

	page_fault_write(guest, frame, content);
	if (pgm_handy_is_low(pgm))
		EXPECT(pgm_handy_refill(pgm) == Q_OK);
}

static inline struct pgm_page_view view_of(const struct guest *guest, uint64_t frame)
{
	struct pgm_page_view view = { .kind = PGM_PAGE_ZERO };

	EXPECT(pgm_page_look(guest->vm.machine.pgm, gfn(frame), &view));
	return view;
}

static inline enum pgm_page_kind kind_of(const struct guest *guest, uint64_t frame)
{
	return view_of(guest, frame).kind;
}

/* True if both frames are references to one page. */
static inline bool are_shared(const struct guest *a, uint64_t a_frame, const struct guest *b,
			      uint64_t b_frame)
{
	struct pgm_page_view one = view_of(a, a_frame), two = view_of(b, b_frame);

	return one.kind == PGM_PAGE_SHARED && two.kind == PGM_PAGE_SHARED &&
	       one.id.raw == two.id.raw;
}

static inline struct pgm_stats memory_of(const struct guest *guest)
{
	struct pgm_stats stats;

	pgm_stats(guest->vm.machine.pgm, &stats);
	return stats;
}

/* --- checks ----------------------------------------------------------------------------------- */

static inline void check(void)
{
	gmm_check();
	/* The working set of the test before is gone. */
	if (fake_thread_find("scan"))
		share_scan_check();
	for (unsigned i = 0; i < guest_count; i++) {
		if (!guests[i])
			continue;
		pgm_check(guests[i]->vm.machine.pgm);
		EXPECT(guests[i]->vm.reference_count == 0);
	}
}

/* Asserts that the guest reads what was last written by it or by page_put(). */
static inline void contents_check_of(const struct guest *guest)
{
	uint8_t page[PAGE_SIZE];

	for (uint64_t frame = 0; frame < FRAMES_MAX; frame++) {
		if (!guest->is_filled[frame])
			continue;
		EXPECT(pgm_read(guest->vm.machine.pgm, gpa(frame << PAGE_SHIFT), page, PAGE_SIZE,
				NULL) == Q_OK);
		EXPECT(content_is(page, guest->contents[frame]));
	}
}

/* --- steps ------------------------------------------------------------------------------------ */

static inline void act(void)
{
	if (act_at_moment)
		act_at_moment();
	moment++;
	check();
}

static inline void guests_answer(void)
{
	for (unsigned i = 0; i < guest_count; i++)
		if (guests[i] && guests[i]->is_asked)
			guest_answer(guests[i]);
}

/* Runs the thread until it sleeps, then answers what it asked. */
static inline void step_run(void)
{
	fake_thread_run(stepped);
	act();
	guests_answer();
	act();
	if (!fake_thread_is_ready(stepped))
		fake_clock_advance(fake_thread_deadline(stepped) - cpu_rdtsc());
}

/* --- the scanner -------------------------------------------------------------------------------- */

static inline struct share_scan_stats scan(void)
{
	struct share_scan_stats stats;

	share_scan_stats(&stats);
	return stats;
}

static struct share_scan_stats before; /* the figures when the scanner started */

static inline void scanner_start_with(const struct share_scan_config *config)
{
	EXPECT(share_scan_start(config) == Q_OK);
	stepped = fake_thread_find("scan");
	before = scan();
}

/* Starts it at full speed, at which it does not sleep to keep its share. */
static inline void scanner_start(void)
{
	scanner_start_with(&(struct share_scan_config){
		.is_on = true, .cpu_percent = 100, .size_bytes = 16 * PAGE_SIZE });
}

static inline uint64_t merged(void)
{
	return scan().merged - before.merged;
}

static inline uint64_t zeroed(void)
{
	return scan().zeroed - before.zeroed;
}

static inline uint64_t rejected(enum share_scan_rejection why)
{
	return scan().rejected[why] - before.rejected[why];
}

static inline uint64_t rejected_at_all(void)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < SCAN_REJECTION_COUNT; i++)
		count += rejected((enum share_scan_rejection)i);
	return count;
}

/*
 * Between two passes the only holds are those of the working set, and no page is watched
 * but those that the test watches.
 */
static inline void rest_check(void)
{
	EXPECT(gmm.shared_holds == scan().share.shared_pages);
	for (unsigned i = 0; i < guest_count; i++) {
		if (!guests[i])
			continue;
		EXPECT(memory_of(guests[i]).monitored == guests[i]->monitored);
		contents_check_of(guests[i]);
	}
}

/* Runs the scanner to the end of a pass. */
static inline void pass_run(void)
{
	uint64_t passes = scan().passes;

	while (scan().passes == passes)
		step_run();
	rest_check();
}

/* --- something happens at any moment ---------------------------------------------------------- */

static unsigned disturbed_moment;
static void (*disturbance)(void);

static inline void disturb_once(void)
{
	if (moment == disturbed_moment)
		disturbance();
}

/*
 * Makes the same scene again and again, lets `happen` happen at the first moment of the pass,
 * the second, and so on up to the last, and calls `judge` after each pass.
 */
static inline void at_each_moment(void (*scene)(void), void (*happen)(void), void (*judge)(void))
{
	scene();
	pass_run();
	unsigned moments = moment;
	EXPECT(moments > 8);
	disturbance = happen;
	for (disturbed_moment = 0; disturbed_moment < moments; disturbed_moment++) {
		scene();
		act_at_moment = disturb_once;
		pass_run();
		act_at_moment = NULL;
		judge();
	}
}

#endif
