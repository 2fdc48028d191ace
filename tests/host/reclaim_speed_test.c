/* SPDX-License-Identifier: MIT */
/*
 * How much of a CPU the sharing scanner takes: its share, which adapts to what it gains; all
 * that is idle while a VM waits for memory; nothing while it is off.
 */
#include "reclaim_machine.h"

#define WORK_TICKS 30000u /* that each block takes */

static struct guest *a, *b;

static void set_up(unsigned percent)
{
	machine_set_up(MIB(32));
	a = guest_create(GROUP);
	b = guest_create(GROUP);
	/* So that the scanner sleeps only when it keeps its share, and rests, and watches. */
	answers_at_once = true;
	scanner_start_with(&(struct share_scan_config){
		.is_on = true, .cpu_percent = percent, .size_bytes = 16 * PAGE_SIZE });
	fake_work_set(WORK_TICKS);
}

/* Runs the scanner until it sleeps or yields. Returns how long it wants to sleep, in ticks. */
static uint64_t sleep_run(void)
{
	fake_thread_run(stepped);
	check();
	uint64_t deadline = fake_thread_deadline(stepped);
	uint64_t ticks = deadline ? deadline - cpu_rdtsc() : 0;
	fake_clock_advance(ticks);
	return ticks;
}

static unsigned rate(void)
{
	return scan().rate_hundredths;
}

/* The ticks that it must sleep after a block, at a rate in hundredths of a percent. */
static uint64_t sleep_at(unsigned hundredths)
{
	return WORK_TICKS * (uint64_t)(10000 - hundredths) / hundredths;
}

/* Runs a pass, and asserts that each sleep that keeps the share is as long as the rate demands. */
static unsigned share_sleeps_run(void)
{
	uint64_t passes = scan().passes;
	unsigned count = 0, now = rate();

	while (scan().passes == passes) {
		uint64_t ticks = sleep_run();
		if (ticks == WATCH_TICKS || scan().passes > passes)
			continue;
		EXPECT(ticks == sleep_at(now));
		count++;
	}
	return count;
}

/* --- the share ------------------------------------------------------------------------------ */

TEST(reclaim_speed, it_sleeps_as_long_as_its_share_demands)
{
	set_up(2);
	page_put(a, 300, 1);
	page_put(a, 700, 2);
	EXPECT(rate() == 200 && sleep_at(200) == 49 * WORK_TICKS);
	/* The pass's begin, two blocks of a and no third, no block of b, and the last batch. */
	EXPECT(share_sleeps_run() == 6);
	EXPECT(scan().ticks - before.ticks == 6 * WORK_TICKS);
	EXPECT(scan().pass_ticks == 6 * WORK_TICKS);
	set_up(50);
	EXPECT(rate() == 5000 && sleep_run() == sleep_at(5000) && sleep_at(5000) == WORK_TICKS);
}

TEST(reclaim_speed, between_passes_it_rests)
{
	set_up(2);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t passes = scan().passes, ticks = 0;
		while (scan().passes == passes)
			ticks = sleep_run();
		EXPECT(ticks == REST_TICKS);
	}
}

TEST(reclaim_speed, a_whole_cpu_leaves_nothing_to_sleep_for)
{
	set_up(100);
	page_put(a, 300, 1);
	EXPECT(sleep_run() == REST_TICKS && scan().passes == before.passes + 1);
	EXPECT(fake_thread_yields(stepped) == 0);
}

TEST(reclaim_speed, at_full_speed_it_yields_when_another_thread_wants_the_cpu)
{
	set_up(100);
	page_put(a, 300, 1);
	percpu()->should_yield = true;
	EXPECT(sleep_run() == 0 && fake_thread_yields(stepped) == 1);
	percpu()->should_yield = true;
	EXPECT(sleep_run() == 0 && fake_thread_yields(stepped) == 2);
	EXPECT(sleep_run() == REST_TICKS && fake_thread_yields(stepped) == 2);
}

