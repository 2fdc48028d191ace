/* SPDX-License-Identifier: MIT */
/*
 * Walks all of GMM's state and asserts the invariants G1 to G17 of gmm.c and W1
 * and W2 of gmm_wait.c. Changes nothing. It recounts everything from the words,
 * so that no stored figure is compared with itself. The time grows with the
 * machine, and both locks are held throughout: this is for tests, debug builds
 * and the operator's `check`.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* What the walk over the chunks finds; too large for a stack. Guarded by gmm.set_lock. */
static struct recount {
	uint64_t allocated[GMM_VM_COUNT][GMM_ACCOUNT_COUNT];
	uint64_t free_pages[GMM_CHUNK_KIND_COUNT];
	uint64_t used_pages[GMM_CHUNK_KIND_COUNT];
	uint64_t chunks[GMM_CHUNK_KIND_COUNT];
	uint64_t chunks_with_free;  /* in some set's list */
	uint64_t chunks_with_stale; /* in gmm.stale */
	uint64_t mixed;
	uint64_t references, holds, saved; /* of SHARED pages */
	uint64_t bound_chunks[GMM_VM_COUNT];
} recount;

/* --- chunks -------------------------------------------------------------------------------- */

/* Returns the length of a free chain. */
static uint32_t chain_check(const struct gmm_chunk *chunk, uint32_t head, bool is_zeroed)
{
	uint32_t length = 0;

	for (uint32_t i = head; i != GMM_INDEX_NIL; i = gmm_word_next(chunk->words[i])) {
		/* G1: longer than the chunk means a loop. */
		Q_ASSERT(i < GMM_PAGES_PER_CHUNK && length < GMM_PAGES_PER_CHUNK);
		Q_ASSERT(gmm_word_is_free(chunk->words[i]));
		Q_ASSERT(gmm_word_is_zeroed(chunk->words[i]) == is_zeroed);
		length++;
	}
	return length;
}

/* G15: a used page has a reference or a hold. */
static void references_count(gmm_word_t word)
{
	uint32_t references = gmm_word_references(word);
	uint32_t holds = gmm_word_holds(word);

	Q_ASSERT((references > 0 || holds > 0) && word == gmm_word_shared(references, holds));
	recount.references += references;
	recount.holds += holds;
	recount.saved += references > 0 ? references - 1 : 0;
}

static void owner_count(const struct gmm_chunk *chunk, gmm_word_t word)
{
	gmm_vm_t owner = gmm_word_owner(word);
	enum gmm_account account = GMM_BASE;

	if (chunk->kind == GMM_CHUNK_KERNEL) {
		account = gmm_word_account(word);
		/* G13 */
		Q_ASSERT(word == gmm_word_kernel(owner, account));
		Q_ASSERT(account == GMM_SHADOW || account == GMM_FIXED);
		Q_ASSERT(owner == GMM_VM_QUIRE || gmm.vms[owner].is_live);
	}
	recount.allocated[owner][account]++;
	/* G17: a bound VM's pages are in BOUND chunks, and other VMs' pages are not. */
	Q_ASSERT(!gmm_chunk_is_guest(chunk) ||
		 gmm.vms[owner].is_bound == (chunk->kind == GMM_CHUNK_BOUND));
}

/* G17 */
static void bound_check(const struct gmm_chunk *chunk, uint32_t own, uint32_t used)
{
	Q_ASSERT(own == used && chunk->own_count == own);
	recount.bound_chunks[chunk->tag]++;
}

/* G4, G5 */
static void private_check(const struct gmm_chunk *chunk, uint32_t own, uint32_t used)
{
	if (chunk->tag == GMM_VM_QUIRE) {
		Q_ASSERT(used == 0 && chunk->own_count == 0);
	} else {
		Q_ASSERT(own > 0 && chunk->own_count == own && gmm.vms[chunk->tag].is_live);
	}
	recount.mixed += used > own;
}

