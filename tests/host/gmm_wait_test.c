/* SPDX-License-Identifier: MIT */
/* Which VMs get unclaimed memory when there is not enough for all that ask. */
#include <stdlib.h>
#include <string.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "seam/seam.h"
#include "test.h"

#define P         GMM_PAGES_PER_CHUNK
#define CHUNKS    4u
#define PAGES_ALL (CHUNKS * P)

static void *metadata;
static struct gmm_page pages[PAGES_ALL];

static void set_up(void)
{
	uint64_t size = CHUNKS * GMM_CHUNK_SIZE;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + size) };

	fake_ram_create(align_up(size, LARGE_PAGE_SIZE));
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, gmm_metadata_size(&all, 1));
	memset(metadata, 0, gmm_metadata_size(&all, 1));
	EXPECT(gmm_init(&all, 1, metadata) == Q_OK);
}

static struct gmm_vm_config config_of(uint64_t guaranteed, enum gmm_priority priority)
{
	struct gmm_vm_config config = {
		.pages = { [GMM_BASE] = PAGES_ALL },
		.guaranteed_base_pages = guaranteed,
		.overcommit = GMM_OVERCOMMIT_FULL,
		.priority = priority,
	};
	return config;
}

static gmm_vm_t create(uint64_t guaranteed, enum gmm_priority priority)
{
	struct gmm_vm_config config = config_of(guaranteed, priority);
	gmm_vm_t vm = 0;
	EXPECT(gmm_vm_create(&config, &vm) == Q_OK);
	return vm;
}

static gmm_vm_t create_normal(void)
{
	return create(0, GMM_PRIORITY_NORMAL);
}

/* Allocates pages and forgets them; the end of the VM frees them. */
static q_status_t take(gmm_vm_t vm, unsigned count)
{
	q_status_t status = gmm_pages_alloc(vm, pages, count);
	gmm_check();
	return status;
}

/* Frees a page of the last take() that succeeded. */
static void give_back_one(gmm_vm_t vm)
{
	unsigned done;
	EXPECT(gmm_pages_free(vm, &pages[0].id, 1, &done) == Q_OK);
}

static uint64_t available(gmm_vm_t vm)
{
	return gmm_pages_available(vm, PAGES_ALL);
}

static void wait_begin(gmm_vm_t vm)
{
	gmm_wait_begin(vm);
	gmm_check();
}

static void wait_end(gmm_vm_t vm)
{
	gmm_wait_end(vm);
	gmm_check();
}

/* --- turns ------------------------------------------------------------------------------ */

TEST(gmm_wait, nobody_waits_so_everybody_may_ask)
{
	set_up();
	gmm_vm_t low = create(0, GMM_PRIORITY_LOW), high = create(0, GMM_PRIORITY_HIGH);
	EXPECT(gmm_wait_first() == GMM_VM_QUIRE);
	EXPECT(available(low) == PAGES_ALL && available(high) == PAGES_ALL);
	wait_end(low);
	EXPECT(gmm_wait_first() == GMM_VM_QUIRE);
	EXPECT(take(low, PAGES_ALL - 1) == Q_OK && take(high, 1) == Q_OK);
}

/* A running VM asks a thousand times for a page that came back, and the waiter gets it. */
TEST(gmm_wait, who_runs_cannot_starve_who_waits)
{
	set_up();
	gmm_vm_t waiter = create_normal(), runner = create_normal(), owner = create_normal();
	EXPECT(take(runner, PAGES_ALL - 10) == Q_OK && take(owner, 9) == Q_OK);
	EXPECT(take(owner, 1) == Q_OK && take(waiter, 1) == Q_NO_MEMORY);
	wait_begin(waiter);
	give_back_one(owner);
	for (unsigned i = 0; i < 1000; i++) {
		EXPECT(gmm_pages_alloc(runner, pages, 1) == Q_NO_MEMORY);
		EXPECT(available(runner) == 0);
	}
	EXPECT(available(waiter) == 1 && take(waiter, 1) == Q_OK);
	wait_end(waiter);
	give_back_one(waiter);
	EXPECT(take(runner, 1) == Q_OK);
}

