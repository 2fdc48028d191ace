/* SPDX-License-Identifier: MIT */
/*
 * Room for shared pages: which chunk is emptied, when none is, and what may happen to VMs and
 * pages meanwhile. A guest fills some chunks; its balloon makes them emptier. Numbers are for
 * chunks of 512 pages.
 */
#include "reclaim_machine.h"

#define FIRST  256u /* the first frame that guests fill */
#define FULL   GMM_PAGES_PER_CHUNK
#define CHUNKS 5u

/*
 * The chunks of guest a, in the order in which they were filled. The first has its zero page,
 * the last has its stock; the others have pages of RAM only.
 */
static struct guest *a;
static uint32_t chunks[CHUNKS];

static uint32_t chunk_of(const struct guest *guest, uint64_t frame)
{
	return view_of(guest, frame).id.raw >> GMM_CHUNK_ID_SHIFT;
}

static bool is_in(const struct guest *guest, uint64_t frame, uint32_t chunk)
{
	return guest->is_filled[frame] && kind_of(guest, frame) == PGM_PAGE_NORMAL &&
	       chunk_of(guest, frame) == chunk;
}

/* How many pages of a guest's RAM are in the chunk. */
static unsigned used_in(const struct guest *guest, uint32_t chunk)
{
	unsigned count = 0;

	for (uint64_t frame = FIRST; frame < FRAMES_MAX; frame++)
		count += is_in(guest, frame, chunk);
	return count;
}

/* Frees pages of a guest in a chunk until `left` are left, spread evenly. */
static void thin(struct guest *guest, uint32_t chunk, unsigned left)
{
	unsigned used = used_in(guest, chunk), done, seen = 0;

	EXPECT(used >= left);
	for (uint64_t frame = FIRST; frame < FRAMES_MAX; frame++) {
		gfn_t gfn = { frame };
		if (!is_in(guest, frame, chunk))
			continue;
		/* Of the pages seen so far, left / used stay. */
		seen++;
		if (seen * left / used != (seen - 1) * left / used)
			continue;
		pgm_balloon_inflate(guest->vm.machine.pgm, &gfn, 1, &done);
		EXPECT(done == 1);
		guest->is_filled[frame] = false;
	}
	EXPECT(used_in(guest, chunk) == left);
}

static void fill(struct guest *guest, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		page_put(guest, first + i, first + i);
		if (pgm_handy_is_low(guest->vm.machine.pgm))
			EXPECT(pgm_handy_refill(guest->vm.machine.pgm) == Q_OK);
	}
	/* A refill tells GMM the frames. */
	EXPECT(pgm_handy_refill(guest->vm.machine.pgm) == Q_OK);
}

/* Adds a chunk to the first `count` of `chunks`, if it is not one of them. */
static unsigned chunk_note(uint32_t chunk, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (chunks[i] == chunk)
			return count;
	EXPECT(count < CHUNKS);
	chunks[count] = chunk;
	return count + 1;
}

static void room_run(void *argument)
{
	(void)argument;
	room_make();
}

static void room_start(void)
{
	EXPECT(thread_create("room", THREAD_IDLE, room_run, NULL, &stepped) == Q_OK);
}

static void set_up_on(uint64_t machine_bytes)
{
	struct pgm_config config = guest_config();

	machine_set_up(machine_bytes);
	config.ram_bytes = MIB(16);
	a = guest_create_with(GROUP, &config);
	fill(a, FIRST, (CHUNKS - 1) * FULL);
	unsigned count = 0;
	for (uint64_t frame = FIRST; frame < FIRST + (CHUNKS - 1) * FULL; frame++)
		count = chunk_note(chunk_of(a, frame), count);
	EXPECT(count == CHUNKS && used_in(a, chunks[0]) < FULL && used_in(a, chunks[4]) < FULL);
	for (unsigned i = 1; i < CHUNKS - 1; i++)
		EXPECT(used_in(a, chunks[i]) == FULL);
	room_start();
}

static void set_up(void)
{
	set_up_on(MIB(32));
}

/* Runs room_make() to its end. Returns how many requests it made. */
static unsigned room_finish(void)
{
	unsigned requests = 0;

	while (!fake_thread_has_ended(stepped)) {
		fake_thread_run(stepped);
		act();
		for (unsigned i = 0; i < guest_count; i++)
			requests += guests[i] && guests[i]->is_asked;
		guests_answer();
		act();
	}
	for (unsigned i = 0; i < guest_count; i++)
		if (guests[i])
			contents_check_of(guests[i]);
	return requests;
}

