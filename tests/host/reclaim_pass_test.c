/* SPDX-License-Identifier: MIT */
/*
 * A pass of the sharing scanner: what it looks at, what it has given back and merged, and
 * what it leaves alone. How pages are merged is reclaim_merge_test's.
 */
#include "reclaim_machine.h"

#include "mm/pgm/pgm_handler.h"

static struct guest *a, *b;

/* Two guests of one group. */
static void set_up(void)
{
	machine_set_up(MIB(32));
	a = guest_create(GROUP);
	b = guest_create(GROUP);
}

static uint64_t looked(void)
{
	return scan().share.looked;
}

static uint64_t skipped_state(void)
{
	return scan().skipped_state - before.skipped_state;
}

static uint64_t skipped_lately(void)
{
	return scan().skipped_lately - before.skipped_lately;
}

/* --- what is done ------------------------------------------------------------------------- */

TEST(reclaim_pass, equal_pages_of_two_vms_become_one)
{
	set_up();
	page_put(a, 16, 1);
	page_put(b, 300, 1);
	page_put(b, 301, 2);
	scanner_start();
	pass_run();
	EXPECT(are_shared(a, 16, b, 300) && kind_of(b, 301) == PGM_PAGE_NORMAL);
	EXPECT(merged() == 2 && zeroed() == 0 && rejected_at_all() == 0);
	EXPECT(machine().shared_pages == 1 && machine().pages_saved == 1);
}

TEST(reclaim_pass, equal_pages_of_one_vm_become_one)
{
	set_up();
	page_put(a, 16, 1);
	page_put(a, 1000, 1);
	scanner_start();
	pass_run();
	EXPECT(are_shared(a, 16, a, 1000) && merged() == 2);
}

TEST(reclaim_pass, pages_of_zeros_are_given_back)
{
	enum { COUNT = 2 * VM_REQUEST_PAGES_MAX + 3 };
	set_up();
	for (unsigned i = 0; i < COUNT; i++)
		page_put(a, 300 + i, 0);
	page_put(a, 299, 1);
	EXPECT(memory_of(a).private_pages == COUNT + 1);
	scanner_start();
	pass_run();
	EXPECT(memory_of(a).private_pages == 1 && kind_of(a, 299) == PGM_PAGE_NORMAL);
	EXPECT(zeroed() == COUNT && merged() == 0 && rejected_at_all() == 0);
	EXPECT(looked() == COUNT + 1);
}

/* A page of zeros tells a VM nothing about another one. */
TEST(reclaim_pass, pages_of_zeros_are_given_back_in_any_group)
{
	set_up();
	struct guest *none = guest_create(SHARE_GROUP_NONE);
	page_put(none, 20, 0);
	scanner_start();
	pass_run();
	EXPECT(kind_of(none, 20) == PGM_PAGE_ZERO && zeroed() == 1);
}

TEST(reclaim_pass, groups_never_mix)
{
	set_up();
	struct guest *other = guest_create(GROUP + 1), *none = guest_create(SHARE_GROUP_NONE);
	for (unsigned i = 0; i < 2; i++) {
		page_put(a, 20 + i, 5);
		page_put(other, 20 + i, 5);
		page_put(none, 20 + i, 5);
	}
	page_put(b, 20, 5);
	scanner_start();
	for (unsigned i = 0; i < 3; i++)
		pass_run();
	EXPECT(are_shared(a, 20, a, 21) && are_shared(a, 20, b, 20));
	EXPECT(are_shared(other, 20, other, 21) && !are_shared(a, 20, other, 20));
	EXPECT(kind_of(none, 20) == PGM_PAGE_NORMAL && kind_of(none, 21) == PGM_PAGE_NORMAL);
	EXPECT(merged() == 5 && rejected_at_all() == 0);
}