TEST(gmm_wait, turns_come_by_priority_then_by_age)
{
	set_up();
	gmm_vm_t low = create(0, GMM_PRIORITY_LOW), old = create_normal(), young = create_normal();
	gmm_vm_t high = create(0, GMM_PRIORITY_HIGH);

	wait_begin(low);
	EXPECT(gmm_wait_first() == low);
	wait_begin(old);
	wait_begin(young);
	EXPECT(gmm_wait_first() == old);
	wait_begin(high);
	EXPECT(gmm_wait_first() == high);
	EXPECT(available(high) == PAGES_ALL);
	EXPECT(available(old) == 0 && available(young) == 0 && available(low) == 0);

	wait_end(high);
	EXPECT(gmm_wait_first() == old && available(old) == PAGES_ALL && available(young) == 0);
	wait_end(old);
	EXPECT(gmm_wait_first() == young);
	wait_end(young);
	EXPECT(gmm_wait_first() == low && available(low) == PAGES_ALL);
	wait_end(low);
	EXPECT(gmm_wait_first() == GMM_VM_QUIRE);
}

TEST(gmm_wait, asking_again_keeps_the_place_and_coming_back_does_not)
{
	set_up();
	gmm_vm_t a = create_normal(), b = create_normal();
	wait_begin(a);
	wait_begin(b);
	wait_begin(a);
	EXPECT(gmm_wait_first() == a);
	wait_end(a);
	wait_begin(a);
	EXPECT(gmm_wait_first() == b);
}

/* A VM that runs comes before waiters of a lower priority, and after those of its own. */
TEST(gmm_wait, a_higher_priority_does_not_queue_behind_a_lower_one)
{
	set_up();
	gmm_vm_t waiter = create_normal();
	gmm_vm_t low = create(0, GMM_PRIORITY_LOW), equal = create_normal();
	gmm_vm_t high = create(0, GMM_PRIORITY_HIGH);
	wait_begin(waiter);
	EXPECT(take(low, 1) == Q_NO_MEMORY && take(equal, 1) == Q_NO_MEMORY);
	EXPECT(take(high, 1) == Q_OK && take(waiter, 1) == Q_OK);
	EXPECT(available(high) == PAGES_ALL - 2);
	/* Once it waits itself, its place counts: here the first. */
	wait_begin(high);
	EXPECT(gmm_wait_first() == high && available(waiter) == 0);
}

/* --- reservations ------------------------------------------------------------------------- */

TEST(gmm_wait, inside_its_reservation_a_vm_needs_no_turn)
{
	set_up();
	gmm_vm_t waiter = create(0, GMM_PRIORITY_HIGH), inside = create(100, GMM_PRIORITY_LOW);
	wait_begin(waiter);
	EXPECT(available(inside) == 100);
	EXPECT(take(inside, 101) == Q_NO_MEMORY);
	EXPECT(take(inside, 60) == Q_OK);
	EXPECT(available(inside) == 40 && take(inside, 41) == Q_NO_MEMORY);
	EXPECT(take(inside, 40) == Q_OK && take(inside, 1) == Q_NO_MEMORY);
	EXPECT(available(waiter) == PAGES_ALL - 100);
	wait_end(waiter);
	EXPECT(take(inside, 1) == Q_OK);
}

/* Not even the first waiter gets what another VM's reservation claims. */
TEST(gmm_wait, a_turn_gives_no_right_to_what_is_claimed)
{
	set_up();
	gmm_vm_t waiter = create(0, GMM_PRIORITY_HIGH), owner = create(P, GMM_PRIORITY_LOW);
	wait_begin(waiter);
	EXPECT(available(waiter) == PAGES_ALL - P);
	EXPECT(take(waiter, PAGES_ALL - P) == Q_OK && take(waiter, 1) == Q_NO_MEMORY);
	EXPECT(take(owner, P) == Q_OK);
}

