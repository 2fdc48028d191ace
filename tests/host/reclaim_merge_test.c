/* SPDX-License-Identifier: MIT */
/*
 * Merging, step by step: pairs, followers and joins; what happens to pages and VMs between
 * any two steps; why a merge comes to nothing, each reason counted once.
 */
#include "reclaim_machine.h"

#include "mm/pgm/pgm_handler.h"

#define BATCH  128u         /* merges, see share_merge.c */
#define HIDDEN (1ull << 32) /* contents that differ by this have one key */

static struct guest *a, *b;

static void set_up_with(uint64_t ram_bytes)
{
	struct pgm_config config = guest_config();

	machine_set_up(MIB(32));
	config.ram_bytes = ram_bytes;
	a = guest_create_with(GROUP, &config);
	b = guest_create_with(GROUP, &config);
}

static void set_up(void)
{
	set_up_with(GUEST_BYTES);
}

static uint32_t references(const struct guest *guest, uint64_t frame)
{
	struct gmm_page_info info;

	EXPECT(gmm_page_info(view_of(guest, frame).id, &info) == Q_OK);
	EXPECT(info.kind == GMM_PAGE_SHARED);
	return (uint32_t)info.references;
}

/* True if one merge was rejected, for this reason. */
static bool rejected_once(enum share_scan_rejection why)
{
	return rejected(why) == 1 && rejected_at_all() == 1;
}

/* --- which pages -------------------------------------------------------------------------- */

/* Of ten equal pages in one batch two are a pair, and eight follow it. */
TEST(reclaim_merge, equal_pages_follow_a_pair)
{
	set_up();
	for (unsigned i = 0; i < 5; i++) {
		page_put(a, 300 + i, 1);
		page_put(b, 300 + i, 1);
	}
	scanner_start();
	pass_run();
	EXPECT(merged() == 10 && rejected_at_all() == 0);
	EXPECT(machine().shared_pages == 1 && machine().pages_saved == 9);
	/* One for each page, and the working set's hold. */
	EXPECT(references(a, 300) == 11 && are_shared(a, 304, b, 302));
}

TEST(reclaim_merge, equal_pages_join_a_shared_page)
{
	set_up();
	page_put(a, 300, 1);
	page_put(b, 300, 1);
	scanner_start();
	pass_run();
	page_put(a, 310, 1);
	page_put(b, 310, 1);
	page_put(b, 311, 1);
	pass_run();
	EXPECT(merged() == 5 && rejected_at_all() == 0 && machine().shared_pages == 1);
	EXPECT(are_shared(a, 300, a, 310) && are_shared(b, 310, b, 311) && references(a, 310) == 6);
}

/* The write makes a copy, which is merged some passes later. */
TEST(reclaim_merge, a_merged_page_that_is_written_leaves_and_comes_back)
{
	set_up();
	for (unsigned i = 0; i < 3; i++)
		page_put(a, 300 + i, 1);
	scanner_start();
	pass_run();
	page_write(a, 301, 2);
	pass_run();
	EXPECT(are_shared(a, 300, a, 302) && kind_of(a, 301) == PGM_PAGE_NORMAL);
	page_write(a, 301, 1);
	for (unsigned i = 0; i < 6; i++)
		pass_run();
	EXPECT(are_shared(a, 300, a, 301) && scan().share.left_alone > 0);
}

/* The next pass frees a shared page that no VM uses any more. */
TEST(reclaim_merge, a_shared_page_without_users_goes)
{
	set_up();
	page_put(a, 300, 1);
	page_put(b, 300, 1);
	scanner_start();
	pass_run();
	page_write(a, 300, 2);
	page_write(b, 300, 3);
	EXPECT(pgm_handy_refill(a->vm.machine.pgm) == Q_OK);
	EXPECT(pgm_handy_refill(b->vm.machine.pgm) == Q_OK);
	EXPECT(machine().shared_pages == 1);
	pass_run();
	EXPECT(machine().shared_pages == 0);
}