/* --- it adapts -------------------------------------------------------------------------------- */

static void halved_to(unsigned percent, const unsigned *rates, unsigned count)
{
	set_up(percent);
	page_put(a, 300, 1);
	for (unsigned i = 0; i < count; i++) {
		EXPECT(rate() == rates[i]);
		(void)share_sleeps_run();
	}
	EXPECT(rate() == rates[count - 1]);
}

TEST(reclaim_speed, a_pass_without_gain_halves_it_down_to_a_sixteenth)
{
	static const unsigned slow[] = { 200, 100, 50, 25, 12, 12 };
	static const unsigned slowest[] = { 100, 50, 25, 12, 6, 6 };

	halved_to(2, slow, ARRAY_COUNT(slow));
	halved_to(1, slowest, ARRAY_COUNT(slowest));
}

TEST(reclaim_speed, at_rest_it_takes_no_more_than_one_and_a_half_percent)
{
	static const unsigned fast[] = { 10000, 5000, 2500, 1250, 625, 312, 156, 150, 150 };

	/* At 100 percent there is no sleep to measure. */
	set_up(100);
	page_put(a, 300, 1);
	for (unsigned i = 0; i < ARRAY_COUNT(fast); i++) {
		EXPECT(rate() == fast[i]);
		pass_run();
	}
}

TEST(reclaim_speed, a_pass_that_gains_doubles_it_up_to_its_share)
{
	set_up(2);
	for (unsigned i = 0; i < 4; i++)
		(void)share_sleeps_run();
	EXPECT(rate() == 12);
	static const unsigned rates[] = { 24, 48, 96, 192, 200, 200 };
	for (unsigned i = 0; i < ARRAY_COUNT(rates); i++) {
		page_put(a, 300, 0);
		(void)share_sleeps_run();
		EXPECT(rate() == rates[i]);
	}
	/* A merge is a gain as well. */
	(void)share_sleeps_run();
	EXPECT(rate() == 100);
	page_put(a, 301, 1);
	page_put(b, 301, 1);
	pass_run();
	EXPECT(rate() == 200 && merged() == 2);
}

/* One page in 256 that were looked at makes a pass worth repeating soon. */
TEST(reclaim_speed, a_small_gain_is_none)
{
	for (unsigned others = 255; others <= 256; others++) {
		set_up(2);
		(void)share_sleeps_run();
		EXPECT(rate() == 100);
		for (unsigned i = 0; i < others; i++)
			page_put(a, 300 + i, 1 + i);
		page_put(a, 299, 0);
		pass_run();
		EXPECT(zeroed() == 1 && scan().share.looked == others + 1);
		EXPECT(rate() == (others == 255 ? 200 : 50));
	}
}

/* --- the operator ------------------------------------------------------------------------------- */

TEST(reclaim_speed, a_new_share_counts_at_once_and_starts_at_its_fastest)
{
	set_up(10);
	page_put(a, 300, 1);
	(void)share_sleeps_run();
	(void)share_sleeps_run();
	EXPECT(rate() == 250);
	share_scan_cpu_set(4);
	EXPECT(rate() == 400 && scan().cpu_percent == 4);
	EXPECT(fake_thread_is_ready(stepped) && fake_thread_wakes(stepped) == 1);
	/* The next pass begins at once. */
	EXPECT(sleep_run() == sleep_at(400));
	share_scan_cpu_set(1);
	EXPECT(sleep_run() == sleep_at(100));
	share_scan_cpu_set(50);
	EXPECT(sleep_run() == sleep_at(5000));
}

TEST(reclaim_speed, a_share_that_sinks_in_the_middle_of_a_block_counts)
{
	set_up(10);
	page_put(a, 300, 1);
	EXPECT(sleep_run() == sleep_at(1000));
	share_scan_cpu_set(2);
	/* The scanner's thread may write the old rate back, which it had just read. */
	scan_figures.rate_hundredths = 1000;
	EXPECT(sleep_run() == sleep_at(200) && rate() == 200);
}

