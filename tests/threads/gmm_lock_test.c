/* SPDX-License-Identifier: MIT */
/*
 * GMM's two locks, with threads. Mapping a KERNEL chunk is the slow work. The tests
 * stop inside it and let other threads do what they must be able to do meanwhile.
 * An alarm ends a test in which a thread waits for what it must not wait for.
 */
#include <pthread.h>
#include <unistd.h>

#include <quire/assert.h>
#include <quire/atomic.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

#define TIME_LIMIT_S 60u

static void (*meanwhile)(void); /* runs in another thread during the next mapping */
static pthread_t helper;
static unsigned meanwhile_count;

static void *helper_main(void *context)
{
	fake_cpu_set(1);
	((void (*)(void))(uintptr_t)context)();
	return NULL;
}

static void helper_start(void (*function)(void))
{
	EXPECT(pthread_create(&helper, NULL, helper_main, (void *)(uintptr_t)function) == 0);
}

static void helper_join(void)
{
	EXPECT(pthread_join(helper, NULL) == 0);
}

/* Runs the helper to its end while this thread is inside the mapping. */
static void on_map(void)
{
	fake_kernel_map_hook(NULL);
	meanwhile_count++;
	helper_start(meanwhile);
	helper_join();
}

static void during_next_mapping(void (*function)(void))
{
	alarm(TIME_LIMIT_S);
	meanwhile = function;
	meanwhile_count = 0;
	fake_kernel_map_hook(on_map);
}

/* --- what goes on during a slow chunk take ------------------------------------------ */

static gmm_vm_t first, second;
static page_id_t shared;
static page_id_t some[8];

/* EXPECT cannot report from a thread other than cmocka's, so these are assertions. */
static void ordinary_work(void)
{
	struct gmm_page page;
	struct gmm_page_info info;
	struct gmm_vm_stats stats;
	unsigned done;

	Q_ASSERT(gmm_pages_free(first, &some[0], 1, &done) == Q_OK);
	Q_ASSERT(gmm_pages_alloc(first, &page, 1) == Q_OK);
	Q_ASSERT(gmm_pages_alloc(second, &page, 1) == Q_OK);
	Q_ASSERT(gmm_page_set_gfn(second, page.id, gfn(7)) == Q_OK);
	Q_ASSERT(gmm_page_info(page.id, &info) == Q_OK && info.gfn.raw == 7);
	Q_ASSERT(gmm_shared_replace(first, some[1], shared) == Q_OK);
	Q_ASSERT(gmm_shared_get(second, shared) == Q_OK);
	Q_ASSERT(gmm_shared_put(first, &shared, 1, &done) == Q_OK);
	Q_ASSERT(gmm_shared_alloc(&page) == Q_OK);
	Q_ASSERT(gmm_shared_put(GMM_VM_QUIRE, &page.id, 1, &done) == Q_OK);
	/* Takes a whole chunk, and gives all of it back. */
	Q_ASSERT(gmm_chunk_alloc(first, gfn(0), &page) == Q_OK);
	for (unsigned i = 0; i < P; i++) {
		page_id_t id = { page.id.raw + i };
		Q_ASSERT(gmm_pages_free(first, &id, 1, &done) == Q_OK);
	}
	Q_ASSERT(gmm_balloon_inflate(first, 3) == Q_OK);
	gmm_balloon_reset(first);
	Q_ASSERT(gmm_set_aside(first, 3) == Q_OK);
	gmm_set_aside_end(first);
	hpa_t kernel;
	Q_ASSERT(gmm_kernel_page_alloc(first, GMM_SHADOW, &kernel) == Q_OK);
	gmm_kernel_page_free(first, GMM_SHADOW, kernel);
	gmm_page_clear(some[2]);
	gmm_zero_ahead(1);
	gmm_vm_stats(first, &stats);
	gmm_pages_available(first, 1);
}

TEST(gmm_lock, pages_come_and_go_while_a_vm_is_created)
{
	set_up(8);
	first = create(4 * P, P, 4);
	second = create(4 * P, 0, 0);
	EXPECT(alloc(first, 8) == Q_OK);
	memcpy(some, ids, sizeof(some));
	EXPECT(alloc(second, 1) == Q_OK);
	struct gmm_page page;
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	shared = page.id;

	during_next_mapping(ordinary_work);
	gmm_vm_t third = create(P, P, P);
	EXPECT(meanwhile_count == 1);
	EXPECT(stats_now().vm_count == 3 && third != first && third != second);
	struct gmm_page_info info;
	EXPECT(gmm_page_info(shared, &info) == Q_OK && info.references == 2);
	alarm(0);
}