/* A waiter that is not the first still has its own reservation. */
TEST(gmm_wait, a_waiter_behind_can_use_its_reservation)
{
	set_up();
	gmm_vm_t first = create_normal(), second = create(5, GMM_PRIORITY_NORMAL);
	wait_begin(first);
	wait_begin(second);
	EXPECT(available(second) == 5 && take(second, 5) == Q_OK && take(second, 1) == Q_NO_MEMORY);
}

/* Other VMs can get pages that are no longer guaranteed; free ones can be claimed again. */
TEST(gmm_reserve, a_reservation_is_dropped_and_claimed_again)
{
	set_up();
	gmm_vm_t vm = create(P, GMM_PRIORITY_NORMAL), other = create_normal();
	struct gmm_vm_stats stats;

	EXPECT(take(vm, 10) == Q_OK && available(other) == PAGES_ALL - P);
	EXPECT(gmm_vm_reserve(vm, 0) == Q_OK);
	gmm_check();
	gmm_vm_stats(vm, &stats);
	EXPECT(stats.guaranteed_base == 0 && stats.allocated[GMM_BASE] == 10);
	EXPECT(available(other) == PAGES_ALL - 10);
	EXPECT(gmm_vm_reserve(vm, P) == Q_OK);
	gmm_check();
	EXPECT(available(other) == PAGES_ALL - P && available(vm) == PAGES_ALL - 10);
	EXPECT(gmm_vm_reserve(vm, PAGES_ALL) == Q_OK && available(other) == 0);
	EXPECT(gmm_vm_reserve(vm, PAGES_ALL + 1) == Q_INVALID);
	gmm_check();
}

TEST(gmm_reserve, what_others_took_is_declined)
{
	set_up();
	gmm_vm_t vm = create(P, GMM_PRIORITY_NORMAL), other = create_normal();

	EXPECT(gmm_vm_reserve(vm, 0) == Q_OK);
	EXPECT(take(other, PAGES_ALL - P + 1) == Q_OK);
	EXPECT(gmm_vm_reserve(vm, P) == Q_DECLINED);
	gmm_check();
	EXPECT(available(other) == P - 1 && available(vm) == P - 1);
	EXPECT(gmm_vm_reserve(vm, P - 1) == Q_OK && available(other) == 0);
}

/* --- changes ------------------------------------------------------------------------------- */

TEST(gmm_wait, a_destroyed_waiter_leaves_its_place)
{
	set_up();
	gmm_vm_t a = create_normal(), b = create_normal();
	wait_begin(a);
	wait_begin(b);
	gmm_vm_destroy(a);
	gmm_check();
	EXPECT(gmm_wait_first() == b);
	/* A new VM gets the handle, but not the place. */
	EXPECT(create_normal() == a && gmm_wait_first() == b && available(a) == 0);
	gmm_vm_destroy(b);
	gmm_check();
	EXPECT(gmm_wait_first() == GMM_VM_QUIRE);
}

TEST(gmm_wait, a_new_priority_changes_the_order)
{
	set_up();
	gmm_vm_t a = create_normal(), b = create_normal();
	struct gmm_vm_config high = config_of(0, GMM_PRIORITY_HIGH);
	struct gmm_vm_config low = config_of(0, GMM_PRIORITY_LOW);
	wait_begin(a);
	wait_begin(b);
	EXPECT(gmm_vm_resize(b, &high) == Q_OK);
	gmm_check();
	EXPECT(gmm_wait_first() == b);
	EXPECT(gmm_vm_resize(b, &low) == Q_OK && gmm_wait_first() == a);
	gmm_check();
}