/* Without dirty bits a page is settled when it has had the same key in two passes. */
TEST(reclaim_pass, without_dirty_bits_the_second_pass_merges)
{
	set_up();
	struct pgm_config config = guest_config();
	config.has_dirty_bits = false;
	struct guest *c = guest_create_with(GROUP, &config), *d = guest_create_with(GROUP, &config);
	page_put(c, 20, 5);
	page_put(d, 21, 5);
	scanner_start();
	pass_run();
	EXPECT(kind_of(c, 20) == PGM_PAGE_NORMAL && kind_of(d, 21) == PGM_PAGE_NORMAL);
	pass_run();
	EXPECT(are_shared(c, 20, d, 21));
}

/* The pages are more than one stretch apart, with nothing between them. */
TEST(reclaim_pass, pages_are_found_far_away)
{
	struct pgm_config config = guest_config();
	const uint64_t last = (MIB(256) >> PAGE_SHIFT) - 1;

	set_up();
	config.ram_bytes = MIB(256);
	struct guest *wide = guest_create_with(GROUP, &config);
	uint64_t content[PAGE_SIZE / sizeof(uint64_t)] = { 1, 2, 3 };
	const uint64_t frames[] = { 0, 16383, 16384, 32767, 40000, last };
	for (unsigned i = 0; i < ARRAY_COUNT(frames); i++)
		EXPECT(pgm_write(wide->vm.machine.pgm, gpa(frames[i] << PAGE_SHIFT), content,
				 PAGE_SIZE, NULL) == Q_OK);
	scanner_start();
	pass_run();
	for (unsigned i = 0; i < ARRAY_COUNT(frames); i++)
		EXPECT(are_shared(wide, frames[0], wide, frames[i]));
	EXPECT(looked() == ARRAY_COUNT(frames) && merged() == ARRAY_COUNT(frames));
}

/* --- what is left alone -------------------------------------------------------------------- */

TEST(reclaim_pass, a_page_written_lately_waits_for_the_next_pass)
{
	set_up();
	page_put(a, 16, 1);
	page_write(b, 16, 1);
	scanner_start();
	pass_run();
	EXPECT(kind_of(a, 16) == PGM_PAGE_NORMAL && kind_of(b, 16) == PGM_PAGE_NORMAL);
	EXPECT(skipped_lately() == 1 && looked() == 1);
	page_write(b, 16, 1);
	pass_run();
	EXPECT(skipped_lately() == 2 && looked() == 2 && merged() == 0);
	pass_run();
	EXPECT(skipped_lately() == 2 && are_shared(a, 16, b, 16));
}

static void balloon(struct guest *guest, uint64_t frame)
{
	gfn_t gfn = { frame };
	unsigned done;

	pgm_balloon_inflate(guest->vm.machine.pgm, &gfn, 1, &done);
	EXPECT(done == 1);
	guest->is_filled[frame] = false;
}

static void monitor(struct guest *guest, uint64_t frame)
{
	EXPECT(pgm_page_monitor(guest->vm.machine.pgm, gfn(frame), view_of(guest, frame).id) ==
	       Q_OK);
	guest->monitored++;
}

/* A block is 256 frames from its first private page. The frames that are skipped are counted. */
TEST(reclaim_pass, only_private_pages_are_looked_at)
{
	static const uint64_t image[PAGE_SIZE / sizeof(uint64_t)] = { 1 };

	set_up();
	struct pgm *pgm = a->vm.machine.pgm;
	EXPECT(pgm_rom_add(pgm, gpa(0xc0000), image, PAGE_SIZE) == Q_OK);
	for (uint64_t frame = 20; frame < 28; frame++)
		page_put(a, frame, 1);
	monitor(a, 21);
	balloon(a, 22);
	EXPECT(pgm_handler_add(pgm, gpa(23 << PAGE_SHIFT), PAGE_SIZE, PGM_HANDLER_WRITE, 1) ==
	       Q_OK);
	page_write(a, 24, 1);
	monitor(a, 25);
	scanner_start();
	pass_run();
	/* Looked at are 20, 26 and 27. 24 was written lately, the others are in another state. */
	EXPECT(looked() == 3 && skipped_lately() == 1 && skipped_state() == 256 - 4);
	EXPECT(merged() == 3 && are_shared(a, 20, a, 26) && are_shared(a, 20, a, 27));
	EXPECT(kind_of(a, 21) == PGM_PAGE_MONITORED && kind_of(a, 25) == PGM_PAGE_MONITORED);
	EXPECT(kind_of(a, 22) == PGM_PAGE_BALLOONED && kind_of(a, 23) == PGM_PAGE_NORMAL);
	EXPECT(memory_of(a).rom == 1);

	/* Shared pages are not looked at again, so 24 is the only page that is. */
	pass_run();
	EXPECT(looked() == 4 && kind_of(a, 24) == PGM_PAGE_SHARED);
	EXPECT(skipped_lately() == 1 && skipped_state() == 256 - 4 + 256 - 1);
}