/* --- which chunk ---------------------------------------------------------------------------- */

TEST(reclaim_room, the_emptiest_chunk_is_emptied)
{
	for (unsigned emptiest = 1; emptiest < CHUNKS - 1; emptiest++) {
		set_up();
		for (unsigned i = 1; i < CHUNKS - 1; i++)
			thin(a, chunks[i], i == emptiest ? 60 : 300);
		EXPECT(room_finish() == 1);
		EXPECT(used_in(a, chunks[emptiest]) == 0);
		uint64_t rest = 0;
		for (unsigned i = 0; i < CHUNKS; i++)
			rest += used_in(a, chunks[i]);
		EXPECT(rest == memory_of(a).private_pages);
	}
}

TEST(reclaim_room, as_many_pages_as_fit_are_asked_for_at_once)
{
	static const struct {
		unsigned pages, requests;
	} rows[] = { { 1, 1 },
		     { VM_REQUEST_PAGES_MAX, 1 },
		     { VM_REQUEST_PAGES_MAX + 1, 2 },
		     { 3 * VM_REQUEST_PAGES_MAX, 3 } };

	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		set_up();
		thin(a, chunks[1], rows[i].pages);
		thin(a, chunks[2], 250);
		EXPECT(room_finish() == rows[i].requests && used_in(a, chunks[1]) == 0);
	}
}

TEST(reclaim_room, a_chunk_with_a_page_that_cannot_be_moved_is_not_chosen)
{
	set_up();
	/* What is left there is the zero page, and the stock. */
	thin(a, chunks[0], 0);
	thin(a, chunks[4], 0);
	thin(a, chunks[1], 300);
	thin(a, chunks[2], 200);
	EXPECT(room_finish() == 4);
	EXPECT(used_in(a, chunks[2]) == 0 && used_in(a, chunks[1]) == 500);
	EXPECT(used_in(a, chunks[0]) == 0 && used_in(a, chunks[4]) == 0);
}

TEST(reclaim_room, where_no_chunk_can_be_emptied_nothing_is_asked)
{
	set_up();
	thin(a, chunks[0], 0);
	thin(a, chunks[4], 0);
	EXPECT(room_finish() == 0);
	EXPECT(used_in(a, chunks[1]) == FULL && used_in(a, chunks[2]) == FULL);
}

