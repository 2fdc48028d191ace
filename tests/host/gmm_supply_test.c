/* SPDX-License-Identifier: MIT */
/* Which chunks pages come from, when chunks go back to the machine, and what they keep. */
#include <quire/physmem.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

/* A VM that frees and allocates a chunk's worth in turn makes no work: the ids stay. */
TEST(gmm_supply, chunks_do_not_come_and_go_in_turn)
{
	set_up(6);
	gmm_vm_t vm = create(6 * P, 0, 0);
	EXPECT(alloc(vm, 3 * P) == Q_OK);
	uint32_t last_id = chunk_id(ids[3 * P - 1]);
	for (unsigned round = 0; round < 10; round++) {
		EXPECT(free_some(vm, ids, 2 * P) == Q_OK);
		EXPECT(stats_now().chunks_free == 3);
		EXPECT(gmm_pages_alloc(vm, pages, 2 * P) == Q_OK);
		for (unsigned i = 0; i < 2 * P; i++) {
			ids[i] = pages[i].id;
			EXPECT(chunk_id(ids[i]) <= last_id);
		}
	}
}

/* Two VMs that allocate and free at random, with memory to spare: every chunk has one owner. */
TEST(gmm_supply, vms_side_by_side_do_not_mix)
{
	static page_id_t own[2][2 * P];
	unsigned count[2] = { 0, 0 };
	uint32_t random = 1;

	set_up(8);
	gmm_vm_t vms[2] = { create(2 * P, 0, 0), create(2 * P, 0, 0) };
	for (unsigned step = 0; step < 20000; step++) {
		random = random * 1664525u + 1013904223u;
		unsigned who = random >> 31, pick = (random >> 8) & 0xffff;
		unsigned done;
		struct gmm_page page;
		if ((random >> 29 & 3) < 2 && count[who] < 2 * P) {
			EXPECT(gmm_pages_alloc(vms[who], &page, 1) == Q_OK);
			own[who][count[who]++] = page.id;
		} else if (count[who] > 0) {
			page_id_t *victim = &own[who][pick % count[who]];
			EXPECT(gmm_pages_free(vms[who], victim, 1, &done) == Q_OK);
			*victim = own[who][--count[who]];
		}
		EXPECT(stats_now().mixed_chunks == 0);
	}
	gmm_check();
}

/* The four steps of an allocation in their order, as the places of the pages show. */
TEST(gmm_supply, own_then_kept_then_machine_then_foreign)
{
	hpa_t kernel;

	set_up(5);
	gmm_vm_t vm = create(9 * P, 0, 0), other = create(9 * P, 0, 0);
	EXPECT(alloc(other, 2 * P) == Q_OK);
	page_id_t others = ids[P];
	EXPECT(free_some(other, ids, P) == Q_OK); /* GMM keeps that one */
	EXPECT(free_some(other, &ids[P], P / 2) == Q_OK);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	EXPECT(alloc(vm, 1) == Q_OK);
	uint32_t kept = chunk_id(ids[0]);
	EXPECT(kept == 1);
	/* Its own chunk until that is full; then the two that the machine has. */
	EXPECT(alloc(vm, P - 1) == Q_OK);
	EXPECT(chunk_id(ids[0]) == kept && chunk_id(ids[P - 2]) == kept);
	EXPECT(stats_now().chunks_free == 2);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
	EXPECT(stats_now().chunks_free == 0 && stats_now().mixed_chunks == 0);
	/* The KERNEL chunk is in use, so the other VM's is all that is left. */
	EXPECT(alloc(vm, P / 2) == Q_OK);
	EXPECT(chunk_id(ids[0]) == chunk_id(others) && stats_now().mixed_chunks == 1);
	EXPECT(alloc(vm, 1) == Q_NO_MEMORY);
}

/* Foreign pages: the emptiest chunk of the VM with most free pages, so that few get mixed. */
TEST(gmm_supply, foreign_pages_come_from_who_has_most)
{
	set_up(4);
	gmm_vm_t poor = create(9 * P, 0, 0), rich = create(9 * P, 0, 0), vm = create(9 * P, 0, 0);
	EXPECT(alloc(poor, P) == Q_OK);
	EXPECT(free_some(poor, ids, P / 2) == Q_OK);
	EXPECT(alloc(rich, 3 * P) == Q_OK);
	uint32_t emptiest = chunk_id(ids[2 * P]);
	EXPECT(free_some(rich, &ids[0], P / 4) == Q_OK);
	EXPECT(free_some(rich, &ids[2 * P], P - 1) == Q_OK);
	EXPECT(alloc(vm, P - 1) == Q_OK);
	for (unsigned i = 0; i < P - 1; i++)
		EXPECT(chunk_id(ids[i]) == emptiest);
	EXPECT(stats_now().mixed_chunks == 1);
}

/* When its VM ends, a mixed chunk goes to the VM that has most pages in it. */
TEST(gmm_supply, chunk_goes_to_its_main_owner)
{
	set_up(1);
	gmm_vm_t first = create(P, 0, 0), few = create(P, 0, 0), many = create(P, 0, 0);
	EXPECT(alloc(first, 9) == Q_OK);
	for (unsigned i = 0; i < 60; i++)
		alloc_one(i % 3 == 0 ? few : many);
	struct gmm_chunk *chunk = gmm_chunk_at(hpa(FAKE_RAM_BASE));
	EXPECT(chunk->tag == first && chunk->own_count == 9);
	gmm_vm_destroy(first);
	gmm_check();
	EXPECT(chunk->tag == many && chunk->own_count == 40);
	gmm_vm_destroy(many);
	gmm_check();
	EXPECT(chunk->tag == few && chunk->own_count == 20);
}

/* A wholly free KERNEL chunk stays as long as a VM claims one page of it. */
TEST(gmm_supply, chunk_of_the_last_page_set_aside_stays)
{
	hpa_t kernel;

	set_up(2);
	gmm_vm_t vm = create(P, 0, 1);
	gmm_vm_destroy(create(P, 0, 0));
	gmm_check();
	EXPECT(stats_now().chunk_count == 1);
	EXPECT(gmm_kernel_page_alloc(vm, GMM_FIXED, &kernel) == Q_OK);
}

/* Pages that were zeroed ahead are still zeroed when their chunk comes back from the machine. */
TEST(gmm_supply, zeroed_pages_survive_the_way_to_the_machine)
{
	hpa_t kernel;
	struct gmm_page shared;

	set_up(1);
	gmm_vm_t vm = create(P, 0, 0);
	EXPECT(alloc(vm, P) == Q_OK);
	EXPECT(free_some(vm, ids, P) == Q_OK);
	EXPECT(gmm_zero_ahead(10) == 10);
	gmm_vm_destroy(vm);
	EXPECT(stats_now().chunks_free == 1);
	vm = create(P, 0, 0);
	EXPECT(alloc(vm, 11) == Q_OK);
	for (unsigned i = 0; i < 11; i++)
		EXPECT(pages[i].is_zeroed == (i < 10));
	for (unsigned i = 0; i < 10; i++)
		EXPECT(gmm_page_is_zero(ids[i]));
	gmm_vm_destroy(vm);
	/* A page that was used is not known to be zero, whatever it was used for. */
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel) == Q_OK);
	memset(physmem_kernel_ptr(kernel), 0xff, PAGE_SIZE);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel);
	EXPECT(gmm_shared_alloc(&shared) == Q_OK && !shared.is_zeroed);
	gmm_check();
}