TEST(reclaim_pass, the_end_of_memory_is_the_end_of_a_block)
{
	set_up();
	page_put(a, 1023, 0);
	scanner_start();
	pass_run();
	EXPECT(looked() == 1 && zeroed() == 1);
}

static unsigned asked;

/* The scanner has seen zeros, and the VM has not answered so far. */
static void zeros_write(void)
{
	if (a->is_asked && asked++ == 1)
		page_write(a, 20, 3);
}

TEST(reclaim_pass, a_page_that_is_not_zero_any_more_is_not_given_back)
{
	set_up();
	page_put(a, 20, 0);
	page_put(a, 21, 0);
	scanner_start();
	asked = 0;
	act_at_moment = zeros_write;
	pass_run();
	EXPECT(asked == 2 && kind_of(a, 20) == PGM_PAGE_NORMAL && kind_of(a, 21) == PGM_PAGE_ZERO);
	EXPECT(zeroed() == 1 && rejected_at_all() == 0);
}

/* --- VMs ------------------------------------------------------------------------------------- */

TEST(reclaim_pass, vms_that_are_off_are_left_alone)
{
	static const uint32_t off[] = { VM_HOLD_CREATED, VM_HOLD_STOPPED };

	for (unsigned i = 0; i < ARRAY_COUNT(off); i++) {
		set_up();
		page_put(a, 16, 1);
		page_put(a, 17, 0);
		page_put(b, 16, 1);
		a->vm.hold = off[i];
		scanner_start();
		pass_run();
		EXPECT(looked() == 1 && merged() == 0 && zeroed() == 0);
		/* Now it is about to start. */
		a->vm.hold |= VM_HOLD_JOB;
		pass_run();
		EXPECT(merged() == 2 && zeroed() == 1);
	}
}

TEST(reclaim_pass, vms_that_are_paused_are_not)
{
	set_up();
	page_put(a, 16, 1);
	page_put(b, 16, 1);
	a->vm.hold = VM_HOLD_OPERATOR | VM_HOLD_MEMORY;
	scanner_start();
	pass_run();
	EXPECT(merged() == 2);
}

TEST(reclaim_pass, without_vms_there_is_nothing_to_do)
{
	machine_set_up(MIB(32));
	scanner_start();
	pass_run();
	pass_run();
	EXPECT(looked() == 0 && skipped_state() == 0 && memory_freed == 2);
	EXPECT(fake_thread_deadline(stepped) == 0 || fake_thread_is_ready(stepped));
}

static struct guest **victim;

static void scene_of_all_kinds(void)
{
	set_up();
	for (unsigned i = 0; i < 3; i++) {
		page_put(a, 300 + i, 1 + i);
		page_put(b, 300 + i, 1 + i);
		page_put(a, 310 + i, 0);
		page_put(b, 310 + i, 0);
	}
	page_put(a, 320, 1);
	page_put(b, 320, 1);
	scanner_start();
}

static void victim_destroy(void)
{
	guest_destroy(*victim);
}

