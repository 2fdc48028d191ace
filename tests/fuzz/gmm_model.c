/* SPDX-License-Identifier: MIT */
/* What GMM must answer to its fuzzer, and the audit of what it says. */
#include "gmm_model.h"

#include "seam/seam.h"

struct vm vms[VM_COUNT];
struct shared shared_pages[SHARED_MAX];
unsigned quire_count;
uint64_t kept_for_sharing;
uint64_t random_state;

/* --- helpers ------------------------------------------------------------------------ */

/* splitmix64: good enough, and takes any seed. */
uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t below(uint64_t limit)
{
	return random_next() % limit;
}

uint64_t lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t *first_word(hfn_t frame)
{
	return fake_ram_peek(hfn_to_hpa(frame));
}

unsigned references_of(const struct shared *shared)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < VM_COUNT; i++)
		sum += shared->references[i];
	return sum;
}

bool is_used(const struct shared *shared)
{
	return shared->holds > 0 || references_of(shared) > 0;
}

struct shared *shared_choose(void)
{
	struct shared *shared = &shared_pages[below(SHARED_MAX)];
	return is_used(shared) ? shared : NULL;
}

/* --- what the model says of a VM --------------------------------------------------------- */

uint64_t allocated(const struct vm *vm)
{
	return vm->count + vm->references;
}

uint64_t room(const struct vm *vm)
{
	return vm->config.pages[GMM_BASE] - allocated(vm) - vm->ballooned - vm->set_aside;
}

uint64_t guaranteed(const struct vm *vm)
{
	return vm->config.overcommit == GMM_OVERCOMMIT_NONE ? vm->config.pages[GMM_BASE]
							    : vm->config.guaranteed_base_pages;
}

uint64_t sure(const struct vm *vm)
{
	uint64_t claim = guaranteed(vm) > vm->count ? guaranteed(vm) - vm->count : 0;

	/* References and the balloon use up the promise as well. */
	return lesser(claim > vm->set_aside ? claim : vm->set_aside, room(vm) + vm->set_aside);
}

uint64_t available(const struct vm *vm, uint64_t want)
{
	uint64_t count = gmm_pages_available(vm->handle, want);

	CHECK(count <= want && count <= room(vm) + vm->set_aside);
	CHECK(count >= lesser(want, sure(vm)));
	if (vm->config.is_bound)
		CHECK(count == lesser(want, room(vm) + vm->set_aside));
	return count;
}

void count_down(struct vm *vm, uint64_t pages)
{
	vm->set_aside -= lesser(vm->set_aside, pages);
}

static bool is_in_range(const struct vm *vm, hfn_t frame)
{
	struct gmm_region range = vm->config.bound_range;
	hpa_t addr = hfn_to_hpa(frame);

	return range.start.raw == range.end.raw ||
	       (addr.raw >= range.start.raw && addr.raw < range.end.raw);
}

void page_note(struct vm *vm, const struct gmm_page *page, gfn_t frame)
{
	uint64_t *word = first_word(page->frame);

	CHECK(gmm_page_frame(page->id).raw == page->frame.raw);
	CHECK(!page->is_zeroed || gmm_page_is_zero(page->id));
	CHECK(!vm->config.is_bound || is_in_range(vm, page->frame));
	*word = random_next() | 1;
	vm->pages[vm->count++] = (struct page){ page->id, page->frame, frame, *word };
}

struct page page_forget(struct vm *vm, unsigned index)
{
	struct page page = vm->pages[index];

	CHECK(*first_word(page.frame) == page.stamp);
	vm->pages[index] = vm->pages[--vm->count];
	return page;
}

void freed(struct vm *vm, unsigned count)
{
	vm->set_aside += vm->keeps_freed ? count : 0;
}

/* --- audit ------------------------------------------------------------------------------------------- */

static void audit_vm(const struct vm *vm)
{
	struct gmm_vm_stats stats;

	gmm_vm_stats(vm->handle, &stats);
	CHECK(stats.private_pages == vm->count && stats.shared_pages == vm->references);
	CHECK(stats.allocated[GMM_BASE] == allocated(vm));
	CHECK(stats.ballooned_pages == vm->ballooned && stats.set_aside_pages == vm->set_aside);
	for (unsigned i = 0; i < GMM_ACCOUNT_COUNT; i++) {
		CHECK(stats.promised[i] == vm->config.pages[i]);
		CHECK(i == GMM_BASE || stats.allocated[i] == vm->kernel_count[i]);
	}
	CHECK(stats.guaranteed_base == guaranteed(vm));
	/* A few pages each time; in the course of a run, all of them. */
	for (unsigned i = 0; i < 4 && vm->count > 0; i++) {
		const struct page *page = &vm->pages[below(vm->count)];
		struct gmm_page_info info;
		CHECK(gmm_page_info(page->id, &info) == Q_OK && info.kind == GMM_PAGE_PRIVATE);
		CHECK(info.owner == vm->handle && info.gfn.raw == page->gfn.raw);
		CHECK(*first_word(page->frame) == page->stamp);
	}
}

static void audit_shared(struct gmm_stats *sum)
{
	for (unsigned i = 0; i < SHARED_MAX; i++) {
		const struct shared *shared = &shared_pages[i];
		unsigned references = references_of(shared);
		struct gmm_page_info info;
		if (!is_used(shared))
			continue;
		CHECK(gmm_page_info(shared->id, &info) == Q_OK && info.kind == GMM_PAGE_SHARED);
		CHECK(info.references == references + shared->holds);
		CHECK(*first_word(shared->frame) == shared->stamp);
		sum->shared_pages++;
		sum->shared_references += references;
		sum->pages_saved += references > 0 ? references - 1 : 0;
	}
}

void audit(void)
{
	struct gmm_stats stats, sum = { .kernel_pages = quire_count };

	gmm_check();
	gmm_stats(&stats);
	audit_shared(&sum);
	for (unsigned i = 0; i < VM_COUNT; i++) {
		const struct vm *vm = &vms[i];
		if (vm->handle == 0)
			continue;
		audit_vm(vm);
		sum.vm_count++;
		sum.private_pages += vm->count;
		sum.kernel_pages += vm->kernel_count[GMM_SHADOW] + vm->kernel_count[GMM_FIXED];
		sum.reserved_pages +=
			guaranteed(vm) + vm->config.pages[GMM_SHADOW] + vm->config.pages[GMM_FIXED];
		if (vm->config.is_bound)
			sum.bound_pages += (vm->config.pages[GMM_BASE] + P - 1) / P * P;
	}
	CHECK(stats.vm_count == sum.vm_count && stats.private_pages == sum.private_pages);
	CHECK(stats.kernel_pages == sum.kernel_pages && stats.bound_pages == sum.bound_pages);
	CHECK(stats.reserved_pages == sum.reserved_pages);
	CHECK(stats.shared_pages == sum.shared_pages && stats.pages_saved == sum.pages_saved);
	CHECK(stats.shared_references == sum.shared_references);
	CHECK(stats.machine_pages == PAGES);
	CHECK(stats.private_pages + stats.shared_pages + stats.kernel_pages + stats.free_pages +
		      stats.chunks_free * P ==
	      PAGES);
}