TEST(gmm_lock, pages_come_and_go_while_quire_takes_a_chunk)
{
	hpa_t kernel;

	set_up(8);
	first = create(4 * P, P, 4);
	second = create(4 * P, 0, 0);
	EXPECT(alloc(first, 8) == Q_OK);
	memcpy(some, ids, sizeof(some));
	struct gmm_page page;
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	shared = page.id;
	while (stats_now().kernel_pages < P - 4)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	during_next_mapping(ordinary_work);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	alarm(0);
}

TEST(gmm_lock, pages_come_and_go_while_a_vm_ends)
{
	set_up(8);
	first = create(4 * P, P, 4);
	second = create(4 * P, 0, 0);
	gmm_vm_t third = create(P, P, 2 * P);
	EXPECT(alloc(first, 8) == Q_OK);
	memcpy(some, ids, sizeof(some));
	struct gmm_page page;
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	shared = page.id;
	during_next_mapping(ordinary_work);
	gmm_vm_destroy(third);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	alarm(0);
}

/* --- promises in the making ---------------------------------------------------------- */

static void take_all(void)
{
	unsigned count = (unsigned)gmm_pages_available(first, PAGES_MAX);
	Q_ASSERT(gmm_pages_alloc(first, pages, count) == Q_OK);
	Q_ASSERT(gmm_pages_alloc(first, pages, 1) == Q_NO_MEMORY);
}

/* Memory that was there when the creation began is gone when it ends: declined, and undone. */
TEST(gmm_lock, promises_are_made_with_what_is_there_at_the_end)
{
	gmm_vm_t vm;

	set_up(4);
	first = create(4 * P, 0, 0);
	during_next_mapping(take_all);
	struct gmm_vm_config config = config_of(P, P, P);
	EXPECT(gmm_vm_create(&config, &vm) == Q_DECLINED);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	EXPECT(stats_now().vm_count == 1 && stats_now().claimed_pages == 0);
	EXPECT(stats_now().private_pages == 3 * P);
	/* The chunk that was on its way to KERNEL memory can be allocated again. */
	EXPECT(gmm_pages_available(first, P) == P);
	EXPECT(alloc(first, P) == Q_OK);
	alarm(0);
}

/* The claims of a VM that is made smaller count until it is smaller. */
TEST(gmm_lock, old_claims_hold_while_a_vm_is_resized)
{
	set_up(4);
	first = create(4 * P, 0, 0);
	second = create(3 * P, 2 * P, 0);
	during_next_mapping(take_all);
	struct gmm_vm_config config = config_of(3 * P, P, P);
	EXPECT(gmm_vm_resize(second, &config) == Q_OK);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	/* 4 chunks less the KERNEL one and the 2 that were claimed then. */
	EXPECT(stats_now().private_pages == P);
	EXPECT(alloc(second, 2 * P) == Q_OK);
	alarm(0);
}

/* Old claims and new KERNEL chunks must fit beside each other until the resize is done. */
TEST(gmm_lock, resize_is_declined_if_old_claims_do_not_fit_meanwhile)
{
	set_up(2);
	first = create(2 * P, 2 * P, 0);
	struct gmm_stats before = stats_now();
	struct gmm_vm_config config = config_of(2 * P, P, P);
	EXPECT(gmm_vm_resize(first, &config) == Q_DECLINED);
	EXPECT(stats_are(&before));
	config = config_of(2 * P, P, 0);
	EXPECT(gmm_vm_resize(first, &config) == Q_OK);
	config = config_of(2 * P, P, P);
	EXPECT(gmm_vm_resize(first, &config) == Q_OK);
	gmm_check();
}

static void second_allocates(void)
{
	struct gmm_page page;
	Q_ASSERT(gmm_pages_alloc(second, &page, 1) == Q_OK);
}

/* The VM itself goes on, and its new promise is compared with what it has at the end. */
TEST(gmm_lock, vm_allocates_while_it_is_resized)
{
	set_up(4);
	second = create(P, 0, 0);
	EXPECT(alloc(second, 9) == Q_OK);
	during_next_mapping(second_allocates);
	struct gmm_vm_config config = config_of(9, 0, P);
	EXPECT(gmm_vm_resize(second, &config) == Q_STATE);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	during_next_mapping(second_allocates);
	config = config_of(11, 11, 2 * P);
	EXPECT(gmm_vm_resize(second, &config) == Q_OK);
	EXPECT(meanwhile_count == 1);
	gmm_check();
	EXPECT(stats_now().claimed_pages == 2 * P);
	alarm(0);
}