static void words_check(const struct gmm_chunk *chunk)
{
	uint32_t used = 0, own = 0;

	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++) {
		gmm_word_t word = chunk->words[i];
		if (gmm_word_is_free(word))
			continue;
		used++;
		if (chunk->kind == GMM_CHUNK_SHARED) {
			references_count(word);
			continue;
		}
		own += gmm_word_owner(word) == chunk->tag;
		owner_count(chunk, word);
	}
	/* G15 */
	Q_ASSERT(used > 0 || chunk->kind != GMM_CHUNK_SHARED);
	/* G1 */
	Q_ASSERT(used + chunk->free_count == GMM_PAGES_PER_CHUNK);
	uint32_t zeroed = chain_check(chunk, chunk->zeroed_head, true);
	uint32_t stale = chain_check(chunk, chunk->stale_head, false);
	Q_ASSERT(zeroed == chunk->zeroed_count && zeroed + stale == chunk->free_count);

	recount.used_pages[chunk->kind] += used;
	recount.free_pages[chunk->kind] += chunk->free_count;
	recount.chunks_with_free += chunk->free_count > 0;
	if (chunk->kind == GMM_CHUNK_PRIVATE)
		private_check(chunk, own, used);
	if (chunk->kind == GMM_CHUNK_BOUND)
		bound_check(chunk, own, used);
	if (gmm_chunk_is_guest(chunk))
		recount.chunks_with_stale += chunk->free_count > chunk->zeroed_count;
}

static void chunk_check(const struct gmm_chunk *chunk)
{
	recount.chunks[chunk->kind]++;
	/* G10 */
	Q_ASSERT((chunk->id == 0) == (chunk->kind == GMM_CHUNK_FREE));
	if (chunk->kind == GMM_CHUNK_FREE)
		return;
	Q_ASSERT(chunk->id <= gmm.id_last);
	Q_ASSERT(gmm.id_map[chunk->id / 64] & BIT64(chunk->id % 64));
	Q_ASSERT(avl_find(&gmm.tree, chunk->id) == &chunk->node);
	words_check(chunk);
}

/* --- lists ----------------------------------------------------------------------------------- */

/* Checks one list of a set, and adds it to `sum`. */
static void list_check(const struct gmm_set *set, unsigned class, struct gmm_set *sum,
		       uint64_t *linked) Q_REQUIRES(gmm.set_lock)
{
	list_for_each(node, &set->lists[class])
	{
		const struct gmm_chunk *chunk = list_entry(node, struct gmm_chunk, link);
		/* G2 */
		Q_ASSERT(node->next->prev == node && ++*linked <= gmm.chunk_count);
		Q_ASSERT(chunk->kind != GMM_CHUNK_FREE && chunk->free_count > 0);
		Q_ASSERT(gmm_set_of(chunk) == set && gmm_class_of(chunk) == class);
		sum->free_pages += chunk->free_count;
		sum->whole_count += chunk->free_count == GMM_PAGES_PER_CHUNK;
	}
}

static void set_check(const struct gmm_set *set, uint64_t *linked) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_set sum = { .free_pages = 0 };

	for (unsigned class = 0; class < GMM_CLASS_COUNT; class ++)
		list_check(set, class, &sum, linked);
	/* G3 */
	Q_ASSERT(sum.free_pages == set->free_pages && sum.whole_count == set->whole_count);
}

static void sets_check(void) Q_REQUIRES(gmm.set_lock)
{
	uint64_t linked = 0;

	set_check(&gmm.kernel_set, &linked);
	set_check(&gmm.shared_set, &linked);
	for (unsigned i = 0; i < GMM_VM_COUNT; i++)
		set_check(&gmm.private_sets[i], &linked);
	/* G2: each chunk that should be in a list is, and lists share no chunk. */
	Q_ASSERT(linked == recount.chunks_with_free);
}

static void stale_check(void)
{
	uint64_t linked = 0;

	list_for_each(node, &gmm.stale)
	{
		const struct gmm_chunk *chunk = list_entry(node, struct gmm_chunk, stale_link);
		/* G6 */
		Q_ASSERT(node->next->prev == node && ++linked <= gmm.chunk_count);
		Q_ASSERT(gmm_chunk_is_guest(chunk) && chunk->free_count > chunk->zeroed_count);
	}
	Q_ASSERT(linked == recount.chunks_with_stale);
}

static void supply_check(void)
{
	uint64_t linked = 0;

	list_for_each(node, &gmm.supply)
	{
		/* G11 */
		Q_ASSERT(node->next->prev == node && ++linked <= gmm.chunk_count);
		Q_ASSERT(list_entry(node, struct gmm_chunk, link)->kind == GMM_CHUNK_FREE);
	}
	Q_ASSERT(linked == recount.chunks[GMM_CHUNK_FREE] && linked == gmm.supply_count);
}

/* --- totals ------------------------------------------------------------------------------------ */

