/* SPDX-License-Identifier: MIT */
/*
 * Room for shared pages. They live in chunks of their own, and when memory is
 * short no chunk is wholly free: what merging and zeros give back is scattered.
 * So the pages of a VM's emptiest chunk are moved into its other ones.
 *
 * A page that cannot be moved (ROM, the zero page, the stock) would make all that
 * work vain, so a chunk is chosen only if none is in it now. The VM may put one
 * there meanwhile; then the next try finds another chunk.
 */
#include "scan_internal.h"
#include "vm_internal.h"

/* How many chunks of a VM are looked at. */
#define SOURCES_MAX 8u

/* A page of RAM of this VM that has it in its records; `out_page` is for asking. */
static bool page_find(const struct vm *vm, page_id_t id, struct scan_page *out_page)
{
	struct gmm_page_info info;
	struct pgm_page_view view;

	if (gmm_page_info(id, &info) != Q_OK || info.kind != GMM_PAGE_PRIVATE ||
	    info.owner != pgm_vm(vm->pgm) || !pgm_page_look(vm->pgm, info.gfn, &view) ||
	    view.id.raw != id.raw)
		return false;
	*out_page = (struct scan_page){ .vm_number = vm_number(vm), .gfn = info.gfn, .id = id };
	return true;
}

static bool page_is_free(page_id_t id)
{
	struct gmm_page_info info;
	return gmm_page_info(id, &info) == Q_OK && info.kind == GMM_PAGE_FREE;
}

static bool can_be_emptied(const struct vm *vm, page_id_t first)
{
	struct scan_page page;

	for (uint32_t i = 0; i < GMM_PAGES_PER_CHUNK; i++) {
		page_id_t id = { first.raw + i };
		if (!page_is_free(id) && !page_find(vm, id, &page))
			return false;
	}
	return true;
}

static bool source_find(const struct vm *vm, page_id_t *out_first)
{
	for (unsigned rank = 0; rank < SOURCES_MAX; rank++) {
		if (!gmm_move_source(pgm_vm(vm->pgm), rank, out_first))
			return false;
		if (can_be_emptied(vm, *out_first))
			return true;
	}
	return false;
}

/* Pages of the chunk from *index on that can be moved, as many as fit one request. */
static unsigned pages_collect(uint64_t vm_number, page_id_t first, uint32_t *index,
			      struct scan_page *pages)
{
	struct vm *vm = scan_vm_get(vm_number);
	unsigned count = 0;

	if (!vm)
		return 0;
	for (; *index < GMM_PAGES_PER_CHUNK && count < VM_REQUEST_PAGES_MAX; ++*index)
		count += page_find(vm, (page_id_t){ first.raw + *index }, &pages[count]);
	vm_put(vm);
	return count;
}

static void chunk_empty(uint64_t vm_number, page_id_t first)
{
	static struct scan_page pages[VM_REQUEST_PAGES_MAX];
	struct scan_page *list[VM_REQUEST_PAGES_MAX];
	uint32_t index = 0;
	unsigned count;

	while ((count = pages_collect(vm_number, first, &index, pages)) > 0) {
		for (unsigned i = 0; i < count; i++)
			list[i] = &pages[i];
		scan_ask(VM_REQUEST_MOVE, list, NULL, count);
	}
}

void scan_room_make(void)
{
	uint64_t number = 0;
	page_id_t first;

	for (struct vm *vm = vm_get_after(0); vm; vm = vm_get_after(number)) {
		number = vm_number(vm);
		bool is_found = vm_is_alive(vm) && source_find(vm, &first);
		vm_put(vm);
		if (!is_found)
			continue;
		chunk_empty(number, first);
		return;
	}
}
