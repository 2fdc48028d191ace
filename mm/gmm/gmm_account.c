/* SPDX-License-Identifier: MIT */
/*
 * Accounts and admission: what each VM was promised, what it has, and whether
 * the machine can still keep every promise.
 *
 * Two kinds of promise are unconditional: the guaranteed part of BASE, and all
 * of SHADOW and FIXED. What is not allocated of these is claimed (gmm.claims),
 * and no other allocation may take claimed pages:
 *
 *   kernel claims <= free KERNEL pages                    (G8)
 *   base claims   <= free PRIVATE pages
 *                    + pages of chunks with the machine
 *                    + pages of KERNEL chunks that could go back there    (G9)
 *
 * Base claims count private pages only. A VM that shares its pages still claims
 * a private page for each of them, so inside its guarantee it can always break
 * the sharing. A balloon lowers no claim: what lies within the guarantee stays
 * the VM's, so deflating cannot fail. Pages set aside are claimed like a
 * guarantee, and the larger of the two counts. Free pages of SHARED chunks meet
 * no claim, so a chunk becomes SHARED only if the claims fit without it.
 *
 * A VM that is not bound can get any free PRIVATE page, so sums suffice: each
 * question is answered in constant time, and an allocation that the sums allow
 * cannot fail half way. How far a VM may go beyond its guarantee is PGM's policy
 * (enum gmm_overcommit); here, NONE means that all of BASE is guaranteed, until
 * gmm_vm_reserve() says otherwise.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* --- claims --------------------------------------------------------------------------- */

static uint64_t base_claim(const struct gmm_vm *vm)
{
	/* G17: its own chunks hold its whole promise. */
	if (vm->is_bound)
		return 0;
	uint64_t private_pages = vm->allocated[GMM_BASE] - vm->shared_references;
	uint64_t claim =
		vm->guaranteed_base > private_pages ? vm->guaranteed_base - private_pages : 0;

	return claim > vm->set_aside ? claim : vm->set_aside;
}

struct gmm_claims gmm_vm_claims(const struct gmm_vm *vm)
{
	struct gmm_claims claims = {
		.base = base_claim(vm),
		.kernel = vm->promised[GMM_SHADOW] - vm->allocated[GMM_SHADOW] +
			  vm->promised[GMM_FIXED] - vm->allocated[GMM_FIXED],
	};
	return claims;
}

struct gmm_claims gmm_claims_with(const struct gmm_vm *vm, const struct gmm_vm *wanted)
{
	struct gmm_claims old = gmm_vm_claims(vm);
	struct gmm_claims new = gmm_vm_claims(wanted);
	struct gmm_claims sum = {
		.base = gmm.claims.base - old.base + new.base,
		.kernel = gmm.claims.kernel - old.kernel + new.kernel,
	};
	return sum;
}

/* Returns how many pages could leave KERNEL memory if `surplus` free ones were unclaimed. */
static uint64_t reclaimable_pages(uint64_t surplus)
{
	return uint64_min(gmm.kernel_set.whole_count, surplus >> GMM_CHUNK_ID_SHIFT)
	       << GMM_CHUNK_ID_SHIFT;
}

/* Includes a chunk that is just leaving KERNEL memory. */
static uint64_t machine_free_pages(void)
{
	return gmm.chunks_by_kind[GMM_CHUNK_FREE] << GMM_CHUNK_ID_SHIFT;
}

uint64_t gmm_available_pages(void)
{
	uint64_t surplus = gmm.kernel_set.free_pages - gmm.claims.kernel;
	return gmm.private_free_pages + machine_free_pages() + reclaimable_pages(surplus);
}

uint64_t gmm_pages_at_hand(gmm_vm_t vm)
{
	if (gmm.vms[vm].is_bound)
		return gmm.private_sets[vm].free_pages;
	return gmm.private_free_pages + (gmm.supply_count << GMM_CHUNK_ID_SHIFT);
}

bool gmm_claims_fit(struct gmm_claims claims, uint64_t *out_chunks)
{
	uint64_t kernel_free = gmm.kernel_set.free_pages;
	uint64_t missing = claims.kernel > kernel_free ? claims.kernel - kernel_free : 0;
	uint64_t chunks = (missing + GMM_PAGES_PER_CHUNK - 1) >> GMM_CHUNK_ID_SHIFT;
	uint64_t chunks_whole =
		gmm.chunks_by_kind[GMM_CHUNK_FREE] + gmm.private_sets[GMM_VM_QUIRE].whole_count;

	/* Only whole chunks can become KERNEL ones, however many single pages are free. */
	if (chunks > chunks_whole)
		return false;
	uint64_t taken = chunks << GMM_CHUNK_ID_SHIFT;
	uint64_t surplus = kernel_free + taken - claims.kernel;
	uint64_t available =
		gmm.private_free_pages + machine_free_pages() - taken + reclaimable_pages(surplus);
	if (available < claims.base)
		return false;
	*out_chunks = chunks;
	return true;
}

