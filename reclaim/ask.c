/* SPDX-License-Identifier: MIT */
/* How the threads of reclaim/ find VMs and ask them about their pages. Any thread, no lock held. */
#include "reclaim_internal.h"

struct vm *reclaim_vm_get(uint64_t number)
{
	struct vm *vm = vm_get_after(number - 1);

	if (vm && vm_number(vm) == number)
		return vm;
	if (vm)
		vm_put(vm);
	return NULL;
}

struct vm *reclaim_vm_of(gmm_vm_t handle)
{
	uint64_t number = 0;

	for (struct vm *vm = vm_get_after(0); vm; vm = vm_get_after(number)) {
		if (pgm_vm(vm_pgm(vm)) == handle)
			return vm;
		number = vm_number(vm);
		vm_put(vm);
	}
	return NULL;
}

q_status_t reclaim_request(uint64_t vm_number, struct vm_request *request)
{
	struct vm *vm = reclaim_vm_get(vm_number);
	if (!vm)
		return Q_CANCELLED;
	vm_request_post(vm, request);
	vm_put(vm);
	return vm_request_wait(request);
}

/* Asks one VM about up to VM_REQUEST_PAGES_MAX pages. */
static void pages_ask(enum vm_request_kind kind, struct reclaim_page *const *pages,
		      const page_id_t *shared, unsigned count)
{
	struct vm_request_page asked[VM_REQUEST_PAGES_MAX];
	struct vm_request request = { .kind = kind, .pages = asked, .count = count };

	for (unsigned i = 0; i < count; i++)
		asked[i] = (struct vm_request_page){ .gfn = pages[i]->gfn,
						     .expected = pages[i]->id,
						     .shared = shared ? shared[i] : PAGE_ID_NIL };
	q_status_t status = reclaim_request(pages[0]->vm_number, &request);
	for (unsigned i = 0; i < count; i++)
		pages[i]->status = status == Q_OK ? asked[i].status : status;
}

/* Returns how many of the first pages belong to the same VM and fit into one request. */
static unsigned run_length(struct reclaim_page *const *pages, unsigned count)
{
	unsigned length = 1;

	while (length < count && length < VM_REQUEST_PAGES_MAX &&
	       pages[length]->vm_number == pages[0]->vm_number)
		length++;
	return length;
}

void reclaim_ask(enum vm_request_kind kind, struct reclaim_page *const *pages,
		 const page_id_t *shared, unsigned count)
{
	for (unsigned i = 0; i < count;) {
		unsigned length = run_length(&pages[i], count - i);
		pages_ask(kind, &pages[i], shared ? &shared[i] : NULL, length);
		i += length;
	}
}