static void vm_check(gmm_vm_t handle, struct gmm_claims *claims)
{
	const struct gmm_vm *vm = &gmm.vms[handle];

	/* G7. References have no owner, so accounts_check() compares their sum. */
	for (unsigned i = 0; i < GMM_ACCOUNT_COUNT; i++) {
		uint64_t references = i == GMM_BASE ? vm->shared_references : 0;
		Q_ASSERT(vm->allocated[i] == recount.allocated[handle][i] + references);
		Q_ASSERT(vm->allocated[i] <= vm->promised[i]);
	}
	uint64_t base = vm->promised[GMM_BASE] - vm->allocated[GMM_BASE];
	Q_ASSERT(vm->ballooned <= base && vm->set_aside <= base - vm->ballooned);
	Q_ASSERT(vm->guaranteed_base <= vm->promised[GMM_BASE]);
	/* G17 */
	uint64_t bound_chunks = vm->is_bound ? gmm_bound_chunks(vm->promised[GMM_BASE]) : 0;
	Q_ASSERT(vm->bound_chunks == bound_chunks && recount.bound_chunks[handle] == bound_chunks);
	Q_ASSERT(!vm->is_bound || vm->shared_references == 0);
	Q_ASSERT(vm->is_live || vm->promised[GMM_SHADOW] + vm->promised[GMM_FIXED] == 0);
	struct gmm_claims own = gmm_vm_claims(vm);
	claims->base += own.base;
	claims->kernel += own.kernel;
}

static void accounts_check(void) Q_REQUIRES(gmm.set_lock)
{
	struct gmm_claims claims = { .base = 0 };
	uint64_t references = 0;

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		vm_check(vm, &claims);
		references += gmm.vms[vm].shared_references;
	}
	/* G16 */
	Q_ASSERT(references == recount.references && references == gmm.shared_references);
	Q_ASSERT(recount.holds == gmm.shared_holds && recount.saved == gmm.pages_saved);
	Q_ASSERT(claims.base == gmm.claims.base && claims.kernel == gmm.claims.kernel);
	/* G8, G9 */
	Q_ASSERT(claims.kernel <= recount.free_pages[GMM_CHUNK_KERNEL]);
	Q_ASSERT(claims.base <= gmm_available_pages());
}

static void ids_check(void)
{
	uint64_t marked = 0;

	avl_check(&gmm.tree);
	for (uint32_t i = 0; i <= gmm.id_last / 64; i++)
		for (uint64_t bits = gmm.id_map[i]; bits; bits &= bits - 1)
			marked++;
	/* G10; + 1 for id 0 */
	Q_ASSERT(marked == gmm.tree.count + 1);
	Q_ASSERT(gmm.tree.count == gmm.chunk_count - recount.chunks[GMM_CHUNK_FREE]);
}

static void totals_check(void)
{
	uint64_t pages = recount.chunks[GMM_CHUNK_FREE] << GMM_CHUNK_ID_SHIFT;

	for (unsigned i = 0; i < GMM_CHUNK_KIND_COUNT; i++) {
		Q_ASSERT(recount.chunks[i] == gmm.chunks_by_kind[i]);
		pages += recount.free_pages[i] + recount.used_pages[i];
	}
	/* G12 */
	Q_ASSERT(pages == (uint64_t)gmm.chunk_count << GMM_CHUNK_ID_SHIFT);
	/* G5 */
	Q_ASSERT(recount.free_pages[GMM_CHUNK_PRIVATE] == gmm.private_free_pages);
	Q_ASSERT(recount.free_pages[GMM_CHUNK_BOUND] == gmm.bound_free_pages);
	Q_ASSERT(recount.free_pages[GMM_CHUNK_KERNEL] == gmm.kernel_set.free_pages);
	Q_ASSERT(recount.mixed == gmm.mixed_chunks);
}

void gmm_check(void)
{
	/* Both locks, so that no chunk is on its way. */
	spin_lock(&gmm.lock);
	spin_lock(&gmm.set_lock);
	recount = (struct recount){ .mixed = 0 };
	for (uint32_t i = 0; i < gmm.chunk_count; i++)
		chunk_check(&gmm.chunks[i]);
	sets_check();
	stale_check();
	supply_check();
	accounts_check();
	ids_check();
	totals_check();
	gmm_wait_check();
	spin_unlock(&gmm.set_lock);
	spin_unlock(&gmm.lock);
	gmm_map_check();
}