/* Returns by how much `claim`, a field of `claims`, can grow so that they still fit. */
static uint64_t growth_max(const struct gmm_claims *claims, uint64_t *claim)
	Q_REQUIRES(gmm.set_lock)
{
	uint64_t now = *claim, chunks, fits = 0;
	uint64_t too_much = ((uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT) + 1;
	while (too_much - fits > 1) {
		uint64_t growth = fits + (too_much - fits) / 2;
		*claim = now + growth;
		if (gmm_claims_fit(*claims, &chunks))
			fits = growth;
		else
			too_much = growth;
	}
	return fits;
}

struct gmm_claims gmm_claims_left(uint64_t kernel_pages)
{
	struct gmm_claims left;
	spin_lock(&gmm.set_lock);
	struct gmm_claims claims = gmm.claims;
	left.kernel = growth_max(&claims, &claims.kernel);
	claims.kernel = gmm.claims.kernel + uint64_min(kernel_pages, left.kernel);
	left.base = growth_max(&claims, &claims.base);
	spin_unlock(&gmm.set_lock);
	return left;
}

/* --- one VM's books -------------------------------------------------------------------------- */

struct gmm_vm *gmm_vm_find(gmm_vm_t vm)
{
	Q_ASSERT(vm != GMM_VM_QUIRE && vm <= GMM_VM_LAST && gmm.vms[vm].is_live);
	return &gmm.vms[vm];
}

void gmm_vm_replace(struct gmm_vm *vm, const struct gmm_vm *wanted)
{
	gmm.claims = gmm_claims_with(vm, wanted);
	*vm = *wanted;
}

uint64_t gmm_vm_room(const struct gmm_vm *vm)
{
	return vm->promised[GMM_BASE] - vm->allocated[GMM_BASE] - vm->ballooned - vm->set_aside;
}

void gmm_vm_charge(gmm_vm_t handle, enum gmm_account account, uint64_t pages)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;

	Q_ASSERT(pages <= vm->promised[account] - vm->allocated[account]);
	wanted.allocated[account] += pages;
	if (account == GMM_BASE)
		wanted.set_aside -= uint64_min(wanted.set_aside, pages);
	gmm_vm_replace(vm, &wanted);
}

void gmm_vm_discharge(gmm_vm_t handle, enum gmm_account account, uint64_t pages)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;

	Q_ASSERT(pages <= vm->allocated[account]);
	wanted.allocated[account] -= pages;
	if (account == GMM_BASE && vm->keeps_freed)
		wanted.set_aside += pages;
	gmm_vm_replace(vm, &wanted);
}

uint64_t gmm_pages_available(gmm_vm_t handle, uint64_t want)
{
	spin_lock(&gmm.set_lock);
	const struct gmm_vm *vm = gmm_vm_find(handle);
	uint64_t promised = gmm_vm_room(vm) + vm->set_aside;
	uint64_t for_vm = gmm_pages_for(handle);
	spin_unlock(&gmm.set_lock);
	return uint64_min(want, uint64_min(promised, for_vm));
}

/* --- admission --------------------------------------------------------------------------------- */

static bool config_is_valid(const struct gmm_vm_config *config)
{
	if (config->priority > GMM_PRIORITY_HIGH)
		return false;
	if (config->is_bound && (config->overcommit != GMM_OVERCOMMIT_NONE ||
				 config->bound_range.start.raw > config->bound_range.end.raw))
		return false;
	switch (config->overcommit) {
	case GMM_OVERCOMMIT_NONE:
	case GMM_OVERCOMMIT_ZERO_AND_SHARED:
	case GMM_OVERCOMMIT_FULL: return config->guaranteed_base_pages <= config->pages[GMM_BASE];
	}
	return false;
}