TEST(gmm_wait, a_priority_that_is_none_is_refused)
{
	struct gmm_vm_config config = config_of(0, (enum gmm_priority)(GMM_PRIORITY_HIGH + 1));
	gmm_vm_t vm;
	set_up();
	EXPECT(gmm_vm_create(&config, &vm) == Q_INVALID);
}

/* --- against a model -------------------------------------------------------------------------- */

#define MODEL_VMS   6u
#define MODEL_STEPS 20000u

struct model_vm {
	gmm_vm_t handle;
	enum gmm_priority priority;
	uint64_t guaranteed, allocated;
	unsigned since; /* step at which it began to wait; 0: it does not */
};

static struct model_vm model[MODEL_VMS];
static uint64_t random_state = 1;

static unsigned below(unsigned limit)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % limit;
}

/* Pages that no VM has and no reservation claims. */
static uint64_t model_unclaimed(void)
{
	uint64_t unclaimed = PAGES_ALL;
	for (unsigned i = 0; i < MODEL_VMS; i++) {
		const struct model_vm *vm = &model[i];
		unclaimed -= vm->guaranteed > vm->allocated ? vm->guaranteed : vm->allocated;
	}
	return unclaimed;
}

static void model_create(struct model_vm *vm)
{
	*vm = (struct model_vm){ .priority = (enum gmm_priority)below(3) };
	vm->guaranteed = below((unsigned)model_unclaimed() / 4 + 1);
	vm->handle = create(vm->guaranteed, vm->priority);
}

/* Finds the first waiter by looking at all VMs. */
static const struct model_vm *model_first(void)
{
	const struct model_vm *first = NULL;
	for (unsigned i = 0; i < MODEL_VMS; i++) {
		const struct model_vm *vm = &model[i];
		bool is_better = !first || vm->priority > first->priority ||
				 (vm->priority == first->priority && vm->since < first->since);
		if (vm->since && is_better)
			first = vm;
	}
	return first;
}

/* What the VM can have, by what gmm.h says. */
static uint64_t model_available(const struct model_vm *asking)
{
	const struct model_vm *first = model_first();
	uint64_t own =
		asking->guaranteed > asking->allocated ? asking->guaranteed - asking->allocated : 0;
	bool is_refused =
		first && first != asking && (asking->since || asking->priority <= first->priority);
	return is_refused ? own : own + model_unclaimed();
}

static void model_allocate(struct model_vm *vm)
{
	uint64_t expected = model_available(vm);
	unsigned count = below(2) ? (unsigned)expected + below(2) : below(P);
	if (count > PAGES_ALL)
		count = PAGES_ALL;
	q_status_t status = gmm_pages_alloc(vm->handle, pages, count);
	EXPECT((status == Q_OK) == (count <= expected));
	if (status == Q_OK)
		vm->allocated += count;
}

static void model_step(unsigned step)
{
	struct model_vm *vm = &model[below(MODEL_VMS)];
	switch (below(8)) {
	case 0:
		gmm_vm_destroy(vm->handle);
		model_create(vm);
		break;
	case 1:
	case 2:
		gmm_wait_begin(vm->handle);
		if (!vm->since)
			vm->since = step;
		break;
	case 3:
		gmm_wait_end(vm->handle);
		vm->since = 0;
		break;
	default: model_allocate(vm);
	}
}

TEST(gmm_wait, does_what_a_simple_model_does)
{
	set_up();
	for (unsigned i = 0; i < MODEL_VMS; i++)
		model_create(&model[i]);
	for (unsigned step = 1; step <= MODEL_STEPS; step++) {
		model_step(step);
		if (step % 16 == 0)
			gmm_check();
		const struct model_vm *first = model_first();
		EXPECT(gmm_wait_first() == (first ? first->handle : GMM_VM_QUIRE));
		for (unsigned i = 0; i < MODEL_VMS; i++)
			EXPECT(available(model[i].handle) == model_available(&model[i]));
	}
}