/* --- threads that need a chunk on its way ------------------------------------------------ */

static unsigned helper_is_waiting;
static q_status_t helper_status;

static void alloc_guaranteed(void)
{
	static struct gmm_page all[4 * P];
	struct gmm_vm_stats stats;

	gmm_vm_stats(second, &stats);
	atomic_store_release(&helper_is_waiting, 1);
	helper_status = gmm_pages_alloc(second, all, (unsigned)stats.guaranteed_base);
}

static void on_unmap(void)
{
	fake_kernel_map_hook(NULL);
	meanwhile_count++;
	helper_start(alloc_guaranteed);
	while (!atomic_load_acquire(&helper_is_waiting))
		usleep(100);
	/* Long enough for the helper to reach the lock; if it is not, the test is only weaker. */
	usleep(20000);
}

/* An allocation inside a guarantee waits for the chunk that is just leaving KERNEL memory. */
TEST(gmm_lock, guarantee_waits_for_a_chunk_on_its_way)
{
	static hpa_t kernel[2 * P];

	set_up(3);
	alarm(TIME_LIMIT_S);
	helper_is_waiting = meanwhile_count = 0;
	for (unsigned i = 0; i < 2 * P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	for (unsigned i = P; i < 2 * P; i++)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	second = create(2 * P, 2 * P, 0);
	EXPECT(stats_now().chunks_free == 1);
	fake_kernel_map_hook(on_unmap);
	for (unsigned i = 0; i < P && meanwhile_count == 0; i++)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	EXPECT(meanwhile_count == 1);
	helper_join();
	EXPECT(helper_status == Q_OK);
	gmm_check();
	EXPECT(stats_now().private_pages == 2 * P);
	alarm(0);
}

static hpa_t stolen;

static void steal_kernel_page(void)
{
	Q_ASSERT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &stolen) == Q_OK);
}

static void on_second_map(void)
{
	fake_kernel_map_hook(NULL);
	meanwhile_count++;
	helper_start(steal_kernel_page);
	usleep(20000);
}

/* Two threads that allocate a kernel page for Quire at the same time both get one. */
TEST(gmm_lock, two_take_kernel_pages_at_once)
{
	hpa_t mine;

	set_up(2);
	alarm(TIME_LIMIT_S);
	meanwhile_count = 0;
	fake_kernel_map_hook(on_second_map);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &mine) == Q_OK);
	helper_join();
	EXPECT(meanwhile_count == 1 && mine.raw != stolen.raw);
	gmm_check();
	EXPECT(stats_now().kernel_pages == 2 && stats_now().chunk_count == 1);
	alarm(0);
}

static void end_second(void)
{
	gmm_vm_destroy(second);
}

/* The helper walks over all chunks; then it has to wait for gmm.lock. */
static void on_map_destroy(void)
{
	fake_kernel_map_hook(NULL);
	meanwhile_count++;
	helper_start(end_second);
	usleep(20000);
}

/* The walk passes over the chunk that is on its way, in which no VM has a page. */
TEST(gmm_lock, vm_ends_while_a_chunk_is_on_its_way)
{
	hpa_t kernel;

	set_up(3);
	alarm(TIME_LIMIT_S);
	meanwhile_count = 0;
	second = create(3 * P, 0, 0);
	EXPECT(alloc(second, 3 * P) == Q_OK);
	/* All chunks were used before, so each has its chains; the last one is in use. */
	struct gmm_chunk *last = gmm_chunk_at(hpa(FAKE_RAM_BASE + 2 * GMM_CHUNK_SIZE));
	for (unsigned i = 0; i < 3 * P; i++)
		if (gmm_chunk_at(hfn_to_hpa(pages[i].frame)) != last)
			EXPECT(free_some(second, &ids[i], 1) == Q_OK);
	fake_kernel_map_hook(on_map_destroy);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	EXPECT(meanwhile_count == 1);
	helper_join();
	gmm_check();
	EXPECT(stats_now().private_pages == 0 && stats_now().kernel_pages == 1);
	alarm(0);
}

/* --- everything at once --------------------------------------------------------------------- */