/* A VM that is not in the table takes all memory that is free. */
static void hog(void)
{
	struct gmm_vm_config config = { .pages = { MIB(64) / PAGE_SIZE, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	struct gmm_page page;
	gmm_vm_t vm;

	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	while (gmm_pages_available(vm, 1) > 0)
		EXPECT(gmm_pages_alloc(vm, &page, 1) == Q_OK);
	EXPECT(gmm.private_free_pages == 0);
}

TEST(reclaim_room, pages_that_fit_nowhere_else_stay)
{
	for (unsigned left = 200; left <= 201; left++) {
		set_up();
		hog();
		thin(a, chunks[1], left);
		thin(a, chunks[2], FULL - 200);
		EXPECT(room_finish() == (left == 200 ? 4 : 0));
		EXPECT(used_in(a, chunks[1]) == (left == 200 ? 0 : left));
	}
}

/* It looks at eight chunks, and gives up if none of them can be emptied. */
TEST(reclaim_room, a_search_has_an_end)
{
	for (unsigned count = 7; count <= 8; count++) {
		set_up_on(MIB(64));
		thin(a, chunks[1], 250);
		thin(a, chunks[2], 260);
		/* Each guest, a as well, has a chunk with its stock and little else. */
		for (unsigned i = 1; i < count; i++)
			guest_create(GROUP);
		EXPECT((room_finish() > 0) == (count == 7));
		EXPECT(used_in(a, chunks[1]) == (count == 7 ? 0 : 250));
	}
}

/* --- VMs ------------------------------------------------------------------------------------- */

TEST(reclaim_room, pages_of_vms_that_are_off_are_not_moved)
{
	set_up();
	thin(a, chunks[1], 60);
	thin(a, chunks[2], 300);
	a->vm.hold = VM_HOLD_STOPPED;
	EXPECT(room_finish() == 0 && used_in(a, chunks[1]) == 60);
}

static struct guest *b;

/* The second chunk of guest a also has pages of guest b, and all of them are RAM. */
static void mixed_set_up(void)
{
	struct pgm_config config = guest_config();
	uint64_t frame = FIRST;

	set_up();
	config.ram_bytes = MIB(16);
	b = guest_create_with(GROUP, &config);
	hog();
	/* There is no other memory, so b gets what a gives back, and uses all of it. */
	thin(a, chunks[1], 300);
	while (memory_of(b).handy > 0 || pgm_handy_refill(b->vm.machine.pgm) == Q_OK) {
		page_fault_write(b, frame, MIB(1) + frame);
		frame++;
	}
	EXPECT(used_in(b, chunks[1]) == 212);
	thin(a, chunks[2], 100);
	EXPECT(pgm_handy_refill(b->vm.machine.pgm) == Q_OK);
	thin(b, chunks[1], 40);
	thin(a, chunks[1], 30);
	thin(a, chunks[3], 200);
}

TEST(reclaim_room, a_chunk_of_two_vms_is_emptied)
{
	mixed_set_up();
	EXPECT(room_finish() > 1);
	EXPECT(used_in(a, chunks[1]) == 0 && used_in(b, chunks[1]) == 0);
}

TEST(reclaim_room, a_chunk_with_pages_of_a_vm_that_is_off_is_not_chosen)
{
	mixed_set_up();
	b->vm.hold = VM_HOLD_CREATED;
	(void)room_finish();
	EXPECT(used_in(a, chunks[1]) == 30 && used_in(b, chunks[1]) == 40);
}

/* The operator destroys the VM: it is not in the table any more, but has its memory still. */
TEST(reclaim_room, a_chunk_with_pages_of_a_vm_on_its_way_out_is_not_chosen)
{
	mixed_set_up();
	vm_table_remove(&b->vm);
	(void)room_finish();
	EXPECT(used_in(a, chunks[1]) == 30 && used_in(b, chunks[1]) == 40);
	EXPECT(vm_table_add(&b->vm) == Q_OK);
}

/* --- at any moment ---------------------------------------------------------------------------- */

static void b_destroy(void)
{
	guest_destroy(b);
}

static void a_page_is_written(void)
{
	for (uint64_t frame = FIRST; frame < FRAMES_MAX; frame++)
		if (is_in(a, frame, chunks[1]))
			page_write(a, frame, 1);
}

static void a_page_is_freed(void)
{
	thin(a, chunks[1], used_in(a, chunks[1]) / 2);
}

TEST(reclaim_room, anything_happens_at_any_moment)
{
	static void (*const happenings[])(void) = { b_destroy, a_page_is_written, a_page_is_freed };

	for (unsigned i = 0; i < ARRAY_COUNT(happenings); i++) {
		unsigned moments = 1;
		disturbance = happenings[i];
		for (disturbed_moment = 0; disturbed_moment < moments; disturbed_moment++) {
			mixed_set_up();
			thin(a, chunks[1], 5);
			thin(b, chunks[1], 6);
			act_at_moment = disturb_once;
			(void)room_finish();
			moments = disturbed_moment == 0 ? moment : moments;
			/* All pages that are still there were moved. */
			EXPECT(used_in(a, chunks[1]) == 0);
		}
		EXPECT(moments > 8);
	}
}

/* --- the scanner ------------------------------------------------------------------------------- */

TEST(reclaim_room, a_merge_without_memory_makes_room_for_the_next_pass)
{
	mixed_set_up();
	/* Two pairs, and a follower. */
	for (unsigned i = 0; i < 5; i++)
		page_put(a, FIRST + i, i < 3 ? 1 : 2);
	EXPECT(pgm_handy_refill(a->vm.machine.pgm) == Q_OK);
	scanner_start();
	pass_run();
	EXPECT(rejected(SCAN_NO_MEMORY) == 2 && rejected(SCAN_CHANGED) == 1 && merged() == 0);
	EXPECT(used_in(a, chunks[1]) == 0 && used_in(b, chunks[1]) == 0);
	pass_run();
	EXPECT(rejected(SCAN_NO_MEMORY) == 2 && merged() == 5);
}
