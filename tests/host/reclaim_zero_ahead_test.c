/* SPDX-License-Identifier: MIT */
/* Zeroing ahead: free pages are cleared while no other thread wants the CPU. */
#include "reclaim_machine.h"

#include "reclaim/zero_ahead.h"

#define BATCH      32u
#define REST_250MS (250000u * TICKS_PER_US)
#define FREE_PAGES 100u /* three batches, and four pages */

static struct guest *a;

/* Free pages with old contents, in a chunk that a guest uses. */
static void set_up(void)
{
	machine_set_up(MIB(32));
	a = guest_create(GROUP);
	/* Clears what is there, so that only pages which a guest has used are not zero. */
	while (gmm_zero_ahead(1) > 0)
		;
	for (unsigned i = 0; i < FREE_PAGES; i++)
		page_put(a, 300 + i, 1);
	EXPECT(pgm_handy_refill(a->vm.machine.pgm) == Q_OK);
	EXPECT(zero_ahead_start() == Q_OK);
	stepped = fake_thread_find("zero");
}

static void pages_free_all(void)
{
	gfn_t frames[FREE_PAGES];
	unsigned done;

	for (unsigned i = 0; i < FREE_PAGES; i++) {
		frames[i] = gfn(300 + i);
		a->is_filled[300 + i] = false;
	}
	pgm_balloon_inflate(a->vm.machine.pgm, frames, FREE_PAGES, &done);
	EXPECT(done == FREE_PAGES);
}

/* How many free pages are known to be zero. */
static uint64_t zeroed_pages(void)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < gmm.chunk_count; i++)
		if (gmm.chunks[i].kind == GMM_CHUNK_PRIVATE)
			count += gmm.chunks[i].zeroed_count;
	return count;
}

TEST(reclaim_zero_ahead, it_runs_only_when_no_other_thread_does)
{
	set_up();
	EXPECT(fake_thread_priority(stepped) == THREAD_IDLE);
}

TEST(reclaim_zero_ahead, it_clears_all_there_is_and_rests)
{
	set_up();
	fake_thread_run(stepped);
	EXPECT(fake_thread_deadline(stepped) == cpu_rdtsc() + REST_250MS);
	pages_free_all();
	uint64_t clean = zeroed_pages();
	/* Pages that are freed during the rest do not end it. */
	EXPECT(!fake_thread_is_ready(stepped));
	fake_clock_advance(REST_250MS);
	fake_thread_run(stepped);
	check();
	EXPECT(zeroed_pages() == clean + FREE_PAGES && gmm_zero_ahead(1) == 0);
	EXPECT(fake_thread_deadline(stepped) == cpu_rdtsc() + REST_250MS);
}

TEST(reclaim_zero_ahead, it_looks_after_each_batch_whether_another_thread_wants_the_cpu)
{
	set_up();
	pages_free_all();
	uint64_t clean = zeroed_pages();
	for (unsigned batches = 1; batches <= FREE_PAGES / BATCH; batches++) {
		percpu()->should_yield = true;
		fake_thread_run(stepped);
		check();
		EXPECT(fake_thread_yields(stepped) == batches && fake_thread_is_ready(stepped));
		EXPECT(zeroed_pages() == clean + batches * BATCH);
	}
	/* The last batch is not full, so the thread rests in any case. */
	percpu()->should_yield = true;
	fake_thread_run(stepped);
	EXPECT(fake_thread_yields(stepped) == FREE_PAGES / BATCH);
	EXPECT(zeroed_pages() == clean + FREE_PAGES);
	EXPECT(fake_thread_deadline(stepped) == cpu_rdtsc() + REST_250MS);
}

TEST(reclaim_zero_ahead, there_may_be_no_room_for_its_thread)
{
	machine_set_up(MIB(32));
	fake_thread_create_fail_at(1);
	EXPECT(zero_ahead_start() == Q_NO_MEMORY);
}

/* --- a scanner that was never started, in this program --------------------------------------- */

TEST(reclaim_start, before_its_start_the_scanner_is_off_and_has_no_figures)
{
	machine_set_up(MIB(32));
	EXPECT(!scan().is_on && scan().passes == 0 && scan().share.size_bytes == 0);
	share_scan_check();
	share_scan_cpu_set(3);
	EXPECT(scan().cpu_percent == 3);
	share_scan_switch(false);
	EXPECT(!scan().is_on && gmm.kept_for_sharing == 0);
}