/* --- many ----------------------------------------------------------------------------------- */

static unsigned most_monitored;

static void monitored_note(void)
{
	unsigned count = (unsigned)(memory_of(a).monitored + memory_of(b).monitored);

	if (count > most_monitored)
		most_monitored = count;
}

TEST(reclaim_merge, a_full_batch_is_carried_out_in_the_middle_of_a_block)
{
	enum { PAIRS = 2 * BATCH + 44 };
	set_up();
	for (unsigned i = 0; i < PAIRS; i++) {
		page_put(a, 300 + i, 1 + i);
		page_put(b, 300 + i, 1 + i);
	}
	scanner_start();
	most_monitored = 0;
	act_at_moment = monitored_note;
	pass_run();
	EXPECT(merged() == 2 * PAIRS && rejected_at_all() == 0);
	EXPECT(most_monitored == 2 * BATCH);
	EXPECT(machine().shared_pages == PAIRS && machine().private_pages > 0);
	for (unsigned i = 0; i < PAIRS; i++)
		EXPECT(are_shared(a, 300 + i, b, 300 + i));
}

TEST(reclaim_merge, a_batch_of_joins_is_full_as_well)
{
	enum { JOINS = BATCH + 30 };
	set_up();
	page_put(a, 300, 1);
	page_put(b, 300, 1);
	scanner_start();
	pass_run();
	for (unsigned i = 0; i < JOINS; i++)
		page_put(a, 310 + i, 1);
	most_monitored = 0;
	act_at_moment = monitored_note;
	pass_run();
	EXPECT(merged() == 2 + JOINS && rejected_at_all() == 0 && most_monitored == BATCH);
	EXPECT(references(a, 300) == 3 + JOINS);
}

static uint64_t most_holds;

static void holds_note(void)
{
	if (gmm.shared_holds > most_holds)
		most_holds = gmm.shared_holds;
}

/* The list of a batch has b's pages in two places: one that was looked at, one candidate. */
TEST(reclaim_merge, each_vm_is_asked_once)
{
	set_up();
	struct guest *other = guest_create(GROUP);
	page_put(a, 300, 1);
	page_put(b, 300, 1);
	page_put(b, 301, 2);
	page_put(other, 300, 2);
	scanner_start();
	pass_run();
	EXPECT(merged() == 4);
	/* For dirty bits, to watch, and to exchange. */
	EXPECT(a->asks == 3 && b->asks == 3 && other->asks == 3);
}

/* A tracking word counts at most seven holds. The working set has one, and the batch another. */
TEST(reclaim_merge, a_content_that_thousands_of_pages_have_costs_two_holds)
{
	enum { EACH = 700 };
	machine_set_up(MIB(32));
	for (unsigned i = 0; i < 4; i++) {
		struct guest *guest = guest_create(GROUP);
		for (unsigned j = 0; j < EACH; j++)
			page_put(guest, 300 + j, 9);
	}
	scanner_start();
	most_holds = 0;
	act_at_moment = holds_note;
	pass_run();
	EXPECT(merged() == 4 * EACH && rejected_at_all() == 0 && most_holds == 2);
	EXPECT(machine().shared_pages == 1 && references(guests[0], 300) == 4 * EACH + 1);
	pass_run();
	EXPECT(merged() == 4 * EACH && machine().pages_saved == 4 * EACH - 1);
}

/* 224 entries for 600 contents: candidates make room for each other, and nothing goes wrong. */
TEST(reclaim_merge, a_small_working_set_finds_less_and_nothing_wrong)
{
	enum { PAIRS = 600 };
	set_up();
	for (unsigned i = 0; i < PAIRS; i++) {
		page_put(a, 300 + i, 1 + i);
		page_put(b, 300 + (i * 7 % PAIRS), 1 + i);
	}
	scanner_start_with(&(struct share_scan_config){
		.is_on = true, .cpu_percent = 100, .size_bytes = PAGE_SIZE });
	for (unsigned i = 0; i < 3; i++)
		pass_run();
	EXPECT(scan().share.evicted > 0 && scan().share.entry_count < PAIRS);
	EXPECT(merged() > PAIRS / 4 && merged() < 2 * PAIRS);
	EXPECT(machine().pages_saved + machine().shared_pages == machine().shared_references);
}