static void one_vm_is_left_judge(void)
{
	EXPECT(rejected(SCAN_NO_MEMORY) == 0 && rejected(SCAN_DIFFERENT) == 0);
	EXPECT(rejected(SCAN_CHANGED) + rejected(SCAN_WRITTEN) <= 8);
	/*
	 * The other one loses nothing by it. Where a dead VM's page is the candidate, it takes a
	 * pass to find that out, one for a new candidate, and one to merge.
	 */
	struct guest *left = victim == &a ? b : a;
	for (unsigned i = 0; i < 3; i++)
		pass_run();
	EXPECT(memory_of(left).private_pages + memory_of(left).shared == 4);
	EXPECT(are_shared(left, 300, left, 320));
	/* Shared pages go with their last user. */
	guest_destroy(left);
	pass_run();
	EXPECT(machine().shared_pages == 0 && machine().private_pages == 0);
}

TEST(reclaim_pass, a_vm_is_destroyed_at_any_moment)
{
	victim = &a;
	at_each_moment(scene_of_all_kinds, victim_destroy, one_vm_is_left_judge);
	victim = &b;
	at_each_moment(scene_of_all_kinds, victim_destroy, one_vm_is_left_judge);
}

/* The scanner has looked for dirty bits, and for nothing else. */
static void a_destroy_after_its_first_answer(void)
{
	if (moment == 1)
		guest_destroy(a);
}

TEST(reclaim_pass, no_other_vm_is_taken_for_one_that_is_gone)
{
	scene_of_all_kinds();
	act_at_moment = a_destroy_after_its_first_answer;
	pass_run();
	EXPECT(looked() == 7);
}

static void a_destroy_instead_of_an_answer(void)
{
	if (guests[0] && a->is_asked && asked++ == 1)
		guest_destroy(a);
}

TEST(reclaim_pass, what_a_vm_that_is_gone_was_asked_is_not_done)
{
	set_up();
	page_put(a, 20, 0);
	scanner_start();
	asked = 0;
	act_at_moment = a_destroy_instead_of_an_answer;
	pass_run();
	EXPECT(looked() == 1 && zeroed() == 0);
}

static void victim_stop(void)
{
	/* The job STOP leaves it off, and without memory. */
	(*victim)->vm.hold = VM_HOLD_STOPPED;
	pgm_reset((*victim)->vm.machine.pgm);
	memset((*victim)->is_filled, 0, sizeof((*victim)->is_filled));
}

static void victim_is_off_judge(void)
{
	EXPECT(rejected(SCAN_NO_MEMORY) == 0 && rejected(SCAN_DIFFERENT) == 0);
	EXPECT(memory_of(*victim).zero == memory_of(*victim).pages);
	guest_destroy(*victim);
	one_vm_is_left_judge();
}

TEST(reclaim_pass, a_vm_is_stopped_at_any_moment)
{
	victim = &b;
	at_each_moment(scene_of_all_kinds, victim_stop, victim_is_off_judge);
}

static struct guest *late;

static void late_create(void)
{
	late = guest_create(GROUP);
	page_put(late, 400, 2);
}

static void late_judge(void)
{
	EXPECT(rejected_at_all() == 0);
	pass_run();
	EXPECT(are_shared(a, 301, late, 400) && memory_of(a).private_pages == 0);
}

TEST(reclaim_pass, a_vm_is_created_at_any_moment)
{
	at_each_moment(scene_of_all_kinds, late_create, late_judge);
}

/* The answers are there before the scanner waits for them. */
TEST(reclaim_pass, vms_that_answer_at_once)
{
	scene_of_all_kinds();
	answers_at_once = true;
	pass_run();
	EXPECT(merged() == 8 && zeroed() == 6 && rejected_at_all() == 0);
	EXPECT(memory_of(a).private_pages == 0 && memory_of(b).private_pages == 0);
}