#define WORKERS    4u
#define ROUNDS     3000u
#define WORKER_MAX 300u

struct worker {
	pthread_t thread;
	unsigned index;
	uint32_t random;
	gmm_vm_t vm;
	page_id_t own[WORKER_MAX];
	unsigned own_count, references;
	hpa_t kernel[8];
	unsigned kernel_count;
};

static page_id_t common; /* a shared page to which all workers refer */

static uint32_t below(struct worker *worker, uint32_t limit)
{
	worker->random = worker->random * 1664525u + 1013904223u;
	return (worker->random >> 8) % limit;
}

static void worker_alloc(struct worker *worker)
{
	struct gmm_page fresh[16];
	unsigned count = 1 + below(worker, 16);

	if (worker->own_count + count > WORKER_MAX ||
	    gmm_pages_alloc(worker->vm, fresh, count) != Q_OK)
		return;
	for (unsigned i = 0; i < count; i++)
		worker->own[worker->own_count++] = fresh[i].id;
}

static void worker_free(struct worker *worker)
{
	unsigned count = below(worker, worker->own_count + 1), done;

	worker->own_count -= count;
	Q_ASSERT(gmm_pages_free(worker->vm, &worker->own[worker->own_count], count, &done) == Q_OK);
}

static void worker_share(struct worker *worker)
{
	unsigned done;

	if (worker->own_count == 0)
		return;
	page_id_t last = worker->own[--worker->own_count];
	Q_ASSERT(gmm_shared_replace(worker->vm, last, common) == Q_OK);
	worker->references++;
	if (below(worker, 2) == 0)
		return;
	Q_ASSERT(gmm_shared_put(worker->vm, &common, 1, &done) == Q_OK);
	worker->references--;
}

static void worker_kernel(struct worker *worker)
{
	if (worker->kernel_count < 8 && below(worker, 2) == 0) {
		hpa_t *page = &worker->kernel[worker->kernel_count];
		if (gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, page) == Q_OK)
			worker->kernel_count++;
	} else if (worker->kernel_count > 0) {
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED,
				     worker->kernel[--worker->kernel_count]);
	}
}

static void worker_vm(struct worker *worker)
{
	struct gmm_vm_config config = config_of(P, below(worker, P), 1 + below(worker, P));
	gmm_vm_t vm;

	if (gmm_vm_create(&config, &vm) == Q_OK)
		gmm_vm_destroy(vm);
}

static void *worker_main(void *context)
{
	struct worker *worker = context;

	fake_cpu_set(1 + worker->index);
	for (unsigned i = 0; i < ROUNDS; i++) {
		switch (below(worker, 16)) {
		case 0: worker_kernel(worker); break;
		case 1: worker_vm(worker); break;
		case 2: gmm_zero_ahead(2); break;
		case 3:
		case 4: worker_share(worker); break;
		case 5:
		case 6:
		case 7:
		case 8: worker_free(worker); break;
		default: worker_alloc(worker); break;
		}
		if (i % 64 == worker->index)
			gmm_check();
	}
	return NULL;
}

static void worker_end(struct worker *worker)
{
	unsigned done;

	while (worker->references-- > 0)
		EXPECT(gmm_shared_put(worker->vm, &common, 1, &done) == Q_OK);
	while (worker->kernel_count > 0)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED,
				     worker->kernel[--worker->kernel_count]);
	gmm_vm_destroy(worker->vm);
}

TEST(gmm_lock, threads_keep_every_invariant)
{
	static struct worker workers[WORKERS];
	struct gmm_page page;

	set_up(5);
	alarm(TIME_LIMIT_S);
	struct gmm_stats before = stats_now();
	EXPECT(gmm_shared_alloc(&page) == Q_OK);
	common = page.id;
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .index = i, .random = i + 1 };
		workers[i].vm = create(WORKER_MAX, i * 20, 0);
		EXPECT(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) == 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		EXPECT(pthread_join(workers[i].thread, NULL) == 0);
	gmm_check();
	for (unsigned i = 0; i < WORKERS; i++)
		worker_end(&workers[i]);
	unsigned done;
	EXPECT(gmm_shared_put(GMM_VM_QUIRE, &common, 1, &done) == Q_OK);
	gmm_check();
	EXPECT(stats_now().kernel_pages == 0 && stats_now().private_pages == 0);
	EXPECT(stats_now().machine_pages == before.machine_pages && stats_now().vm_count == 0);
	alarm(0);
}