/* --- keys that agree, contents that do not ---------------------------------------------------- */

TEST(reclaim_merge, pages_with_one_key_that_differ_are_told_apart)
{
	set_up();
	page_put(a, 300, 5);
	page_put(b, 300, 5 + HIDDEN);
	scanner_start();
	pass_run();
	EXPECT(rejected_once(SCAN_DIFFERENT) && merged() == 1);
	/* One page became a shared page with one reference: no gain and no harm. */
	EXPECT(machine().shared_references == 1 && machine().pages_saved == 0);
	EXPECT(scan().share.differed == 1 && gmm.shared_holds == 0);

	/* From here on such pages are found by a key of all bytes. */
	page_put(a, 301, 5 + HIDDEN);
	page_put(a, 302, 5);
	page_put(b, 301, 5);
	page_put(b, 302, 5 + HIDDEN);
	pass_run();
	pass_run();
	EXPECT(rejected_once(SCAN_DIFFERENT) && merged() == 1 + 5);
	EXPECT(are_shared(a, 300, a, 302) && are_shared(a, 300, b, 301));
	EXPECT(are_shared(a, 301, b, 302) && machine().shared_pages == 3);
	EXPECT(scan().share.hashed_whole > 0);
}

TEST(reclaim_merge, a_join_that_differs_is_told_apart)
{
	set_up();
	page_put(a, 300, 5);
	page_put(b, 300, 5);
	scanner_start();
	pass_run();
	page_put(a, 301, 5 + HIDDEN);
	pass_run();
	EXPECT(rejected_once(SCAN_DIFFERENT) && merged() == 2);
	EXPECT(are_shared(a, 300, b, 300) && kind_of(a, 301) == PGM_PAGE_NORMAL);
}

/* A follower that differs from its leader's pages is rejected, and the leader is not. */
TEST(reclaim_merge, a_follower_that_differs_is_told_apart)
{
	set_up();
	page_put(a, 300, 5);
	page_put(a, 301, 5);
	page_put(a, 302, 5 + HIDDEN);
	scanner_start();
	pass_run();
	EXPECT(rejected_once(SCAN_DIFFERENT) && merged() == 2);
	EXPECT(are_shared(a, 300, a, 301) && kind_of(a, 302) == PGM_PAGE_NORMAL);
}

/* --- each reason once ------------------------------------------------------------------------- */

static unsigned acts; /* how often the moment came at which a test acts: it acts once */

/* True once: a's pages were looked at, b's were not, and b has not answered so far. */
static bool is_between_the_vms(void)
{
	return b->is_asked && acts++ == 0;
}

static void scene_of_a_pair(void)
{
	set_up();
	page_put(a, 300, 1);
	page_put(b, 300, 1);
	acts = 0;
	scanner_start();
}

static void candidate_change(void)
{
	if (is_between_the_vms())
		page_put(a, 300, 2);
}

TEST(reclaim_merge, a_candidate_that_has_changed_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_change;
	pass_run();
	EXPECT(acts > 0 && rejected_once(SCAN_CHANGED) && merged() == 0);
	/* The candidate's entry is gone, so the next pass does not try again. */
	EXPECT(scan().share.candidates == 0);
	act_at_moment = NULL;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && scan().share.candidates == 2);
}

static void candidate_balloon(void)
{
	gfn_t gfn = { 300 };
	unsigned done;

	if (!is_between_the_vms())
		return;
	pgm_balloon_inflate(a->vm.machine.pgm, &gfn, 1, &done);
	a->is_filled[300] = false;
}