/* While vCPU 0 serves no requests the scanner sleeps, and nothing else wakes it. */
TEST(reclaim_pass, a_vm_that_does_not_answer_is_waited_for)
{
	scene_of_all_kinds();
	for (;;) {
		fake_thread_run(stepped);
		check();
		if (fake_thread_deadline(stepped)) {
			fake_clock_advance(fake_thread_deadline(stepped) - cpu_rdtsc());
			if (scan().passes > before.passes)
				break;
			continue;
		}
		if (fake_thread_is_ready(stepped))
			continue;
		EXPECT(a->is_asked != b->is_asked);
		fake_clock_advance(TICKS_PER_US * 1000000);
		EXPECT(!fake_thread_is_ready(stepped));
		guests_answer();
		EXPECT(fake_thread_is_ready(stepped));
	}
	rest_check();
	EXPECT(merged() == 8 && zeroed() == 6);
}

/* --- the end of a pass, and figures --------------------------------------------------------- */

/* A VM that waits may take what zeros gave back, but first the merges may need it. */
TEST(reclaim_pass, vms_that_wait_are_woken_after_the_merges)
{
	scene_of_all_kinds();
	pass_run();
	EXPECT(memory_freed == 1 && merged_when_freed - before.merged == 8);
	pass_run();
	EXPECT(memory_freed == 2);
}

TEST(reclaim_pass, passes_are_counted)
{
	scene_of_all_kinds();
	fake_work_set(100);
	pass_run();
	struct share_scan_stats first = scan();
	EXPECT(first.passes == before.passes + 1 && first.pass_ticks > 0);
	EXPECT(first.ticks - before.ticks == first.pass_ticks);
	EXPECT(first.is_on && first.cpu_percent == 100);
	pass_run();
	EXPECT(scan().passes == before.passes + 2);
	EXPECT(scan().ticks - first.ticks == scan().pass_ticks);
	EXPECT(scan().share.pass == 2 && scan().share.shared_pages == 3);
}

TEST(reclaim_pass, reasons_have_names)
{
	EXPECT(strcmp(share_scan_rejection_text(SCAN_CHANGED), "changed") == 0);
	EXPECT(strcmp(share_scan_rejection_text(SCAN_DIFFERENT), "different") == 0);
	EXPECT(strcmp(share_scan_rejection_text(SCAN_WRITTEN), "written") == 0);
	EXPECT(strcmp(share_scan_rejection_text(SCAN_NO_MEMORY), "no_memory") == 0);
}

/* --- start ------------------------------------------------------------------------------------- */

static uint64_t working_set_of(uint64_t machine_bytes, uint64_t size_bytes)
{
	machine_set_up(machine_bytes);
	scanner_start_with(&(struct share_scan_config){
		.is_on = true, .cpu_percent = 2, .size_bytes = size_bytes });
	return scan().share.size_bytes;
}

TEST(reclaim_pass, the_working_set_is_as_large_as_it_should_be)
{
	/* 16 bytes for each page of the machine, 4 MiB at most; or the whole pages of `size_bytes`. */
	EXPECT(working_set_of(MIB(32), 0) == MIB(32) / PAGE_SIZE * 16);
	EXPECT(working_set_of(MIB(2048), 0) == MIB(4));
	EXPECT(working_set_of(MIB(32), 5 * PAGE_SIZE) == 5 * PAGE_SIZE);
	EXPECT(working_set_of(MIB(32), 6 * PAGE_SIZE - 1) == 5 * PAGE_SIZE);
}

TEST(reclaim_pass, the_scanner_runs_only_when_no_other_thread_does)
{
	machine_set_up(MIB(32));
	scanner_start();
	EXPECT(fake_thread_priority(stepped) == THREAD_IDLE);
}

TEST(reclaim_pass, a_start_that_fails_leaves_nothing)
{
	const struct share_scan_config config = { .is_on = true, .cpu_percent = 2 };

	machine_set_up(MIB(32));
	fake_heap_fail_at(1);
	EXPECT(share_scan_start(&config) == Q_NO_MEMORY && fake_heap_blocks() == 0);
	fake_thread_create_fail_at(1);
	EXPECT(share_scan_start(&config) == Q_NO_MEMORY && fake_heap_blocks() == 0);
	EXPECT(share_scan_start(&config) == Q_OK && fake_heap_blocks() == 1);
}
