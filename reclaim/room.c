/* SPDX-License-Identifier: MIT */
/*
 * Room for shared pages. They live in chunks of their own. When memory is short no chunk is wholly
 * free, because merging and zeros give back single pages of many chunks. So the pages of the
 * emptiest chunk are moved into the others. GMM keeps as many pages as a chunk has for this
 * (gmm_shared_keep()).
 *
 * One page that cannot be moved (ROM, the zero page, the stock) would make all that work useless,
 * so a chunk is chosen only if it has none now. A VM may put one there meanwhile; then the next
 * try finds another chunk.
 */
#include "reclaim_internal.h"

/* How many chunks to look at. */
#define SOURCES_MAX 8u

/*
 * Makes *owner the VM with this handle, with a reference, and drops the reference that *owner had.
 * Most pages of a chunk belong to one VM, so there is seldom something to do.
 */
static struct vm *owner_get(gmm_vm_t handle, struct vm **owner)
{
	if (*owner && pgm_vm(vm_pgm(*owner)) == handle)
		return *owner;
	if (*owner)
		vm_put(*owner);
	return *owner = reclaim_vm_of(handle);
}

/* True if a VM's record says that the page is its RAM. Sets *out_page, to ask the VM about it. */
static bool page_find(page_id_t id, struct vm **owner, struct reclaim_page *out_page)
{
	struct gmm_page_info info;
	struct pgm_page_view view;

	if (gmm_page_info(id, &info) != Q_OK || info.kind != GMM_PAGE_PRIVATE)
		return false;
	const struct vm *vm = owner_get(info.owner, owner);
	if (!vm || !vm_is_alive(vm) || !pgm_page_look(vm_pgm(vm), info.gfn, &view) ||
	    view.id.raw != id.raw)
		return false;
	*out_page = (struct reclaim_page){ .vm_number = vm_number(vm), .gfn = info.gfn, .id = id };
	return true;
}

static bool page_is_free(page_id_t id)
{
	struct gmm_page_info info;
	return gmm_page_info(id, &info) == Q_OK && info.kind == GMM_PAGE_FREE;
}

static bool can_be_emptied(page_id_t first)
{
	struct reclaim_page page;
	struct vm *owner = NULL;
	bool can = true;

	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK && can; i++) {
		page_id_t id = { first.raw + i };
		can = page_is_free(id) || page_find(id, &owner, &page);
	}
	if (owner)
		vm_put(owner);
	return can;
}

static bool source_find(page_id_t *out_first)
{
	for (unsigned rank = 0; rank < SOURCES_MAX; rank++) {
		if (!gmm_move_source(rank, out_first))
			return false;
		if (can_be_emptied(*out_first))
			return true;
	}
	return false;
}

/* Collects pages of the chunk that can be moved, from *index on, as many as fit one request. */
static unsigned pages_collect(page_id_t first, uint32_t *index, struct reclaim_page *pages)
{
	struct vm *owner = NULL;
	unsigned count = 0;

	for (; *index < GMM_PAGES_PER_CHUNK && count < VM_REQUEST_PAGES_MAX; ++*index)
		count += page_find((page_id_t){ first.raw + *index }, &owner, &pages[count]);
	if (owner)
		vm_put(owner);
	return count;
}

void room_make(void)
{
	static struct reclaim_page pages[VM_REQUEST_PAGES_MAX];
	struct reclaim_page *list[VM_REQUEST_PAGES_MAX];
	uint32_t index = 0;
	page_id_t first;
	unsigned count;

	if (!source_find(&first))
		return;
	while ((count = pages_collect(first, &index, pages)) > 0) {
		for (unsigned i = 0; i < count; i++)
			list[i] = &pages[i];
		reclaim_ask(VM_REQUEST_MOVE, list, NULL, count);
	}
}