TEST(reclaim_merge, a_candidate_that_is_gone_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_balloon;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && scan().share.candidates == 0);
}

static void monitor(struct guest *guest, uint64_t frame)
{
	EXPECT(pgm_page_monitor(guest->vm.machine.pgm, gfn(frame), view_of(guest, frame).id) ==
	       Q_OK);
}

static void candidate_monitor(void)
{
	if (!is_between_the_vms())
		return;
	monitor(a, 300);
	a->monitored++;
}

/* The watch is not the scanner's, so it must not end it. */
TEST(reclaim_merge, a_candidate_that_is_watched_already_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_monitor;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && kind_of(a, 300) == PGM_PAGE_MONITORED);
}

static void candidate_destroy(void)
{
	if (is_between_the_vms())
		guest_destroy(a);
}

TEST(reclaim_merge, a_candidate_whose_vm_is_gone_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_destroy;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && scan().share.candidates == 0);
}

/* GMM's handle of a VM that is gone becomes another VM's. */
static struct guest *candidate_replace(share_group_t group, uint64_t ram_bytes)
{
	struct pgm_config config = guest_config();
	gmm_vm_t handle = pgm_vm(a->vm.machine.pgm);

	guest_destroy(a);
	config.ram_bytes = ram_bytes;
	struct guest *other = guest_create_with(group, &config);
	EXPECT(pgm_vm(other->vm.machine.pgm) == handle);
	return other;
}

static void candidate_replace_by_another_group(void)
{
	if (is_between_the_vms())
		page_put(candidate_replace(GROUP + 1, GUEST_BYTES), 300, 1);
}

TEST(reclaim_merge, a_candidate_of_another_group_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_replace_by_another_group;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && merged() == 0 && kind_of(b, 300) == PGM_PAGE_NORMAL);
}

static void candidate_replace_by_a_small_vm(void)
{
	if (is_between_the_vms())
		(void)candidate_replace(GROUP, MIB(1));
}

TEST(reclaim_merge, a_candidate_where_there_is_no_memory_any_more_is_rejected)
{
	scene_of_a_pair();
	act_at_moment = candidate_replace_by_a_small_vm;
	pass_run();
	EXPECT(rejected_once(SCAN_CHANGED) && merged() == 0);
}

/* True while the scanner watches pages: it sleeps, and no request is pending. */
static bool is_watching(void)
{
	return memory_of(a).monitored + memory_of(b).monitored > 0 &&
	       fake_thread_deadline(stepped) == cpu_rdtsc() + WATCH_TICKS;
}

static struct guest *writer;

static void watched_write(void)
{
	if (is_watching() && acts++ == 0)
		page_write(writer, 300, 1);
}

TEST(reclaim_merge, a_page_that_is_written_while_it_is_watched_is_rejected)
{
	for (unsigned i = 0; i < 2; i++) {
		scene_of_a_pair();
		writer = i == 0 ? a : b;
		act_at_moment = watched_write;
		pass_run();
		EXPECT(acts == 2 && rejected_once(SCAN_WRITTEN) && merged() == 0);
		EXPECT(machine().shared_pages == 0);
	}
}

/* The shared page is made, guest b is about to exchange its page, and guest a is not. */
static bool is_exchanging(void)
{
	return gmm.shared_holds == 1 && b->is_asked && memory_of(b).monitored == 1;
}

static void exchanged_write(void)
{
	if (is_exchanging() && acts++ == 0)
		page_write(writer, 300, 2);
}

