/* SPDX-License-Identifier: MIT */
/* Kernel pages, and KERNEL chunks that come and go. */
#include <string.h>
#include <unistd.h>

#include <quire/physmem.h>

#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

static bool kernel_page_is_zero(hpa_t page)
{
	const uint8_t *bytes = physmem_kernel_ptr(page);
	for (unsigned i = 0; i < PAGE_SIZE; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* However much Quire takes, the kernel pages that a VM was promised are there, and no more. */
TEST(gmm_kernel, set_aside_pages_cannot_be_taken)
{
	hpa_t page;
	uint64_t taken = 0;

	set_up(4);
	gmm_vm_t vm = create(P, P, P + 1);
	EXPECT(stats_now().chunk_count == 2);
	while (gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK)
		taken++;
	gmm_check();
	/* P + 1 pages took two chunks. Quire took a third; the fourth is the guest's guarantee. */
	EXPECT(taken == 3 * P - (P + 1));
	for (unsigned i = 0; i < P + 1; i++) {
		enum gmm_account account = i < (P + 1) / 2 ? GMM_SHADOW : GMM_FIXED;
		EXPECT(gmm_kernel_page_alloc(vm, account, &page) == Q_OK);
		EXPECT(kernel_page_is_zero(page));
	}
	EXPECT(gmm_kernel_page_alloc(vm, GMM_SHADOW, &page) == Q_LIMIT);
	EXPECT(gmm_kernel_page_alloc(vm, GMM_FIXED, &page) == Q_LIMIT);
	EXPECT(alloc(vm, P) == Q_OK);
}

TEST(gmm_kernel, pages_are_zero_again_after_use)
{
	hpa_t page, again;

	set_up(1);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
	EXPECT(kernel_page_is_zero(page));
	memset(physmem_kernel_ptr(page), 0x5a, PAGE_SIZE);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, page);
	gmm_check();
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &again) == Q_OK);
	EXPECT(again.raw == page.raw && kernel_page_is_zero(again));
}

/* A KERNEL chunk that GMM only keeps counts as available, and is given up for a VM. */
TEST(gmm_kernel, spare_chunks_go_to_guests)
{
	hpa_t page;

	set_up(2);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, page);
	gmm_check();
	EXPECT(stats_now().chunk_count == 1);
	gmm_vm_t vm = create(2 * P, 2 * P, 0);
	/* Now Quire cannot take a page of it either. */
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_NO_MEMORY);
	EXPECT(gmm_pages_available(vm, 3 * P) == 2 * P);
	EXPECT(alloc(vm, 2 * P) == Q_OK);
	EXPECT(stats_now().kernel_pages == 0 && stats_now().private_pages == 2 * P);
}

TEST(gmm_kernel, empty_chunks_go_back_when_many_are_free)
{
	static hpa_t kernel[3 * P];

	set_up(3);
	for (unsigned i = 0; i < 3 * P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	EXPECT(stats_now().chunks_free == 0 && stats_now().kernel_pages == 3 * P);
	for (unsigned i = 0; i < 3 * P; i++)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	gmm_check();
	EXPECT(stats_now().kernel_pages == 0 && stats_now().chunk_count == 1);
}

/* As many pages as a chunk has are free, but in two chunks: guests cannot get them. */
TEST(gmm_kernel, scattered_free_pages_are_not_spare)
{
	static hpa_t kernel[2 * P];
	gmm_vm_t vm;

	set_up(3);
	for (unsigned i = 0; i < 2 * P; i++)
		EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &kernel[i]) == Q_OK);
	for (unsigned i = 0; i < 2 * P; i += 2)
		gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, kernel[i]);
	gmm_check();
	EXPECT(try_create(3 * P, P + 1, 0, &vm) == Q_DECLINED);
	vm = create(3 * P, P, P);
	EXPECT(gmm_pages_available(vm, 3 * P) == P);
	EXPECT(stats_now().chunk_count == 2);
}

/* Counts the chunks that are mapped. write() only fails where an address cannot be read. */
static unsigned kernel_mapped_chunks(void)
{
	unsigned count = 0;
	int ends[2];

	EXPECT(pipe(ends) == 0);
	for (uint32_t i = 0; i < gmm.chunk_count; i++)
		count += write(ends[1], physmem_kernel_ptr(gmm.chunks[i].base), 1) == 1;
	close(ends[0]);
	close(ends[1]);
	return count;
}

/* The chunks come from the machine, and from the wholly free ones that GMM kept. */
TEST(gmm_kernel, failed_mapping_changes_nothing)
{
	gmm_vm_t vm;

	set_up(4);
	gmm_vm_t other = create(4 * P, 0, 0);
	EXPECT(alloc(other, 4 * P) == Q_OK);
	EXPECT(free_some(other, ids, 4 * P - 1) == Q_OK);
	EXPECT(stats_now().chunks_free == 1);
	struct gmm_stats before = stats_now();
	for (unsigned k = 1; k <= 3; k++) {
		fake_kernel_map_fail_at(k);
		EXPECT(try_create(P, 0, 3 * P, &vm) == Q_NO_MEMORY);
		/* The two chunks that GMM kept are with the machine now; that is all. */
		before.chunk_count = 1;
		before.chunks_free = 3;
		before.free_pages = P - 1;
		EXPECT(stats_are(&before));
		EXPECT(kernel_mapped_chunks() == 0);
	}
	vm = create(P, 0, 3 * P);
	EXPECT(kernel_mapped_chunks() == 3);
	gmm_vm_destroy(vm);
	EXPECT(kernel_mapped_chunks() == 0);
	gmm_check();
	hpa_t page;
	fake_kernel_map_fail_at(1);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_NO_MEMORY);
	EXPECT(gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, &page) == Q_OK);
}