TEST(reclaim_speed, off_means_that_no_page_is_looked_at)
{
	set_up(2);
	page_put(a, 300, 0);
	share_scan_switch(false);
	EXPECT(!scan().is_on && gmm.kept_for_sharing == 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(sleep_run() == REST_TICKS);
	EXPECT(scan().passes == before.passes && scan().share.looked == 0);
	share_scan_switch(true);
	EXPECT(fake_thread_is_ready(stepped) && gmm.kept_for_sharing == GMM_PAGES_PER_CHUNK);
	(void)share_sleeps_run();
	EXPECT(zeroed() == 1);
}

static void scene_of_blocks(void)
{
	set_up(100);
	answers_at_once = false;
	for (unsigned i = 0; i < 3; i++) {
		page_put(a, 300 + 256 * i, 1);
		page_put(b, 300 + 256 * i, 1);
	}
}

static void switch_off(void)
{
	share_scan_switch(false);
}

/* The scanner carries out what it has found so far, and looks at no further page. */
static void off_judge(void)
{
	uint64_t looked = scan().share.looked, passes = scan().passes;

	EXPECT(rejected_at_all() == 0 && merged() == (looked > 1 ? looked : 0));
	EXPECT(passes == before.passes + 1);
	step_run();
	step_run();
	EXPECT(scan().share.looked == looked && scan().passes == passes);
	share_scan_switch(true);
	pass_run();
	pass_run();
	EXPECT(merged() == 6 && are_shared(a, 300, b, 812));
}

TEST(reclaim_speed, it_can_be_switched_off_at_any_moment)
{
	at_each_moment(scene_of_blocks, switch_off, off_judge);
}

/* The block that it is about is the last one. */
TEST(reclaim_speed, switched_off_it_does_not_go_on_to_the_end_of_the_vm)
{
	scene_of_blocks();
	fake_thread_run(stepped);
	EXPECT(a->is_asked && scan().share.looked == 0);
	share_scan_switch(false);
	guests_answer();
	pass_run();
	EXPECT(scan().share.looked == 1 && !b->is_asked);
}

static void switch_off_and_on(void)
{
	share_scan_switch(false);
	share_scan_switch(true);
}

static void off_and_on_judge(void)
{
	EXPECT(merged() == 6 && rejected_at_all() == 0);
}

/* The switch wakes the scanner from any sleep, which does no harm. */
TEST(reclaim_speed, a_switch_that_changes_nothing_has_no_effect)
{
	at_each_moment(scene_of_blocks, switch_off_and_on, off_and_on_judge);
}

/* --- memory is short ------------------------------------------------------------------------------ */

TEST(reclaim_speed, while_a_vm_waits_for_memory_it_takes_all_idle_time)
{
	set_up(2);
	page_put(a, 300, 1);
	page_put(a, 700, 2);
	EXPECT(sleep_run() == sleep_at(200));
	gmm_wait_begin(pgm_vm(a->vm.machine.pgm));
	percpu()->should_yield = true;
	EXPECT(sleep_run() == 0 && fake_thread_yields(stepped) == 1);
	EXPECT(sleep_run() == REST_TICKS && scan().passes == before.passes + 1);
	EXPECT(sleep_run() == REST_TICKS && scan().passes == before.passes + 2);
	gmm_wait_end(pgm_vm(a->vm.machine.pgm));
	/* Its rate was halved after each of the two passes all the same. */
	EXPECT(rate() == 50 && sleep_run() == sleep_at(50));
}

TEST(reclaim_speed, it_may_start_switched_off)
{
	machine_set_up(MIB(32));
	scanner_start_with(
		&(struct share_scan_config){ .is_on = false, .cpu_percent = 7, .size_bytes = 0 });
	EXPECT(!scan().is_on && scan().cpu_percent == 7 && rate() == 700);
	EXPECT(gmm.kept_for_sharing == 0);
}