TEST(reclaim_merge, one_page_of_a_pair_may_be_exchanged_alone)
{
	scene_of_a_pair();
	/* b's page is exchanged first, since it was looked at; a's is the candidate. */
	writer = a;
	act_at_moment = exchanged_write;
	pass_run();
	EXPECT(acts > 0 && merged() == 1 && rejected_at_all() == 0);
	EXPECT(kind_of(a, 300) == PGM_PAGE_NORMAL && kind_of(b, 300) == PGM_PAGE_SHARED);
	EXPECT(scan().share.shared_pages == 1);
	/* The shared page stays in the working set, so others can join it. */
	act_at_moment = NULL;
	page_put(a, 310, 1);
	pass_run();
	EXPECT(are_shared(a, 310, b, 300));
}

static void both_write(void)
{
	if (gmm.shared_holds != 1 || acts++ > 0)
		return;
	page_write(a, 300, 2);
	page_write(b, 300, 3);
}

TEST(reclaim_merge, a_pair_of_which_no_page_is_exchanged_is_rejected_once)
{
	scene_of_a_pair();
	act_at_moment = both_write;
	pass_run();
	EXPECT(acts > 0 && merged() == 0 && rejected_once(SCAN_WRITTEN));
	EXPECT(machine().shared_pages == 0 && scan().share.shared_pages == 0);
}

/* Both pages of the pair are written, and the follower's is not. */
static void leaders_write(void)
{
	if (gmm.shared_holds != 1 || acts++ > 0)
		return;
	page_write(a, 300, 2);
	page_write(a, 301, 3);
}

TEST(reclaim_merge, a_follower_may_be_exchanged_alone)
{
	set_up();
	for (unsigned i = 0; i < 3; i++)
		page_put(a, 300 + i, 1);
	acts = 0;
	scanner_start();
	act_at_moment = leaders_write;
	pass_run();
	EXPECT(acts > 0 && merged() == 1 && rejected_at_all() == 0);
	EXPECT(kind_of(a, 302) == PGM_PAGE_SHARED && scan().share.shared_pages == 1);
}

static void leader_rewrite(void)
{
	if (is_watching() && acts++ == 0)
		page_write(a, 301, 1);
}

/* A page of the pair is written: no shared page is made, and its two followers have none. */
TEST(reclaim_merge, a_follower_falls_with_its_leader)
{
	set_up();
	for (unsigned i = 0; i < 4; i++)
		page_put(a, 300 + i, 1);
	acts = 0;
	scanner_start();
	act_at_moment = leader_rewrite;
	pass_run();
	EXPECT(rejected(SCAN_WRITTEN) == 1 && rejected(SCAN_CHANGED) == 2 && merged() == 0);
	EXPECT(rejected_at_all() == 3 && machine().shared_pages == 0);
}

/* The candidate of a pair has other content by now; two pages follow the pair. */
static void common_candidate_change(void)
{
	if (is_between_the_vms())
		page_put(a, 300, 2);
	monitored_note();
}

TEST(reclaim_merge, a_follower_falls_with_its_leaders_candidate)
{
	scene_of_a_pair();
	page_put(b, 301, 1);
	page_put(b, 302, 1);
	most_monitored = 0;
	act_at_moment = common_candidate_change;
	pass_run();
	/* That was seen before any page was watched. */
	EXPECT(most_monitored == 0);
	EXPECT(rejected(SCAN_CHANGED) == 3 && rejected_at_all() == 3 && merged() == 0);
}

static void joiner_rewrite(void)
{
	if (is_watching() && acts++ == 0)
		page_put(a, 310, 2);
}

/* The page is written while it is watched. */
TEST(reclaim_merge, a_join_that_is_written_is_rejected)
{
	scene_of_a_pair();
	pass_run();
	page_put(a, 310, 1);
	act_at_moment = joiner_rewrite;
	pass_run();
	EXPECT(rejected_once(SCAN_WRITTEN) && merged() == 2 && references(a, 300) == 3);
}

/* Both pages are written and watched anew: only the comparison can see that. */
static void rewatched(void)
{
	if (gmm.shared_holds != 1 || acts++ > 0)
		return;
	page_put(b, 300, 2);
	page_put(a, 300, 3);
	monitor(b, 300);
	monitor(a, 300);
}