static void config_apply(struct gmm_vm *vm, const struct gmm_vm_config *config)
{
	vm->is_live = true;
	vm->is_bound = config->is_bound;
	vm->priority = config->priority;
	for (unsigned i = 0; i < GMM_ACCOUNT_COUNT; i++)
		vm->promised[i] = config->pages[i];
	vm->guaranteed_base = config->overcommit == GMM_OVERCOMMIT_NONE
				      ? config->pages[GMM_BASE]
				      : config->guaranteed_base_pages;
}

/* *out_wanted is the VM with this configuration. Q_STATE as in gmm_vm_resize(). */
static q_status_t vm_wanted(const struct gmm_vm *vm, const struct gmm_vm_config *config,
			    struct gmm_vm *out_wanted) Q_REQUIRES(gmm.set_lock)
{
	for (unsigned i = 0; i < GMM_ACCOUNT_COUNT; i++)
		if (config->pages[i] < vm->allocated[i])
			return Q_STATE;
	if (config->pages[GMM_BASE] - vm->allocated[GMM_BASE] < vm->ballooned + vm->set_aside)
		return Q_STATE;
	if (vm->is_live && (vm->is_bound != config->is_bound ||
			    (vm->is_bound && vm->promised[GMM_BASE] != config->pages[GMM_BASE])))
		return Q_STATE;
	*out_wanted = *vm;
	config_apply(out_wanted, config);
	return Q_OK;
}