TEST(reclaim_merge, a_change_that_only_the_comparison_sees_is_rejected_once)
{
	scene_of_a_pair();
	act_at_moment = rewatched;
	pass_run();
	EXPECT(acts > 0 && rejected_once(SCAN_CHANGED) && merged() == 0);
	EXPECT(scan().share.differed == 0 && machine().shared_pages == 0);
}

static struct guest *c; /* has no dirty bits */

/* Before c's second block is looked at, the candidate there gets another page id. */
static void follower_renew(void)
{
	gfn_t gfn = { 700 };
	unsigned done;

	if (!c->is_asked || acts++ != 1)
		return;
	pgm_balloon_inflate(c->vm.machine.pgm, &gfn, 1, &done);
	page_put(c, 700, 1);
}

/*
 * Both pages of c are candidates. A page of a is a pair with the second. The first follows
 * this pair. The second, whose id is new to the batch, looks like the first, and so follows
 * the pair as well.
 */
TEST(reclaim_merge, a_page_that_looks_like_a_follower_follows_its_leader)
{
	struct pgm_config config = guest_config();

	set_up();
	config.has_dirty_bits = false;
	c = guest_create_with(GROUP, &config);
	page_put(c, 300, 1);
	page_put(c, 700, 1);
	scanner_start();
	pass_run();
	EXPECT(merged() == 0 && scan().share.candidates == 2);
	page_put(a, 300, 1);
	acts = 0;
	act_at_moment = follower_renew;
	pass_run();
	EXPECT(rejected(SCAN_WRITTEN) == 1 && rejected(SCAN_CHANGED) == 2 && merged() == 0);
	act_at_moment = NULL;
	for (unsigned i = 0; i < 3; i++)
		pass_run();
	EXPECT(are_shared(a, 300, c, 300) && are_shared(a, 300, c, 700));
}

/* The candidate only; the other page is written. */
static void candidate_rewatched(void)
{
	if (gmm.shared_holds != 1 || acts++ > 0)
		return;
	page_put(b, 300, 2);
	page_put(a, 300, 3);
	monitor(a, 300);
}

TEST(reclaim_merge, a_candidate_whose_change_only_the_comparison_sees_is_none_any_more)
{
	scene_of_a_pair();
	act_at_moment = candidate_rewatched;
	pass_run();
	EXPECT(acts > 0 && rejected_once(SCAN_CHANGED) && scan().share.candidates == 0);
}

/* The frame has another page by now, which is watched as well. */
static void replaced_and_rewatched(void)
{
	gfn_t gfn = { 300 };
	unsigned done;

	if (!is_watching() || acts++ > 0)
		return;
	pgm_balloon_inflate(a->vm.machine.pgm, &gfn, 1, &done);
	page_put(a, 300, 1);
	monitor(a, 300);
	a->monitored++;
}

TEST(reclaim_merge, another_page_in_the_place_of_a_watched_one_is_not_taken_for_it)
{
	scene_of_a_pair();
	act_at_moment = replaced_and_rewatched;
	pass_run();
	EXPECT(acts > 0 && rejected_once(SCAN_WRITTEN) && merged() == 0);
	EXPECT(kind_of(a, 300) == PGM_PAGE_MONITORED && kind_of(b, 300) == PGM_PAGE_NORMAL);
}

/* --- anything, at any moment ------------------------------------------------------------------ */

static struct guest *changed;
static uint64_t changed_frame;

/* Two pairs, each with a follower; a join; a page of zeros. */
static void scene_of_all_kinds(void)
{
	set_up_with(MIB(2));
	page_put(a, 320, 7);
	page_put(b, 320, 7);
	scanner_start();
	pass_run();
	for (unsigned i = 0; i < 2; i++) {
		page_put(a, 300 + i, 1 + i);
		page_put(b, 300 + i, 1 + i);
		page_put(b, 310 + i, 1 + i);
	}
	page_put(a, 321, 7);
	page_put(a, 322, 0);
	moment = 0;
	before = scan();
}

static void content_change(void)
{
	page_write(changed, changed_frame, 99);
}

static void content_stay(void)
{
	page_write(changed, changed_frame, changed->contents[changed_frame]);
}

static void content_behind_the_key_change(void)
{
	page_write(changed, changed_frame, changed->contents[changed_frame] ^ HIDDEN);
}

static void quire_change(void)
{
	page_put(changed, changed_frame, 98);
}

static void zero_write(void)
{
	page_write(changed, changed_frame, 0);
}

static void balloon(void)
{
	gfn_t gfn = { changed_frame };
	unsigned done;

	pgm_balloon_inflate(changed->vm.machine.pgm, &gfn, 1, &done);
	changed->is_filled[changed_frame] = false;
}

static void unmonitor(void)
{
	page_id_t id = view_of(changed, changed_frame).id;
	q_status_t status = pgm_page_unmonitor(changed->vm.machine.pgm, gfn(changed_frame), id);

	EXPECT(status == Q_OK || status == Q_STATE);
}

static void handler_add(void)
{
	EXPECT(pgm_handler_add(changed->vm.machine.pgm, gpa(changed_frame << PAGE_SHIFT), PAGE_SIZE,
			       PGM_HANDLER_WRITE, 1) == Q_OK);
}

/* A change of one page spoils at most its own merge and those that follow it. */
static void any_change_judge(void)
{
	EXPECT(rejected(SCAN_NO_MEMORY) == 0 && rejected_at_all() <= 3);
	EXPECT(merged() + rejected_at_all() <= 8 && merged() >= 4);
	/* Some passes later pages that are equal are shared. */
	for (unsigned i = 0; i < 3; i++)
		pass_run();
	uint64_t kinds = machine().shared_pages;
	EXPECT(kinds >= 2 && kinds <= 4);
	guest_destroy(a);
	guest_destroy(b);
	pass_run();
	EXPECT(machine().shared_pages == 0 && machine().private_pages == 0);
}

static void at_each_moment_of_each_page(void (*happen)(void))
{
	/* The candidate of a pair, its other page, a follower, a join, and a shared page. */
	static const struct {
		struct guest **owner;
		uint64_t frame;
	} pages[] = { { &a, 300 }, { &b, 300 }, { &b, 310 }, { &a, 321 }, { &b, 320 } };

	disturbance = happen;
	for (unsigned i = 0; i < ARRAY_COUNT(pages); i++) {
		changed_frame = pages[i].frame;
		for (disturbed_moment = 0;; disturbed_moment++) {
			scene_of_all_kinds();
			changed = *pages[i].owner;
			act_at_moment = disturb_once;
			pass_run();
			act_at_moment = NULL;
			if (moment <= disturbed_moment)
				break;
			any_change_judge();
		}
		EXPECT(disturbed_moment > 8);
	}
}

TEST(reclaim_merge, a_page_changes_at_any_moment)
{
	at_each_moment_of_each_page(content_change);
	at_each_moment_of_each_page(quire_change);
	at_each_moment_of_each_page(zero_write);
}

TEST(reclaim_merge, a_page_is_written_as_it_was_at_any_moment)
{
	at_each_moment_of_each_page(content_stay);
}

TEST(reclaim_merge, a_page_changes_where_keys_do_not_look_at_any_moment)
{
	at_each_moment_of_each_page(content_behind_the_key_change);
}

TEST(reclaim_merge, a_page_goes_into_the_balloon_at_any_moment)
{
	at_each_moment_of_each_page(balloon);
}

TEST(reclaim_merge, a_page_is_watched_no_longer_at_any_moment)
{
	at_each_moment_of_each_page(unmonitor);
}

TEST(reclaim_merge, a_page_gets_a_handler_at_any_moment)
{
	at_each_moment_of_each_page(handler_add);
}