/* Tries once. If *out_chunks is not 0, that many chunks must become KERNEL before the next try. */
static q_status_t vm_admit_now(struct gmm_vm *vm, const struct gmm_vm_config *config,
			       uint64_t *out_chunks) Q_REQUIRES(gmm.lock, gmm.set_lock)
{
	uint64_t machine_pages = (uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT;
	struct gmm_vm wanted;

	q_status_t status = vm_wanted(vm, config, &wanted);
	if (status != Q_OK)
		return status;
	/* Each one separately, so that sums cannot overflow. BASE itself may exceed the machine. */
	if (wanted.promised[GMM_SHADOW] > machine_pages ||
	    wanted.promised[GMM_FIXED] > machine_pages || wanted.guaranteed_base > machine_pages)
		return Q_DECLINED;
	struct gmm_claims claims = gmm_claims_with(vm, &wanted);
	if (!gmm_claims_fit(claims, out_chunks))
		return Q_DECLINED;
	if (*out_chunks == 0) {
		gmm_vm_replace(vm, &wanted);
		return Q_OK;
	}
	/* The old claims stay until the chunks have arrived, and G9 must hold until then. */
	if (claims.base < gmm.claims.base)
		claims.base = gmm.claims.base;
	return gmm_claims_fit(claims, out_chunks) ? Q_OK : Q_DECLINED;
}

/* Applies `config` to the VM if the machine can keep the promises: all or nothing. */
static q_status_t vm_admit(struct gmm_vm *vm, const struct gmm_vm_config *config)
	Q_REQUIRES(gmm.lock, gmm.set_lock)
{
	uint64_t chunks;

	q_status_t status = vm_admit_now(vm, config, &chunks);
	while (status == Q_OK && chunks > 0) {
		status = gmm_kernel_grow(chunks);
		/* Other threads may have taken and freed pages meanwhile. */
		if (status == Q_OK)
			status = vm_admit_now(vm, config, &chunks);
	}
	gmm_kernel_trim(GMM_KERNEL_PAGES_KEPT);
	return status;
}

static q_status_t vm_create_locked(const struct gmm_vm_config *config, gmm_vm_t *out_vm)
	Q_REQUIRES(gmm.lock, gmm.set_lock)
{
	gmm_vm_t handle = 1;

	while (handle <= GMM_VM_LAST && gmm.vms[handle].is_live)
		handle++;
	if (handle > GMM_VM_LAST)
		return Q_LIMIT;
	uint64_t bound_chunks = config->is_bound ? gmm_bound_chunks(config->pages[GMM_BASE]) : 0;
	q_status_t status = gmm_bound_take(handle, config->bound_range, bound_chunks);
	if (status != Q_OK)
		return status;
	status = vm_admit(&gmm.vms[handle], config);
	if (status == Q_OK)
		*out_vm = handle;
	else
		gmm_bound_return(handle);
	return status;
}

q_status_t gmm_vm_create(const struct gmm_vm_config *config, gmm_vm_t *out_vm)
{
	if (!config_is_valid(config))
		return Q_INVALID;
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	q_status_t status = vm_create_locked(config, out_vm);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
	return status;
}

q_status_t gmm_vm_resize(gmm_vm_t vm, const struct gmm_vm_config *config)
{
	if (!config_is_valid(config))
		return Q_INVALID;
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	q_status_t status = vm_admit(gmm_vm_find(vm), config);
	/* The VM's priority may have changed. */
	gmm_wait_update();
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
	return status;
}

static q_status_t vm_reserve_locked(gmm_vm_t handle, uint64_t pages) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_vm *vm = gmm_vm_find(handle);
	struct gmm_vm wanted = *vm;
	uint64_t kernel_chunks;

	if (pages > vm->promised[GMM_BASE])
		return Q_INVALID;
	/* Separately, so that the sum cannot overflow. */
	if (pages > (uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT)
		return Q_DECLINED;
	wanted.guaranteed_base = pages;
	if (!gmm_claims_fit(gmm_claims_with(vm, &wanted), &kernel_chunks))
		return Q_DECLINED;
	/* G8: the kernel claims have not changed, so they are covered. */
	Q_ASSERT(kernel_chunks == 0);
	gmm_vm_replace(vm, &wanted);
	return Q_OK;
}

q_status_t gmm_vm_reserve(gmm_vm_t vm, uint64_t guaranteed_base_pages)
{
	spin_lock(&gmm.set_lock);
	q_status_t status = vm_reserve_locked(vm, guaranteed_base_pages);
	spin_unlock(&gmm.set_lock);
	return status;
}

/* --- the end of a VM --------------------------------------------------------------------------- */

static bool vm_has_pages(const struct gmm_vm *vm)
{
	return vm->allocated[GMM_BASE] || vm->allocated[GMM_SHADOW] || vm->allocated[GMM_FIXED];
}

static void chunk_release(struct gmm_chunk *chunk, gmm_vm_t vm) Q_REQUIRES(gmm.set_lock)
{
	/* With the machine, or on its way. */
	if (chunk->id == 0)
		return;
	switch (chunk->kind) {
	case GMM_CHUNK_PRIVATE:
	case GMM_CHUNK_BOUND: gmm_private_release(chunk, vm); return;
	case GMM_CHUNK_KERNEL: gmm_kernel_release(chunk, vm); return;
	case GMM_CHUNK_FREE:
	case GMM_CHUNK_SHARED: /* has references, not owners */
	case GMM_CHUNK_KIND_COUNT: return;
	}
}

void gmm_vm_destroy(gmm_vm_t handle)
{
	bool has_pages = true;

	spin_lock(&gmm.set_lock);
	/* GMM does not record which VMs use a shared page, so it cannot drop the references. */
	Q_ASSERT(gmm_vm_find(handle)->shared_references == 0);
	spin_unlock(&gmm.set_lock);
	/* One chunk at a time: on a large machine the walk is long, and others need the lock. */
	for (uint32_t i = 0; i < gmm.chunk_count && has_pages; i++) {
		spin_lock(&gmm.set_lock);
		chunk_release(&gmm.chunks[i], handle);
		has_pages = vm_has_pages(gmm_vm_find(handle));
		spin_unlock(&gmm.set_lock);
	}
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	struct gmm_vm nobody = { .is_live = false };
	gmm_bound_return(handle);
	Q_ASSERT(!vm_has_pages(gmm_vm_find(handle)));
	gmm_wait_end_locked(handle);
	gmm_vm_replace(&gmm.vms[handle], &nobody);
	/* Memory of a VM that ends is seldom needed again at once, so nothing is kept. */
	gmm_private_trim(0);
	gmm_kernel_trim(0);
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
}

void gmm_vm_stats(gmm_vm_t handle, struct gmm_vm_stats *out_stats)
{
	struct gmm_vm_stats stats = { .private_pages = 0 };

	spin_lock(&gmm.set_lock);
	const struct gmm_vm *vm = gmm_vm_find(handle);
	for (unsigned i = 0; i < GMM_ACCOUNT_COUNT; i++) {
		stats.promised[i] = vm->promised[i];
		stats.allocated[i] = vm->allocated[i];
	}
	stats.guaranteed_base = vm->guaranteed_base;
	stats.private_pages = vm->allocated[GMM_BASE] - vm->shared_references;
	stats.shared_pages = vm->shared_references;
	stats.ballooned_pages = vm->ballooned;
	stats.set_aside_pages = vm->set_aside;
	stats.bound_pages = vm->bound_chunks << GMM_CHUNK_ID_SHIFT;
	spin_unlock(&gmm.set_lock);
	*out_stats = stats;
}
